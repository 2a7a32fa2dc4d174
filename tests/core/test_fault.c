/* SPDX-License-Identifier: MIT */
/*
 * Labels and indices out of range: a status with op and row in its sentence, NaN loss,
 * zero gradient in that row alone, parameters that stay as they were.
 */
#include "../support/support.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS    5
#define CLASSES 4

typedef struct bench {
    mnt_device *dev;
    mnt_model *m;
    mnt_graph *g;
    mnt_tensor *x, *labels, *logits, *loss;
} bench;

static bench setup(const char *force, bool no_fusion, bool adam)
{
    bench t = { .dev = sup_open(force, 2) };
    kit_rng r = { 4 };
    mnt_graph_desc desc = MNT_GRAPH_DESC(.no_fusion = no_fusion);
    MUST(t.dev, mnt_model_create(&t.m, t.dev, NULL));
    MUST(t.dev, mnt_graph_create(&t.g, t.dev, t.m, &desc));
    t.x = mnt_input(t.g, MNT_F32, MNT_SHAPE(ROWS, 3));
    t.labels = mnt_input(t.g, MNT_I32, MNT_SHAPE(ROWS));
    sup_write_random(t.dev, t.x, &r);
    t.logits = mnt_dense(t.g, t.x, CLASSES, "fc");
    t.loss = mnt_cross_entropy(t.g, t.logits, t.labels);
    mnt_tensor_keep(t.loss);
    mnt_backward(t.g, t.loss, NULL);
    mnt_tensor_keep(mnt_tensor_grad(t.logits));
    if (adam)
        mnt_adam(t.g, NULL);
    else
        mnt_sgd(t.g, &MNT_SGD_DESC(.momentum = 0.9f));
    MUST(t.dev, mnt_graph_compile(t.g));
    return t;
}

static void teardown(bench *t)
{
    mnt_graph_destroy(t->g);
    mnt_model_destroy(t->m);
    mnt_device_close(t->dev);
}

static void write_labels(bench *t, int32_t first, int32_t bad, int row)
{
    int32_t v[ROWS];
    for (int i = 0; i < ROWS; i++)
        v[i] = (first + i) % CLASSES;
    if (row >= 0)
        v[row] = bad;
    MUST(t->dev, mnt_tensor_write(t->labels, v, sizeof v));
}

static void one_bad_label(const char *force, bool no_fusion, bool adam, int32_t bad,
                          int row)
{
    bench t = setup(force, no_fusion, adam);
    mnt_tensor *w = mnt_model_find(t.m, "fc.weight");
    write_labels(&t, 0, 0, -1);
    MUST(t.dev, mnt_graph_run(t.g, 3));
    float *before = sup_read(t.dev, w);
    char hash_before[65], hash_after[65], part[64];
    sup_model_hash(t.dev, t.m, hash_before);
    write_labels(&t, 1, bad, row);
    MUST(t.dev, mnt_graph_run(t.g, 4));
    snprintf(part, sizeof part, "label %d of row %d", bad, row);
    MUST_FAIL(t.dev, MNT_LABEL, part, mnt_device_wait(t.dev));
    assert_non_null(strstr(mnt_last_error(t.dev), "cross_entropy"));
    MUST(t.dev, mnt_device_wait(t.dev));
    float *after = sup_read(t.dev, w),
          *grad = sup_read(t.dev, mnt_tensor_grad(t.logits));
    sup_assert_bits("weights", MNT_F32, MNT_SHAPE(3, CLASSES), before, after);
    sup_model_hash(t.dev, t.m, hash_after);
    assert_string_equal(hash_before, hash_after);
    float loss;
    MUST(t.dev, mnt_tensor_read(t.loss, &loss, sizeof loss));
    assert_true(isnan(loss));
    for (int i = 0; i < ROWS; i++)
        for (int c = 0; c < CLASSES; c++) {
            float v = grad[i * CLASSES + c];
            assert_true(i == row ? v == 0 && !signbit(v) : v != 0 && isfinite(v));
        }
    write_labels(&t, 2, 0, -1);
    MUST(t.dev, mnt_graph_run(t.g, 1));
    float *moved = sup_read(t.dev, w);
    assert_true(kit_difference(MNT_F32, after, moved, 3 * CLASSES) >= 0);
    free(before);
    free(after);
    free(moved);
    free(grad);
    teardown(&t);
}

