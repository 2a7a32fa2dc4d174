/* SPDX-License-Identifier: MIT */
/*
 * Replay: the same bits however a graph is run (eager, fused, guarded, one replay at a
 * time or many, one thread or two), and values that change from step to step are not
 * baked in when the graph is recorded.
 */
#include "../support/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 4

static void all_ways(bool lenet, bool adam)
{
    static const struct way {
        const char *name, *force;
        int threads;
        net_spec spec;
    } ways[] = {
        { "reference", SUP_REFERENCE, 1, { .batch = 9 } },
        { "replay", "", 2, { .batch = 9 } },
        { "one thread", "", 1, { .batch = 9 } },
        { "eager", "", 2, { .batch = 9, .eager = true } },
        { "unfused", "", 2, { .batch = 9, .no_fusion = true } },
        { "guarded", "", 2, { .batch = 9, .guard = true } },
        { "guarded, unfused", "", 1, { .batch = 9, .guard = true, .no_fusion = true } },
        { "all kept", "", 1, { .batch = 9, .keep_all = true } },
    };
    char want[65], got[65];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        net_spec s = ways[i].spec;
        s.lenet = lenet;
        s.adam = adam;
        mnt_device *dev = sup_open(ways[i].force, ways[i].threads);
        net_hash(dev, &s, 64, STEPS, i ? got : want);
        mnt_device_close(dev);
        if (i && strcmp(want, got) != 0)
            fail_msg("%s, %s: checkpoint %s, reference %s", lenet ? "lenet" : "mlp",
                     ways[i].name, got, want);
    }
}

static void test_mlp(void **state)
{
    (void)state;
    all_ways(false, false);
    all_ways(false, true);
}

static void test_lenet(void **state)
{
    (void)state;
    all_ways(true, false);
    all_ways(true, true);
}

/* run(1) seven times and run(7) once. */
static void test_many_replays(void **state)
{
    (void)state;
    char hash[2][65];
    const net_spec s = { .batch = 5 };
    for (int many = 0; many < 2; many++) {
        mnt_device *dev = sup_open("", 2);
        mnt_model *m = NULL;
        mnt_dataset *d = NULL;
        mnt_tensor *loss;
        MUST(dev, mnt_model_create(&m, dev, NULL));
        MUST(dev, mnt_synth_open(&d, dev, 20, 5, MNT_TRAIN));
        mnt_graph *g = net_graph(dev, m, d, &s, &loss);
        for (int i = 0; i < (many ? 1 : 7); i++)
            MUST(dev, mnt_graph_run(g, many ? 7 : 1));
        assert_int_equal(mnt_graph_replays(g), 7);
        assert_int_equal(mnt_model_step(m), 7);
        sup_model_hash(dev, m, hash[many]);
        mnt_graph_destroy(g);
        mnt_dataset_close(d);
        mnt_model_destroy(m);
        mnt_device_close(dev);
    }
    assert_string_equal(hash[0], hash[1]);
}

/* A hazard between threads shows up in one run of a hundred. */
static void test_hundred_runs(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 2);
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    kit_rng r = { 3 };
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, m, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(17, 1, 28, 28));
    mnt_tensor_require_grad(x);
    mnt_tensor *y = mnt_softmax(g, net_forward(g, x, true));
    mnt_tensor_keep(y);
    mnt_tensor *dy = mnt_input(g, MNT_F32, MNT_SHAPE(17, 10));
    mnt_backward(g, y, dy);
    MUST(dev, mnt_graph_compile(g));
    sup_write_random(dev, x, &r);
    sup_write_random(dev, dy, &r);
    float *first[2] = { 0 };
    mnt_tensor *outs[] = { y, mnt_tensor_grad(mnt_model_find(m, "conv1.weight")) };
    for (int i = 0; i < 100; i++) {
        MUST(dev, mnt_graph_run(g, 1));
        for (int k = 0; k < 2; k++) {
            float *now = sup_read(dev, outs[k]);
            if (!first[k])
                first[k] = now;
            sup_assert_bits(k ? "dw" : "y", MNT_F32, mnt_tensor_shape(outs[k]),
                            first[k], now);
            if (first[k] != now)
                free(now);
        }
    }
    free(first[0]);
    free(first[1]);
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
    mnt_device_close(dev);
}

