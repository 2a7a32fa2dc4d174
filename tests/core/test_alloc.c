/* SPDX-License-Identifier: MIT */
/*
 * Memory: a step in steady state allocates nothing, through the device's hooks or past
 * them; every allocation that fails becomes MNT_NO_MEMORY; after any failure closing
 * gives everything back.
 */
#include "../support/nets.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* malloc itself, counted: glibc only, and not under a sanitizer, which has its own. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                            \
    !defined(__SANITIZE_THREAD__)
#define COUNT_MALLOC 1
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

static atomic_long mallocs;

void *malloc(size_t n)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    atomic_fetch_add(&mallocs, 1);
    return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    atomic_fetch_add(&mallocs, 1);
    *p = __libc_memalign(align, n);
    return *p ? 0 : 12;
}
#else
#define COUNT_MALLOC 0
static atomic_long mallocs;
#endif

/* Hooks that count what is out and fail the allocation numbered fail_at. */
typedef struct hooks {
    atomic_long made, out, fail_at;
} hooks;

static bool refused(hooks *h)
{
    return atomic_fetch_add(&h->made, 1) + 1 == atomic_load(&h->fail_at);
}

static void *hook_alloc(void *user, size_t bytes)
{
    hooks *h = user;
    void *p = refused(h) ? NULL : malloc(bytes ? bytes : 1);
    if (p)
        atomic_fetch_add(&h->out, 1);
    return p;
}

static void *hook_realloc(void *user, void *p, size_t bytes)
{
    hooks *h = user;
    void *q = refused(h) ? NULL : realloc(p, bytes ? bytes : 1);
    if (q && !p)
        atomic_fetch_add(&h->out, 1);
    return q;
}

static void hook_free(void *user, void *p)
{
    hooks *h = user;
    if (p)
        atomic_fetch_sub(&h->out, 1);
    free(p);
}

static mnt_status open_hooked(mnt_device **dev, hooks *h, int threads)
{
    mnt_allocator a = { hook_alloc, hook_realloc, hook_free, h };
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cpu", .force = "",
                                           .threads = threads, .allocator = &a);
    return mnt_device_open(dev, &desc);
}

static void steady(bool lenet, bool adam, bool no_fusion)
{
    hooks h = { 0 };
    mnt_device *dev = NULL;
    mnt_model *m = NULL;
    mnt_dataset *d = NULL;
    mnt_tensor *loss;
    const net_spec s = {
        .lenet = lenet, .adam = adam, .no_fusion = no_fusion, .batch = 8
    };
    MUST(NULL, open_hooked(&dev, &h, 2));
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_synth_open(&d, dev, 32, 5, MNT_TRAIN));
    mnt_graph *g = net_graph(dev, m, d, &s, &loss);
    float value;
    MUST(dev, mnt_graph_run(g, 2));
    MUST(dev, mnt_tensor_read(loss, &value, sizeof value));
    long hooked = atomic_load(&h.made), raw = atomic_load(&mallocs);
    for (int i = 0; i < 10; i++) {
        mnt_status st = mnt_graph_run(g, 3);
        st = st ? st : mnt_device_wait(dev);
        st = st ? st : mnt_tensor_read(loss, &value, sizeof value);
        assert_int_equal(st, MNT_OK);
    }
    assert_int_equal(atomic_load(&h.made) - hooked, 0);
    assert_int_equal(atomic_load(&mallocs) - raw, 0);
    mnt_graph_destroy(g);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
    mnt_device_close(dev);
    assert_int_equal(atomic_load(&h.out), 0);
}

static void test_steady_state(void **state)
{
    (void)state;
    steady(false, false, false);
    steady(true, false, false);
    steady(true, true, false);
    steady(true, false, true);
    if (COUNT_MALLOC)
        assert_true(atomic_load(&mallocs) > 0);
}

/* A whole life: open, record, compile, run, read, dump. The first failure's status. */
static mnt_status whole_life(hooks *h, bool eager)
{
    mnt_device *dev = NULL;
    mnt_model *m = NULL;
    mnt_dataset *d = NULL;
    mnt_graph *g = NULL;
    char *text = NULL;
    const net_spec spec = { .lenet = true, .adam = true, .batch = 2 };
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = eager, .name = "life");
    mnt_tensor *loss = NULL;
    float value;
    mnt_status st = open_hooked(&dev, h, 2);
    if (!st)
        st = mnt_model_create(&m, dev, NULL);
    if (!st)
        st = mnt_synth_open(&d, dev, 4, 5, MNT_TRAIN);
    if (!st)
        st = mnt_graph_create(&g, dev, m, &desc);
    if (!st) {
        loss = net_record(g, d, &spec);
        st = mnt_graph_compile(g);
    }
    if (!st && !eager)
        st = mnt_graph_run(g, 1);
    if (!st)
        st = mnt_tensor_read(loss, &value, sizeof value);
    if (!st)
        st = mnt_graph_dump(g, &text);
    if (st && st != MNT_NO_MEMORY)
        print_error("%s: %s\n", mnt_status_name(st), mnt_last_error(dev));
    mnt_free(dev, text);
    mnt_graph_destroy(g);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
    mnt_device_close(dev);
    return st;
}

static void every_failure(bool eager)
{
    hooks h = { 0 };
    assert_int_equal(whole_life(&h, eager), MNT_OK);
    assert_int_equal(atomic_load(&h.out), 0);
    long made = atomic_load(&h.made);
    assert_true(made > 50);
    for (long i = 1; i <= made; i++) {
        hooks f = { .fail_at = i };
        mnt_status st = whole_life(&f, eager);
        if (st != MNT_NO_MEMORY)
            fail_msg("allocation %ld of %ld refused: %s", i, made, mnt_status_name(st));
        if (atomic_load(&f.out) != 0)
            fail_msg("allocation %ld of %ld refused: %ld blocks leak", i, made,
                     atomic_load(&f.out));
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    every_failure(false);
}

static void test_no_memory_eager(void **state)
{
    (void)state;
    every_failure(true);
}

/* Recording errors, failed compiles and open failures leave nothing behind. */
static void test_errors_do_not_leak(void **state)
{
    (void)state;
    hooks h = { 0 };
    for (int i = 0; i < 5; i++) {
        mnt_device *dev = NULL;
        mnt_model *m = NULL;
        mnt_graph *g = NULL;
        MUST(NULL, open_hooked(&dev, &h, 1));
        MUST(dev, mnt_model_create(&m, dev, NULL));
        MUST(dev, mnt_graph_create(&g, dev, m, NULL));
        mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(2, 3));
        mnt_tensor *y = mnt_dense(g, x, 4, "fc");
        y = i % 2 ? mnt_matmul(g, y, y) : mnt_add(g, y, x);
        mnt_backward(g, y, NULL);
        mnt_sgd(g, NULL);
        assert_int_equal(mnt_graph_compile(g), MNT_SHAPE);
        mnt_model *none = NULL;
        assert_int_not_equal(mnt_model_load(&none, dev, "/nonexistent/file"), MNT_OK);
        assert_null(none);
        mnt_dataset *data = NULL;
        assert_int_equal(mnt_mnist_open(&data, dev, "/nonexistent", MNT_TRAIN),
                         MNT_NOT_FOUND);
        assert_null(data);
        mnt_graph_destroy(g);
        mnt_model_destroy(m);
        mnt_device_close(dev);
    }
    assert_int_equal(atomic_load(&h.out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady_state),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_memory_eager),
        cmocka_unit_test(test_errors_do_not_leak),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
