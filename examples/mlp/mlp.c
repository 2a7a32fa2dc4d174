/* SPDX-License-Identifier: MIT */
/*
 * mlp: a multilayer perceptron 784-128-10 on MNIST. Only the network and its defaults
 * are here; examples/common has the rest of the program. train_mlp.c beside it is the
 * same training written out in one page.
 */
#include "common/run.h"

static mnt_tensor *forward(mnt_graph *g, mnt_tensor *x)
{
    x = mnt_relu(g, mnt_dense(g, mnt_flatten(g, x), 128, "fc1"));
    return mnt_dense(g, x, 10, "fc2");
}

int main(int argc, char **argv)
{
    static const run_app app = {
        .name = "mlp",
        .network = "dense 784-128, relu, dense 128-10",
        .forward = forward,
        .optimizer = OPT_SGD,
        .sgd_lr = 0.3f,
        .adam_lr = 0.01f,
    };
    return run_main(&app, argc, argv);
}
