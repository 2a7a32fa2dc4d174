/* SPDX-License-Identifier: MIT */
/*
 * Faults while programs run, seen through the public interface: each gives its status
 * and a sentence with the driver's name for it, nothing half-done is read or saved, and
 * the process goes on with the cpu backend to the right bits. An error that does not last
 * costs one call: the device goes on, too.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const net_spec spec = { .lenet = true, .batch = 4 };

typedef struct session {
    mnt_device *dev;
    mnt_model *m;
    mnt_dataset *d;
    mnt_graph *g;
    mnt_tensor *loss;
} session;

static session begin_on(int index, bool profile)
{
    session s = { 0 };
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = "cuda", .index = index, .profile = profile);
    MUST(NULL, mnt_device_open(&s.dev, &desc));
    MUST(s.dev, mnt_model_create(&s.m, s.dev, NULL));
    MUST(s.dev, mnt_synth_open(&s.d, s.dev, 12, 5, MNT_TRAIN));
    MUST(s.dev, mnt_dataset_shuffle(s.d, 1, 1));
    s.g = net_graph(s.dev, s.m, s.d, &spec, &s.loss);
    return s;
}

static void end(session *s)
{
    mnt_graph_destroy(s->g);
    mnt_dataset_close(s->d);
    mnt_model_destroy(s->m);
    mnt_device_close(s->dev);
}

static void check_hash(session *s)
{
    char hash[65];
    sup_model_hash(s->dev, s->m, hash);
    assert_string_equal(hash, cpu_hash());
}

/* ---- the right bits ---- */

static void test_bits(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        cudasim_config c = cudasim_config_default();
        c.order = (sim_order)(i % 3);
        c.seed = (uint64_t)i;
        c.compute = i % 2 ? 80 : 90;
        cudasim_configure(&c);
        outcome o = train();
        if (o.status)
            fail_msg("%s", o.sentence);
        assert_string_equal(o.hash, cpu_hash());
        session_clean("a run");
    }
}

/* Many replays in one call, and with profiling, and eager. */
static void test_ways(void **state)
{
    (void)state;
    session s = begin_on(0, false);
    MUST(s.dev, mnt_graph_run(s.g, STEPS));
    check_hash(&s);
    end(&s);
    s = begin_on(0, true);
    MUST(s.dev, mnt_graph_run(s.g, STEPS));
    check_hash(&s);
    end(&s);
    char hash[65];
    net_spec eager = spec;
    eager.eager = true;
    mnt_device *dev = open_device("cuda");
    net_hash(dev, &eager, 12, STEPS, hash);
    assert_string_equal(hash, cpu_hash());
    mnt_device_close(dev);
}

/* Replays by the graph of many, with more of them than are let under way at a time; what
 * is queued when a graph is destroyed still happens. */
static void test_many(void **state)
{
    (void)state;
    enum { REPLAYS = 600 };
    const net_spec mlp = { .batch = 1 };
    char want[65], got[65];
    mnt_device *dev = open_device("cpu");
    net_hash(dev, &mlp, 8, REPLAYS, want);
    mnt_device_close(dev);
    session s = begin_on(0, false);
    mnt_graph_destroy(s.g);
    mnt_dataset_close(s.d);
    mnt_model_destroy(s.m);
    MUST(s.dev, mnt_model_create(&s.m, s.dev, NULL));
    MUST(s.dev, mnt_synth_open(&s.d, s.dev, 8, 5, MNT_TRAIN));
    MUST(s.dev, mnt_dataset_shuffle(s.d, 1, 1));
    s.g = net_graph(s.dev, s.m, s.d, &mlp, &s.loss);
    uint64_t launches = cudasim_count().graph_launches;
    MUST(s.dev, mnt_graph_run(s.g, REPLAYS));
    launches = cudasim_count().graph_launches - launches;
    assert_in_range(launches, 6, REPLAYS / 4);
    mnt_graph_destroy(s.g);
    s.g = NULL;
    sup_model_hash(s.dev, s.m, got);
    assert_string_equal(got, want);
    end(&s);
}

