/* SPDX-License-Identifier: MIT */
/*
 * The two networks that tests train, and a way to train them: replayed or eager, fused
 * or not. One call stands for a whole training run, so that tests read as comparisons.
 */
#ifndef TESTS_NETS_H
#define TESTS_NETS_H

#include "support.h"

typedef struct net_spec {
    bool lenet; /* else the mlp 784-32-10 */
    bool adam;
    bool eager, no_fusion, guard, keep_all;
    int64_t batch;
    float lr; /* 0: 0.1 for sgd with momentum 0.9, 1e-3 for adam */
} net_spec;

/* Logits [N,10] of x [N,1,28,28]. */
mnt_tensor *net_forward(mnt_graph *g, mnt_tensor *x, bool lenet);
/* Records batch, forward, loss, backward and update. Returns the loss, kept. */
mnt_tensor *net_record(mnt_graph *g, mnt_dataset *d, const net_spec *s);
/* A recorded and compiled training graph; *loss its loss. Not for eager. */
mnt_graph *net_graph(mnt_device *dev, mnt_model *m, mnt_dataset *d, const net_spec *s,
                     mnt_tensor **loss);
/* `steps` steps; the loss of each goes to losses if that is not NULL. */
void net_train(mnt_device *dev, mnt_model *m, mnt_dataset *d, const net_spec *s,
               int steps, float *losses);
/* A new model of seed 1 after `steps` steps on `count` synthetic digits of seed 5,
 * shuffled; its checkpoint's sha256. */
void net_hash(mnt_device *dev, const net_spec *s, int64_t count, int steps,
              char hex[65]);
/* All parameters in order of name, one after the other; the caller frees. */
float *net_parameters(mnt_device *dev, mnt_model *m, int64_t *count);

#endif
