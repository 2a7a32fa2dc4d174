/* SPDX-License-Identifier: MIT */
/*
 * Devices: options and their failures, independence, interruption, logging; and that no
 * public call leaves the floating-point environment changed.
 */
#include "../support/nets.h"

#include <mnt/backend.h>

#include <fenv.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the floating-point environment ---- */

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#define CONTROL_MASK 0xffc0u /* the rest are sticky exception flags */
static uint64_t control(void)
{
    return _mm_getcsr() & CONTROL_MASK;
}
static void set_control(uint64_t v)
{
    _mm_setcsr((unsigned)v);
}
static const uint64_t round_down = 0x3f80, flushing = 0x9fc0;
#elif defined(__aarch64__)
static uint64_t control(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
}
static void set_control(uint64_t v)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(v));
}
static const uint64_t round_down = 2u << 22, flushing = 1u << 24;
#else
static uint64_t control(void)
{
    return (uint64_t)fegetround();
}
static void set_control(uint64_t v)
{
    fesetround((int)v);
}
static const uint64_t round_down = FE_DOWNWARD, flushing = FE_TONEAREST;
#endif

/* The call, and the environment before and after. */
#define SAME_CONTROL(call)                                                             \
    do {                                                                               \
        uint64_t before_ = control();                                                  \
        call;                                                                          \
        if (control() != before_)                                                      \
            fail_msg("%s leaves the control word %llx, it was %llx", #call,            \
                     (unsigned long long)control(), (unsigned long long)before_);      \
    } while (0)

typedef struct env_run {
    float loss;
    char hash[65];
} env_run;

/* Every kind of public call once. */
static env_run call_everything(bool eager)
{
    env_run out;
    mnt_device *dev = NULL;
    mnt_model *m = NULL;
    mnt_dataset *d = NULL;
    mnt_graph *g = NULL;
    char *text = NULL;
    mnt_tensor *loss = NULL;
    const net_spec s = { .lenet = true, .eager = eager, .batch = 4 };
    mnt_graph_desc gd = MNT_GRAPH_DESC(.eager = eager);
    mnt_device_info info = { .size = sizeof info };
    SAME_CONTROL(dev = sup_open("", 2));
    SAME_CONTROL(MUST(dev, mnt_device_get_info(dev, &info)));
    SAME_CONTROL(MUST(dev, mnt_model_create(&m, dev, NULL)));
    SAME_CONTROL(MUST(dev, mnt_synth_open(&d, dev, 12, 5, MNT_TRAIN)));
    SAME_CONTROL(MUST(dev, mnt_dataset_shuffle(d, 1, 1)));
    SAME_CONTROL(MUST(dev, mnt_graph_create(&g, dev, m, &gd)));
    SAME_CONTROL(loss = net_record(g, d, &s));
    SAME_CONTROL(MUST(dev, mnt_graph_compile(g)));
    if (!eager)
        SAME_CONTROL(MUST(dev, mnt_graph_run(g, 2)));
    SAME_CONTROL(MUST(dev, mnt_device_wait(dev)));
    SAME_CONTROL(MUST(dev, mnt_tensor_read(loss, &out.loss, sizeof out.loss)));
    SAME_CONTROL(MUST(dev, mnt_tensor_format(loss, 3, &text)));
    SAME_CONTROL(mnt_free(dev, text));
    SAME_CONTROL(MUST(dev, mnt_graph_dump(g, &text)));
    SAME_CONTROL(mnt_free(dev, text));
    SAME_CONTROL((void)mnt_model_step(m));
    SAME_CONTROL(sup_model_hash(dev, m, out.hash));
    SAME_CONTROL(assert_null(mnt_matmul(g, loss, loss)));
    SAME_CONTROL(mnt_graph_destroy(g));
    SAME_CONTROL(mnt_dataset_close(d));
    SAME_CONTROL(mnt_model_destroy(m));
    SAME_CONTROL(mnt_device_close(dev));
    return out;
}

/* Unchanged whatever it was; and a caller that flushes subnormals, as programs built
 * with -ffast-math do, gets the same bits. */
static void test_control_word(void **state)
{
    (void)state;
    uint64_t saved = control();
    for (int eager = 0; eager < 2; eager++) {
        env_run plain = call_everything(eager);
        set_control(flushing);
        env_run flushed = call_everything(eager);
        set_control(round_down);
        call_everything(eager);
        set_control(saved);
        assert_string_equal(plain.hash, flushed.hash);
        assert_memory_equal(&plain.loss, &flushed.loss, sizeof plain.loss);
    }
}

/* ---- opening ---- */

