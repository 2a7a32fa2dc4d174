/* SPDX-License-Identifier: MIT */
/*
 * What comes after: work behind a failure is not sent, and the failure keeps its name; a
 * step with timing on, command by command, has the bits of one without. And what a large
 * write leaves, libraries with some of the kernels, the second device, forced variants.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Three command buffers are under way when the first of them fails: the fourth is not
 * sent. Nothing else that goes wrong later takes the failure's place. */
static void test_not_sent(void **state)
{
    (void)state;
    session s;
    metalsim_config c = metalsim_config_default();
    c.command_ns = 40000000; /* one replay a command buffer */
    metalsim_configure(&c);
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_graph_run(s.g, 3)); /* measured, so that none is waited for */
    MUST(s.dev, mnt_device_wait(s.dev));
    uint64_t before = metalsim_count().command_buffers;
    metalsim_fail(METALSIM_FAIL_EXECUTION, 0, 1, 2);
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_graph_run(s.g, STEPS));
    metalsim_fail(METALSIM_FAIL_COMMAND_BUFFER, 0, -1, 0);
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_graph_run(s.g, 1));
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_device_wait(s.dev));
    assert_true(metalsim_count().command_buffers - before <= 3);
    session_close(&s);
}

/* With timing on each command is waited for before the next is sent. */
static void test_timed_waits(void **state)
{
    (void)state;
    session s;
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_device_wait(s.dev));
    MUST(s.dev, mnt_device_profile(s.dev, true));
    uint64_t before = metalsim_count().command_buffers;
    metalsim_fail(METALSIM_FAIL_EXECUTION, 1, 1, 2);
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_graph_run(s.g, 1));
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_device_wait(s.dev));
    assert_int_equal(metalsim_count().command_buffers - before, 2);
    session_close(&s);
}

static void test_timed_bits(void **state)
{
    (void)state;
    session s;
    char hex[65];
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_device_profile(s.dev, true));
    MUST(s.dev, mnt_graph_run(s.g, STEPS / 2));
    MUST(s.dev, mnt_device_profile(s.dev, false));
    MUST(s.dev, mnt_graph_run(s.g, STEPS - STEPS / 2));
    session_hash(&s, hex);
    session_close(&s);
    assert_string_equal(hex, cpu_hash());
}

/* The kernels of one command run in order, each of them, with timing on, too. */
static void test_timed_dispatches(void **state)
{
    (void)state;
    enum { N = 10000 };
    mnt_device *dev = open_device("metal", "sum=ref");
    float *x = calloc(N, sizeof *x), sum = -1;
    for (int i = 0; i < N; i++)
        x[i] = 1;
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *y =
        mnt_sum(g, mnt_relu(g, mnt_constant(g, MNT_F32, MNT_SHAPE(N), x)), 0);
    mnt_tensor_keep(y);
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_device_profile(dev, true));
    MUST(dev, mnt_graph_run(g, 2));
    MUST(dev, mnt_tensor_read(y, &sum, sizeof sum));
    assert_true(sum == N);
    mnt_graph_destroy(g);
    mnt_device_close(dev);
    free(x);
}

/* Staging memory of more than 16 MiB is not kept, and is gone once its copy is done. */
static void test_large_write(void **state)
{
    (void)state;
    const int64_t n = 5 << 20;
    session s;
    session_open(&s, "metal", NULL);
    mnt_graph *g = NULL;
    MUST(s.dev, mnt_graph_create(&g, s.dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(n));
    mnt_tensor_keep(mnt_relu(g, x));
    MUST(s.dev, mnt_graph_compile(g));
    float *data = calloc((size_t)n, sizeof *data);
    uint64_t before = metalsim_memory_used();
    for (int i = 0; i < 3; i++) {
        MUST(s.dev, mnt_graph_run(s.g, 1)); /* so that the copy is queued */
        MUST(s.dev, mnt_tensor_write(x, data, (size_t)n * sizeof *data));
        MUST(s.dev, mnt_device_wait(s.dev));
    }
    assert_true(metalsim_memory_used() < before + (1 << 20));
    free(data);
    mnt_graph_destroy(g);
    session_close(&s);
}

/* One op's variant leaves the other ops alone; one for all is what runs. */
static void test_force(void **state)
{
    (void)state;
    check_trains("metal", "dense=tile");
    mnt_device *dev = open_device("metal", "all=ref");
    mnt_graph *g = NULL;
    mnt_op_timing t = { .size = sizeof t };
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(64, 64));
    mnt_tensor_keep(mnt_matmul(g, x, x));
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_device_profile(dev, true));
    MUST(dev, mnt_graph_run(g, 1));
    MUST(dev, mnt_graph_timing(g, 0, &t));
    assert_string_equal(t.kernel, "ref");
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

static const char *partial_image_path;

/* The first kernels are there, others are not. */
static void test_partial_library(void **state)
{
    (void)state;
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal");
    assert_int_equal(setenv("MNT_METALLIB", partial_image_path, 1), 0);
    MUST_FAIL(NULL, MNT_ABI, "lacks the kernel copy_8: it is of another version",
              mnt_device_open(&dev, &desc));
    assert_null(dev);
}

/* Each index is another device. */
static void test_second_device(void **state)
{
    (void)state;
    char names[2][64];
    metalsim_config c = metalsim_config_default();
    c.devices = 2;
    metalsim_configure(&c);
    for (int i = 0; i < 2; i++) {
        mnt_device *dev = NULL;
        mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal", .index = i);
        MUST(NULL, mnt_device_open(&dev, &desc));
        mnt_device_info info = { .size = sizeof info };
        MUST(dev, mnt_device_get_info(dev, &info));
        snprintf(names[i], sizeof names[i], "%s", info.name);
        mnt_device_close(dev);
    }
    assert_string_not_equal(names[0], names[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_not_sent),      SESSION_TEST(test_timed_waits),
        SESSION_TEST(test_timed_bits),    SESSION_TEST(test_timed_dispatches),
        SESSION_TEST(test_large_write),   SESSION_TEST(test_partial_library),
        SESSION_TEST(test_second_device), SESSION_TEST(test_force)
    };
    if (argc < 4 || !session_main(argc, argv)) {
        fprintf(stderr, "usage: %s IMAGE OTHER PARTIAL\n", argv[0]);
        return 2;
    }
    partial_image_path = argv[3];
    return cmocka_run_group_tests_name("after", tests, NULL, NULL);
}
