/* SPDX-License-Identifier: MIT */
/*
 * Backends from files: the example backend runs with the bits of cpu, and each backend
 * of bad.c, which has one thing wrong, gets a status and a sentence that names it.
 * Nothing crashes, and every byte that a device took from its allocator goes back.
 */
#include "../support/support.h"

#include <mnt/backend.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- helpers ---- */

static int blocks; /* of the open device's allocator */

static void *counting_realloc(void *user, void *p, size_t bytes)
{
    (void)user;
    void *q = realloc(p, bytes);
    blocks += q && !p;
    return q;
}

static void *counting_alloc(void *user, size_t bytes)
{
    return counting_realloc(user, NULL, bytes);
}

static void counting_free(void *user, void *p)
{
    (void)user;
    blocks -= p != NULL;
    free(p);
}

static mnt_status load(const char *kind)
{
    setenv("MNT_BAD", kind, 1);
    return mnt_backend_load(BAD_PLUGIN);
}

/* Loads a kind at its first use. The name is valid until the next call. */
static const char *name_of(const char *kind)
{
    static char name[64];
    snprintf(name, sizeof name, "bad-%s", kind);
    if (!mnt_backend_find(name))
        MUST(NULL, load(kind));
    return name;
}

static mnt_status try_open(const char *backend, mnt_device **dev)
{
    const mnt_allocator hooks = { counting_alloc, counting_realloc, counting_free,
                                  NULL };
    blocks = 0;
    return mnt_device_open(dev,
                           &MNT_DEVICE_DESC(.backend = backend, .allocator = &hooks));
}

static mnt_device *open_backend(const char *backend)
{
    mnt_device *dev = NULL;
    MUST(NULL, try_open(backend, &dev));
    return dev;
}

static void close_device(mnt_device *dev)
{
    mnt_device_close(dev);
    assert_int_equal(blocks, 0);
}

/* y = relu(a b) of [3,5] and [5,4], kept. */
typedef struct product {
    mnt_graph *g;
    mnt_tensor *a, *b, *y;
} product;

static product record(mnt_device *dev, bool guard)
{
    product p = { 0 };
    MUST(dev, mnt_graph_create(&p.g, dev, NULL,
                               &MNT_GRAPH_DESC(.guard = guard, .keep_all = true)));
    p.a = mnt_input(p.g, MNT_F32, MNT_SHAPE(3, 5));
    p.b = mnt_input(p.g, MNT_F32, MNT_SHAPE(5, 4));
    p.y = mnt_relu(p.g, mnt_matmul(p.g, p.a, p.b));
    return p;
}

static void write_inputs(mnt_device *dev, const product *p)
{
    kit_rng r = { 7 };
    sup_write_random(dev, p->a, &r);
    sup_write_random(dev, p->b, &r);
}

/* The product on a good backend, into y[12]. */
static void compute(const char *backend, float y[12])
{
    mnt_device *dev = open_backend(backend);
    product p = record(dev, false);
    MUST(dev, mnt_graph_compile(p.g));
    write_inputs(dev, &p);
    MUST(dev, mnt_graph_run(p.g, 2));
    MUST(dev, mnt_tensor_read(p.y, y, 12 * sizeof *y));
    mnt_graph_destroy(p.g);
    close_device(dev);
}

/* ---- a good one ---- */

static void test_example(void **state)
{
    (void)state;
    float want[12], got[12];
    MUST(NULL, mnt_backend_load(PLAIN_PLUGIN));
    assert_non_null(mnt_backend_find("plain"));
    MUST_FAIL(NULL, MNT_INVALID, "the name plain is taken",
              mnt_backend_load(PLAIN_PLUGIN));
    compute("cpu", want);
    compute("plain", got);
    sup_assert_bits("plain", MNT_F32, MNT_SHAPE(3, 4), want, got);
}

/* What it lacks is named, with the shapes; compile fails and nothing else. */
static void test_example_lacks(void **state)
{
    (void)state;
    mnt_device *dev = open_backend("plain");
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(2, 3, 8, 8));
    mnt_tensor *w = mnt_input(g, MNT_F32, MNT_SHAPE(4, 3, 5, 5));
    mnt_tensor_keep(mnt_conv2d(g, x, w, NULL));
    MUST_FAIL(dev, MNT_UNSUPPORTED,
              "conv2d: plain has no kernel for [2,3,8,8] -> [2,4,4,4]",
              mnt_graph_compile(g));
    mnt_graph_destroy(g);
    close_device(dev);
}

