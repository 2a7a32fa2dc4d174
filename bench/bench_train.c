/* SPDX-License-Identifier: MIT */
/*
 * Times training steps for a comparison in turns: bench_train mlp|lenet BATCH STEPS
 * THREADS. For each line on standard input it runs STEPS steps (gather, forward,
 * backward, update) on 4096 procedural digits and prints the seconds they took.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include "nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRY(call)                                                                      \
    if ((st = (call)) != MNT_OK)                                                       \
    goto done

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static mnt_status serve(mnt_device *dev, const char *net, int64_t batch, int64_t steps)
{
    mnt_status st;
    mnt_model *model = NULL;
    mnt_graph *g = NULL;
    mnt_dataset *data = NULL;
    char line[16];
    TRY(mnt_model_create(&model, dev, NULL));
    TRY(mnt_synth_open(&data, dev, 4096, 1, MNT_TRAIN));
    TRY(mnt_dataset_shuffle(data, 1, 1));
    TRY(mnt_graph_create(&g, dev, model, NULL));
    mnt_batch b = mnt_batch_input(g, data, batch);
    nets_train(g, nets_forward(net, g, b.x), b.y, 0.01f);
    TRY(mnt_graph_compile(g));
    while (fgets(line, sizeof line, stdin)) {
        double start = now();
        TRY(mnt_graph_run(g, steps));
        TRY(mnt_device_wait(dev));
        printf("%.9f\n", now() - start);
        fflush(stdout);
    }
done:
    mnt_graph_destroy(g);
    mnt_dataset_close(data);
    mnt_model_destroy(model);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return fputs("usage: bench_train mlp|lenet BATCH STEPS THREADS\n", stderr), 2;
    mnt_device *dev = NULL;
    mnt_status st = mnt_device_open(&dev, &MNT_DEVICE_DESC(.threads = atoi(argv[4])));
    if (st == MNT_OK)
        st = serve(dev, argv[1], atoll(argv[2]), atoll(argv[3]));
    if (st)
        fprintf(stderr, "bench_train: %s\n", mnt_last_error(dev));
    mnt_device_close(dev);
    return st ? 1 : 0;
}
