/* SPDX-License-Identifier: MIT */
/*
 * The queue of the metal backend, measured by the simulator's accounting: how many
 * command buffers are under way and how long they are, what is made anew and what is
 * used again, the device's clock, interruption, and devices side by side.
 */
#include "session.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 3 /* what backends/metal promises */

static void set_clock(uint64_t command_ns)
{
    metalsim_config c = metalsim_config_default();
    c.command_ns = command_ns;
    metalsim_configure(&c);
}

static uint64_t run_counted(session *s, int64_t n)
{
    MUST(s->dev, mnt_device_wait(s->dev));
    uint64_t before = metalsim_count().command_buffers;
    MUST(s->dev, mnt_graph_run(s->g, n));
    MUST(s->dev, mnt_device_wait(s->dev));
    return metalsim_count().command_buffers - before;
}

/* ---- pieces ---- */

/* A replay longer than a piece has a command buffer of its own, three are under way. */
static void test_in_flight(void **state)
{
    (void)state;
    session s;
    set_clock(50000000);
    session_open(&s, "metal", NULL);
    assert_int_equal(run_counted(&s, 40), 40);
    assert_int_equal(metalsim_count().most_in_flight, IN_FLIGHT);
    session_close(&s);
}

/* The first replay alone, then as many as 30 ms have room for, measured once more: each
 * command buffer is said to take 5 ms, so there are 6 in the second and 36 in those
 * that follow. */
static void test_pieces(void **state)
{
    (void)state;
    session s;
    set_clock(5000000);
    session_open(&s, "metal", NULL);
    assert_int_equal(run_counted(&s, 1 + 5), 2);
    session_close(&s);
    session_open(&s, "metal", NULL);
    assert_int_equal(run_counted(&s, 1), 1);
    assert_int_equal(run_counted(&s, 1), 1);
    uint64_t n = run_counted(&s, 1 + 5 + 70);
    if (n < 4 || n > 5)
        fail_msg("%d command buffers", (int)n);
    session_close(&s);
    /* However fast the device is said to be, a command buffer ends. */
    set_clock(1);
    session_open(&s, "metal", NULL);
    uint64_t before = metalsim_count().dispatches;
    n = run_counted(&s, 600);
    assert_true((metalsim_count().dispatches - before) / n <= 4096);
    assert_true(n < 600);
    session_close(&s);
    assert_true(metalsim_count().most_in_flight <= IN_FLIGHT);
}

/* ---- the device's clock ---- */
static void test_device_time(void **state)
{
    (void)state;
    session s;
    set_clock(7000);
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_device_profile(s.dev, true));
    MUST(s.dev, mnt_graph_run(s.g, 5));
    uint64_t end = 0;
    for (int i = 0; i < mnt_graph_command_count(s.g); i++) {
        mnt_op_timing t = { .size = sizeof t };
        MUST(s.dev, mnt_graph_timing(s.g, i, &t));
        assert_int_equal(t.calls, 5);
        assert_true(t.min_ns >= 6990 && t.max_ns <= 7010);
        assert_true(t.total_ns >= 5 * t.min_ns && t.total_ns <= 5 * t.max_ns);
        assert_true(t.wall_ns > 0);
        assert_true(t.last_start_ns > end);
        end = t.last_start_ns;
        assert_string_not_equal(t.kernel, "");
    }
    mnt_graph_timing_reset(s.g);
    MUST(s.dev, mnt_device_profile(s.dev, false));
    MUST(s.dev, mnt_graph_run(s.g, 3));
    mnt_op_timing t = { .size = sizeof t };
    MUST(s.dev, mnt_graph_timing(s.g, 0, &t));
    assert_int_equal(t.calls, 0);
    session_close(&s);
    check_trains("metal", NULL);
}

/* ---- nothing grows ---- */
static size_t heap(void)
{
    return mallinfo2().uordblks;
}

