/* SPDX-License-Identifier: MIT */
/*
 * The order of every rounding, spelled out once more from docs/numerics.md in plain
 * loops over fmaf(), and compared bit by bit with the reference set. The oracle says
 * that a result is right; this says that it is the one the contract names.
 *
 * Values stay in the normal range, so flushing subnormals plays no part here.
 */
#include "../support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static mnt_device *dev;

static int open_device(void **state)
{
    (void)state;
    dev = sup_open(SUP_REFERENCE, 1);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    mnt_device_close(dev);
    return 0;
}

static float *random_array(int64_t n, uint64_t seed)
{
    kit_rng r = { seed };
    float *x = kit_alloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = kit_float(&r);
    return x;
}

/* Runs g: x and y inputs with values, gives back what `outs` hold. */
static void run_graph(mnt_graph *g, mnt_tensor *const out[], float *v[], int n)
{
    for (int i = 0; i < n; i++) {
        assert_non_null(out[i]);
        mnt_tensor_keep(out[i]);
    }
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, 1));
    for (int i = 0; i < n; i++)
        v[i] = sup_read(dev, out[i]);
}

static mnt_graph *new_graph(void)
{
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    return g;
}

static mnt_tensor *marked(mnt_graph *g, mnt_shape shape, const float *v)
{
    mnt_tensor *t = mnt_constant(g, MNT_F32, shape, v);
    mnt_tensor_require_grad(t);
    return t;
}

/* ---- C2, C3: products in chunks of K ---- */

/* sum_k a[k sa] b[k sb] in chunks of `chunk`. */
static float chunked(const float *a, int64_t sa, const float *b, int64_t sb, int64_t n,
                     int64_t chunk)
{
    float y = 0;
    for (int64_t from = 0; from < n; from += chunk) {
        float s = 0;
        for (int64_t k = from; k < n && k < from + chunk; k++)
            s = fmaf(a[k * sa], b[k * sb], s);
        y += s;
    }
    return y;
}

static int64_t chunk_of(int64_t k)
{
    int64_t c = (k + 255) / 256;
    return k ? 16 * (((k + c - 1) / c + 15) / 16) : 1;
}

static void one_dense(int64_t m, int64_t n, int64_t k)
{
    float *x = random_array(m * k, 1), *w = random_array(k * n, 2);
    float *b = random_array(n, 3), *dy = random_array(m * n, 4), *got[4];
    mnt_model *model = NULL;
    mnt_graph *g = NULL;
    MUST(dev, mnt_model_create(&model, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, model, NULL));
    mnt_tensor *tx = marked(g, MNT_SHAPE(m, k), x);
    mnt_tensor *y = mnt_dense(g, tx, n, "fc");
    mnt_backward(g, y, mnt_constant(g, MNT_F32, MNT_SHAPE(m, n), dy));
    mnt_tensor *tw = mnt_model_find(model, "fc.weight");
    mnt_tensor *tb = mnt_model_find(model, "fc.bias");
    mnt_tensor_keep(y);
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_tensor_write(tw, w, (size_t)(k * n) * 4));
    MUST(dev, mnt_tensor_write(tb, b, (size_t)n * 4));
    MUST(dev, mnt_graph_run(g, 1));
    mnt_tensor *out[] = { y, mnt_tensor_grad(tx), mnt_tensor_grad(tw),
                          mnt_tensor_grad(tb) };
    for (int i = 0; i < 4; i++)
        got[i] = sup_read(dev, out[i]);
    float *wy = kit_alloc((size_t)(m * n) * 4), *wx = kit_alloc((size_t)(m * k) * 4);
    float *ww = kit_alloc((size_t)(k * n) * 4), *wb = kit_alloc((size_t)n * 4);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            wy[i * n + j] = chunked(x + i * k, 1, w + j, n, k, chunk_of(k)) + b[j];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++)
            wx[i * k + j] = chunked(dy + i * n, 1, w + j * n, 1, n, chunk_of(n));
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            ww[i * n + j] = chunked(x + i, k, dy + j, n, m, 64);
    const float one = 1;
    for (int64_t j = 0; j < n; j++)
        wb[j] = chunked(dy + j, n, &one, 0, m, 64);
    sup_assert_bits("dense y", MNT_F32, MNT_SHAPE(m, n), wy, got[0]);
    sup_assert_bits("dense dx", MNT_F32, MNT_SHAPE(m, k), wx, got[1]);
    sup_assert_bits("dense dw", MNT_F32, MNT_SHAPE(k, n), ww, got[2]);
    sup_assert_bits("dense db", MNT_F32, MNT_SHAPE(n), wb, got[3]);
    float *all[] = { x, w, b, dy, wy, wx, ww, wb, got[0], got[1], got[2], got[3] };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    mnt_graph_destroy(g);
    mnt_model_destroy(model);
}