static void bad_desc(mnt_status want, const char *part, mnt_device_desc desc)
{
    mnt_device *dev = NULL;
    MUST_FAIL(NULL, want, part, mnt_device_open(&dev, &desc));
    assert_null(dev);
}

static void test_open_failures(void **state)
{
    (void)state;
    const mnt_allocator half = { 0 };
    bad_desc(MNT_NOT_FOUND, "cpu", MNT_DEVICE_DESC(.backend = "abacus"));
    bad_desc(MNT_NOT_FOUND, "99", MNT_DEVICE_DESC(.backend = "cpu", .index = 99));
    bad_desc(MNT_INVALID, "-1", MNT_DEVICE_DESC(.backend = "cpu", .index = -1));
    bad_desc(MNT_INVALID, "-3", MNT_DEVICE_DESC(.backend = "cpu", .threads = -3));
    bad_desc(MNT_INVALID, "z80", MNT_DEVICE_DESC(.backend = "cpu", .force = "isa=z80"));
    bad_desc(MNT_INVALID, "magic",
             MNT_DEVICE_DESC(.backend = "cpu", .force = "matmul=magic"));
    bad_desc(MNT_INVALID, "frob",
             MNT_DEVICE_DESC(.backend = "cpu", .force = "frob=ref"));
    bad_desc(MNT_INVALID, "force", MNT_DEVICE_DESC(.backend = "cpu", .force = "ref"));
    bad_desc(MNT_INVALID, "isa", /* whichever backend is asked last */
             MNT_DEVICE_DESC(.backend = "auto", .force = "isa=z80"));
    bad_desc(MNT_INVALID, "alloc",
             MNT_DEVICE_DESC(.backend = "cpu", .allocator = &half));
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cpu");
    desc.size = 3;
    bad_desc(MNT_INVALID, "size", desc);
}

/* A desc of a newer library: fine as long as what this one does not know is zero. */
static void test_large_desc(void **state)
{
    (void)state;
    struct {
        mnt_device_desc known;
        uint64_t unknown;
    } desc = { MNT_DEVICE_DESC(.backend = "cpu", .threads = 1), 0 };
    mnt_device *dev = NULL;
    desc.known.size = sizeof desc;
    MUST(NULL, mnt_device_open(&dev, &desc.known));
    mnt_device_close(dev);
    desc.unknown = 1;
    MUST_FAIL(NULL, MNT_INVALID, "size", mnt_device_open(&dev, &desc.known));
}

/* A desc of an older, smaller library is accepted. */
static void test_small_desc(void **state)
{
    (void)state;
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cpu", .threads = 1);
    desc.size = offsetof(mnt_device_desc, allocator);
    MUST(NULL, mnt_device_open(&dev, &desc));
    mnt_device_close(dev);
}

static void test_environment(void **state)
{
    (void)state;
    mnt_device *dev = NULL;
    mnt_device_info info = { .size = sizeof info };
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cpu", .threads = 2);
    setenv("MNT_FORCE", "isa=generic", 1);
    MUST(NULL, mnt_device_open(&dev, &desc));
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_string_equal(info.backend, "cpu");
    assert_non_null(strstr(info.detail, "generic"));
    assert_int_equal(info.threads, 2);
    mnt_device_close(dev);
    setenv("MNT_FORCE", "isa=z80", 1);
    MUST_FAIL(NULL, MNT_INVALID, "z80", mnt_device_open(&dev, &desc));
    unsetenv("MNT_FORCE");
    MUST(NULL, mnt_device_open(&dev, NULL));
    mnt_device_close(dev);
    assert_true(mnt_backend_count() >= 1);
    assert_null(mnt_backend_name(mnt_backend_count()));
    assert_null(mnt_backend_name(-1));
}

static void test_memory_counts(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    mnt_graph *g = NULL;
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    assert_non_null(mnt_input(g, MNT_F32, MNT_SHAPE(1000)));
    MUST(dev, mnt_device_get_info(dev, &info));
    uint64_t peak = info.peak_bytes;
    assert_true(info.allocated_bytes >= 4000 && peak >= info.allocated_bytes);
    mnt_graph_destroy(g);
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_true(info.allocated_bytes == 0 && info.peak_bytes == peak);
    mnt_device_close(dev);
}

/* ---- interruption ---- */

typedef struct waker {
    mnt_device *dev;
} waker;

static void *wake(void *arg)
{
    const struct timespec pause = { .tv_nsec = 30000000 };
    nanosleep(&pause, NULL);
    mnt_device_interrupt(((waker *)arg)->dev);
    return NULL;
}

