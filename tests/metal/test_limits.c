/* SPDX-License-Identifier: MIT */
/*
 * Devices that differ: fewer threads in a threadgroup than a kernel was written for,
 * other widths of a simdgroup, other families. What fits is taken, the bits stay; what
 * does not fit has a status that names kernel, need and limit.
 */
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 70, K = 90, N = 66 };

static float a[M * K], b[K * N];

/* One product; the variant that ran goes to `kernel`. */
static mnt_status product(mnt_device *dev, float *y, char kernel[40])
{
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *p = mnt_matmul(g, mnt_constant(g, MNT_F32, MNT_SHAPE(M, K), a),
                               mnt_constant(g, MNT_F32, MNT_SHAPE(K, N), b));
    mnt_tensor_keep(p);
    mnt_status st = mnt_graph_compile(g);
    if (st == MNT_OK) {
        mnt_op_timing t = { .size = sizeof t };
        MUST(dev, mnt_graph_run(g, 1));
        MUST(dev, mnt_tensor_read(p, y, M * N * sizeof *y));
        MUST(dev, mnt_graph_timing(g, 0, &t));
        snprintf(kernel, 40, "%s", t.kernel);
    }
    mnt_graph_destroy(g);
    return st;
}

static const float *cpu_product(void)
{
    static float y[M * N];
    char kernel[40];
    kit_rng r = { 11 };
    for (int i = 0; i < M * K; i++)
        a[i] = kit_float(&r);
    for (int i = 0; i < K * N; i++)
        b[i] = kit_float(&r);
    mnt_device *dev = open_device("cpu", NULL);
    MUST(dev, product(dev, y, kernel));
    mnt_device_close(dev);
    return y;
}

/* On a device that runs `threads` of kernels whose names begin with `word`. */
static void product_by(const char *word, unsigned threads, const char *force,
                       char kernel[40])
{
    float y[M * N];
    const float *want = cpu_product();
    metalsim_configure(NULL);
    metalsim_limit(word, threads);
    mnt_device *dev = open_device("metal", force);
    MUST(dev, product(dev, y, kernel));
    assert_memory_equal(y, want, sizeof y);
    mnt_device_close(dev);
}

static void test_fallback(void **state)
{
    (void)state;
    char best[40], next[40];
    product_by("nothing", 1, NULL, best);
    assert_string_not_equal(best, "ref");
    product_by("product_block", 128, NULL, next);
    product_by("product_tile", 255, NULL, next);
    product_by("product_", 256, NULL, next);
    assert_string_equal(next, best);
    /* Whatever the fast kernels are called, ref is left. */
    metalsim_configure(NULL);
    float y[M * N];
    const float *want = cpu_product();
    mnt_device *dev = open_device("metal", NULL);
    for (int i = 0;; i++) {
        const char *v = mnt_device_variant(dev, i);
        if (!v)
            break;
        if (strncmp(v, "matmul=", 7) == 0 && strcmp(v, "matmul=ref") != 0) {
            snprintf(next, sizeof next, "product_%.30s", v + 7);
            metalsim_limit(next, 128);
        }
    }
    mnt_device_close(dev);
    dev = open_device("metal", NULL);
    MUST(dev, product(dev, y, next));
    assert_string_equal(next, "ref");
    assert_memory_equal(y, want, sizeof y);
    mnt_device_close(dev);
}

static void note_log(void *user, mnt_log_level level, const char *text)
{
    (void)level;
    if (strstr(text, "takes its place"))
        snprintf(user, 400, "%s", text);
}

static void test_said(void **state)
{
    (void)state;
    char best[40], said[400] = "";
    float y[M * N];
    cpu_product();
    product_by("nothing", 1, NULL, best);
    snprintf(said, sizeof said, "product_%s", best);
    metalsim_limit(said, 128);
    said[0] = '\0';
    mnt_device *dev = NULL;
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = "metal", .log = note_log, .log_user = said);
    MUST(NULL, mnt_device_open(&dev, &desc));
    MUST(dev, product(dev, y, best));
    assert_non_null(strstr(said, "metal: matmul: product_"));
    assert_non_null(strstr(said, "needs 256 threads in a threadgroup, this device runs "
                                 "128 of it"));
    mnt_device_close(dev);
}