static void test_ten_thousand_steps(void **state)
{
    (void)state;
    char what[512];
    mnt_device *dev = open_device("metal", NULL);
    mnt_graph *g = NULL;
    float x[8] = { 1, -2, 3, -4, 5, -6, 7, -8 }, y[8];
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *in = mnt_input(g, MNT_F32, MNT_SHAPE(8));
    mnt_tensor *out = mnt_relu(g, in), *total = mnt_accumulate(g, out);
    mnt_tensor_keep(out);
    MUST(dev, mnt_graph_compile(g));
    long alive = 0;
    size_t bytes = 0;
    uint64_t memory = 0, buffers = 0;
    for (int step = 0; step < 10000; step++) {
        if (step == 6000) { /* the simulator keeps its last 4096 dead objects */
            alive = metalsim_alive(what, sizeof what);
            memory = metalsim_memory_used();
            buffers = metalsim_count().buffers;
            bytes = heap();
        }
        x[0] = (float)step;
        MUST(dev, mnt_tensor_write(in, x, sizeof x));
        MUST(dev, mnt_graph_run(g, 1));
        if (step % 100 == 99) {
            MUST(dev, mnt_tensor_read(out, y, sizeof y));
            assert_true(y[0] == (float)step && y[1] == 0 && y[7] == 0);
        }
    }
    MUST(dev, mnt_device_wait(dev));
    long after = metalsim_alive(what, sizeof what);
    if (after > alive)
        fail_msg("%ld objects became %ld: %s", alive, after, what);
    assert_int_equal(metalsim_memory_used(), memory);
    assert_int_equal(metalsim_count().buffers, buffers);
    if (heap() > bytes + 65536)
        fail_msg("%zu bytes became %zu", bytes, heap());
    MUST(dev, mnt_tensor_read(total, y, sizeof y));
    assert_true(y[2] == 30000 && y[4] == 50000);
    assert_int_equal(mnt_graph_replays(g), 10000);
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

static void test_many_replays(void **state)
{
    (void)state;
    char what[512];
    session s;
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_graph_run(s.g, 50));
    MUST(s.dev, mnt_device_wait(s.dev));
    long alive = metalsim_alive(what, sizeof what);
    uint64_t memory = metalsim_memory_used(), buffers = metalsim_count().buffers;
    MUST(s.dev, mnt_graph_run(s.g, 450));
    MUST(s.dev, mnt_device_wait(s.dev));
    assert_int_equal(metalsim_alive(what, sizeof what), alive);
    assert_int_equal(metalsim_memory_used(), memory);
    assert_int_equal(metalsim_count().buffers, buffers);
    assert_int_equal(mnt_model_step(s.m), 500);
    session_close(&s);
}

/* A second graph of the same ops makes no pipeline; a device has one a kernel. */
static void test_pipelines(void **state)
{
    (void)state;
    const net_spec spec = { .batch = 16 };
    session s;
    uint64_t before = metalsim_count().pipelines;
    session_open(&s, "metal", NULL);
    uint64_t after = metalsim_count().pipelines;
    assert_true(after > before && after - before < 40);
    for (int i = 0; i < 5; i++) {
        mnt_tensor *loss;
        mnt_graph *g = net_graph(s.dev, s.m, s.d, &spec, &loss);
        MUST(s.dev, mnt_graph_run(g, 1));
        mnt_graph_destroy(g);
    }
    assert_int_equal(metalsim_count().pipelines, after);
    session_close(&s);
}

/* ---- copies on the queue ---- */

