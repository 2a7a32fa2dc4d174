/* SPDX-License-Identifier: MIT */
/*
 * Graphs beside each other: the same op with the same number of elements but another
 * shape, scalar or stride, in one program and in successive ones; memory that comes
 * back from a destroyed graph; failures that are reported once.
 */
#include "api.h"
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- twins: ops that a weak cache key would take for each other ---- */

typedef struct twin {
    const char *name;
    mnt_tensor *(*record)(mnt_graph *g, mnt_tensor *x); /* x: [4,6,6] */
} twin;

static mnt_tensor *flat(mnt_graph *g, mnt_tensor *x, int64_t rows, int64_t cols)
{
    return mnt_reshape(g, x, MNT_SHAPE(rows, cols));
}

static mnt_tensor *images(mnt_graph *g, mnt_tensor *x, int64_t h, int64_t w)
{
    return mnt_reshape(g, x, MNT_SHAPE(1, 144 / (h * w), h, w));
}

#define TWIN(id, expression)                                                           \
    static mnt_tensor *twin_##id(mnt_graph *g, mnt_tensor *x)                          \
    {                                                                                  \
        return expression;                                                             \
    }
TWIN(scale_2, mnt_scale(g, x, 2))
TWIN(scale_3, mnt_scale(g, x, 3))
TWIN(fill_1, mnt_add(g, x, mnt_fill(g, MNT_SHAPE(4, 6, 6), 1)))
TWIN(fill_2, mnt_add(g, x, mnt_fill(g, MNT_SHAPE(4, 6, 6), 2)))
TWIN(sum_0, mnt_sum(g, flat(g, x, 12, 12), 0))
TWIN(sum_1, mnt_sum(g, flat(g, x, 12, 12), 1))
TWIN(sum_wide, mnt_sum(g, flat(g, x, 6, 24), 1))
TWIN(sum_tall, mnt_sum(g, flat(g, x, 24, 6), 0))
TWIN(mean_0, mnt_mean(g, flat(g, x, 12, 12), 0))
TWIN(mean_1, mnt_mean(g, flat(g, x, 12, 12), 1))
TWIN(argmax_0, mnt_argmax(g, flat(g, x, 12, 12), 0))
TWIN(argmax_1, mnt_argmax(g, flat(g, x, 12, 12), 1))
TWIN(softmax_wide, mnt_softmax(g, flat(g, x, 6, 24)))
TWIN(softmax_tall, mnt_softmax(g, flat(g, x, 24, 6)))
TWIN(matmul_nn, mnt_matmul_ex(g, flat(g, x, 12, 12), flat(g, x, 12, 12), false, false))
TWIN(matmul_tn, mnt_matmul_ex(g, flat(g, x, 12, 12), flat(g, x, 12, 12), true, false))
TWIN(matmul_nt, mnt_matmul_ex(g, flat(g, x, 12, 12), flat(g, x, 12, 12), false, true))
TWIN(matmul_wide, mnt_matmul_ex(g, flat(g, x, 6, 24), flat(g, x, 6, 24), false, true))
TWIN(matmul_tall, mnt_matmul_ex(g, flat(g, x, 6, 24), flat(g, x, 6, 24), true, false))
TWIN(copy_plain, mnt_contiguous(g, mnt_slice(g, flat(g, x, 12, 12), 0, 3, 6)))
TWIN(copy_column, mnt_contiguous(g, mnt_slice(g, flat(g, x, 12, 12), 1, 3, 6)))
TWIN(copy_column_5, mnt_contiguous(g, mnt_slice(g, flat(g, x, 12, 12), 1, 5, 6)))
TWIN(copy_transposed,
     mnt_contiguous(g, mnt_permute(g, flat(g, x, 6, 24), (int[]){ 1, 0 })))
TWIN(copy_transposed_tall,
     mnt_contiguous(g, mnt_permute(g, flat(g, x, 24, 6), (int[]){ 1, 0 })))
TWIN(stretched_row,
     mnt_mul(g, flat(g, x, 12, 12), mnt_slice(g, flat(g, x, 12, 12), 0, 2, 1)))
TWIN(stretched_column,
     mnt_mul(g, flat(g, x, 12, 12), mnt_slice(g, flat(g, x, 12, 12), 1, 2, 1)))