static void test_forced(void **state)
{
    (void)state;
    char best[40], force[60], part[100];
    float y[M * N];
    cpu_product();
    product_by("nothing", 1, NULL, best);
    metalsim_configure(NULL);
    snprintf(force, sizeof force, "product_%s", best);
    metalsim_limit(force, 64);
    snprintf(force, sizeof force, "matmul=%s", best);
    mnt_device *dev = open_device("metal", force);
    MUST_FAIL(dev, MNT_UNSUPPORTED,
              "needs 256 threads in a threadgroup, this device "
              "runs 64 of it",
              product(dev, y, best));
    snprintf(part, sizeof part, "the forced variant \"%s\" cannot run", force + 7);
    assert_non_null(strstr(mnt_last_error(dev), part));
    mnt_device_close(dev);
    check_trains("cpu", NULL);
}

static void test_nothing_fits(void **state)
{
    (void)state;
    char kernel[40];
    float y[M * N];
    cpu_product();
    metalsim_limit("product_", 32);
    mnt_device *dev = open_device("metal", NULL);
    MUST_FAIL(dev, MNT_UNSUPPORTED, "matmul: metal has no kernel for [70,90]",
              product(dev, y, kernel));
    assert_non_null(strstr(mnt_last_error(dev), "needs 256 threads in a threadgroup, "
                                                "this device runs 32 of it, and no "
                                                "other variant fits"));
    mnt_device_close(dev);
    check_trains("cpu", NULL);
    check_trains(NULL, NULL);
}

/* Below what any kernel needs the device does not open. */
static void test_small_device(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    c.pipeline_limit = 128;
    metalsim_configure(&c);
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal");
    MUST_FAIL(NULL, MNT_UNSUPPORTED,
              "device_open: metal: the kernel add needs 256 threads in a threadgroup, "
              "this device runs 128",
              mnt_device_open(&dev, &desc));
    check_trains("cpu", NULL);
    check_trains(NULL, NULL);
    c.pipeline_limit = 256;
    metalsim_configure(&c);
    check_trains("metal", NULL);
}

/* ---- variants by simdgroup ---- */

static bool lists(mnt_device *dev, const char *variant)
{
    const char *v;
    for (int i = 0; (v = mnt_device_variant(dev, i)) != NULL; i++)
        if (strcmp(v, variant) == 0)
            return true;
    return false;
}

static bool described(mnt_device *dev, const char *part)
{
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    return strstr(info.detail, part) != NULL;
}

/* Softmax of rows of K; the variant that ran goes to `kernel`. */
static void rows(mnt_device *dev, float *y, char kernel[40])
{
    mnt_graph *g = NULL;
    mnt_op_timing t = { .size = sizeof t };
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *s = mnt_softmax(g, mnt_constant(g, MNT_F32, MNT_SHAPE(M, K), a));
    mnt_tensor_keep(s);
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_tensor_read(s, y, M * K * sizeof *y));
    MUST(dev, mnt_graph_timing(g, 0, &t));
    snprintf(kernel, 40, "%s", t.kernel);
    mnt_graph_destroy(g);
}

static void test_simd(void **state)
{
    (void)state;
    static float want[M * K], y[M * K];
    char kernel[40], said[400] = "";
    cpu_product();
    mnt_device *dev = open_device("cpu", NULL);
    rows(dev, want, kernel);
    mnt_device_close(dev);
    /* Another width, a family without simdgroup functions, one pipeline that differs. */
    for (int i = 0; i < 4; i++) {
        metalsim_config c = metalsim_config_default();
        c.simd_width = i == 1 ? 16 : 32;
        c.family = i == 2 ? METALSIM_PARAVIRTUAL : METALSIM_APPLE8;
        metalsim_configure(&c);
        if (i == 3)
            metalsim_width("softmax_simd", 64);
        mnt_device_desc desc =
            MNT_DEVICE_DESC(.backend = "metal", .log = note_log, .log_user = said);
        MUST(NULL, mnt_device_open(&dev, &desc));
        bool has = i == 0 || i == 3;
        assert_int_equal(lists(dev, "softmax=simd"), has);
        assert_int_equal(described(dev, "no \"simd\" variants"), !has);
        rows(dev, y, kernel);
        assert_string_equal(kernel, i == 0 ? "simd" : "ref");
        assert_memory_equal(y, want, sizeof y);
        mnt_device_close(dev);
    }
    assert_non_null(strstr(said, "softmax_simd needs 32 threads in a simdgroup, this "
                                 "device runs 64 of it: \"ref\" takes its place"));
}

