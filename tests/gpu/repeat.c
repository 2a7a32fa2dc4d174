/* SPDX-License-Identifier: MIT */
/*
 * The same training again and again on one device, compared bit by bit with the cpu
 * backend's: gpu_repeat BACKEND NET BATCH STEPS TIMES. Drawn digits, one seed. Every other
 * time steps are queued one by one, for then other graphs run.
 */
#include "../../bench/nets.h"

#include <stdio.h>
#include <stdlib.h>

#define TRY(call)                                                                      \
    if ((st = (call)) != MNT_OK)                                                       \
    goto done

typedef struct job {
    const char *net;
    int64_t batch, steps;
} job;

/* All parameters, one behind the other; *out is the caller's to free. */
static mnt_status read_parameters(mnt_model *m, float **out, size_t *bytes)
{
    mnt_status st = MNT_OK;
    size_t used = 0;
    int n = mnt_model_param_count(m);
    *bytes = 0;
    for (int i = 0; i < n; i++)
        *bytes += (size_t)mnt_tensor_count(mnt_model_param(m, i)) * sizeof **out;
    *out = malloc(*bytes);
    if (!*out)
        return MNT_NO_MEMORY;
    for (int i = 0; i < n && st == MNT_OK; i++) {
        mnt_tensor *t = mnt_model_param(m, i);
        size_t size = (size_t)mnt_tensor_count(t) * sizeof **out;
        st = mnt_tensor_read(t, (char *)*out + used, size);
        used += size;
    }
    return st;
}

static mnt_status train(const job *j, mnt_device *dev, mnt_dataset *data, bool single,
                        float **out, size_t *bytes)
{
    mnt_status st;
    mnt_model *model = NULL;
    mnt_graph *g = NULL;
    TRY(mnt_model_create(&model, dev, NULL));
    TRY(mnt_graph_create(&g, dev, model, NULL));
    mnt_batch b = mnt_batch_input(g, data, j->batch);
    nets_train(g, nets_forward(j->net, g, b.x), b.y, 0.05f);
    TRY(mnt_graph_compile(g));
    TRY(mnt_dataset_shuffle(data, 1, 1));
    for (int64_t s = 0; s < (single ? j->steps : 1); s++)
        TRY(mnt_graph_run(g, single ? 1 : j->steps));
    TRY(mnt_device_wait(dev));
    TRY(read_parameters(model, out, bytes));
done:
    mnt_graph_destroy(g);
    mnt_model_destroy(model);
    return st;
}

/* How many of `times` trainings differ from `want`. */
static mnt_status compare(const job *j, mnt_device *dev, mnt_dataset *data, int times,
                          const float *want, size_t bytes, int *differ)
{
    mnt_status st = MNT_OK;
    *differ = 0;
    for (int i = 0; i < times && st == MNT_OK; i++) {
        float *got = NULL;
        size_t size = 0;
        st = train(j, dev, data, i % 2, &got, &size);
        if (st == MNT_OK && (size != bytes || memcmp(got, want, bytes) != 0)) {
            printf("repeat %d differs\n", i);
            ++*differ;
        }
        free(got);
    }
    return st;
}

static mnt_status open_side(const char *backend, int threads, mnt_device **dev,
                            mnt_dataset **data)
{
    mnt_status st =
        mnt_device_open(dev, &MNT_DEVICE_DESC(.backend = backend, .threads = threads));
    return st ? st : mnt_synth_open(data, *dev, 4096, 1, MNT_TRAIN);
}

int main(int argc, char **argv)
{
    if (argc != 6 || atoi(argv[5]) < 1)
        return fputs("usage: gpu_repeat BACKEND NET BATCH STEPS TIMES\n", stderr), 2;
    job j = { argv[2], atoll(argv[3]), atoll(argv[4]) };
    mnt_device *cpu = NULL, *dev = NULL;
    mnt_dataset *mine = NULL, *data = NULL;
    float *want = NULL;
    size_t bytes = 0;
    int differ = 0;
    mnt_status st;
    TRY(open_side("cpu", 1, &cpu, &mine));
    TRY(open_side(argv[1], 0, &dev, &data));
    TRY(train(&j, cpu, mine, false, &want, &bytes));
    TRY(compare(&j, dev, data, atoi(argv[5]), want, bytes, &differ));
    printf(
        "%s on %s: %d trainings of %s steps, %zu bytes of parameters, %d differ from "
        "cpu\n",
        argv[2], argv[1], atoi(argv[5]), argv[4], bytes, differ);
done:
    if (st)
        fprintf(stderr, "gpu_repeat: %s%s\n", mnt_last_error(dev), mnt_last_error(cpu));
    mnt_dataset_close(data);
    mnt_dataset_close(mine);
    mnt_device_close(dev);
    mnt_device_close(cpu);
    free(want);
    return st || differ ? 1 : 0;
}