/* The batch, the learning rate and the random counter move on by themselves inside one
 * submission; the kit ops with state look at their values step by step. */
static void test_nothing_baked_in(void **state)
{
    (void)state;
    float *w[2], *u[2];
    int64_t n = 0;
    for (int many = 0; many < 2; many++) {
        mnt_device *dev = sup_open("", 2);
        mnt_model *m = NULL;
        mnt_dataset *d = NULL;
        mnt_graph *g = NULL;
        MUST(dev, mnt_model_create(&m, dev, NULL));
        MUST(dev, mnt_synth_open(&d, dev, 10, 5, MNT_TRAIN));
        MUST(dev, mnt_graph_create(&g, dev, m, NULL));
        mnt_batch b = mnt_batch_input(g, d, 4);
        mnt_tensor *noise = mnt_uniform(g, MNT_SHAPE(4, 784), 0, 1, 9, 1);
        mnt_tensor_keep(noise);
        mnt_tensor *x = mnt_mul(g, mnt_flatten(g, b.x), noise);
        mnt_backward(g, mnt_cross_entropy(g, mnt_dense(g, x, 10, "fc"), b.y), NULL);
        mnt_sgd_desc sgd =
            MNT_SGD_DESC(.lr = 0.1f, .schedule = { 2, { 1, 5 }, { 1.0f, 0.1f } });
        mnt_sgd(g, &sgd);
        MUST(dev, mnt_graph_compile(g));
        for (int i = 0; i < (many ? 1 : 6); i++)
            MUST(dev, mnt_graph_run(g, many ? 6 : 1));
        w[many] = net_parameters(dev, m, &n);
        u[many] = sup_read(dev, noise);
        mnt_graph_destroy(g);
        mnt_dataset_close(d);
        mnt_model_destroy(m);
        mnt_device_close(dev);
    }
    sup_assert_bits("parameters", MNT_F32, (mnt_shape){ 1, { n } }, w[0], w[1]);
    sup_assert_bits("noise", MNT_F32, MNT_SHAPE(4, 784), u[0], u[1]);
    for (int i = 0; i < 2; i++) {
        free(w[i]);
        free(u[i]);
    }
}

/* A write is ordered after the replays already queued. */
static void test_write_order(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 2);
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(3));
    mnt_tensor *sum = mnt_accumulate(g, mnt_scale(g, x, 2));
    MUST(dev, mnt_graph_compile(g));
    float total[3];
    for (int i = 1; i <= 10; i++) {
        const float v[3] = { (float)i, 1, 0.5f };
        MUST(dev, mnt_tensor_write(x, v, sizeof v));
        MUST(dev, mnt_graph_run(g, 2));
    }
    MUST(dev, mnt_tensor_read(sum, total, sizeof total));
    assert_true(total[0] == 220 && total[1] == 40 && total[2] == 20);
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

/* The gradient of a loss whose upstream is the loss itself or its running total. */
static float upstream(mnt_device *dev, bool total, bool no_fusion)
{
    mnt_graph *g = NULL;
    const float z[4] = { 1, 2, 3, 1 };
    const int32_t labels[2] = { 0, 1 };
    float grad[4];
    mnt_graph_desc desc = MNT_GRAPH_DESC(.no_fusion = no_fusion);
    MUST(dev, mnt_graph_create(&g, dev, NULL, &desc));
    mnt_tensor *x = mnt_constant(g, MNT_F32, MNT_SHAPE(2, 2), z);
    mnt_tensor_require_grad(x);
    mnt_tensor *loss =
        mnt_cross_entropy(g, x, mnt_constant(g, MNT_I32, MNT_SHAPE(2), labels));
    mnt_backward(g, loss, total ? mnt_accumulate(g, loss) : loss);
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 3));
    MUST(dev, mnt_tensor_read(mnt_tensor_grad(x), grad, sizeof grad));
    mnt_graph_destroy(g);
    return grad[0];
}

