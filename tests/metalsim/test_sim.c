/* SPDX-License-Identifier: MIT */
/*
 * The simulator's C interface over the kernels of shaders/first.metal: results, what an
 * image says of itself, orders, simdgroup widths, and checks of a dispatch.
 *   test_sim IMAGE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <mnt/scalar.h>

#include "sim.h"

typedef struct first_args {
    int64_t count;
    float scale;
} first_args;

static sim_image *image;
static const char *path;
static char error[512];
static char last[512];
static int reports;

static void note(void *context, const sim_report *r)
{
    (void)context;
    reports++;
    snprintf(last, sizeof last, "%s", r->text);
}

static sim_engine *engine(sim_order order, uint64_t seed, unsigned width)
{
    sim_engine *e = sim_engine_create(&(sim_options){
        .simd_width = width, .order = order, .seed = seed, .report = note });
    assert_non_null(e);
    return e;
}

static bool run(sim_engine *e, const char *name, uint32_t groups, uint32_t threads,
                const sim_binding *binding, int bindings, const first_args *args)
{
    const sim_function *f = sim_image_find(image, name);
    assert_non_null(f);
    error[0] = '\0';
    return sim_run(e,
                   &(sim_dispatch){ .function = f,
                                    .groups = groups,
                                    .threads = threads,
                                    .binding = binding,
                                    .bindings = bindings,
                                    .args = args,
                                    .args_bytes = args ? sizeof *args : 0 },
                   error, sizeof error);
}

#define BIND(p)                                                                        \
    {                                                                                  \
        .base = (p), .length = sizeof(p)                                               \
    }

static void test_reflection(void **state)
{
    (void)state;
    assert_int_equal(sim_image_count(image), 6);
    assert_int_equal(strlen(sim_image_source_hash(image)), 16);
    const sim_function *f = sim_image_find(image, "first_transpose_f32");
    assert_non_null(f);
    assert_null(sim_image_find(image, "first_transpose"));
    assert_null(sim_image_find(image, "nothing"));
    const sim_param *x = sim_function_param(f, 0), *p = sim_function_param(f, 2);
    assert_string_equal(x->name, "x");
    assert_int_equal(x->bytes, 4);
    assert_false(x->writable);
    assert_true(sim_function_param(f, 1)->writable);
    assert_true(p->reference);
    assert_int_equal(p->bytes, sizeof(first_args));
    assert_null(sim_function_param(f, 3));
    assert_true(sim_function_threadgroup_bytes(f) >= 16 * 17 * 4);
    assert_true(sim_function_entry(f)->collective);
    assert_string_equal(sim_function_entry(f)->file,
                        "tests/metalsim/shaders/first.metal");
    f = sim_image_find(image, "first_scale");
    assert_false(sim_function_entry(f)->collective);
    assert_int_equal(sim_function_threadgroup_bytes(f), 0);
}

static void test_elements(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float x[N], y[N];
    static uint32_t bits[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i - 500) * 0.25f;
    x[3] = 0x1p-130f; /* a subnormal, which is zero to a kernel */
    sim_engine *e = engine(SIM_FORWARD, 0, 32);
    sim_binding b[] = { BIND(x), BIND(y) };
    assert_true(run(e, "first_scale", 4, 256, b, 2, &(first_args){ N, 2.0f }));
    for (int i = 0; i < N; i++)
        assert_true(y[i] == (i == 3 ? 0.0f : x[i] * 2.0f));
    x[3] = 0.0f;
    b[1] = (sim_binding)BIND(bits);
    assert_true(run(e, "first_exp", 3, 64, b, 2, &(first_args){ N, 0 }));
    for (int i = 0; i < N; i++)
        assert_int_equal(bits[i], mnt_bits(mnt_expf(x[i])));
    static float v[32][4];
    static uint32_t u[32][4];
    for (int i = 0; i < 128; i++)
        v[i / 4][i % 4] = (float)i;
    sim_binding c[] = { BIND(v), BIND(u) };
    assert_true(run(e, "first_vectors", 1, 32, c, 2, NULL));
    assert_int_equal(u[1][0], mnt_bits(0.0f) > 1 ? 0 : 1);
    assert_int_equal(u[1][1], mnt_bits(6.0f * 2.0f + 1.0f));
    assert_int_equal(u[1][2], mnt_bits(4.0f * 2.0f + 1.0f));
    assert_int_equal(u[0][3], 1000 > mnt_bits(3.0f) ? 1000 : mnt_bits(3.0f));
    sim_engine_destroy(e);
}