TWIN(pool_2, mnt_max_pool2d(g, images(g, x, 6, 6), NULL))
TWIN(pool_wide, mnt_max_pool2d(g, images(g, x, 4, 12), NULL))
TWIN(pool_3x1, mnt_max_pool2d(g, images(g, x, 6, 6),
                              &MNT_WINDOW_DESC(.kernel_h = 3, .kernel_w = 1)))
TWIN(pool_1x3, mnt_max_pool2d(g, images(g, x, 6, 6),
                              &MNT_WINDOW_DESC(.kernel_h = 1, .kernel_w = 3)))
TWIN(conv_plain,
     mnt_conv2d(g, images(g, x, 6, 6), mnt_reshape(g, x, MNT_SHAPE(4, 4, 3, 3)), NULL))
TWIN(conv_stride,
     mnt_conv2d(g, images(g, x, 6, 6), mnt_reshape(g, x, MNT_SHAPE(4, 4, 3, 3)),
                &MNT_CONV2D_DESC(.stride_h = 2, .stride_w = 2, .pad_h = 2, .pad_w = 2)))
TWIN(conv_dilated,
     mnt_conv2d(g, images(g, x, 6, 6), mnt_reshape(g, x, MNT_SHAPE(4, 4, 3, 3)),
                &MNT_CONV2D_DESC(.dilation_h = 2, .dilation_w = 2, .pad_h = 1,
                                 .pad_w = 1)))
TWIN(cast_i32, mnt_cast(g, mnt_scale(g, x, 100), MNT_I32, false))
TWIN(cast_u8, mnt_cast(g, mnt_scale(g, x, 100), MNT_U8, false))
TWIN(noise_1, mnt_add(g, x, mnt_uniform(g, MNT_SHAPE(4, 6, 6), 0, 1, 1, 1)))
TWIN(noise_2, mnt_add(g, x, mnt_uniform(g, MNT_SHAPE(4, 6, 6), 0, 1, 1, 2)))
TWIN(noise_3, mnt_add(g, x, mnt_uniform(g, MNT_SHAPE(4, 6, 6), 0, 2, 2, 1)))

#define T(id)                                                                          \
    {                                                                                  \
#id, twin_##id                                                                 \
    }
static const twin twins[] = {
    T(scale_2),         T(scale_3),
    T(fill_1),          T(fill_2),
    T(sum_0),           T(sum_1),
    T(sum_wide),        T(sum_tall),
    T(mean_0),          T(mean_1),
    T(argmax_0),        T(argmax_1),
    T(softmax_wide),    T(softmax_tall),
    T(matmul_nn),       T(matmul_tn),
    T(matmul_nt),       T(matmul_wide),
    T(matmul_tall),     T(copy_plain),
    T(copy_column),     T(copy_column_5),
    T(copy_transposed), T(copy_transposed_tall),
    T(stretched_row),   T(stretched_column),
    T(pool_2),          T(pool_wide),
    T(pool_3x1),        T(pool_1x3),
    T(conv_plain),      T(conv_stride),
    T(conv_dilated),    T(cast_i32),
    T(cast_u8),         T(noise_1),
    T(noise_2),         T(noise_3),
};
#undef T
#define TWINS ((int)(sizeof twins / sizeof *twins))

/* One twin alone, in a graph of its own. */
static void *alone(api *a, mnt_device *dev, int i, mnt_dtype *dtype, int64_t *count)
{
    mnt_graph *g = api_graph(a, dev, NULL, NULL);
    mnt_tensor *y = twins[i].record(g, api_random(a, g, MNT_SHAPE(4, 6, 6), 8));
    mnt_tensor_keep(y);
    api_compile(a, dev, g);
    api_run_graph(a, dev, g, 1);
    void *v = api_read(a, dev, y);
    *dtype = mnt_tensor_dtype(y);
    *count = mnt_tensor_count(y);
    mnt_graph_destroy(g);
    return v;
}

typedef struct expected {
    bool lacked[TWINS]; /* by the subject */
    void *v[TWINS];
    mnt_dtype dtype[TWINS];
    int64_t count[TWINS];
} expected;