/* Writes between replays neither wait nor overtake; sizes and offsets of all sorts. */
static void test_writes_in_order(void **state)
{
    (void)state;
    mnt_device *dev = open_device("metal", NULL);
    mnt_graph *g = NULL;
    enum { N = 5000 };
    static float x[N], y[N];
    static uint8_t b[N];
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *in = mnt_input(g, MNT_F32, MNT_SHAPE(N));
    mnt_tensor *bytes = mnt_input(g, MNT_U8, MNT_SHAPE(N - 1)); /* no whole words */
    mnt_tensor *total = mnt_accumulate(g, in);
    mnt_tensor *bytes_total = mnt_accumulate(g, mnt_cast(g, bytes, MNT_F32, false));
    MUST(dev, mnt_graph_compile(g));
    for (int step = 1; step <= 20; step++) {
        for (int i = 0; i < N; i++) {
            x[i] = (float)(step * (i % 7));
            b[i] = (uint8_t)(step + i);
        }
        /* Staging memory that comes back is not always of the size that is wanted. */
        if (step % 2 == 0)
            MUST(dev, mnt_tensor_write(bytes, b, N - 1));
        MUST(dev, mnt_tensor_write(in, x, sizeof x));
        if (step % 2 != 0)
            MUST(dev, mnt_tensor_write(bytes, b, N - 1));
        memset(x, 0xff, sizeof x); /* what was written was copied */
        memset(b, 0xff, sizeof b);
        MUST(dev, mnt_graph_run(g, 1));
    }
    MUST(dev, mnt_tensor_read(total, y, sizeof y));
    for (int i = 0; i < N; i++)
        assert_true(y[i] == (float)(210 * (i % 7)));
    MUST(dev, mnt_tensor_read(bytes_total, y, (N - 1) * sizeof *y));
    float sum = 0;
    for (int step = 1; step <= 20; step++)
        sum += (float)(uint8_t)(step + 4321);
    assert_true(y[4321] == sum);
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

/* Small copies come back until no more staging memory is kept, then a large one. */
static void test_spare_memory(void **state)
{
    (void)state;
    mnt_device *dev = open_device("metal", NULL);
    mnt_graph *g = NULL;
    enum { N = 5000 };
    static float x[N], y[N];
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *small[3], *sum = NULL, *large = mnt_input(g, MNT_F32, MNT_SHAPE(N));
    for (int i = 0; i < 3; i++) {
        small[i] = mnt_input(g, MNT_F32, MNT_SHAPE(1));
        sum = sum ? mnt_add(g, sum, small[i]) : small[i];
    }
    mnt_tensor *total = mnt_accumulate(g, mnt_add(g, large, sum));
    MUST(dev, mnt_graph_compile(g));
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    for (int step = 1; step <= 5; step++) {
        float v = (float)step;
        MUST(dev, mnt_graph_run(g, 1)); /* so that the writes are queued behind it */
        for (int i = 0; i < 3; i++)
            MUST(dev, mnt_tensor_write(small[i], &v, sizeof v));
        MUST(dev, mnt_tensor_read(total, y, sizeof y));
        MUST(dev, mnt_graph_run(g, 1));
        MUST(dev, mnt_tensor_write(large, x, sizeof x));
        MUST(dev, mnt_tensor_read(total, y, sizeof y));
    }
    /* Each step runs with the smalls of the last and of its own, the first without. */
    for (int i = 0; i < N; i++)
        assert_true(y[i] ==
                    (float)(3 * (1 + 2 + 3 + 4) + 3 * (1 + 2 + 3 + 4 + 5) + 8 * i));
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

/* ---- interruption ---- */
static void *interrupt_soon(void *dev)
{
    struct timespec t = { .tv_nsec = 30000000 };
    nanosleep(&t, NULL);
    mnt_device_interrupt(dev);
    return NULL;
}

static void test_interrupted(void **state)
{
    (void)state;
    session s, cpu;
    char hex[65], want[65];
    pthread_t thread;
    set_clock(50000000);
    session_open(&s, "metal", NULL);
    mnt_device_interrupt(s.dev);
    MUST_FAIL(s.dev, MNT_INTERRUPTED, "interrupted after 0 of 5 replays",
              mnt_graph_run(s.g, 5));
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, s.dev), 0);
    MUST_FAIL(s.dev, MNT_INTERRUPTED, "interrupted after", mnt_graph_run(s.g, 1000000));
    pthread_join(thread, NULL);
    int64_t done = mnt_graph_replays(s.g);
    assert_true(done > 0 && done < 1000000);
    assert_int_equal(mnt_model_step(s.m), done);
    session_hash(&s, hex);
    session_open(&cpu, "cpu", NULL);
    MUST(cpu.dev, mnt_graph_run(cpu.g, done));
    session_hash(&cpu, want);
    assert_string_equal(hex, want);
    MUST(s.dev, mnt_graph_run(s.g, 2));
    MUST(cpu.dev, mnt_graph_run(cpu.g, 2));
    session_hash(&s, hex);
    session_hash(&cpu, want);
    assert_string_equal(hex, want);
    session_close(&cpu);
    session_close(&s);
}

/* ---- devices side by side ---- */
static void *train(void *result)
{
    const net_spec spec = { .batch = 16 };
    char *hex = result;
    mnt_device *dev = NULL;
    mnt_model *m = NULL;
    mnt_dataset *d = NULL;
    mnt_graph *g = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal");
    if (mnt_device_open(&dev, &desc) == MNT_OK &&
        mnt_model_create(&m, dev, NULL) == MNT_OK &&
        mnt_synth_open(&d, dev, 64, 5, MNT_TRAIN) == MNT_OK &&
        mnt_dataset_shuffle(d, 1, 1) == MNT_OK &&
        mnt_graph_create(&g, dev, m, NULL) == MNT_OK) {
        net_record(g, d, &spec);
        if (mnt_graph_compile(g) == MNT_OK && mnt_graph_run(g, STEPS) == MNT_OK)
            sup_model_hash(dev, m, hex);
    }
    mnt_graph_destroy(g);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
    mnt_device_close(dev);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 8, ROUNDS = 2 };
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread[THREADS];
        char hex[THREADS][65];
        memset(hex, 0, sizeof hex);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, train, hex[i]), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        for (int i = 0; i < THREADS; i++)
            assert_string_equal(hex[i], cpu_hash());
    }
}

/* The work begins as soon as it is committed: other interleavings, the same bits. */
static void test_eager_device(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    c.eager = true;
    metalsim_configure(&c);
    check_trains("metal", NULL);
    test_threads(state);
}

int main(int argc, char **argv)
{
    if (!session_main(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_in_flight),       SESSION_TEST(test_pieces),
        SESSION_TEST(test_device_time),     SESSION_TEST(test_ten_thousand_steps),
        SESSION_TEST(test_many_replays),    SESSION_TEST(test_pipelines),
        SESSION_TEST(test_writes_in_order), SESSION_TEST(test_spare_memory),
        SESSION_TEST(test_interrupted),     SESSION_TEST(test_threads),
        SESSION_TEST(test_eager_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