/* A product of the old weights whose bias is added after the update. */
static float late_bias(mnt_device *dev, bool conv, bool no_fusion)
{
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    const mnt_init half = { .kind = MNT_INIT_CONSTANT, .a = 0.5f };
    float y[8];
    mnt_graph_desc desc = MNT_GRAPH_DESC(.no_fusion = no_fusion);
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, m, &desc));
    mnt_tensor *x = mnt_fill(g, conv ? MNT_SHAPE(1, 1, 4, 4) : MNT_SHAPE(4, 4), 1);
    mnt_tensor *w =
        mnt_param(g, "w", conv ? MNT_SHAPE(2, 1, 3, 3) : MNT_SHAPE(4, 2), half);
    mnt_tensor *b = mnt_param(g, "b", MNT_SHAPE(2), half);
    mnt_tensor *p = conv ? mnt_conv2d(g, x, w, NULL) : mnt_matmul(g, x, w);
    mnt_backward(g, mnt_sum(g, mnt_mul(g, w, w), MNT_ALL_AXES), NULL);
    mnt_sgd(g, NULL);
    mnt_tensor *out = mnt_relu(g, mnt_bias_add(g, p, b));
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_tensor_read(out, y, sizeof y));
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
    return y[0];
}

/* Fusion moves no command over one that writes what it reads. */
static void test_fusion_order(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    for (int i = 0; i < 2; i++) {
        float fused = upstream(dev, i, false), plain = upstream(dev, i, true);
        assert_memory_equal(&fused, &plain, sizeof fused);
        fused = late_bias(dev, i, false);
        plain = late_bias(dev, i, true);
        assert_memory_equal(&fused, &plain, sizeof fused);
    }
    mnt_device_close(dev);
}

/* One step, then a random op; with a label out of range the step is left out. */
static float noise_after_step(mnt_device *dev, bool eager, bool fault)
{
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    const int32_t labels[2] = { 0, fault ? 7 : 1 };
    float u = 0;
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = eager);
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, m, &desc));
    mnt_tensor *z = mnt_dense(g, mnt_fill(g, MNT_SHAPE(2, 3), 1), 2, "fc");
    mnt_tensor *y = mnt_constant(g, MNT_I32, MNT_SHAPE(2), labels);
    mnt_backward(g, mnt_cross_entropy(g, z, y), NULL);
    mnt_sgd(g, NULL);
    mnt_tensor *noise = mnt_uniform(g, MNT_SHAPE(1), 0, 1, 3, 1);
    MUST(dev, mnt_graph_compile(g));
    if (!eager)
        MUST(dev, mnt_graph_run(g, 1));
    assert_int_equal(mnt_device_wait(dev), fault ? MNT_LABEL : MNT_OK);
    MUST(dev, mnt_tensor_read(noise, &u, sizeof u));
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
    return u;
}

/* Random numbers belong to the replay, wherever in it they are drawn; recording them
 * does not report a fault that waits. */
static void test_noise_after_step(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    for (int fault = 0; fault < 2; fault++) {
        float replayed = noise_after_step(dev, false, fault);
        float eager = noise_after_step(dev, true, fault);
        assert_memory_equal(&replayed, &eager, sizeof eager);
    }
    mnt_device_close(dev);
}

/* A model whose every parameter is empty is optimized too. */
static void test_empty_parameters(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    for (int adam = 0; adam < 2; adam++) {
        mnt_model *m = NULL;
        mnt_graph *g = NULL;
        MUST(dev, mnt_model_create(&m, dev, NULL));
        MUST(dev, mnt_graph_create(&g, dev, m, NULL));
        mnt_tensor *w =
            mnt_param(g, "w", MNT_SHAPE(3, 0), (mnt_init){ .kind = MNT_INIT_ZERO });
        mnt_backward(g, mnt_sum(g, w, MNT_ALL_AXES), NULL);
        mnt_sgd_desc sgd = MNT_SGD_DESC(.momentum = 0.9f);
        if (adam)
            mnt_adam(g, NULL);
        else
            mnt_sgd(g, &sgd);
        MUST(dev, mnt_graph_compile(g));
        MUST(dev, mnt_graph_run(g, 2));
        assert_int_equal(mnt_model_step(m), 2);
        mnt_graph_destroy(g);
        mnt_model_destroy(m);
    }
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_lenet),
        cmocka_unit_test(test_many_replays),
        cmocka_unit_test(test_hundred_runs),
        cmocka_unit_test(test_nothing_baked_in),
        cmocka_unit_test(test_write_order),
        cmocka_unit_test(test_fusion_order),
        cmocka_unit_test(test_noise_after_step),
        cmocka_unit_test(test_empty_parameters),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