/* Whether the subject has no kernel for a twin. */
static bool lacks(api *a, mnt_device *dev, int i)
{
    mnt_graph *g = api_graph(a, dev, NULL, NULL);
    mnt_tensor *y = twins[i].record(g, api_random(a, g, MNT_SHAPE(4, 6, 6), 8));
    mnt_tensor_keep(y);
    bool lacked = !api_stopped(a) && mnt_graph_compile(g) == MNT_UNSUPPORTED;
    mnt_graph_destroy(g);
    return lacked;
}

/* By the reference kernels, each twin on a device of its own. */
static expected *expect_twins(api *a)
{
    static const contract_subject reference = { .backend = "cpu",
                                                .force = "all=ref",
                                                .threads = 1 };
    expected *e = kit_alloc(sizeof *e);
    mnt_device *own = api_device(a);
    for (int i = 0; i < TWINS && !api_stopped(a); i++)
        e->lacked[i] = lacks(a, own, i);
    mnt_device_close(own);
    for (int i = 0; i < TWINS && !api_stopped(a); i++) {
        mnt_device *dev = api_device_of(a, &reference);
        e->v[i] = alone(a, dev, i, &e->dtype[i], &e->count[i]);
        mnt_device_close(dev);
    }
    return e;
}

static void free_twins(expected *e)
{
    for (int i = 0; i < TWINS; i++)
        free(e->v[i]);
    free(e);
}

static void twin_same(api *a, const expected *e, int i, const char *where,
                      const void *got)
{
    char what[128];
    snprintf(what, sizeof what, "%s, %s", twins[i].name, where);
    if (!api_stopped(a))
        api_same(a, what, e->dtype[i], e->v[i], got, e->count[i]);
}

API_CHECK(twins_in_one_program)
{
    expected *e = expect_twins(a);
    mnt_device *dev = api_device(a);
    for (int backwards = 0; backwards < 2 && !api_stopped(a); backwards++) {
        mnt_tensor *y[TWINS] = { 0 };
        mnt_graph *g = api_graph(a, dev, NULL, NULL);
        mnt_tensor *x = api_random(a, g, MNT_SHAPE(4, 6, 6), 8);
        for (int k = 0; k < TWINS && !api_stopped(a); k++) {
            int i = backwards ? TWINS - 1 - k : k;
            if (e->lacked[i])
                continue;
            y[i] = twins[i].record(g, x);
            mnt_tensor_keep(y[i]);
        }
        api_compile(a, dev, g);
        api_run_graph(a, dev, g, 1);
        for (int i = 0; i < TWINS && !api_stopped(a); i++) {
            if (e->lacked[i])
                continue;
            void *v = api_read(a, dev, y[i]);
            twin_same(a, e, i,
                      backwards ? "in one program with its like, recorded backwards"
                                : "in one program with its like",
                      v);
            free(v);
        }
        mnt_graph_destroy(g);
    }
    mnt_device_close(dev);
    free_twins(e);
}

API_CHECK(twins_in_successive_programs)
{
    expected *e = expect_twins(a);
    mnt_device *dev = api_device(a);
    for (int k = 0; k < 3 * TWINS && !api_stopped(a); k++) {
        int i = k < TWINS ? k : k < 2 * TWINS ? 2 * TWINS - 1 - k : k * 7 % TWINS;
        mnt_dtype dtype;
        int64_t count;
        if (e->lacked[i])
            continue;
        void *v = alone(a, dev, i, &dtype, &count);
        twin_same(a, e, i, "in a program after those of its like", v);
        free(v);
    }
    mnt_device_close(dev);
    free_twins(e);
}

API_CHECK(twins_eager)
{
    expected *e = expect_twins(a);
    mnt_device *dev = api_device(a);
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = true);
    mnt_graph *g = api_graph(a, dev, NULL, &desc);
    mnt_tensor *x = api_random(a, g, MNT_SHAPE(4, 6, 6), 8);
    for (int k = 0; k < 2 * TWINS && !api_stopped(a); k++) {
        int i = k * 5 % TWINS;
        if (e->lacked[i])
            continue;
        void *v = api_read(a, dev, twins[i].record(g, x));
        twin_same(a, e, i, "executed at once among its like", v);
        free(v);
    }
    mnt_graph_destroy(g);
    mnt_device_close(dev);
    free_twins(e);
}

/* ---- memory that comes back ---- */