static void test_dense(void **state)
{
    (void)state;
    static const int64_t k[] = { 1, 10, 128, 255, 256, 257, 511, 513, 784, 1024, 1100 };
    static const int64_t m[] = { 1, 63, 64, 65, 130, 256 };
    assert_int_equal(chunk_of(784), 208);
    assert_int_equal(chunk_of(1024), 256);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
        one_dense(3, 4, k[i]);
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        one_dense(m[i], 3, 5);
    one_dense(2, 300, 7);
}

/* ---- D: reductions ---- */

static float rule_d(const float *x, int64_t n)
{
    if (n > 4096) {
        int64_t blocks = (n + 4095) / 4096;
        float *part = kit_alloc((size_t)blocks * sizeof *part);
        for (int64_t i = 0; i < blocks; i++)
            part[i] = rule_d(x + i * 4096, i + 1 < blocks ? 4096 : n - i * 4096);
        float s = rule_d(part, blocks);
        free(part);
        return s;
    }
    float lane[32] = { 0 };
    for (int64_t i = 0; i < n; i++)
        lane[i % 32] += x[i];
    for (int h = 16; h > 0; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

static void test_sums(void **state)
{
    (void)state;
    static const int64_t n[] = { 1,    2,    10,   31,   32,   33,    64,     100,
                                 1000, 4095, 4096, 4097, 8192, 12345, 131072, 135169 };
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        float *x = random_array(n[i], 5), *got[2];
        mnt_graph *g = new_graph();
        mnt_tensor *t = mnt_constant(g, MNT_F32, MNT_SHAPE(n[i]), x);
        mnt_tensor *out[] = { mnt_sum(g, t, 0), mnt_mean(g, t, 0) };
        run_graph(g, out, got, 2);
        float want = rule_d(x, n[i]), mean = want / (float)n[i];
        sup_assert_bits("sum", MNT_F32, (mnt_shape){ 0 }, &want, got[0]);
        sup_assert_bits("mean", MNT_F32, (mnt_shape){ 0 }, &mean, got[1]);
        mnt_graph_destroy(g);
        free(x);
        free(got[0]);
        free(got[1]);
    }
}

/* ---- C4 to C6: convolution ---- */

typedef struct geometry {
    int64_t n, c, h, w, o, kh, kw;
    int s, p, d;
    int64_t oh, ow;
} geometry;

static int64_t conv_chunk(const geometry *q)
{
    int64_t channels = 512 / (q->kh * q->kw);
    return channels < 1 ? 1 : channels;
}

static float forward_at(const geometry *q, const float *x, const float *w, int64_t n,
                        int64_t o, int64_t p, int64_t r)
{
    float y = 0;
    for (int64_t from = 0; from < q->c; from += conv_chunk(q)) {
        float s = 0;
        for (int64_t c = from; c < q->c && c < from + conv_chunk(q); c++)
            for (int64_t i = 0; i < q->kh; i++)
                for (int64_t j = 0; j < q->kw; j++) {
                    int64_t a = p * q->s - q->p + i * q->d;
                    int64_t b = r * q->s - q->p + j * q->d;
                    if (a < 0 || a >= q->h || b < 0 || b >= q->w)
                        continue;
                    s = fmaf(x[((n * q->c + c) * q->h + a) * q->w + b],
                             w[((o * q->c + c) * q->kh + i) * q->kw + j], s);
                }
        y += s;
    }
    return y;
}

/* C5: the positions of a plane in 2x2 blocks; returns how many. */
static int64_t block_order(int64_t oh, int64_t ow, int64_t *at)
{
    int64_t n = 0;
    for (int64_t by = 0; by < oh; by += 2)
        for (int64_t bx = 0; bx < ow; bx += 2)
            for (int64_t y = by; y < oh && y < by + 2; y++)
                for (int64_t x = bx; x < ow && x < bx + 2; x++)
                    at[n++] = y * ow + x;
    return n;
}

/* Tap of position `pos` that touches (a, b): index in the kernel, -1 if none. */
static int64_t touching(const geometry *q, int64_t pos, int64_t a, int64_t b)
{
    int64_t i = a + q->p - pos / q->ow * q->s, j = b + q->p - pos % q->ow * q->s;
    if (i < 0 || j < 0 || i % q->d || j % q->d)
        return -1;
    i /= q->d;
    j /= q->d;
    return i < q->kh && j < q->kw ? i * q->kw + j : -1;
}

static float dx_at(const geometry *q, const float *dy, const float *w,
                   const int64_t *order, int64_t n, int64_t c, int64_t a, int64_t b)
{
    float y = 0;
    int64_t plane = q->oh * q->ow, taps = q->kh * q->kw;
    for (int64_t from = 0; from < q->o; from += conv_chunk(q)) {
        float s = 0;
        for (int64_t o = from; o < q->o && o < from + conv_chunk(q); o++)
            for (int64_t k = 0; k < plane; k++) {
                int64_t tap = touching(q, order[k], a, b);
                if (tap >= 0)
                    s = fmaf(dy[(n * q->o + o) * plane + order[k]],
                             w[(o * q->c + c) * taps + tap], s);
            }
        y += s;
    }
    return y;
}

/* C6: the tree over the samples of aligned blocks of 64, the blocks in order. */
static float over_samples(float *t, int64_t n)
{
    float y = 0;
    for (int64_t from = 0; from < n; from += 64) {
        int64_t m = n - from < 64 ? n - from : 64;
        for (int64_t h = 1; h < 64; h *= 2)
            for (int64_t i = 0; i < m; i += 2 * h)
                if (i + h < m)
                    t[from + i] += t[from + i + h];
        y += t[from];
    }
    return y;
}

/* One sample's sum of dy times the pixels that tap (i, j) sees; x NULL: of dy alone. */
static float sample_sum(const geometry *q, const float *x, const float *dy,
                        const int64_t *order, int64_t i, int64_t j)
{
    float y = 0;
    int64_t plane = q->oh * q->ow;
    for (int64_t from = 0; from < plane; from += 4096) {
        float s = 0;
        for (int64_t k = from; k < plane && k < from + 4096; k++) {
            int64_t a = order[k] / q->ow * q->s - q->p + i * q->d;
            int64_t b = order[k] % q->ow * q->s - q->p + j * q->d;
            if (!x)
                s += dy[order[k]];
            else if (a >= 0 && a < q->h && b >= 0 && b < q->w)
                s = fmaf(x[a * q->w + b], dy[order[k]], s);
        }
        y += s;
    }
    return y;
}

static void check_weights(const geometry *q, const float *x, const float *dy,
                          const int64_t *order, const float *dw, const float *db)
{
    int64_t plane = q->oh * q->ow, taps = q->kh * q->kw;
    float *t = kit_alloc((size_t)q->n * sizeof *t);
    float *ww = kit_alloc((size_t)(q->o * q->c * taps) * 4);
    float *wb = kit_alloc((size_t)q->o * 4);
    for (int64_t o = 0; o < q->o; o++) {
        for (int64_t k = 0; k < q->c * taps; k++) {
            int64_t c = k / taps, i = k % taps / q->kw, j = k % q->kw;
            for (int64_t n = 0; n < q->n; n++)
                t[n] = sample_sum(q, x + (n * q->c + c) * q->h * q->w,
                                  dy + (n * q->o + o) * plane, order, i, j);
            ww[o * q->c * taps + k] = over_samples(t, q->n);
        }
        for (int64_t n = 0; n < q->n; n++)
            t[n] = sample_sum(q, NULL, dy + (n * q->o + o) * plane, order, 0, 0);
        wb[o] = over_samples(t, q->n);
    }
    sup_assert_bits("conv dw", MNT_F32, MNT_SHAPE(q->o, q->c, q->kh, q->kw), ww, dw);
    sup_assert_bits("conv db", MNT_F32, MNT_SHAPE(q->o), wb, db);
    free(t);
    free(ww);
    free(wb);
}

static void check_images(const geometry *q, const float *x, const float *w,
                         const float *b, const float *dy, const int64_t *order,
                         const float *y, const float *dx)
{
    int64_t plane = q->oh * q->ow, ny = q->n * q->o * plane;
    int64_t nx = q->n * q->c * q->h * q->w;
    float *wy = kit_alloc((size_t)ny * 4), *wx = kit_alloc((size_t)nx * 4);
    for (int64_t at = 0; at < ny; at++) {
        int64_t o = at / plane % q->o;
        wy[at] =
            forward_at(q, x, w, at / plane / q->o, o, at % plane / q->ow, at % q->ow) +
            b[o];
    }
    for (int64_t at = 0; at < nx; at++)
        wx[at] = dx_at(q, dy, w, order, at / q->w / q->h / q->c,
                       at / q->w / q->h % q->c, at / q->w % q->h, at % q->w);
    sup_assert_bits("conv y", MNT_F32, MNT_SHAPE(q->n, q->o, q->oh, q->ow), wy, y);
    sup_assert_bits("conv dx", MNT_F32, MNT_SHAPE(q->n, q->c, q->h, q->w), wx, dx);
    free(wy);
    free(wx);
}

static void one_conv(geometry q)
{
    q.oh = (q.h + 2 * q.p - q.d * (q.kh - 1) - 1) / q.s + 1;
    q.ow = (q.w + 2 * q.p - q.d * (q.kw - 1) - 1) / q.s + 1;
    float *x = random_array(q.n * q.c * q.h * q.w, 1), *got[4];
    float *w = random_array(q.o * q.c * q.kh * q.kw, 2), *b = random_array(q.o, 3);
    float *dy = random_array(q.n * q.o * q.oh * q.ow, 4);
    int64_t *order = kit_alloc((size_t)(q.oh * q.ow) * sizeof *order);
    assert_int_equal(block_order(q.oh, q.ow, order), q.oh * q.ow);
    mnt_graph *g = new_graph();
    mnt_tensor *tx = marked(g, MNT_SHAPE(q.n, q.c, q.h, q.w), x);
    mnt_tensor *tw = marked(g, MNT_SHAPE(q.o, q.c, q.kh, q.kw), w);
    mnt_tensor *tb = marked(g, MNT_SHAPE(q.o), b);
    mnt_conv2d_desc desc =
        MNT_CONV2D_DESC(.stride_h = q.s, .stride_w = q.s, .pad_h = q.p, .pad_w = q.p,
                        .dilation_h = q.d, .dilation_w = q.d);
    mnt_tensor *y = mnt_bias_add(g, mnt_conv2d(g, tx, tw, &desc), tb);
    mnt_backward(g, y, mnt_constant(g, MNT_F32, MNT_SHAPE(q.n, q.o, q.oh, q.ow), dy));
    mnt_tensor *out[] = { y, mnt_tensor_grad(tx), mnt_tensor_grad(tw),
                          mnt_tensor_grad(tb) };
    run_graph(g, out, got, 4);
    check_images(&q, x, w, b, dy, order, got[0], got[1]);
    check_weights(&q, x, dy, order, got[2], got[3]);
    mnt_graph_destroy(g);
    free(x);
    free(w);
    free(b);
    free(dy);
    free(order);
    for (int i = 0; i < 4; i++)
        free(got[i]);
}

static void test_convolution(void **state)
{
    (void)state;
    static const geometry list[] = {
        { .n = 2, .c = 3, .h = 7, .w = 6, .o = 4, .kh = 3, .kw = 2, 1, 0, 1, 0, 0 },
        { .n = 1, .c = 2, .h = 9, .w = 8, .o = 3, .kh = 3, .kw = 3, 2, 1, 2, 0, 0 },
        { .n = 2, .c = 1, .h = 12, .w = 13, .o = 8, .kh = 5, .kw = 5, 1, 2, 1, 0, 0 },
        { .n = 1, .c = 45, .h = 6, .w = 6, .o = 43, .kh = 5, .kw = 5, 1, 0, 1, 0, 0 },
        { .n = 1, .c = 520, .h = 2, .w = 3, .o = 2, .kh = 1, .kw = 1, 1, 0, 1, 0, 0 },
        { .n = 1, .c = 1, .h = 68, .w = 67, .o = 1, .kh = 2, .kw = 2, 1, 0, 1, 0, 0 },
        { .n = 3, .c = 1, .h = 4, .w = 4, .o = 1, .kh = 3, .kw = 3, 1, 0, 1, 0, 0 },
        { .n = 64, .c = 1, .h = 4, .w = 4, .o = 2, .kh = 3, .kw = 3, 1, 0, 1, 0, 0 },
        { .n = 133, .c = 1, .h = 4, .w = 5, .o = 2, .kh = 3, .kw = 3, 1, 0, 1, 0, 0 },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        one_conv(list[i]);
}

/* ---- E: the gradient of overlapping windows, added in rising (oy, ox) ---- */

static void test_pool_gradient(void **state)
{
    (void)state;
    enum { H = 9, K = 3, OH = H - K + 1 };
    float *x = random_array(H * H, 1), *dy = random_array(OH * OH, 2), *got[1];
    float want[H * H] = { 0 };
    for (int i = 0; i < OH * OH; i++) {
        int best = i / OH * H + i % OH;
        for (int k = 0; k < K * K; k++) {
            int at = (i / OH + k / K) * H + i % OH + k % K;
            best = x[at] > x[best] ? at : best;
        }
        want[best] += dy[i];
    }
    mnt_graph *g = new_graph();
    mnt_tensor *t = marked(g, MNT_SHAPE(1, 1, H, H), x);
    mnt_window_desc desc =
        MNT_WINDOW_DESC(.kernel_h = K, .kernel_w = K, .stride_h = 1, .stride_w = 1);
    mnt_tensor *y = mnt_max_pool2d(g, t, &desc);
    mnt_backward(g, y, mnt_constant(g, MNT_F32, MNT_SHAPE(1, 1, OH, OH), dy));
    mnt_tensor *out[] = { mnt_tensor_grad(t) };
    run_graph(g, out, got, 1);
    sup_assert_bits("pool dx", MNT_F32, MNT_SHAPE(1, 1, H, H), want, got[0]);
    mnt_graph_destroy(g);
    free(x);
    free(dy);
    free(got[0]);
}

/* ---- E: the gradient of a broadcast operand, by D over runs of stretched axes ---- */

/* x [outer, n, inner] summed over n. */
static float *sum_middle(const float *x, int64_t outer, int64_t n, int64_t inner)
{
    float *y = kit_alloc((size_t)(outer * inner) * sizeof *y);
    float *run = kit_alloc((size_t)n * sizeof *run);
    for (int64_t at = 0; at < outer * inner; at++) {
        for (int64_t i = 0; i < n; i++)
            run[i] = x[(at / inner * n + i) * inner + at % inner];
        y[at] = rule_d(run, n);
    }
    free(run);
    return y;
}

/* Neighbouring stretched axes are one run; the last run comes first. */
static float *unstretched(const float *dy, mnt_shape from, mnt_shape to)
{
    int lead = to.ndim - from.ndim;
    int64_t inner = 1, outer = mnt_shape_count(to);
    float *sum = kit_alloc((size_t)outer * sizeof *sum);
    memcpy(sum, dy, (size_t)outer * sizeof *sum);
    for (int d = to.ndim - 1; d >= 0; d--) {
        int64_t n = 1;
        while (d >= 0 && (d < lead || from.dim[d - lead] != to.dim[d]))
            n *= to.dim[d--];
        outer /= n;
        if (n > 1) {
            float *less = sum_middle(sum, outer, n, inner);
            free(sum);
            sum = less;
        }
        if (d < 0)
            break;
        outer /= to.dim[d];
        inner *= to.dim[d];
    }
    return sum;
}

static void one_broadcast(mnt_shape from, mnt_shape to)
{
    float *x = random_array(mnt_shape_count(from), 1), *got[2];
    float *dy = random_array(mnt_shape_count(to), 2), *want = unstretched(dy, from, to);
    mnt_graph *g = new_graph();
    mnt_tensor *a = marked(g, from, x), *b = marked(g, from, x);
    mnt_backward(g, mnt_add(g, mnt_broadcast(g, a, to), b),
                 mnt_constant(g, MNT_F32, to, dy));
    mnt_tensor *out[] = { mnt_tensor_grad(a), mnt_tensor_grad(b) };
    run_graph(g, out, got, 2);
    sup_assert_bits("broadcast dx", MNT_F32, from, want, got[0]);
    sup_assert_bits("add dx", MNT_F32, from, want, got[1]);
    mnt_graph_destroy(g);
    float *all[] = { x, dy, want, got[0], got[1] };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void test_broadcast(void **state)
{
    (void)state;
    one_broadcast(MNT_SHAPE(5), MNT_SHAPE(7, 9, 5));
    one_broadcast(MNT_SHAPE(5, 1, 1), MNT_SHAPE(5, 11, 13));
    one_broadcast(MNT_SHAPE(4, 1, 3, 1, 1), MNT_SHAPE(4, 6, 3, 5, 7));
    one_broadcast(MNT_SHAPE(1, 3, 1), MNT_SHAPE(6, 10, 3, 33));
    one_broadcast(MNT_SHAPE(1, 1), MNT_SHAPE(3, 41, 37));
    one_broadcast((mnt_shape){ 0 }, MNT_SHAPE(2, 65, 67));
}

/* ---- E: updates ---- */

typedef struct update_state {
    float w, m, v, p1, p2;
} update_state;

static void sgd_step(update_state *s, float dw, const mnt_sgd_desc *d)
{
    float g = fmaf(d->weight_decay, s->w, dw);
    s->v = fmaf(d->momentum, s->v, g);
    float u = d->nesterov ? fmaf(d->momentum, s->v, g) : s->v;
    s->w = fmaf(-d->lr, u, s->w);
}

static void adam_step(update_state *s, float g, const mnt_adam_desc *d)
{
    float decay = d->lr * d->weight_decay, c1 = 1.0f - d->beta1, c2 = 1.0f - d->beta2;
    s->p1 *= d->beta1;
    s->p2 *= d->beta2;
    float a = d->lr / (1.0f - s->p1), r = 1.0f / sqrtf(1.0f - s->p2);
    if (d->decoupled)
        s->w = fmaf(-decay, s->w, s->w);
    else
        g = fmaf(d->weight_decay, s->w, g);
    float t = c1 * g, gg = g * g;
    s->m = fmaf(d->beta1, s->m, t);
    t = c2 * gg;
    s->v = fmaf(d->beta2, s->v, t);
    float den = fmaf(sqrtf(s->v), r, d->eps);
    float step = s->m / den;
    s->w = fmaf(-a, step, s->w);
}

static void one_optimizer(const mnt_sgd_desc *sgd, const mnt_adam_desc *adam)
{
    enum { N = 37 };
    mnt_model *model = NULL;
    mnt_graph *g = NULL;
    update_state s[N];
    float want[N];
    MUST(dev, mnt_model_create(&model, dev, NULL));
    MUST(dev, mnt_graph_create(&g, dev, model, NULL));
    mnt_tensor *w =
        mnt_param(g, "w", MNT_SHAPE(N), (mnt_init){ MNT_INIT_CONSTANT, 0.75f, 0 });
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(N));
    mnt_backward(g, w, x);
    if (sgd)
        mnt_sgd(g, sgd);
    else
        mnt_adam(g, adam);
    MUST(dev, mnt_graph_compile(g));
    for (int i = 0; i < N; i++)
        s[i] = (update_state){ .w = 0.75f, .p1 = 1, .p2 = 1 };
    for (uint64_t step = 0; step < 12; step++) {
        float *dw = random_array(N, step + 1);
        MUST(dev, mnt_tensor_write(x, dw, N * sizeof *dw));
        MUST(dev, mnt_graph_run(g, 1));
        for (int i = 0; i < N; i++) {
            if (sgd)
                sgd_step(&s[i], dw[i], sgd);
            else
                adam_step(&s[i], dw[i], adam);
            want[i] = s[i].w;
        }
        float *got = sup_read(dev, w);
        sup_assert_bits(sgd ? "sgd" : "adam", MNT_F32, MNT_SHAPE(N), want, got);
        free(got);
        free(dw);
    }
    mnt_graph_destroy(g);
    mnt_model_destroy(model);
}

static void test_updates(void **state)
{
    (void)state;
    const mnt_sgd_desc sgd[] = {
        MNT_SGD_DESC(.lr = 0.1f),
        MNT_SGD_DESC(.momentum = 0.9f),
        MNT_SGD_DESC(.momentum = 0.9f, .nesterov = true, .weight_decay = 0.01f),
    };
    const mnt_adam_desc adam[] = {
        MNT_ADAM_DESC(.lr = 0.01f),
        MNT_ADAM_DESC(.lr = 0.01f, .weight_decay = 0.1f),
        MNT_ADAM_DESC(.lr = 0.01f, .weight_decay = 0.1f, .decoupled = true),
    };
    for (int i = 0; i < 3; i++) {
        one_optimizer(&sgd[i], NULL);
        one_optimizer(NULL, &adam[i]);
    }
}

/* ---- C2 with one term: the leading +0 kills -0 ---- */

static void test_negative_zero(void **state)
{
    (void)state;
    const float a[2] = { -0.0f, 0.0f }, b[2] = { 1, -1 }, zero = 0;
    float *got[2];
    mnt_graph *g = new_graph();
    mnt_tensor *x = mnt_constant(g, MNT_F32, MNT_SHAPE(1, 2), a);
    mnt_tensor *y = mnt_constant(g, MNT_F32, MNT_SHAPE(2, 1), b);
    mnt_tensor *out[] = { mnt_matmul(g, x, y), mnt_sum(g, x, MNT_ALL_AXES) };
    run_graph(g, out, got, 2);
    sup_assert_bits("matmul", MNT_F32, MNT_SHAPE(1, 1), &zero, got[0]);
    sup_assert_bits("sum", MNT_F32, (mnt_shape){ 0 }, &zero, got[1]);
    free(got[0]);
    free(got[1]);
    mnt_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),         cmocka_unit_test(test_sums),
        cmocka_unit_test(test_convolution),   cmocka_unit_test(test_pool_gradient),
        cmocka_unit_test(test_broadcast),     cmocka_unit_test(test_updates),
        cmocka_unit_test(test_negative_zero),
    };
    return cmocka_run_group_tests_name("order", tests, open_device, close_device);
}
