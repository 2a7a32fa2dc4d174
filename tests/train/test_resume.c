/* SPDX-License-Identifier: MIT */
/*
 * Save, load, go on: the bits of an uninterrupted run, also on another instruction set
 * and in the middle of an epoch; and a loaded model is the saved one, nothing more.
 */
#include "../support/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOTAL 7
#define COUNT 100
#define BATCH 16

typedef struct session {
    mnt_device *dev;
    mnt_model *m;
    mnt_dataset *d;
} session;

/* A session over the model at `path`, or a new one, at sample `at` of epoch 1. */
static session start(const char *force, const char *path, int64_t at)
{
    session s = { .dev = sup_open(force, 2) };
    if (path)
        MUST(s.dev, mnt_model_load(&s.m, s.dev, path));
    else
        MUST(s.dev, mnt_model_create(&s.m, s.dev, NULL));
    MUST(s.dev, mnt_synth_open(&s.d, s.dev, COUNT, 5, MNT_TRAIN));
    MUST(s.dev, mnt_dataset_shuffle(s.d, 1, 1));
    MUST(s.dev, mnt_dataset_seek(s.d, at));
    return s;
}

static void stop(session *s)
{
    mnt_dataset_close(s->d);
    mnt_model_destroy(s->m);
    mnt_device_close(s->dev);
}

static void resume_with(const net_spec *spec, const char *first, const char *second)
{
    char want[65], got[65], path[256];
    float straight[TOTAL], resumed[TOTAL];
    session s = start(first, NULL, 0);
    net_train(s.dev, s.m, s.d, spec, TOTAL, straight);
    sup_model_hash(s.dev, s.m, want);
    stop(&s);
    for (int cut = 1; cut < TOTAL; cut += 2) {
        sup_temp_path(path, sizeof path, "resume.safetensors");
        s = start(first, NULL, 0);
        net_train(s.dev, s.m, s.d, spec, cut, resumed);
        MUST(s.dev, mnt_model_save(s.m, path));
        stop(&s);
        s = start(second, path, (int64_t)cut * BATCH % COUNT);
        assert_int_equal(mnt_model_step(s.m), cut);
        assert_int_equal(mnt_model_seed(s.m), 1);
        net_train(s.dev, s.m, s.d, spec, TOTAL - cut, resumed + cut);
        sup_model_hash(s.dev, s.m, got);
        stop(&s);
        remove(path);
        sup_assert_bits("loss", MNT_F32, MNT_SHAPE(TOTAL), straight, resumed);
        assert_string_equal(want, got);
    }
}

static void test_resume(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        const net_spec spec = { .lenet = k & 1, .adam = k & 2, .batch = BATCH };
        resume_with(&spec, "", "");
    }
}

static void test_resume_elsewhere(void **state)
{
    (void)state;
    const net_spec spec = { .lenet = true, .adam = true, .batch = BATCH };
    const net_spec eager = { .adam = true, .eager = true, .batch = BATCH };
    resume_with(&spec, "", SUP_REFERENCE);
    resume_with(&eager, SUP_REFERENCE, "");
}

/* Loading gives the saved tensors and facts, and saving again the same bytes. */
static void test_round_trip(void **state)
{
    (void)state;
    char path[256], a[65], b[65];
    const net_spec spec = { .adam = true, .batch = BATCH };
    sup_temp_path(path, sizeof path, "trip.safetensors");
    session s = start("", NULL, 0);
    MUST(s.dev, mnt_model_set_meta(s.m, "batch", "16"));
    MUST(s.dev, mnt_model_set_meta(s.m, "note", "quote \" and \xc3\xa9"));
    net_train(s.dev, s.m, s.d, &spec, 2, NULL);
    MUST(s.dev, mnt_model_save(s.m, path));
    sup_model_hash(s.dev, s.m, a);
    int64_t n = 0, k = 0;
    float *w = net_parameters(s.dev, s.m, &n);
    stop(&s);
    s = start("", path, 0);
    float *v = net_parameters(s.dev, s.m, &k);
    assert_int_equal(n, k);
    sup_assert_bits("parameters", MNT_F32, (mnt_shape){ 1, { n } }, w, v);
    assert_string_equal(mnt_model_get_meta(s.m, "batch"), "16");
    assert_string_equal(mnt_model_get_meta(s.m, "note"), "quote \" and \xc3\xa9");
    sup_model_hash(s.dev, s.m, b);
    assert_string_equal(a, b);
    stop(&s);
    free(w);
    free(v);
    remove(path);
}

/* A loaded model never invents a parameter, and keeps its optimizer. */
static void test_loaded_is_closed(void **state)
{
    (void)state;
    char path[256];
    const net_spec adam = { .adam = true, .batch = BATCH };
    sup_temp_path(path, sizeof path, "closed.safetensors");
    session s = start("", NULL, 0);
    net_train(s.dev, s.m, s.d, &adam, 1, NULL);
    MUST(s.dev, mnt_model_save(s.m, path));
    stop(&s);
    s = start("", path, 0);
    mnt_graph *g = NULL;
    MUST(s.dev, mnt_graph_create(&g, s.dev, s.m, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(2, 32));
    assert_null(mnt_dense(g, x, 10, "fc3"));
    MUST_FAIL(s.dev, MNT_NOT_FOUND, "fc3", mnt_graph_compile(g));
    mnt_graph_destroy(g);
    MUST(s.dev, mnt_graph_create(&g, s.dev, s.m, NULL));
    const net_spec sgd = { .batch = BATCH };
    (void)net_record(g, s.d, &sgd);
    MUST_FAIL(s.dev, MNT_STATE, "sgd", mnt_graph_compile(g));
    mnt_graph_destroy(g);
    stop(&s);
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_elsewhere),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_loaded_is_closed),
    };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
