/* SPDX-License-Identifier: MIT */
/*
 * The planner never lets two live tensors share memory: random graphs, with branches
 * that live long, run planned, guarded, kept, unfused and eager, and must agree.
 */
#include "../support/support.h"

#include <stdio.h>
#include <stdlib.h>

#define GRAPHS 250
#define MAX_T  40

typedef struct way {
    mnt_graph_desc desc;
    int threads;
    const char *force;
} way;

typedef struct outcome {
    int count;
    mnt_shape shape[MAX_T];
    float *value[MAX_T];
} outcome;

/* Tensors are [a, b] with a, b in {2..5} so that most pairs fit some op. */
static mnt_tensor *pick(mnt_tensor *const t[], int n, kit_rng *r)
{
    return t[kit_below(r, n)];
}

static bool same(const mnt_tensor *a, const mnt_tensor *b)
{
    mnt_shape x = mnt_tensor_shape(a), y = mnt_tensor_shape(b);
    return x.dim[0] == y.dim[0] && x.dim[1] == y.dim[1];
}

/* A view of x, or x. */
static mnt_tensor *view(mnt_graph *g, mnt_tensor *x, kit_rng *r)
{
    const int swap[] = { 1, 0 };
    mnt_shape s = mnt_tensor_shape(x);
    switch (kit_below(r, 6)) {
    case 0:
        return mnt_permute(g, x, swap);
    case 1:
        return s.dim[0] > 2 ? mnt_slice(g, x, 0, 1, s.dim[0] - 1) : x;
    case 2:
        return s.dim[1] > 2 ? mnt_slice(g, x, 1, 0, s.dim[1] - 1) : x;
    case 3:
        return mnt_reshape(g, mnt_contiguous(g, x), MNT_SHAPE(s.dim[1], s.dim[0]));
    default:
        return x;
    }
}

static mnt_tensor *random_op(mnt_graph *g, mnt_tensor *const t[], int n, kit_rng *r)
{
    mnt_tensor *a = view(g, pick(t, n, r), r), *b = view(g, pick(t, n, r), r);
    mnt_shape sa = mnt_tensor_shape(a), sb = mnt_tensor_shape(b);
    switch (kit_below(r, 8)) {
    case 0:
        return mnt_relu(g, a);
    case 1:
        return mnt_scale(g, a, 0.75f);
    case 2:
        return mnt_softmax(g, a);
    case 3:
        if (sa.dim[1] == sb.dim[0])
            return mnt_matmul(g, a, b);
        return mnt_matmul_ex(g, a, a, false, true);
    case 4:
        return mnt_bias_add(g, a, mnt_sum(g, a, 0));
    case 5:
        return same(a, b) ? mnt_add(g, a, b) : mnt_mul(g, a, a);
    case 6:
        return same(a, b) ? mnt_sub(g, a, b) : mnt_contiguous(g, a);
    default:
        return mnt_relu(g, mnt_add(g, a, mnt_mean(g, a, 0)));
    }
}

/* Records graph `seed`; the tensors to compare are noted as kept. */
static int record(mnt_graph *g, mnt_device *dev, uint64_t seed, mnt_tensor *kept[])
{
    kit_rng r = { seed };
    mnt_tensor *t[MAX_T];
    int n = 0, count = 0;
    for (; n < 3; n++) {
        t[n] = mnt_input(g, MNT_F32,
                         MNT_SHAPE(2 + kit_below(&r, 4), 2 + kit_below(&r, 4)));
        sup_write_random(dev, t[n], &r);
        mnt_tensor_require_grad(t[n]);
    }
    int ops = 4 + (int)kit_below(&r, 20);
    for (int i = 0; i < ops; i++, n++)
        t[n] = random_op(g, t, n, &r);
    mnt_tensor *y = mnt_sum(g, t[n - 1], MNT_ALL_AXES);
    for (int i = 3; i < n; i++)
        if (kit_below(&r, 4) == 0 || i == n - 1)
            kept[count++] = t[i];
    kept[count++] = y;
    mnt_tensor *leaf = mnt_add(g, t[0], t[0]);
    y = mnt_add(g, y, mnt_sum(g, leaf, MNT_ALL_AXES));
    mnt_backward(g, y, NULL);
    for (int i = 0; i < 3; i++)
        if (mnt_tensor_grad(t[i]))
            kept[count++] = mnt_tensor_grad(t[i]);
    for (int i = 0; i < count; i++)
        mnt_tensor_keep(kept[i]);
    return count;
}