static void test_example_force(void **state)
{
    (void)state;
    mnt_device *dev = NULL;
    MUST_FAIL(
        NULL, MNT_INVALID, "matmul=ref",
        mnt_device_open(&dev, &MNT_DEVICE_DESC(.backend = "plain",
                                               .force = "relu=plain,matmul=ref")));
    MUST_FAIL(NULL, MNT_INVALID, "conv2d=plain",
              mnt_device_open(
                  &dev, &MNT_DEVICE_DESC(.backend = "plain", .force = "conv2d=plain")));
    MUST(NULL,
         mnt_device_open(&dev, &MNT_DEVICE_DESC(.backend = "plain",
                                                .force = "relu=plain,add=plain")));
    int n = 0;
    for (const char *v; (v = mnt_device_variant(dev, n)) != NULL; n++) {
        mnt_device *one = NULL;
        MUST(NULL,
             mnt_device_open(&one, &MNT_DEVICE_DESC(.backend = "plain", .force = v)));
        mnt_device_close(one);
    }
    assert_true(n > 30);
    mnt_device_close(dev);
}

/* ---- files and tables that are refused ---- */

static void test_no_backend_file(void **state)
{
    (void)state;
    char text[256];
    sup_temp_path(text, sizeof text, "not-a-library.so");
    FILE *f = fopen(text, "w");
    assert_non_null(f);
    assert_true(fputs("a text\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    MUST_FAIL(NULL, MNT_INVALID, "path is NULL", mnt_backend_load(NULL));
    MUST_FAIL(NULL, MNT_NOT_FOUND, "/no/such/backend.so",
              mnt_backend_load("/no/such/backend.so"));
    MUST_FAIL(NULL, MNT_NOT_FOUND, "write ./ before",
              mnt_backend_load("libmnt_no_such_backend.so"));
    MUST_FAIL(NULL, MNT_IO, "not-a-library.so", mnt_backend_load(text));
    MUST_FAIL(NULL, MNT_IO, "/", mnt_backend_load("/"));
    MUST_FAIL(NULL, MNT_NOT_FOUND, "no function mnt_backend_entry",
              mnt_backend_load(NONE_PLUGIN));
    unlink(text);
}

typedef struct refusal {
    const char *kind;
    mnt_status status;
    const char *part;
} refusal;

static void test_refused_tables(void **state)
{
    (void)state;
    static const refusal list[] = {
        { "abi", MNT_ABI, "ABI 2, this library 1" },
        { "small", MNT_ABI, "bytes, ABI 1 needs" },
        { "null-entry", MNT_INVALID, "the table is NULL" },
        { "null-name", MNT_INVALID, "(null)" },
        { "shouting", MNT_INVALID, "Bad Name" },
        { "auto", MNT_INVALID, "\"auto\"" },
        { "endless", MNT_INVALID, "a-name-of-more-than" },
        { "taken", MNT_INVALID, "the name cpu is taken" },
    };
    int before = mnt_backend_count();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        MUST_FAIL(NULL, list[i].status, list[i].part, load(list[i].kind));
        assert_non_null(strstr(mnt_last_error(NULL), BAD_PLUGIN));
    }
    assert_int_equal(mnt_backend_count(), before);
}

static void test_empty_slots(void **state)
{
    (void)state;
    static const char *const slots[] = {
        "devices", "open",    "close",    "info",    "alloc",  "release",
        "write",   "read",    "supports", "prepare", "submit", "discard",
        "wait",    "profile", "timing",   "variant",
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char kind[32], part[64];
        snprintf(kind, sizeof kind, "null-%s", slots[i]);
        snprintf(part, sizeof part, "the slot %s is NULL", slots[i]);
        MUST_FAIL(NULL, MNT_INVALID, part, load(kind));
    }
}

/* ---- devices that do not open ---- */

static void test_not_opened(void **state)
{
    (void)state;
    static const refusal list[] = {
        { "no-device", MNT_DEVICE, "bad-no-device: no device on this machine" },
        { "negative-devices", MNT_DEVICE, "devices() returned -3" },
        { "open-silent", MNT_DEVICE, "open() failed without a sentence" },
        { "open-odd", MNT_DEVICE, "open() returned 7, which is no status" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        mnt_device *dev = NULL;
        MUST_FAIL(NULL, list[i].status, list[i].part,
                  try_open(name_of(list[i].kind), &dev));
        assert_null(dev);
        assert_int_equal(blocks, 0);
    }
}

/* ---- slots that fail or lie ---- */

static void test_info(void **state)
{
    (void)state;
    mnt_device *dev = open_backend(name_of("info-null"));
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_string_equal(info.name, "");
    assert_string_equal(info.detail, "");
    assert_string_equal(info.backend, "bad-info-null");
    close_device(dev);
}

static void test_alloc(void **state)
{
    (void)state;
    static const refusal list[] = {
        { "alloc-nothing", MNT_DEVICE, "succeeded without a buffer" },
        { "alloc-silent", MNT_NO_MEMORY, "no memory for 60 bytes on bad-alloc-silent" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        mnt_device *dev = open_backend(name_of(list[i].kind));
        product p = record(dev, false);
        MUST_FAIL(dev, list[i].status, list[i].part, mnt_graph_compile(p.g));
        mnt_graph_destroy(p.g);
        close_device(dev);
    }
}

static void test_prepare(void **state)
{
    (void)state;
    mnt_device *dev = open_backend(name_of("prepare-silent"));
    product p = record(dev, false);
    MUST_FAIL(dev, MNT_UNSUPPORTED, "prepare() failed without a sentence",
              mnt_graph_compile(p.g));
    mnt_graph_destroy(p.g); /* must not discard what a failed prepare() left */
    close_device(dev);
}

/* supports() said yes: the sentence of prepare() arrives. */
static void test_supports(void **state)
{
    (void)state;
    mnt_device *dev = open_backend(name_of("supports-all"));
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(2, 3, 8, 8));
    mnt_tensor_keep(mnt_max_pool2d(g, x, NULL));
    MUST_FAIL(dev, MNT_UNSUPPORTED, "max_pool2d", mnt_graph_compile(g));
    mnt_graph_destroy(g);
    close_device(dev);
}

/* A run of n replays: the status, the sentence and what was counted as done. */
static void bad_run(const char *kind, int64_t n, mnt_status want, const char *part,
                    int64_t replays)
{
    mnt_device *dev = open_backend(name_of(kind));
    product p = record(dev, false);
    MUST(dev, mnt_graph_compile(p.g));
    write_inputs(dev, &p);
    MUST_FAIL(dev, want, part, mnt_graph_run(p.g, n));
    assert_int_equal(mnt_graph_replays(p.g), replays);
    mnt_graph_destroy(p.g);
    close_device(dev);
}

static void test_submit(void **state)
{
    (void)state;
    bad_run("submit-less", 5, MNT_DEVICE, "succeeded with 4 of 5 replays done", 4);
    bad_run("submit-more", 5, MNT_DEVICE, "succeeded with 6 of 5 replays done", 5);
    bad_run("submit-negative", 5, MNT_DEVICE, "succeeded with -5 of 5", 0);
    bad_run("submit-silent", 5, MNT_DEVICE, "submit() failed without a sentence", 5);
    bad_run("submit-stopping", 5, MNT_DEVICE, "nobody interrupted it", 0);
}

/* The same in an eager graph, which submits on its own; it must come to an end. */
static void test_submit_eager(void **state)
{
    (void)state;
    static const refusal list[] = {
        { "submit-less", MNT_DEVICE, "succeeded with 0 of 1 replays done" },
        { "submit-stopping", MNT_DEVICE, "nobody interrupted it" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        mnt_device *dev = open_backend(name_of(list[i].kind));
        mnt_graph *g = NULL;
        MUST(dev, mnt_graph_create(&g, dev, NULL, &MNT_GRAPH_DESC(.eager = true)));
        assert_null(mnt_relu(g, mnt_input(g, MNT_F32, MNT_SHAPE(4))));
        MUST_FAIL(dev, list[i].status, list[i].part, mnt_graph_status(g));
        mnt_graph_destroy(g);
        close_device(dev);
    }
}

/* A backend that does nothing is wrong, but the library cannot know: it says OK. */
static void test_nothing_is_run(void **state)
{
    (void)state;
    float y[12];
    mnt_device *dev = open_backend(name_of("submit-nothing"));
    product p = record(dev, true);
    MUST(dev, mnt_graph_compile(p.g));
    write_inputs(dev, &p);
    MUST(dev, mnt_graph_run(p.g, 1));
    MUST(dev, mnt_tensor_read(p.y, y, sizeof y));
    for (int i = 0; i < 12; i++)
        assert_true(y[i] != y[i]); /* the poison of guard mode, not old results */
    mnt_graph_destroy(p.g);
    close_device(dev);
}

static void test_outside(void **state)
{
    (void)state;
    mnt_device *dev = open_backend(name_of("outside"));
    product p = record(dev, true);
    MUST(dev, mnt_graph_compile(p.g));
    write_inputs(dev, &p);
    MUST(dev, mnt_graph_run(p.g, 2));
    MUST_FAIL(dev, MNT_STATE, "after tensor without a name [3,4] was overwritten",
              mnt_graph_check_guards(p.g));
    mnt_graph_destroy(p.g);
    close_device(dev);
}

static void test_wait_and_moves(void **state)
{
    (void)state;
    float y[12];
    mnt_device *dev = open_backend(name_of("wait-failing"));
    MUST_FAIL(dev, MNT_DEVICE, "the cable is out", mnt_device_wait(dev));
    close_device(dev);

    dev = open_backend(name_of("write-silent"));
    product p = record(dev, false);
    MUST(dev, mnt_graph_compile(p.g));
    MUST_FAIL(dev, MNT_DEVICE, "write() failed without a sentence",
              mnt_tensor_write(p.a, y, 15 * sizeof *y));
    mnt_graph_destroy(p.g);
    close_device(dev);

    dev = open_backend(name_of("read-silent"));
    p = record(dev, false);
    MUST(dev, mnt_graph_compile(p.g));
    MUST(dev, mnt_graph_run(p.g, 1));
    MUST_FAIL(dev, MNT_IO, "read() failed without a sentence",
              mnt_tensor_read(p.y, y, sizeof y));
    mnt_graph_destroy(p.g);
    close_device(dev);
}

/* Reading fails while there is a fault to report: the failure is not forgotten. */
static void fault_graph(mnt_device *dev, mnt_graph **g, mnt_tensor **labels)
{
    MUST(dev, mnt_graph_create(g, dev, NULL, NULL));
    mnt_tensor *z = mnt_input(*g, MNT_F32, MNT_SHAPE(2, 3));
    *labels = mnt_input(*g, MNT_I32, MNT_SHAPE(2));
    mnt_tensor_keep(mnt_cross_entropy(*g, z, *labels));
    MUST(dev, mnt_graph_compile(*g));
}

static void test_faults(void **state)
{
    (void)state;
    const int32_t bad_label[2] = { 0, 3 };
    mnt_graph *g = NULL;
    mnt_tensor *labels = NULL;
    mnt_device *dev = open_backend(name_of("read-silent"));
    fault_graph(dev, &g, &labels);
    MUST(dev, mnt_tensor_write(labels, bad_label, sizeof bad_label));
    MUST(dev, mnt_graph_run(g, 1));
    for (int i = 0; i < 2; i++)
        MUST_FAIL(dev, MNT_IO, "read()", mnt_device_wait(dev));
    mnt_graph_destroy(g);
    close_device(dev);

    dev = open_backend(name_of("wild-fault"));
    fault_graph(dev, &g, &labels);
    MUST(dev, mnt_graph_run(g, 1));
    MUST_FAIL(dev, MNT_DEVICE, "fault word", mnt_device_wait(dev));
    MUST(dev, mnt_device_wait(dev));
    mnt_graph_destroy(g);
    close_device(dev);
}

static void test_timing(void **state)
{
    (void)state;
    static const char *const kinds[] = { "timing-null", "timing-silent" };
    for (int i = 0; i < 2; i++) {
        mnt_device *dev = open_backend(name_of(kinds[i]));
        mnt_op_timing row = { .size = sizeof row };
        product p = record(dev, false);
        MUST(dev, mnt_graph_compile(p.g));
        MUST(dev, mnt_device_profile(dev, true));
        MUST(dev, mnt_graph_run(p.g, 1));
        if (i == 0) {
            MUST(dev, mnt_graph_timing(p.g, 0, &row));
            assert_string_equal(row.kernel, "");
            assert_int_equal(row.calls, 1);
        } else {
            MUST_FAIL(dev, MNT_DEVICE, "timing() failed without a sentence",
                      mnt_graph_timing(p.g, 0, &row));
        }
        mnt_graph_destroy(p.g);
        close_device(dev);
    }
}

/* Last: the registry is full afterwards. */
static void test_full(void **state)
{
    (void)state;
    mnt_status st = MNT_OK;
    for (int i = 0; i < 40 && st == MNT_OK; i++) {
        char kind[32];
        snprintf(kind, sizeof kind, "filler-%d", i);
        st = load(kind);
    }
    MUST_FAIL(NULL, MNT_LIMIT, "the registry holds 32", st);
    mnt_device *dev = open_backend("bad-filler-0"); /* nothing else is wrong with it */
    close_device(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),        cmocka_unit_test(test_example_lacks),
        cmocka_unit_test(test_example_force),  cmocka_unit_test(test_no_backend_file),
        cmocka_unit_test(test_refused_tables), cmocka_unit_test(test_empty_slots),
        cmocka_unit_test(test_not_opened),     cmocka_unit_test(test_info),
        cmocka_unit_test(test_alloc),          cmocka_unit_test(test_prepare),
        cmocka_unit_test(test_supports),       cmocka_unit_test(test_submit),
        cmocka_unit_test(test_submit_eager),   cmocka_unit_test(test_nothing_is_run),
        cmocka_unit_test(test_outside),        cmocka_unit_test(test_wait_and_moves),
        cmocka_unit_test(test_faults),         cmocka_unit_test(test_timing),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
