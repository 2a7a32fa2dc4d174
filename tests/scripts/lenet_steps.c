/* SPDX-License-Identifier: MIT */
/*
 * A few training steps of the LeNet and its checkpoint, for tests/scripts/hash-matrix:
 *   lenet_steps FORCE THREADS replay|eager BATCH STEPS CHECKPOINT
 * Drawn digits, seed 1. Everything that is not on the command line is fixed, so equal
 * numerics give equal files.
 */
#include <mnt/mnt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRY(call)                                                                      \
    do {                                                                               \
        if ((st = (call)) != MNT_OK)                                                   \
            goto done;                                                                 \
    } while (0)

typedef struct job {
    bool eager;
    int64_t batch, steps;
    const char *file;
} job;

/* Records one step; in an eager graph this executes it. */
static mnt_status record(mnt_graph *g, mnt_dataset *data, int64_t batch)
{
    mnt_batch b = mnt_batch_input(g, data, batch);
    mnt_tensor *x = mnt_relu(g, mnt_conv_layer(g, b.x, 8, 5, 5, "conv1", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    x = mnt_relu(g, mnt_conv_layer(g, x, 16, 5, 5, "conv2", NULL));
    x = mnt_flatten(g, mnt_max_pool2d(g, x, NULL));
    mnt_tensor *loss = mnt_cross_entropy(g, mnt_dense(g, x, 10, "fc"), b.y);
    mnt_backward(g, loss, NULL);
    mnt_sgd(g, &MNT_SGD_DESC(.lr = 0.05f, .momentum = 0.9f));
    return mnt_graph_compile(g);
}

static mnt_status train(mnt_device *dev, const job *j)
{
    mnt_status st;
    mnt_model *model = NULL;
    mnt_dataset *data = NULL;
    mnt_graph *g = NULL;
    TRY(mnt_model_create(&model, dev, NULL));
    TRY(mnt_synth_open(&data, dev, 8 * j->batch, 1, MNT_TRAIN));
    TRY(mnt_dataset_shuffle(data, 1, 1));
    for (int64_t i = 0; i < (j->eager ? j->steps : 1); i++) {
        mnt_graph_destroy(g);
        g = NULL;
        TRY(mnt_graph_create(&g, dev, model, &MNT_GRAPH_DESC(.eager = j->eager)));
        TRY(record(g, data, j->batch));
    }
    if (!j->eager)
        TRY(mnt_graph_run(g, j->steps));
    TRY(mnt_model_save(model, j->file));
done:
    mnt_graph_destroy(g);
    mnt_dataset_close(data);
    mnt_model_destroy(model);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: lenet_steps FORCE THREADS replay|eager BATCH STEPS "
                        "CHECKPOINT\n");
        return 2;
    }
    job j = { .eager = strcmp(argv[3], "eager") == 0,
              .batch = atoll(argv[4]),
              .steps = atoll(argv[5]),
              .file = argv[6] };
    mnt_device *dev = NULL;
    mnt_status st = mnt_device_open(
        &dev, &MNT_DEVICE_DESC(.backend = "cpu", .force = argv[1],
                               .threads = (int)strtol(argv[2], NULL, 10)));
    if (st == MNT_OK)
        st = train(dev, &j);
    if (st != MNT_OK)
        fprintf(stderr, "lenet_steps: %s\n", mnt_last_error(dev));
    mnt_device_close(dev);
    return st == MNT_OK ? 0 : 1;
}
