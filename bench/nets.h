/* SPDX-License-Identifier: MIT */
/* The two networks that are timed and repeated, by the names "mlp" and "lenet". */
#ifndef BENCH_NETS_H
#define BENCH_NETS_H

#include <mnt/mnt.h>

#include <string.h>

/* x: [N,1,28,28]; the logits, [N,10]. */
static inline mnt_tensor *nets_forward(const char *net, mnt_graph *g, mnt_tensor *x)
{
    if (strcmp(net, "mlp") == 0) {
        x = mnt_relu(g, mnt_dense(g, mnt_flatten(g, x), 128, "fc1"));
        return mnt_dense(g, x, 10, "fc2");
    }
    x = mnt_relu(g, mnt_conv_layer(g, x, 8, 5, 5, "conv1", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    x = mnt_relu(g, mnt_conv_layer(g, x, 16, 5, 5, "conv2", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    return mnt_dense(g, mnt_flatten(g, x), 10, "fc");
}

/* Records loss, gradients and SGD with momentum behind the logits. */
static inline void nets_train(mnt_graph *g, mnt_tensor *logits, mnt_tensor *labels,
                              float lr)
{
    mnt_backward(g, mnt_cross_entropy(g, logits, labels), NULL);
    mnt_sgd(g, &MNT_SGD_DESC(.lr = lr, .momentum = 0.9f));
}

#endif
