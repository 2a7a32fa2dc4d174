/* SPDX-License-Identifier: MIT */
/*
 * The small training of api.h: images of 12x12 from a data set, noise added, two
 * convolutions with relu and pooling, a dense layer, cross entropy, momentum; totals of
 * loss and of right answers. Everything that a step carries over is in its state.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGES 40
#define SIDE   12

static void open_data(train *t)
{
    kit_rng rng = { 12 };
    uint8_t *x = kit_alloc(IMAGES * SIDE * SIDE), label[IMAGES];
    for (int i = 0; i < IMAGES * SIDE * SIDE; i++)
        x[i] = (uint8_t)kit_below(&rng, 256);
    for (int i = 0; i < IMAGES; i++)
        label[i] = (uint8_t)kit_below(&rng, 10);
    api_ok(t->a, t->dev,
           mnt_dataset_create(&t->d, t->dev, x, MNT_SHAPE(1, SIDE, SIDE), label, IMAGES,
                              10),
           "mnt_dataset_create");
    free(x);
    if (!api_stopped(t->a))
        api_ok(t->a, t->dev, mnt_dataset_shuffle(t->d, 3, 1), "mnt_dataset_shuffle");
}

static mnt_tensor *forward(mnt_graph *g, mnt_tensor *x, bool dense)
{
    if (dense) {
        x = mnt_relu(g, mnt_dense(g, mnt_flatten(g, x), 32, "fc1"));
        return mnt_dense(g, x, 10, "fc");
    }
    mnt_conv2d_desc same = MNT_CONV2D_DESC(.pad_h = 1, .pad_w = 1);
    x = mnt_relu(g, mnt_conv_layer(g, x, 4, 5, 5, "conv1", NULL));
    x = mnt_max_pool2d(g, x, NULL);
    x = mnt_relu(g, mnt_conv_layer(g, x, 8, 3, 3, "conv2", &same));
    x = mnt_max_pool2d(g, x, NULL);
    return mnt_dense(g, mnt_flatten(g, x), 10, "fc");
}

/* A graph that touches the parameters from the last to the first, and is thrown away;
 * their values come from their names. */
static void create_backwards(train *t)
{
    static const struct {
        const char *name;
        int64_t rows, cols;
    } dense[] = { { "fc.bias", 10, 0 }, { "fc.weight", 32, 10 } };
    mnt_graph *g = api_graph(t->a, t->dev, t->m, NULL);
    for (int i = 0; i < 2; i++) {
        float k = 0.17677669529663687f; /* 1 / sqrt(32), as mnt_dense() draws */
        mnt_shape s = dense[i].cols ? MNT_SHAPE(dense[i].rows, dense[i].cols)
                                    : MNT_SHAPE(dense[i].rows);
        mnt_param(g, dense[i].name, s, (mnt_init){ MNT_INIT_UNIFORM, -k, k });
    }
    mnt_tensor_keep(mnt_uniform(g, MNT_SHAPE(77), 0, 1, 9, 9));
    api_compile(t->a, t->dev, g);
    api_run_graph(t->a, t->dev, g, 3);
    mnt_graph_destroy(g);
}

/* Whether the subject lacks the convolutions of forward(), or their gradients. */
static bool lacks_convolutions(api *a)
{
    mnt_model *m = NULL;
    if (a->asked || api_stopped(a))
        return a->dense;
    a->asked = true;
    mnt_device *dev = api_device(a);
    if (!api_stopped(a))
        api_ok(a, dev, mnt_model_create(&m, dev, NULL), "mnt_model_create");
    mnt_graph *g = api_graph(a, dev, m, NULL);
    mnt_tensor *x = api_random(a, g, MNT_SHAPE(2, 1, SIDE, SIDE), 1);
    mnt_backward(g, mnt_mean(g, forward(g, x, false), MNT_ALL_AXES), NULL);
    a->dense = !api_stopped(a) && mnt_graph_compile(g) == MNT_UNSUPPORTED;
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
    mnt_device_close(dev);
    return a->dense;
}

