/* SPDX-License-Identifier: MIT */
/*
 * Kernels may keep packed copies of parameters. They must not outlive a change: by the
 * optimizer, by a write, by another graph, by loading a checkpoint.
 */
#include "../support/nets.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS 24

typedef struct pair {
    mnt_device *dev;
    mnt_model *m;
    mnt_dataset *d;
    mnt_graph *train, *infer;
    mnt_tensor *x, *y, *loss;
    float *pixels;
} pair;

static pair setup(const char *force, bool lenet)
{
    pair p = { .dev = sup_open(force, 2) };
    const net_spec s = { .lenet = lenet, .batch = ROWS };
    kit_rng r = { 21 };
    MUST(p.dev, mnt_model_create(&p.m, p.dev, NULL));
    MUST(p.dev, mnt_synth_open(&p.d, p.dev, 3 * ROWS, 5, MNT_TRAIN));
    p.train = net_graph(p.dev, p.m, p.d, &s, &p.loss);
    MUST(p.dev, mnt_graph_create(&p.infer, p.dev, p.m, NULL));
    p.x = mnt_input(p.infer, MNT_F32, MNT_SHAPE(ROWS, 1, 28, 28));
    p.y = net_forward(p.infer, p.x, lenet);
    mnt_tensor_keep(p.y);
    MUST(p.dev, mnt_graph_compile(p.infer));
    sup_write_random(p.dev, p.x, &r);
    p.pixels = sup_read(p.dev, p.x);
    return p;
}

static void teardown(pair *p)
{
    mnt_graph_destroy(p->infer);
    mnt_graph_destroy(p->train);
    mnt_dataset_close(p->d);
    mnt_model_destroy(p->m);
    mnt_device_close(p->dev);
    free(p->pixels);
}

/* Logits of the parameters as they are now, from an eager graph on fresh packs. */
static float *fresh_logits(pair *p, bool lenet)
{
    mnt_graph *g = NULL;
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = true);
    MUST(p->dev, mnt_graph_create(&g, p->dev, p->m, &desc));
    mnt_tensor *x = mnt_constant(g, MNT_F32, MNT_SHAPE(ROWS, 1, 28, 28), p->pixels);
    mnt_tensor *y = net_forward(g, x, lenet);
    MUST(p->dev, mnt_graph_compile(g));
    float *v = sup_read(p->dev, y);
    mnt_graph_destroy(g);
    return v;
}

static void expect_fresh(pair *p, bool lenet, const char *after)
{
    float *want = fresh_logits(p, lenet);
    MUST(p->dev, mnt_graph_run(p->infer, 1));
    float *got = sup_read(p->dev, p->y);
    sup_assert_bits(after, MNT_F32, MNT_SHAPE(ROWS, 10), want, got);
    free(want);
    free(got);
}

static void on(const char *force, bool lenet)
{
    kit_rng r = { 5 };
    pair p = setup(force, lenet);
    float *before = fresh_logits(&p, lenet);
    expect_fresh(&p, lenet, "first inference");
    MUST(p.dev, mnt_graph_run(p.train, 1));
    expect_fresh(&p, lenet, "inference after a step of another graph");
    float *after = fresh_logits(&p, lenet);
    assert_true(kit_difference(MNT_F32, before, after, ROWS * 10) >= 0);
    for (int i = 0; i < mnt_model_param_count(p.m); i++) {
        sup_write_random(p.dev, mnt_model_param(p.m, i), &r);
        expect_fresh(&p, lenet, "inference after a write");
    }
    for (int i = 0; i < 3; i++) {
        MUST(p.dev, mnt_graph_run(p.train, 2));
        MUST(p.dev, mnt_graph_run(p.infer, 2));
        expect_fresh(&p, lenet, "inference between steps");
    }
    free(before);
    free(after);
    teardown(&p);
}

static void test_stale_packs(void **state)
{
    (void)state;
    const char *isas[SUP_MAX_ISA];
    int n = sup_isas(isas);
    for (int i = 0; i < n; i++) {
        char force[48];
        snprintf(force, sizeof force, "isa=%s", isas[i]);
        on(force, false);
        on(force, true);
    }
}

/* Writing between steps: training goes on from the written values, as on the reference
 * set. */
static void test_write_between_steps(void **state)
{
    (void)state;
    const char *forces[] = { SUP_REFERENCE, "" };
    float *w[2];
    int64_t n = 0;
    for (int i = 0; i < 2; i++) {
        kit_rng r = { 8 };
        pair p = setup(forces[i], true);
        MUST(p.dev, mnt_graph_run(p.train, 2));
        mnt_tensor *weight = mnt_model_find(p.m, "conv2.weight");
        sup_write_random(p.dev, weight, &r);
        MUST(p.dev, mnt_graph_run(p.train, 1));
        sup_write_random(p.dev, mnt_model_find(p.m, "fc.weight"), &r);
        MUST(p.dev, mnt_graph_run(p.train, 2));
        w[i] = net_parameters(p.dev, p.m, &n);
        teardown(&p);
    }
    sup_assert_bits("parameters", MNT_F32, (mnt_shape){ 1, { n } }, w[0], w[1]);
    free(w[0]);
    free(w[1]);
}

/* A view of a parameter is the parameter. */
static void test_write_through_view(void **state)
{
    (void)state;
    enum { K = 64, N = 64 };
    static float ones[K * N], y[8 * N];
    mnt_device *dev = sup_open("", 1);
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    for (int i = 0; i < K * N; i++)
        ones[i] = 1;
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, m, NULL));
    mnt_tensor *w = mnt_param(g, "w", MNT_SHAPE(K, N), (mnt_init){ 0 });
    mnt_tensor *flat = mnt_reshape(g, w, MNT_SHAPE(K * N));
    mnt_tensor *out = mnt_matmul(g, mnt_fill(g, MNT_SHAPE(8, K), 1), w);
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_tensor_write(flat, ones, sizeof ones));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_tensor_read(out, y, sizeof y));
    assert_true(y[0] == K);
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stale_packs),
        cmocka_unit_test(test_write_between_steps),
        cmocka_unit_test(test_write_through_view),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