static void transpose_and_sum(sim_engine *e, unsigned width)
{
    enum { N = 64, GROUPS = (N / 16) * (N / 16) };
    static float x[N * N], y[N * N];
    static uint32_t n[4096], sums[16], total[1];
    for (int i = 0; i < N * N; i++)
        x[i] = (float)i;
    sim_binding b[] = { BIND(x), BIND(y) };
    assert_true(
        run(e, "first_transpose_f32", GROUPS, 256, b, 2, &(first_args){ N, 0 }));
    for (int i = 0; i < N * N; i++)
        assert_true(y[i % N * N + i / N] == x[i]);
    for (uint32_t i = 0; i < 4096; i++)
        n[i] = i * i;
    total[0] = 0;
    sim_binding c[] = { BIND(n), BIND(sums), BIND(total) };
    assert_true(run(e, "first_sum", 16, 256, c, 3, &(first_args){ 4000, 0 }));
    uint32_t want = 0;
    for (uint32_t i = 0; i < 4000; i++)
        want += i * i;
    assert_int_equal(total[0], want);
    (void)width;
}

static void test_orders_and_widths(void **state)
{
    (void)state;
    static const unsigned widths[] = { 8, 16, 32, 64 };
    static const sim_order orders[] = { SIM_FORWARD, SIM_REVERSE, SIM_RANDOM,
                                        SIM_RANDOM };
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            sim_engine *e = engine(orders[j], (uint64_t)j, widths[i]);
            transpose_and_sum(e, widths[i]);
            sim_stats s;
            sim_engine_stats(e, &s);
            assert_int_equal(s.dispatches, 2);
            assert_int_equal(s.groups, 32);
            assert_int_equal(s.threads, 32 * 256);
            assert_int_equal(s.barriers, 32);
            assert_int_equal(s.reports, 0);
            sim_engine_destroy(e);
        }
}

static void refused(sim_engine *e, uint32_t groups, uint32_t threads,
                    const sim_binding *b, int bindings, const first_args *args,
                    const char *want)
{
    reports = 0;
    assert_false(run(e, "first_scale", groups, threads, b, bindings, args));
    assert_int_equal(reports, 1);
    assert_string_equal(error, want);
    assert_string_equal(last, want);
}

static void test_refusals(void **state)
{
    (void)state;
    static _Alignas(16) char x[64], y[64];
    const first_args args = { 1, 1.0f };
    sim_engine *e = engine(SIM_FORWARD, 0, 32);
    sim_binding b[] = { BIND(x), BIND(y) };
    refused(e, 0, 256, b, 2, &args,
            "kernel first_scale: a dispatch of 0 threadgroups of 256 threads");
    refused(e, 1, 1025, b, 2, &args,
            "kernel first_scale: 1025 threads a threadgroup, the kernel takes 1024");
    refused(e, 1, 1, b, 2, NULL, "kernel first_scale: nothing is bound at index 2 (p)");
    b[1].base = NULL;
    refused(e, 1, 1, b, 2, &args,
            "kernel first_scale: nothing is bound at index 1 (y)");
    b[1] = (sim_binding){ .base = y, .length = 64, .offset = 62 };
    refused(e, 1, 1, b, 2, &args,
            "kernel first_scale: index 1 (y): 2 bytes are bound, an element needs 4");
    b[1].offset = 65;
    refused(e, 1, 1, b, 2, &args,
            "kernel first_scale: index 1 (y): offset 65 in a buffer of 64 bytes");
    b[1].offset = 2;
    refused(e, 1, 1, b, 2, &args,
            "kernel first_scale: index 1 (y): offset 2 is not a multiple of 4");
    b[1].offset = 0;
    assert_true(run(e, "first_scale", 1, 1, b, 2, &args));
    sim_engine_destroy(e);
}

static void test_loading(void **state)
{
    (void)state;
    char why[512];
    assert_null(sim_image_open("/nonexistent.metallib", why, sizeof why));
    assert_non_null(strstr(why, "nonexistent"));
    assert_null(sim_image_open_memory("not an image", 12, why, sizeof why));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    static char bytes[8 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    sim_image *copy = sim_image_open_memory(bytes, n, why, sizeof why);
    assert_non_null(copy);
    assert_string_equal(sim_image_source_hash(copy), sim_image_source_hash(image));
    sim_image_close(copy);
    assert_null(sim_image_open_memory(bytes, n / 2, why, sizeof why));
    assert_string_equal(why, "not a library of the simulator, or cut short");
    bytes[n / 2] ^= 1;
    assert_null(sim_image_open_memory(bytes, n, why, sizeof why));
    assert_non_null(strstr(why, "library is damaged"));
    bytes[n / 2] ^= 1;
    memcpy(bytes + n - 16, "00000999", 8);
    assert_null(sim_image_open_memory(bytes, n, why, sizeof why));
    assert_string_equal(why, "library has format 999, this simulator takes 1");
    sim_image_close(NULL);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    path = argv[1];
    image = sim_image_open(path, error, sizeof error);
    if (!image) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reflection),        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_orders_and_widths), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_loading),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sim_image_close(image);
    return failed;
}