void train_open(api *a, train *t, mnt_device *dev, const train_way *way)
{
    const train_way plain = { .graph = MNT_GRAPH_DESC(.name = "train") };
    *t = (train){ .a = a, .dev = dev };
    way = way ? way : &plain;
    mnt_graph_desc desc = way->graph;
    desc.size = sizeof desc;
    bool dense = lacks_convolutions(a);
    if (api_stopped(a))
        return;
    api_ok(a, dev, mnt_device_profile(dev, way->profile), "mnt_device_profile");
    api_ok(a, dev, mnt_model_create(&t->m, dev, NULL), "mnt_model_create");
    open_data(t);
    if (way->other_order)
        create_backwards(t);
    t->g = api_graph(a, dev, t->m, &desc);
    mnt_batch b = mnt_batch_input(t->g, t->d, way->batch ? way->batch : 6);
    t->noise = mnt_uniform(t->g, mnt_tensor_shape(b.x), -0.25f, 0.25f, 5, 6);
    mnt_tensor *z = forward(t->g, mnt_add(t->g, b.x, t->noise), dense);
    t->loss = mnt_cross_entropy(t->g, z, b.y);
    t->total = mnt_accumulate(t->g, t->loss);
    t->right = mnt_accumulate(t->g, mnt_accuracy_count(t->g, z, b.y));
    mnt_tensor_keep(t->loss);
    mnt_tensor_keep(t->noise);
    mnt_backward(t->g, t->loss, NULL);
    mnt_sgd_desc sgd = MNT_SGD_DESC(.lr = 0.05f, .momentum = 0.9f);
    mnt_sgd(t->g, &sgd);
    api_compile(a, dev, t->g);
}

void train_run(train *t, int64_t n)
{
    api_run_graph(t->a, t->dev, t->g, n);
}

static void add_part(train_state *s, const char *name, const float *v, int64_t n)
{
    float *all = kit_alloc((size_t)(s->count + n) * sizeof *all);
    if (s->count)
        memcpy(all, s->v, (size_t)s->count * sizeof *all);
    memcpy(all + s->count, v, (size_t)n * sizeof *all);
    free(s->v);
    s->v = all;
    snprintf(s->part[s->parts].name, sizeof s->part[0].name, "%s", name);
    s->part[s->parts++].first = s->count;
    s->count += n;
}

static void add_tensor(train *t, train_state *s, const char *name, mnt_tensor *x)
{
    if (api_stopped(t->a))
        return;
    float *v = api_read(t->a, t->dev, x);
    add_part(s, name, v, mnt_tensor_count(x));
    free(v);
}

train_state train_read(train *t)
{
    train_state s = { 0 };
    add_tensor(t, &s, "the loss", t->loss);
    add_tensor(t, &s, "the total of losses", t->total);
    add_tensor(t, &s, "the count of right answers", t->right);
    add_tensor(t, &s, "the noise", t->noise);
    for (int i = 0; !api_stopped(t->a) && i < mnt_model_param_count(t->m); i++) {
        mnt_tensor *w = mnt_model_param(t->m, i);
        add_tensor(t, &s, mnt_tensor_name(w), w);
    }
    if (api_stopped(t->a))
        return s;
    float steps[2] = { (float)mnt_model_step(t->m), (float)mnt_graph_replays(t->g) };
    add_part(&s, "steps and replays", steps, 2);
    return s;
}

void train_close(train *t)
{
    mnt_graph_destroy(t->g);
    mnt_dataset_close(t->d);
    mnt_model_destroy(t->m);
    t->g = NULL;
    t->d = NULL;
    t->m = NULL;
}

void train_free(train_state *s)
{
    free(s->v);
    *s = (train_state){ 0 };
}

void train_same(api *a, const char *what, const train_state *want,
                const train_state *got)
{
    if (api_stopped(a) ||
        !api_expect(a, want->count == got->count, "%s: other parameters", what))
        return;
    int64_t i = kit_difference(MNT_F32, want->v, got->v, want->count);
    if (i < 0)
        return;
    int p = want->parts - 1;
    while (p > 0 && want->part[p].first > i)
        p--;
    char text[128];
    api_fail(a, "%s: %s differs first at element %lld: %s", what, want->part[p].name,
             (long long)(i - want->part[p].first),
             kit_element_text(text, sizeof text, MNT_F32, want->v, got->v, i));
}

train_state train_whole(api *a, const contract_subject *s, const train_way *way,
                        int64_t n)
{
    train t;
    mnt_device *dev = api_device_of(a, s);
    train_open(a, &t, dev, way);
    train_run(&t, n);
    train_state state = train_read(&t);
    train_close(&t);
    mnt_device_close(dev);
    return state;
}
