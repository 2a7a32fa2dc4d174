/* SPDX-License-Identifier: MIT */
/*
 * What an example program says about itself: its name, its network and its defaults.
 * run_main() does the rest: command line, training, evaluation, benchmarks, reports.
 * See mlp/mlp.c and lenet/lenet.c for the two users.
 */
#ifndef RUN_H
#define RUN_H

#include <mnt/mnt.h>

typedef enum run_optimizer { OPT_SGD, OPT_ADAM } run_optimizer;

typedef struct run_app {
    const char *name;
    const char *network; /* one line for --help */
    /* Records the network: x f32 [N,1,28,28] -> logits [N,10]. */
    mnt_tensor *(*forward)(mnt_graph *g, mnt_tensor *x);
    run_optimizer optimizer; /* without --optimizer */
    /* Peak learning rates at a batch of 256; other batches scale them (recipe.c). */
    float sgd_lr, adam_lr;
} run_app;

/* The whole program; returns its exit status: 0, 1 bad input, 2 usage, 130 Ctrl-C. */
int run_main(const run_app *app, int argc, char **argv);

#endif