API_CHECK(inputs_start_zeroed)
{
    mnt_device *dev = api_device(a);
    static const int64_t sizes[] = { 7, 1000, 4096, 100000, 300 };
    for (int turn = 0; turn < 15 && !api_stopped(a); turn++) {
        int64_t n = sizes[turn % 5];
        mnt_graph *g = api_graph(a, dev, NULL, NULL);
        mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(n));
        mnt_tensor *y = mnt_accumulate(g, mnt_scale(g, x, 2));
        api_compile(a, dev, g);
        api_run_graph(a, dev, g, 2);
        float *v = api_read(a, dev, y), *w = api_read(a, dev, x);
        float *zero = kit_alloc((size_t)n * sizeof *zero);
        api_same(a, "an input that was never written, in memory used before", MNT_F32,
                 zero, w, n);
        api_same(a, "a running total of it", MNT_F32, zero, v, n);
        for (int64_t i = 0; i < 4 * n; i++)
            ((unsigned char *)w)[i] = 0xff;
        if (!api_stopped(a))
            api_ok(a, dev, mnt_tensor_write(x, w, (size_t)n * 4), "mnt_tensor_write");
        api_run_graph(a, dev, g, 1);
        free(v);
        free(w);
        free(zero);
        mnt_graph_destroy(g);
    }
    mnt_device_close(dev);
}

/* ---- one group of threads taken for a whole row, or not run at all ---- */

API_CHECK(ones_of_every_length)
{
    static const int64_t lengths[] = {
        1,    2,    3,    4,    5,    7,    8,     9,     15,    16,   17,   31,
        32,   33,   63,   64,   65,   95,   96,    97,    127,   128,  129,  255,
        256,  257,  511,  512,  513,  767,  768,   769,   896,   1023, 1024, 1025,
        2047, 2049, 4095, 4096, 4097, 8193, 12289, 65535, 65536, 65537
    };
    mnt_device *dev = api_device(a);
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths && !api_stopped(a); k++) {
        int64_t n = lengths[k];
        char what[96];
        mnt_graph_desc desc = MNT_GRAPH_DESC(.guard = true);
        mnt_graph *g = api_graph(a, dev, NULL, &desc);
        mnt_tensor *x = mnt_fill(g, MNT_SHAPE(3, n), 1);
        mnt_tensor *t = mnt_fill(g, MNT_SHAPE(n, 3), 1);
        mnt_tensor *y[5] = { mnt_sum(g, x, 1), mnt_sum(g, t, 0), mnt_mean(g, x, 1),
                             mnt_sum(g, mnt_softmax(g, x), 1), mnt_matmul(g, x, t) };
        for (int i = 0; i < 5; i++)
            mnt_tensor_keep(y[i]);
        api_compile(a, dev, g);
        api_run_graph(a, dev, g, 2);
        const float want[] = { (float)n, (float)n, 1, 1, (float)n };
        static const char *const names[] = { "sum", "sum of columns", "mean",
                                             "sum of softmax", "matmul" };
        for (int i = 0; i < 5 && !api_stopped(a); i++) {
            float *v = api_read(a, dev, y[i]);
            for (int64_t e = 0; e < mnt_tensor_count(y[i]); e++) {
                float off = v[e] - want[i];
                /* The quotients of softmax round, the sums of ones do not. */
                float bound = i == 3 ? 1e-3f : 0;
                snprintf(what, sizeof what, "%s over %lld ones", names[i],
                         (long long)n);
                api_expect(a, off <= bound && off >= -bound,
                           "%s: element %lld is %.9g, expected %.9g", what,
                           (long long)e, (double)v[e], (double)want[i]);
            }
            free(v);
        }
        mnt_graph_destroy(g);
    }
    mnt_device_close(dev);
}

/* ---- the upstream gradient ---- */

typedef struct upstream {
    mnt_device *dev;
    mnt_graph *g;
    mnt_tensor *x, *w, *dy;
} upstream;