/* The staging memory is written again only when its copies are done. */
static void test_uploads(void **state)
{
    (void)state;
    enum { N = 700001 };
    mnt_device *dev = open_device("cuda");
    mnt_graph *g = NULL;
    kit_rng r = { 3 };
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *a = mnt_input(g, MNT_F32, MNT_SHAPE(N)),
               *b = mnt_input(g, MNT_F32, MNT_SHAPE(N));
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), *got;
    assert_non_null(x);
    assert_non_null(y);
    for (int i = 0; i < N; i++) {
        x[i] = kit_float(&r);
        y[i] = x[i] + 1;
    }
    for (int round = 0; round < 3; round++) {
        MUST(dev, mnt_tensor_write(a, x, N * sizeof *x));
        MUST(dev, mnt_tensor_write(b, y, N * sizeof *y));
        MUST(dev, mnt_tensor_write(a, y, N * sizeof *x));
        got = sup_read(dev, a);
        sup_assert_bits("the second write", MNT_F32, MNT_SHAPE(N), y, got);
        free(got);
        got = sup_read(dev, b);
        sup_assert_bits("the other tensor", MNT_F32, MNT_SHAPE(N), y, got);
        free(got);
    }
    free(x);
    free(y);
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

/* ---- errors that last ---- */

/* All that would show what the device holds, or go on from it. */
static void check_ended(session *s, const char *part)
{
    float loss = -1;
    char path[300];
    MUST_FAIL(s->dev, MNT_DEVICE, part, mnt_device_wait(s->dev));
    MUST_FAIL(s->dev, MNT_DEVICE, "the device failed before", mnt_device_wait(s->dev));
    MUST_FAIL(s->dev, MNT_DEVICE, part, mnt_tensor_read(s->loss, &loss, sizeof loss));
    assert_true(loss == -1);
    MUST_FAIL(s->dev, MNT_DEVICE, part, mnt_graph_run(s->g, 1));
    mnt_tensor *w = mnt_model_find(s->m, "fc.bias");
    float values[10] = { 0 };
    MUST_FAIL(s->dev, MNT_DEVICE, part, mnt_tensor_write(w, values, sizeof values));
    MUST_FAIL(s->dev, MNT_DEVICE, part, mnt_tensor_read(w, values, sizeof values));
    for (int i = 0; i < 10; i++)
        assert_true(values[i] == 0);
    sup_temp_path(path, sizeof path, "ended");
    MUST_FAIL(s->dev, MNT_DEVICE, part, mnt_model_save(s->m, path));
    assert_int_not_equal(access(path, F_OK), 0);
    mnt_graph *g = NULL;
    MUST(s->dev, mnt_graph_create(&g, s->dev, NULL, NULL));
    mnt_input(g, MNT_F32, MNT_SHAPE(4));
    mnt_graph_destroy(g);
}

