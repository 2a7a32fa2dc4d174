/* SPDX-License-Identifier: MIT */
/*
 * Faults while programs run, seen through the public interface. What was refused before
 * it was committed leaves the device at a step boundary, and work goes on. A failure of
 * committed work ends the device: whatever would show its memory fails with the same
 * status from then on, so nothing half-done is read or saved; the last checkpoint is
 * intact, and the cpu backend takes over from it to the same bits.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAVED 3 /* steps in the checkpoint from which the cpu takes over */

/* ---- committed work that fails ---- */

/* All that would show what the device holds, or go on from it. */
static void check_ended(session *s, mnt_status want, const char *part)
{
    float loss = -1;
    MUST_FAIL(s->dev, want, part, mnt_device_wait(s->dev));
    MUST_FAIL(s->dev, want, part, mnt_device_wait(s->dev));
    MUST_FAIL(s->dev, want, part, mnt_tensor_read(s->loss, &loss, sizeof loss));
    assert_true(loss == -1);
    MUST_FAIL(s->dev, want, part, mnt_graph_run(s->g, 1));
    assert_int_equal(mnt_graph_replays(s->g), -1);
    assert_int_equal(mnt_model_step(s->m), -1);
    mnt_tensor *w = mnt_model_find(s->m, "fc1.weight");
    size_t n = (size_t)mnt_tensor_count(w) * sizeof(float);
    float *values = calloc(1, n);
    MUST_FAIL(s->dev, want, part, mnt_tensor_read(w, values, n));
    for (size_t i = 0; i < n / sizeof *values; i++)
        assert_true(values[i] == 0);
    MUST_FAIL(s->dev, want, part, mnt_tensor_write(w, values, n));
    free(values);
    mnt_graph *g = NULL;
    MUST(s->dev, mnt_graph_create(&g, s->dev, NULL, NULL));
    mnt_relu(g, mnt_input(g, MNT_F32, MNT_SHAPE(4)));
    MUST_FAIL(s->dev, want, part, mnt_graph_compile(g));
    mnt_graph_destroy(g);
}

/* The rest of the steps on the cpu, from the checkpoint. */
static void finish_on_cpu(const char *path)
{
    const net_spec spec = { .batch = 16 };
    char hex[65];
    session s = { .dev = open_device("cpu", NULL) };
    MUST(s.dev, mnt_model_load(&s.m, s.dev, path));
    assert_int_equal(mnt_model_step(s.m), SAVED);
    MUST(s.dev, mnt_synth_open(&s.d, s.dev, 64, 5, MNT_TRAIN));
    MUST(s.dev, mnt_dataset_shuffle(s.d, 1, 1));
    MUST(s.dev, mnt_dataset_seek(s.d, SAVED * 16));
    s.g = net_graph(s.dev, s.m, s.d, &spec, &s.loss);
    MUST(s.dev, mnt_graph_run(s.g, STEPS - SAVED));
    session_hash(&s, hex);
    session_close(&s);
    assert_string_equal(hex, cpu_hash());
}

/* Three steps, a checkpoint, then more steps in which the command buffer fails that
 * comes after `after` others. */
static void one_failure(long code, const char *name, long after, bool profile)
{
    session s;
    char part[64];
    const char *path = temp_path("ckpt.safetensors");
    mnt_status want =
        code == 8 ? MNT_NO_MEMORY : MNT_DEVICE; /* MTLCommandBufferErrorOutOfMemory */
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_graph_run(s.g, SAVED));
    MUST(s.dev, mnt_model_save(s.m, path));
    size_t bytes, bytes_after;
    char *before = sup_file(path, &bytes);
    MUST(s.dev, mnt_device_profile(s.dev, profile));
    metalsim_fail(METALSIM_FAIL_EXECUTION, after, 1, code);
    mnt_status st = mnt_graph_run(s.g, STEPS - SAVED);
    assert_true(st == MNT_OK || st == want);
    snprintf(part, sizeof part, "a command buffer failed (%s): ", name);
    check_ended(&s, want, part);
    assert_non_null(strstr(mnt_last_error(s.dev), "open it again"));
    MUST_FAIL(s.dev, want, part, mnt_model_save(s.m, path));
    char *left = sup_file(path, &bytes_after);
    assert_int_equal(bytes_after, bytes);
    assert_memory_equal(before, left, bytes);
    free(before);
    free(left);
    session_close(&s);
    metalsim_configure(NULL);
    finish_on_cpu(path);
}