static void run(uint64_t seed, const way *w, mnt_device *dev, outcome *o)
{
    mnt_graph *g = NULL;
    mnt_tensor *kept[MAX_T];
    MUST(dev, mnt_graph_create(&g, dev, NULL, &w->desc));
    o->count = record(g, dev, seed, kept);
    MUST(dev, mnt_graph_compile(g));
    for (int i = 0; !w->desc.eager && i < 2; i++)
        MUST(dev, mnt_graph_run(g, 1));
    if (w->desc.guard)
        MUST(dev, mnt_graph_check_guards(g));
    uint64_t arena = 0, unplanned = 0;
    mnt_graph_memory(g, &arena, &unplanned);
    assert_true(arena <= unplanned || w->desc.guard);
    for (int i = 0; i < o->count; i++) {
        o->shape[i] = mnt_tensor_shape(kept[i]);
        o->value[i] = sup_read(dev, kept[i]);
    }
    mnt_graph_destroy(g);
}

static void release(outcome *o)
{
    for (int i = 0; i < o->count; i++)
        free(o->value[i]);
}

static void test_random_graphs(void **state)
{
    (void)state;
    const way ways[] = {
        { MNT_GRAPH_DESC(.keep_all = true, .no_fusion = true), 1, SUP_REFERENCE },
        { MNT_GRAPH_DESC(.name = "planned"), 2, "" },
        { MNT_GRAPH_DESC(.guard = true), 2, "" },
        { MNT_GRAPH_DESC(.guard = true, .no_fusion = true), 1, "" },
        { MNT_GRAPH_DESC(.eager = true), 1, "" },
    };
    enum { WAYS = sizeof ways / sizeof *ways };
    mnt_device *dev[WAYS];
    for (int i = 0; i < WAYS; i++)
        dev[i] = sup_open(ways[i].force, ways[i].threads);
    for (uint64_t seed = 1; seed <= GRAPHS; seed++) {
        outcome want, got;
        run(seed, &ways[0], dev[0], &want);
        for (int i = 1; i < WAYS; i++) {
            run(seed, &ways[i], dev[i], &got);
            assert_int_equal(got.count, want.count);
            for (int k = 0; k < got.count; k++) {
                char what[64];
                snprintf(what, sizeof what, "graph %d, way %d, tensor %d", (int)seed, i,
                         k);
                sup_assert_bits(what, MNT_F32, want.shape[k], want.value[k],
                                got.value[k]);
            }
            release(&got);
        }
        release(&want);
    }
    for (int i = 0; i < WAYS; i++)
        mnt_device_close(dev[i]);
}

/* Memory is shared where it may be: a long chain needs few buffers, not one each. */
static void test_reuse(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(1000));
    for (int i = 0; i < 30; i++)
        x = mnt_scale(g, x, 1.5f);
    mnt_tensor_keep(x);
    MUST(dev, mnt_graph_compile(g));
    uint64_t arena = 0, unplanned = 0;
    mnt_graph_memory(g, &arena, &unplanned);
    assert_true(unplanned >= 30 * 4000);
    assert_true(arena <= 4 * 4096);
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

/* Sizes whose sum does not fit are no small arena and no small block. */
static void test_huge(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    const mnt_shape huge = MNT_SHAPE((int64_t)1 << 58);
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    for (int i = 0; i < 16; i++)
        mnt_fill(g, huge, 1);
    MUST_FAIL(dev, MNT_NO_MEMORY, "2^62", mnt_graph_compile(g));
    mnt_graph_destroy(g);
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, m, NULL));
    for (int i = 0; i < 16; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        mnt_param(g, name, huge, (mnt_init){ .kind = MNT_INIT_CONSTANT, .a = 1 });
    }
    MUST_FAIL(dev, MNT_NO_MEMORY, "2^62", mnt_graph_compile(g));
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
    mnt_device_close(dev);
}

/* Keeping comes before compile, a name may come after. */
static void test_after_compile(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    mnt_graph *g = NULL;
    float v[4];
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_tensor *y = mnt_relu(g, mnt_input(g, MNT_F32, MNT_SHAPE(4)));
    mnt_tensor_set_name(y, "short");
    mnt_scale(g, y, 2);
    MUST(dev, mnt_graph_compile(g));
    mnt_tensor_keep(y);
    mnt_tensor_set_name(y, "another name");
    MUST(dev, mnt_graph_run(g, 1));
    MUST_FAIL(dev, MNT_STATE, "another name", mnt_tensor_read(y, v, sizeof v));
    mnt_op_timing t = { .size = sizeof t };
    MUST(dev, mnt_graph_timing(g, 0, &t));
    assert_string_equal(t.label, "another name");
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_after_compile),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