static void test_bad_labels(void **state)
{
    (void)state;
    static const int32_t bad[] = { -1, CLASSES, CLASSES + 1, INT_MIN, INT_MAX };
    static const char *const forces[] = { SUP_REFERENCE, "" };
    for (int i = 0; i < 5; i++)
        for (int f = 0; f < 2; f++)
            for (int k = 0; k < 4; k++)
                one_bad_label(forces[f], k & 1, k & 2, bad[i], (i + k) % ROWS);
}

/* The lowest bad row is named, whatever the number of threads. */
static void test_lowest_row(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        mnt_device *dev = sup_open("", threads);
        mnt_graph *g = NULL;
        enum { N = 3000 };
        int32_t labels[N] = { 0 };
        MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
        mnt_tensor *z = mnt_input(g, MNT_F32, MNT_SHAPE(N, 3));
        mnt_tensor *y = mnt_input(g, MNT_I32, MNT_SHAPE(N));
        mnt_tensor *loss = mnt_cross_entropy(g, z, y);
        mnt_tensor_keep(loss);
        MUST(dev, mnt_graph_compile(g));
        labels[2999] = 7;
        labels[1500] = -8;
        labels[1501] = 9;
        MUST(dev, mnt_tensor_write(y, labels, sizeof labels));
        MUST(dev, mnt_graph_run(g, 1));
        float v;
        MUST_FAIL(dev, MNT_LABEL, "label -8 of row 1500 is not in [0, 3)",
                  mnt_tensor_read(loss, &v, sizeof v));
        mnt_graph_destroy(g);
        mnt_device_close(dev);
    }
}

static void test_bad_index(void **state)
{
    (void)state;
    static const char *const forces[] = { SUP_REFERENCE, "" };
    for (int f = 0; f < 2; f++) {
        mnt_device *dev = sup_open(forces[f], 2);
        mnt_graph *g = NULL;
        const int32_t index[4] = { 1, 3, -1, 0 };
        float y[8], table[6] = { 1, 2, 3, 4, 5, 6 };
        const float want[8] = { 3, 4, 0, 0, 0, 0, 1, 2 };
        MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
        mnt_tensor *t = mnt_constant(g, MNT_F32, MNT_SHAPE(3, 2), table);
        mnt_tensor *i = mnt_constant(g, MNT_I32, MNT_SHAPE(4), index);
        mnt_tensor *out = mnt_gather(g, t, i, MNT_F32, false);
        mnt_tensor_keep(out);
        MUST(dev, mnt_graph_compile(g));
        MUST(dev, mnt_graph_run(g, 1));
        MUST_FAIL(dev, MNT_LABEL, "gather: index 3 of row 1 is not in [0, 3)",
                  mnt_device_wait(dev));
        MUST(dev, mnt_tensor_read(out, y, sizeof y));
        sup_assert_bits("gather", MNT_F32, MNT_SHAPE(4, 2), want, y);
        mnt_graph_destroy(g);
        mnt_device_close(dev);
    }
}

static void test_eager_label(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    mnt_graph *g = NULL;
    const float z[4] = { 1, 2, 3, 4 };
    const int32_t y[2] = { 0, 2 };
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = true);
    MUST(dev, mnt_graph_create(&g, dev, NULL, &desc));
    mnt_tensor *loss =
        mnt_cross_entropy(g, mnt_constant(g, MNT_F32, MNT_SHAPE(2, 2), z),
                          mnt_constant(g, MNT_I32, MNT_SHAPE(2), y));
    assert_non_null(loss);
    float v;
    MUST_FAIL(dev, MNT_LABEL, "cross_entropy: label 2 of row 1",
              mnt_tensor_read(loss, &v, sizeof v));
    MUST(dev, mnt_tensor_read(loss, &v, sizeof v));
    assert_true(isnan(v));
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

/* A graph that goes does not take the fault of another with it. */
static void test_others_fault(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    mnt_graph *g = NULL, *other = NULL;
    const int32_t y[2] = { 0, 9 };
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_cross_entropy(g, mnt_input(g, MNT_F32, MNT_SHAPE(2, 3)),
                      mnt_constant(g, MNT_I32, MNT_SHAPE(2), y));
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_graph_create(&other, dev, NULL, NULL));
    mnt_graph_destroy(other);
    MUST_FAIL(dev, MNT_LABEL, "label 9 of row 1", mnt_device_wait(dev));
    MUST(dev, mnt_device_wait(dev));
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_labels),   cmocka_unit_test(test_lowest_row),
        cmocka_unit_test(test_bad_index),    cmocka_unit_test(test_eager_label),
        cmocka_unit_test(test_others_fault),
    };
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