static void test_error_codes(void **state)
{
    (void)state;
    static const struct {
        long code;
        const char *name;
    } errors[] = {
        { 1, "internal error" },   { 2, "timeout" },         { 3, "page fault" },
        { 4, "access revoked" },   { 7, "not permitted" },   { 8, "out of memory" },
        { 9, "invalid resource" }, { 10, "memoryless" },     { 11, "device removed" },
        { 12, "stack overflow" },  { 99, "internal error" },
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        one_failure(errors[i].code, errors[i].name, 0, false);
}

/* Early, in the middle and late; command by command, too. */
static void test_error_places(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    for (long after = 0; after < 3; after++) {
        c.command_ns = 40000000; /* one replay a command buffer */
        metalsim_configure(&c);
        one_failure(2, "timeout", after, false);
    }
    for (long after = 0; after < 30; after += 7)
        one_failure(3, "page fault", after, true);
}

/* A kernel that touches what it must not is found by the device, too; a removed device
 * can be opened again once it is back. */
static void test_reopen(void **state)
{
    (void)state;
    session s;
    session_open(&s, "metal", NULL);
    metalsim_fail(METALSIM_FAIL_EXECUTION, 0, 1, 11);
    mnt_status st = mnt_graph_run(s.g, 1);
    assert_true(st == MNT_OK || st == MNT_DEVICE);
    MUST_FAIL(s.dev, MNT_DEVICE, "device removed", mnt_device_wait(s.dev));
    session_close(&s);
    check_trains("metal", NULL);
    check_trains("cpu", NULL);
}

/* ---- refused before it was committed ---- */
static void refused_in_run(metalsim_fault what, const char *part)
{
    metalsim_config c = metalsim_config_default();
    c.command_ns = 40000000;
    for (long after = 0; after < STEPS; after += 3) {
        session s;
        char hex[65];
        metalsim_configure(&c);
        session_open(&s, "metal", NULL);
        MUST(s.dev, mnt_device_wait(s.dev));
        metalsim_fail(what, after, 1, 0);
        MUST_FAIL(s.dev, MNT_DEVICE, part, mnt_graph_run(s.g, STEPS));
        int64_t done = mnt_graph_replays(s.g);
        assert_int_equal(done, after);
        assert_int_equal(mnt_model_step(s.m), after);
        MUST(s.dev, mnt_graph_run(s.g, STEPS - done));
        session_hash(&s, hex);
        session_close(&s);
        assert_string_equal(hex, cpu_hash());
    }
}

static void test_refused(void **state)
{
    (void)state;
    refused_in_run(METALSIM_FAIL_COMMAND_BUFFER, "no command buffer can be made");
    refused_in_run(METALSIM_FAIL_ENCODER, "no command buffer can be made");
}

/* With timing on a step has a command buffer for each command: between two of them there
 * is no way back. */
static void test_refused_in_step(void **state)
{
    (void)state;
    for (long after = 0; after < 4; after++) {
        session s;
        session_open(&s, "metal", NULL);
        MUST(s.dev, mnt_device_wait(s.dev));
        MUST(s.dev, mnt_device_profile(s.dev, true));
        metalsim_fail(METALSIM_FAIL_COMMAND_BUFFER, after, 1, 0);
        MUST_FAIL(s.dev, MNT_DEVICE, "no command buffer can be made",
                  mnt_graph_run(s.g, STEPS));
        if (after == 0)
            MUST(s.dev, mnt_graph_run(s.g, STEPS));
        else
            check_ended(&s, MNT_DEVICE, "a step was begun, command by command");
        session_close(&s);
    }
}

static void test_refused_copy(void **state)
{
    (void)state;
    session s;
    MUST(NULL, (session_open(&s, "metal", NULL), MNT_OK));
    mnt_tensor *b = mnt_model_find(s.m, "fc2.bias");
    float value[10] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, got[10];
    static const metalsim_fault what[] = { METALSIM_FAIL_BUFFER, METALSIM_FAIL_ENCODER,
                                           METALSIM_FAIL_COMMAND_BUFFER };
    for (int i = 0; i < 3; i++) {
        MUST(s.dev, mnt_graph_run(s.g, 1)); /* so that the copy is queued */
        metalsim_fail(what[i], 0, 1, 0);
        MUST_FAIL(s.dev, i == 0 ? MNT_NO_MEMORY : MNT_DEVICE,
                  "metal: ", mnt_tensor_write(b, value, sizeof value));
        MUST(s.dev, mnt_tensor_read(b, got, sizeof got));
        assert_true(got[0] != 1);
    }
    MUST(s.dev, mnt_graph_run(s.g, 1));
    MUST(s.dev, mnt_tensor_write(b, value, sizeof value));
    MUST(s.dev, mnt_tensor_read(b, got, sizeof got));
    assert_memory_equal(got, value, sizeof got);
    session_close(&s);
}

/* ---- while a graph is made ---- */
static mnt_status make_and_run(const char *force, bool *opened)
{
    const net_spec spec = { .batch = 16 };
    session s = { 0 };
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal", .force = force);
    mnt_status st = mnt_device_open(&s.dev, &desc);
    *opened = st == MNT_OK;
    if (st)
        return st;
    st = mnt_model_create(&s.m, s.dev, NULL);
    if (st == MNT_OK)
        st = mnt_synth_open(&s.d, s.dev, 64, 5, MNT_TRAIN);
    if (st == MNT_OK)
        st = mnt_graph_create(&s.g, s.dev, s.m, NULL);
    if (st == MNT_OK) {
        s.loss = net_record(s.g, s.d, &spec);
        st = mnt_graph_compile(s.g);
    }
    if (st == MNT_OK)
        st = mnt_graph_run(s.g, 2);
    if (st == MNT_OK)
        st = mnt_device_wait(s.dev);
    if (st)
        assert_string_not_equal(mnt_last_error(s.dev), "");
    session_close(&s);
    return st;
}

/* Every single call fails, `times` times from there: a status that fits, and nothing is
 * left. A pipeline that fails once is made at the next attempt. */
static void each_call_fails(metalsim_fault what, long times, mnt_status want)
{
    char alive[256];
    bool opened;
    long n = 0, failures = 0;
    for (;; n++) {
        metalsim_configure(NULL);
        metalsim_fail(what, n, times, 0);
        mnt_status st = make_and_run(NULL, &opened);
        if (metalsim_alive(alive, sizeof alive) != 0)
            fail_msg("fault %d after %ld calls: alive: %s", (int)what, n, alive);
        if (st == MNT_OK)
            break;
        failures++;
        if (st != want)
            fail_msg("fault %d after %ld calls: %s", (int)what, n, mnt_status_name(st));
    }
    assert_true(failures > 3);
    metalsim_configure(NULL);
    check_trains("metal", NULL);
    check_trains("cpu", NULL);
}

static void test_each_buffer(void **state)
{
    (void)state;
    each_call_fails(METALSIM_FAIL_BUFFER, 1, MNT_NO_MEMORY);
}

static void test_each_pipeline(void **state)
{
    (void)state;
    each_call_fails(METALSIM_FAIL_FUNCTION, -1, MNT_DEVICE);
    each_call_fails(METALSIM_FAIL_PIPELINE, -1, MNT_DEVICE);
}

static void test_each_command_buffer(void **state)
{
    (void)state;
    each_call_fails(METALSIM_FAIL_COMMAND_BUFFER, 1, MNT_DEVICE);
    each_call_fails(METALSIM_FAIL_ENCODER, 1, MNT_DEVICE);
}

/* A pipeline that fails is named, and the same device makes it when asked again. */
static void test_pipeline_again(void **state)
{
    (void)state;
    mnt_device *dev = open_device("metal", NULL);
    float x[4] = { -1, 2, -3, 4 };
    for (int attempt = 0; attempt < 2; attempt++) {
        mnt_graph *g = NULL;
        MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
        mnt_tensor *y = mnt_relu(g, mnt_constant(g, MNT_F32, MNT_SHAPE(4), x));
        mnt_tensor_keep(y);
        if (attempt == 0) {
            metalsim_fail(METALSIM_FAIL_PIPELINE, 0, -1, 0);
            MUST_FAIL(dev, MNT_DEVICE,
                      "no pipeline can be made of the kernel relu_flat",
                      mnt_graph_compile(g));
            metalsim_fail(METALSIM_FAIL_PIPELINE, 0, 0, 0);
        } else {
            MUST(dev, mnt_graph_compile(g));
            MUST(dev, mnt_graph_run(g, 1));
            MUST(dev, mnt_tensor_read(y, x, sizeof x));
            assert_true(x[0] == 0 && x[3] == 4);
        }
        mnt_graph_destroy(g);
    }
    mnt_device_close(dev);
}

/* More than the device has, and more than one buffer may have. */
static void test_no_memory(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    c.memory = 8 << 20;
    c.max_buffer = 4 << 20;
    metalsim_configure(&c);
    mnt_device *dev = open_device("metal", NULL);
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    assert_null(mnt_input(g, MNT_F32, MNT_SHAPE(2 << 20)));
    MUST_FAIL(dev, MNT_NO_MEMORY, "no memory for 8388608 bytes on metal",
              mnt_graph_compile(g));
    mnt_graph_destroy(g);
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_input(g, MNT_F32, MNT_SHAPE(1 << 20));
    assert_null(mnt_input(g, MNT_F32, MNT_SHAPE((1 << 20) + 1)));
    MUST_FAIL(dev, MNT_NO_MEMORY, "no memory", mnt_graph_compile(g));
    mnt_graph_destroy(g);
    mnt_device_close(dev);
    metalsim_configure(NULL);
    check_trains("metal", NULL);
}

int main(int argc, char **argv)
{
    if (!session_main(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_error_codes),
        SESSION_TEST(test_error_places),
        SESSION_TEST(test_reopen),
        SESSION_TEST(test_refused),
        SESSION_TEST(test_refused_in_step),
        SESSION_TEST(test_refused_copy),
        SESSION_TEST(test_each_buffer),
        SESSION_TEST(test_each_pipeline),
        SESSION_TEST(test_each_command_buffer),
        SESSION_TEST(test_pipeline_again),
        SESSION_TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