static const struct {
    int result;
    const char *name;
} lasting[] = {
    { ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS" },
    { ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE" },
    { LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT" },
    { LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED" },
    { DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE" },
    { UNKNOWN, "CUDA_ERROR_UNKNOWN" },
};
#define LASTING (sizeof lasting / sizeof *lasting)

/* A kernel fails in the middle of queued work: heard by the next call that waits. */
static void test_kernel_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < LASTING; i++)
        for (int profile = 0; profile < 2; profile++) {
            session s = begin_on(0, profile);
            MUST(s.dev, mnt_graph_run(s.g, 2));
            MUST(s.dev, mnt_device_wait(s.dev));
            cudasim_fail("kernel", 5, 1, lasting[i].result);
            mnt_status st = mnt_graph_run(s.g, 2);
            assert_int_equal(st, profile ? MNT_DEVICE : MNT_OK);
            check_ended(&s, lasting[i].name);
            end(&s);
            session_clean(lasting[i].name);
            cudasim_configure(NULL);
        }
    cpu_goes_on();
}

/* Each of the calls finds the device gone. */
static void test_device_lost(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "cuStreamSynchronize", "cuMemcpyDtoHAsync_v2", "cuMemcpyHtoDAsync_v2",
        "cuGraphLaunch",       "cuLaunchKernel",       "cuEventRecord",
        "cuMemAlloc_v2",       "cuMemsetD8Async",      "cuEventSynchronize",
        "cuGraphCreate",       "cuGraphAddKernelNode", "cuGraphInstantiateWithFlags",
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        cudasim_fail(calls[i], strncmp(calls[i], "cuGraph", 7) != 0, 1, UNKNOWN);
        outcome o = train();
        if (o.status != MNT_DEVICE || !strstr(o.sentence, "CUDA_ERROR_UNKNOWN"))
            fail_msg("%s: %s, \"%s\"", calls[i], mnt_status_name(o.status), o.sentence);
        session_clean(calls[i]);
        cudasim_configure(NULL);
    }
    cpu_goes_on();
}

/* One device fails, the other does not hear of it. */
static void test_two_devices(void **state)
{
    (void)state;
    cudasim_config c = cudasim_config_default();
    c.devices = 2;
    cudasim_configure(&c);
    session a = begin_on(0, false), b = begin_on(1, false), same = begin_on(1, false);
    MUST(b.dev, mnt_graph_run(b.g, STEPS));
    MUST(b.dev, mnt_device_wait(b.dev));
    cudasim_fail("kernel", 0, 1, ILLEGAL_ADDRESS);
    MUST(a.dev, mnt_graph_run(a.g, 1));
    MUST_FAIL(a.dev, MNT_DEVICE, "CUDA_ERROR_ILLEGAL_ADDRESS", mnt_device_wait(a.dev));
    check_hash(&b);
    MUST(same.dev, mnt_graph_run(same.g, STEPS));
    check_hash(&same);
    end(&a);
    end(&same);
    end(&b);
}

/* ---- errors of one call ---- */

/* What the whole run's calls give when the n-th of a kind fails, for every n. */
static void sweep(const char *call, int result, const char *name, mnt_status want)
{
    int failures = 0, n = 0, quiet = 0;
    for (; quiet < 2; n += 1 + n / 4) {
        cudasim_configure(NULL);
        cudasim_fail(call, n, 1, result);
        outcome o = train();
        session_clean(call);
        if (o.status == MNT_OK) {
            assert_string_equal(o.hash, cpu_hash());
            quiet++;
            continue;
        }
        quiet = 0;
        failures++;
        if (o.status != want ||
            (!strstr(o.sentence, name) && !strstr(o.sentence, "no memory for")))
            fail_msg("call %d of %s: %s, \"%s\"", n, call, mnt_status_name(o.status),
                     o.sentence);
    }
    assert_true(failures > 0);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    sweep("cuMemAlloc_v2", OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", MNT_NO_MEMORY);
    sweep("cuMemAllocHost_v2", OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY",
          MNT_NO_MEMORY);
    sweep("cuGraphCreate", OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", MNT_NO_MEMORY);
    sweep("cuGraphInstantiateWithFlags", OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY",
          MNT_NO_MEMORY);
    cpu_goes_on();
}

static void test_other_errors(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "cuMemsetD8Async",      "cuMemcpyHtoDAsync_v2",        "cuMemcpyDtoHAsync_v2",
        "cuGraphAddKernelNode", "cuGraphInstantiateWithFlags", "cuGraphLaunch",
        "cuLaunchKernel",
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        sweep(calls[i], INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", MNT_DEVICE);
    sweep("cuEventRecord", INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", MNT_DEVICE);
    cpu_goes_on();
}

/* The memory that there is: a tensor that does not fit, then one that does. */
static void test_small_memory(void **state)
{
    (void)state;
    cudasim_config c = cudasim_config_default();
    c.memory = 8 << 20;
    cudasim_configure(&c);
    session s = begin_on(0, false);
    mnt_graph *g = NULL;
    MUST(s.dev, mnt_graph_create(&g, s.dev, NULL, NULL));
    assert_null(mnt_input(g, MNT_F32, MNT_SHAPE(3 << 20)));
    MUST_FAIL(s.dev, MNT_NO_MEMORY, "no memory for 12582912 bytes",
              mnt_graph_status(g));
    mnt_graph_destroy(g);
    MUST(s.dev, mnt_graph_create(&g, s.dev, NULL, NULL));
    assert_non_null(mnt_input(g, MNT_F32, MNT_SHAPE(1 << 20)));
    mnt_graph_destroy(g);
    MUST(s.dev, mnt_graph_run(s.g, STEPS));
    check_hash(&s);
    end(&s);
}

/* A graph that is not made stops the run between two steps; the run goes on later. */
static void test_goes_on(void **state)
{
    (void)state;
    static const char *const calls[] = { "cuGraphCreate", "cuGraphAddKernelNode",
                                         "cuGraphInstantiateWithFlags",
                                         "cuGraphLaunch" };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (int last = 0; last < 2; last++) {
            session s = begin_on(0, false);
            cudasim_fail(calls[i], last ? 2 : 0, 1, LAUNCH_OUT_OF_RESOURCES);
            mnt_status st = mnt_graph_run(s.g, STEPS);
            int64_t done = mnt_model_step(s.m);
            assert_true(done >= 0 && done <= STEPS);
            assert_true(st == MNT_OK || done < STEPS);
            assert_true(last || st != MNT_OK);
            if (st)
                MUST_FAIL(s.dev, MNT_DEVICE, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", st);
            MUST(s.dev, mnt_graph_run(s.g, STEPS - done));
            check_hash(&s);
            end(&s);
            cudasim_configure(NULL);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bits, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_ways, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_many, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_uploads, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_kernel_fails, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_device_lost, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_two_devices, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_out_of_memory, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_other_errors, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_small_memory, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_goes_on, session_begin, session_end),
    };
    return cmocka_run_group_tests_name("cuda: run", tests, NULL, NULL);
}
