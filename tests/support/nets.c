/* SPDX-License-Identifier: MIT */
/*
 * The networks of the tests. See nets.h.
 */
#include "nets.h"

#include <stdlib.h>
#include <string.h>

mnt_tensor *net_forward(mnt_graph *g, mnt_tensor *x, bool lenet)
{
    if (!lenet) {
        x = mnt_relu(g, mnt_dense(g, mnt_flatten(g, x), 32, "fc1"));
        return mnt_dense(g, x, 10, "fc2");
    }
    x = mnt_relu(g, mnt_conv_layer(g, x, 8, 5, 5, "conv1", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    x = mnt_relu(g, mnt_conv_layer(g, x, 16, 5, 5, "conv2", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    return mnt_dense(g, mnt_flatten(g, x), 10, "fc");
}

mnt_tensor *net_record(mnt_graph *g, mnt_dataset *d, const net_spec *s)
{
    mnt_batch b = mnt_batch_input(g, d, s->batch);
    mnt_tensor *loss = mnt_cross_entropy(g, net_forward(g, b.x, s->lenet), b.y);
    mnt_tensor_keep(loss);
    mnt_backward(g, loss, NULL);
    if (s->adam) {
        mnt_adam_desc adam = MNT_ADAM_DESC(.lr = s->lr > 0 ? s->lr : 1e-3f);
        mnt_adam(g, &adam);
    } else {
        mnt_sgd_desc sgd =
            MNT_SGD_DESC(.lr = s->lr > 0 ? s->lr : 0.1f, .momentum = 0.9f);
        mnt_sgd(g, &sgd);
    }
    return loss;
}

static mnt_graph *new_graph(mnt_device *dev, mnt_model *m, mnt_dataset *d,
                            const net_spec *s, mnt_tensor **loss)
{
    mnt_graph *g = NULL;
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = s->eager, .no_fusion = s->no_fusion,
                                         .guard = s->guard, .keep_all = s->keep_all);
    MUST(dev, mnt_graph_create(&g, dev, m, &desc));
    *loss = net_record(g, d, s);
    MUST(dev, mnt_graph_compile(g));
    return g;
}

mnt_graph *net_graph(mnt_device *dev, mnt_model *m, mnt_dataset *d, const net_spec *s,
                     mnt_tensor **loss)
{
    return new_graph(dev, m, d, s, loss);
}

void net_train(mnt_device *dev, mnt_model *m, mnt_dataset *d, const net_spec *s,
               int steps, float *losses)
{
    mnt_tensor *loss = NULL;
    mnt_graph *g = s->eager ? NULL : new_graph(dev, m, d, s, &loss);
    for (int i = 0; i < steps; i++) {
        if (s->eager)
            g = new_graph(dev, m, d, s, &loss);
        else
            MUST(dev, mnt_graph_run(g, 1));
        float value;
        MUST(dev, mnt_tensor_read(loss, &value, sizeof value));
        if (losses)
            losses[i] = value;
        if (s->guard && !s->eager)
            MUST(dev, mnt_graph_check_guards(g));
        if (s->eager)
            mnt_graph_destroy(g);
    }
    if (!s->eager)
        mnt_graph_destroy(g);
}

void net_hash(mnt_device *dev, const net_spec *s, int64_t count, int steps,
              char hex[65])
{
    mnt_model *m = NULL;
    mnt_dataset *d = NULL;
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_synth_open(&d, dev, count, 5, MNT_TRAIN));
    MUST(dev, mnt_dataset_shuffle(d, 1, 1));
    net_train(dev, m, d, s, steps, NULL);
    sup_model_hash(dev, m, hex);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
}

float *net_parameters(mnt_device *dev, mnt_model *m, int64_t *count)
{
    *count = 0;
    for (int i = 0; i < mnt_model_param_count(m); i++)
        *count += mnt_tensor_count(mnt_model_param(m, i));
    float *all = kit_alloc((size_t)*count * sizeof *all), *at = all;
    for (int i = 0; i < mnt_model_param_count(m); i++) {
        mnt_tensor *w = mnt_model_param(m, i);
        size_t n = (size_t)mnt_tensor_count(w);
        MUST(dev, mnt_tensor_read(w, at, n * sizeof *at));
        at += n;
    }
    return all;
}
