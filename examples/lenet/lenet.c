/* SPDX-License-Identifier: MIT */
/*
 * lenet: a small convolutional network on MNIST. Only the network and its defaults are
 * here; examples/common has the rest of the program.
 */
#include "common/run.h"

/* [N,1,28,28] -> [N,8,12,12] -> [N,16,4,4] -> [N,10] */
static mnt_tensor *forward(mnt_graph *g, mnt_tensor *x)
{
    x = mnt_relu(g, mnt_conv_layer(g, x, 8, 5, 5, "conv1", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    x = mnt_relu(g, mnt_conv_layer(g, x, 16, 5, 5, "conv2", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    return mnt_dense(g, mnt_flatten(g, x), 10, "fc");
}

int main(int argc, char **argv)
{
    static const run_app app = {
        .name = "lenet",
        .network = "conv 1-8 5x5, relu, pool 2, conv 8-16 5x5, relu, pool 2, "
                   "dense 256-10",
        .forward = forward,
        .optimizer = OPT_ADAM,
        .sgd_lr = 0.1f,
        .adam_lr = 0.03f,
    };
    return run_main(&app, argc, argv);
}