static void test_interrupt(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 2);
    mnt_model *m = NULL;
    mnt_dataset *d = NULL;
    mnt_tensor *loss;
    const net_spec s = { .lenet = true, .batch = 16 };
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_synth_open(&d, dev, 64, 5, MNT_TRAIN));
    mnt_graph *g = net_graph(dev, m, d, &s, &loss);
    mnt_device_interrupt(dev);
    MUST_FAIL(dev, MNT_INTERRUPTED, "interrupt", mnt_graph_run(g, 5));
    assert_int_equal(mnt_graph_replays(g), 0);
    assert_int_equal(mnt_model_step(m), 0);
    MUST(dev, mnt_graph_run(g, 2));
    waker w = { dev };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake, &w), 0);
    mnt_status st = mnt_graph_run(g, 1000000);
    pthread_join(thread, NULL);
    assert_int_equal(st, MNT_INTERRUPTED);
    int64_t done = mnt_graph_replays(g);
    assert_true(done >= 2 && done < 1000000);
    assert_int_equal(mnt_model_step(m), done);
    MUST(dev, mnt_graph_run(g, 1));
    assert_int_equal(mnt_graph_replays(g), done + 1);
    mnt_graph_destroy(g);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
    mnt_device_close(dev);
}

/* ---- independence ---- */

static void *train_apart(void *arg)
{
    const net_spec s = { .batch = 8 };
    mnt_device *dev = sup_open("", 2);
    for (int i = 0; i < 3; i++)
        net_hash(dev, &s, 32, 6, arg);
    mnt_device_close(dev);
    return NULL;
}

static void test_devices_are_independent(void **state)
{
    (void)state;
    pthread_t thread[3];
    char hash[3][65];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, train_apart, hash[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert_string_equal(hash[0], hash[1]);
    assert_string_equal(hash[0], hash[2]);
}

static void count_line(void *user, mnt_log_level level, const char *text)
{
    (void)level;
    assert_non_null(text);
    ++*(int *)user;
}

static void test_log_callback(void **state)
{
    (void)state;
    int lines = 0;
    mnt_device *dev = NULL;
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = "cpu", .log = count_line, .log_user = &lines);
    MUST(NULL, mnt_device_open(&dev, &desc));
    mnt_device_close(dev);
    assert_true(lines >= 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(mnt_version(), MNT_VERSION);
#define NAME(name, value, text)                                                        \
    assert_string_equal(mnt_status_name(MNT_##name), "MNT_" #name);                    \
    assert_string_equal(mnt_status_text(MNT_##name), text);
    MNT_STATUS_LIST(NAME)
#undef NAME
    assert_string_equal(mnt_status_name((mnt_status)77), "unknown status");
    assert_int_equal(mnt_dtype_size(MNT_F16), 2);
    assert_int_equal(mnt_dtype_size((mnt_dtype)99), 0);
    assert_string_equal(mnt_dtype_name((mnt_dtype)-1), "?");
    assert_int_equal(mnt_shape_count((mnt_shape){ 0 }), 1);
    assert_int_equal(mnt_shape_count(MNT_SHAPE(3, 0, 4)), 0);
    assert_int_equal(mnt_shape_count(MNT_SHAPE(3, -1)), -1);
    assert_int_equal(mnt_shape_count(MNT_SHAPE(INT64_MAX, 2)), -1);
    assert_int_equal(mnt_shape_count((mnt_shape){ .ndim = 7 }), -1);
    assert_int_equal(mnt_shape_count((mnt_shape){ .ndim = -1 }), -1);
}

/* Whether backends may be shown a command with these dims and strides. */
static bool valid(int64_t rows, int64_t columns, int64_t row_step, int64_t step)
{
    mnt_operand o = { .ndim = 2,
                      .dim = { rows, columns },
                      .stride = { row_step, step } };
    mnt_cmd cmd = { .op = MNT_OP_ID_relu, .in = { o }, .out = { o }, .label = "" };
    return mnt_cmd_valid(&cmd);
}

static void test_countable(void **state)
{
    (void)state;
    const int64_t most = INT64_MAX, half = (int64_t)1 << 32;
    assert_true(valid(2, 3, 3, 1));
    assert_true(valid(0, 3, 3, 1));
    assert_true(valid(1, 1, most, most)); /* strides that nothing is reached by */
    assert_true(valid(2, 3, (int64_t)1 << 40, 1));
    assert_false(valid(half, half, 1, 1));
    assert_false(valid(0, most, 1, 1));
    assert_false(valid(-1, 3, 3, 1));
    assert_false(valid(2, 2, -1, 1));
    assert_false(valid(2, 2, most, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_word),
        cmocka_unit_test(test_open_failures),
        cmocka_unit_test(test_small_desc),
        cmocka_unit_test(test_large_desc),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_memory_counts),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_devices_are_independent),
        cmocka_unit_test(test_log_callback),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_countable),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