static void upstream_open(api *a, upstream *u)
{
    static const int32_t label[6] = { 0, 3, 1, 2, 3, 0 };
    u->dev = api_device(a);
    u->g = api_graph(a, u->dev, NULL, NULL);
    u->x = api_random(a, u->g, MNT_SHAPE(6, 12), 1);
    u->w = api_random(a, u->g, MNT_SHAPE(12, 4), 2);
    mnt_tensor_require_grad(u->x);
    mnt_tensor_require_grad(u->w);
    mnt_tensor *z = mnt_matmul(u->g, mnt_relu(u->g, u->x), u->w);
    mnt_tensor *labels = mnt_constant(u->g, MNT_I32, MNT_SHAPE(6), label);
    mnt_tensor *p = mnt_softmax(u->g, mnt_mul(u->g, z, z));
    mnt_tensor *y = mnt_add(u->g, mnt_cross_entropy(u->g, z, labels),
                            mnt_mean(u->g, mnt_mul(u->g, p, z), MNT_ALL_AXES));
    u->dy = mnt_input(u->g, MNT_F32, (mnt_shape){ 0 });
    mnt_backward(u->g, y, u->dy);
    api_compile(a, u->dev, u->g);
}

/* Powers of two scale every gradient exactly; 0 makes it 0. */
API_CHECK(upstream_gradient)
{
    upstream u;
    upstream_open(a, &u);
    static const float factors[] = { 1, 2, -4, 0.5f, 0, 1 };
    float *one[2] = { NULL, NULL };
    for (int k = 0; k < 6 && !api_stopped(a); k++) {
        float dy = factors[k];
        char what[96];
        api_ok(a, u.dev, mnt_tensor_write(u.dy, &dy, sizeof dy), "mnt_tensor_write");
        api_run_graph(a, u.dev, u.g, 1);
        for (int i = 0; i < 2 && !api_stopped(a); i++) {
            mnt_tensor *t = mnt_tensor_grad(i ? u.w : u.x);
            int64_t n = mnt_tensor_count(t);
            float *v = api_read(a, u.dev, t);
            if (!one[i])
                one[i] = api_read(a, u.dev, t);
            snprintf(what, sizeof what,
                     "the gradient of %s for an upstream gradient of %g", i ? "w" : "x",
                     (double)dy);
            for (int64_t e = 0; e < n; e++) {
                float want = one[i][e] * dy;
                api_expect(a, v[e] == want, "%s: element %lld is %.9g, expected %.9g",
                           what, (long long)e, (double)v[e], (double)want);
            }
            free(v);
        }
    }
    free(one[0]);
    free(one[1]);
    mnt_graph_destroy(u.g);
    mnt_device_close(u.dev);
}

/* ---- failures are reported once, and work goes on ---- */

API_CHECK(fault_reported_once)
{
    mnt_device *dev = api_device(a);
    mnt_graph *g = api_graph(a, dev, NULL, NULL);
    const int32_t good[4] = { 0, 1, 2, 0 }, bad[4] = { 0, 1, 3, -1 };
    mnt_tensor *z = api_random(a, g, MNT_SHAPE(4, 3), 4);
    mnt_tensor *labels = mnt_input(g, MNT_I32, MNT_SHAPE(4));
    mnt_tensor *loss = mnt_cross_entropy(g, z, labels);
    float first = 0, again = 0;
    mnt_tensor_keep(loss);
    api_compile(a, dev, g);
    for (int i = 0; i < 6 && !api_stopped(a); i++) {
        const int32_t *w = i % 2 ? bad : good;
        api_ok(a, dev, mnt_tensor_write(labels, w, sizeof good), "mnt_tensor_write");
        api_run_graph(a, dev, g, 3);
        mnt_status st = mnt_device_wait(dev);
        api_expect(a, st == (i % 2 ? MNT_LABEL : MNT_OK),
                   "mnt_device_wait after %s labels: %s \"%.200s\"",
                   i % 2 ? "bad" : "good", mnt_status_name(st),
                   st ? mnt_last_error(dev) : "");
        if (i % 2) {
            api_expect(a, strstr(mnt_last_error(dev), "label 3 of row 2") != NULL,
                       "the lowest bad label is 3 of row 2: \"%.200s\"",
                       mnt_last_error(dev));
            st = mnt_device_wait(dev);
            api_expect(a, st == MNT_OK, "a fault is reported again: %s",
                       mnt_status_name(st));
            continue;
        }
        if (!api_stopped(a))
            api_ok(a, dev, mnt_tensor_read(loss, &again, sizeof again),
                   "mnt_tensor_read");
        first = i == 0 ? again : first;
        api_same(a, "the loss of good labels after a fault", MNT_F32, &first, &again,
                 1);
    }
    mnt_graph_destroy(g);
    mnt_device_close(dev);
}