/* Only by name, with its label, near the right values. */
static void test_relaxed(void **state)
{
    (void)state;
    static const char force[] = "matmul=relaxed_matrix";
    float y[M * N];
    const float *want = cpu_product();
    char kernel[40];
    mnt_device *dev = open_device("metal", NULL);
    assert_true(lists(dev, force));
    assert_false(described(dev, "relaxed"));
    MUST(dev, product(dev, y, kernel));
    assert_null(strstr(kernel, "relaxed"));
    mnt_device_close(dev);
    dev = open_device("metal", force);
    assert_true(described(dev, ", relaxed"));
    MUST(dev, product(dev, y, kernel));
    assert_string_equal(kernel, "relaxed_matrix");
    assert_memory_not_equal(y, want, sizeof y);
    for (int i = 0; i < M * N; i++)
        assert_true(fabsf(y[i] - want[i]) <= 1e-4f);
    mnt_device_close(dev);
    mnt_device_desc all =
        MNT_DEVICE_DESC(.backend = "metal", .force = "all=relaxed_matrix");
    MUST_FAIL(NULL, MNT_INVALID, "gives up the bits: it is for ops by name",
              mnt_device_open(&dev, &all));
    metalsim_config c = metalsim_config_default();
    c.family = METALSIM_PARAVIRTUAL;
    metalsim_configure(&c);
    dev = open_device("metal", force);
    MUST_FAIL(dev, MNT_UNSUPPORTED,
              "the forced variant \"relaxed_matrix\" cannot run: this device has no "
              "simdgroup matrices",
              product(dev, y, kernel));
    mnt_device_close(dev);
}

/* A model keeps the label, from file to file. */
static void test_relaxed_file(void **state)
{
    (void)state;
    const char *path = temp_path("relaxed");
    static const char mark[] = "\"libmnt.relaxed\":\"1\"";
    for (int i = 0; i < 3; i++) {
        mnt_device *dev = open_device("metal", i == 1 ? "dense=relaxed_matrix" : NULL);
        mnt_model *m = NULL;
        if (i < 2)
            MUST(dev, mnt_model_create(&m, dev, NULL));
        else
            MUST(dev, mnt_model_load(&m, dev, path));
        MUST(dev, mnt_model_save(m, path));
        mnt_model_destroy(m);
        mnt_device_close(dev);
        char text[4096] = "";
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        bool found = false;
        for (size_t k = 0; k + sizeof mark - 1 <= n; k++)
            found = found || memcmp(text + k, mark, sizeof mark - 1) == 0;
        assert_int_equal(found, i > 0);
    }
}

/* Where the fused kernel does not fit, its parts are run. */
static void test_fused(void **state)
{
    (void)state;
    static const char *const kernels[] = { "conv_forward", "entropy_both",
                                           "conv_dx_pooled", "conv_dw_pooled",
                                           "bias_pooled" };
    const net_spec spec = { .lenet = true, .batch = 4 };
    char want[65], hex[65];
    mnt_device *dev = open_device("cpu", NULL);
    net_hash(dev, &spec, 16, 2, want);
    mnt_device_close(dev);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        metalsim_configure(NULL);
        if (i > 0)
            metalsim_limit(kernels[i], 128);
        dev = open_device("metal", NULL);
        net_hash(dev, &spec, 16, 2, hex);
        mnt_device_close(dev);
        assert_string_equal(hex, want);
    }
}

/* Orders of threads, widths of simdgroups, families. */
static void test_devices(void **state)
{
    (void)state;
    const net_spec spec = { .lenet = true, .batch = 4 };
    char want[65], hex[65];
    mnt_device *dev = open_device("cpu", NULL);
    net_hash(dev, &spec, 16, 2, want);
    mnt_device_close(dev);
    static const unsigned widths[] = { 8, 16, 32, 64 };
    static const sim_order orders[] = { SIM_REVERSE, SIM_RANDOM, SIM_FORWARD,
                                        SIM_RANDOM };
    static const metalsim_family families[] = { METALSIM_PARAVIRTUAL, METALSIM_APPLE7,
                                                METALSIM_APPLE8, METALSIM_APPLE9 };
    for (int i = 0; i < 4; i++) {
        metalsim_config c = metalsim_config_default();
        c.simd_width = widths[i];
        c.order = orders[i];
        c.seed = (uint64_t)i;
        c.family = families[i];
        c.workers = 1 + i % 3;
        c.pipeline_limit = i % 2 ? 256 : 1024;
        metalsim_configure(&c);
        dev = open_device("metal", NULL);
        net_hash(dev, &spec, 16, 2, hex);
        mnt_device_close(dev);
        assert_string_equal(hex, want);
    }
}

int main(int argc, char **argv)
{
    if (!session_main(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_fallback),     SESSION_TEST(test_said),
        SESSION_TEST(test_forced),       SESSION_TEST(test_nothing_fits),
        SESSION_TEST(test_small_device), SESSION_TEST(test_fused),
        SESSION_TEST(test_devices),      SESSION_TEST(test_simd),
        SESSION_TEST(test_relaxed),      SESSION_TEST(test_relaxed_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
