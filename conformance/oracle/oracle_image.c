/* SPDX-License-Identifier: MIT */
/*
 * Convolution, patches and pooling of the oracle. Every function walks the same list:
 * (n, o, p, q, c, i, j) with the tap's place in the image, and adds where its formula
 * says; taps in the padding are never visited.
 */
#include "oracle.h"

#include "../kit/base.h"

#include <math.h>
#include <stdlib.h>

typedef struct tap {
    int64_t x, w, y; /* flat indices */
} tap;

typedef void (*tap_fn)(void *ctx, const tap *t);

static int64_t out_size(int64_t in, int64_t k, int s, int p, int d)
{
    return (in + 2 * p - d * (k - 1) - 1) / s + 1;
}

static mnt_shape conv_shape(const mnt_shape *x, const mnt_shape *w, const ora_conv *c)
{
    return (
        mnt_shape){ .ndim = 4,
                    .dim = { x->dim[0], w->dim[0],
                             out_size(x->dim[2], w->dim[2], c->sh, c->ph, c->dh),
                             out_size(x->dim[3], w->dim[3], c->sw, c->pw, c->dw) } };
}

/* All taps of one output element. */
static void taps_of(const mnt_shape *x, const mnt_shape *w, const mnt_shape *y,
                    const ora_conv *c, int64_t iy, tap_fn fn, void *ctx)
{
    int64_t q = iy % y->dim[3], p = iy / y->dim[3] % y->dim[2];
    int64_t o = iy / (y->dim[2] * y->dim[3]) % y->dim[1];
    int64_t n = iy / (y->dim[1] * y->dim[2] * y->dim[3]);
    int64_t cg = w->dim[1], first = o / (y->dim[1] / c->groups) * cg;
    for (int64_t k = 0; k < cg; k++)
        for (int64_t i = 0; i < w->dim[2]; i++)
            for (int64_t j = 0; j < w->dim[3]; j++) {
                int64_t h = p * c->sh - c->ph + i * c->dh;
                int64_t v = q * c->sw - c->pw + j * c->dw;
                if (h < 0 || h >= x->dim[2] || v < 0 || v >= x->dim[3])
                    continue;
                int64_t plane = n * x->dim[1] + first + k;
                tap t = { .x = (plane * x->dim[2] + h) * x->dim[3] + v,
                          .w = ((o * cg + k) * w->dim[2] + i) * w->dim[3] + j,
                          .y = iy };
                fn(ctx, &t);
            }
}

/* Sums of products for every element of a result. */
typedef struct sums {
    const ora *a, *b;
    double *v, *mag, *carried, *n;
} sums;

static sums sums_new(const ora *a, const ora *b, int64_t count)
{
    size_t bytes = ((size_t)count + 1) * sizeof(double);
    return (sums){
        a, b, kit_alloc(bytes), kit_alloc(bytes), kit_alloc(bytes), kit_alloc(bytes)
    };
}

static void sums_add(sums *s, int64_t to, int64_t ia, int64_t ib)
{
    double a = s->a->v[ia], b = s->b->v[ib], ea = s->a->e[ia], eb = s->b->e[ib];
    s->v[to] += a * b;
    s->mag[to] += isfinite(a * b) ? fabs(a * b) : 0;
    if (ea > 0 || eb > 0)
        s->carried[to] += fabs(a) * eb + ea * fabs(b) + ea * eb;
    s->n[to] += 1;
}

/* Moves the sums into y with their bounds: a rounding a term, a few for chunks. Where a
 * partial sum may overflow nothing is promised. */
static void sums_done(sums *s, ora *y)
{
    for (int64_t i = 0; i < y->count; i++) {
        double n = s->n[i] + 8;
        y->v[i] = s->v[i];
        y->e[i] = s->mag[i] > ORA_MAX / 2 ? INFINITY : 0;
        if (y->e[i] > 0 || !isfinite(y->v[i]))
            continue;
        y->e[i] = s->carried[i] * (1 + ora_gamma(n)) + ora_gamma(n) * s->mag[i] +
                  (s->mag[i] > 0 ? n * ORA_MIN : 0);
    }
    free(s->v);
    free(s->mag);
    free(s->carried);
    free(s->n);
}

static void add_y(void *ctx, const tap *t)
{
    sums_add(ctx, t->y, t->x, t->w);
}

static void add_dx(void *ctx, const tap *t)
{
    sums_add(ctx, t->x, t->y, t->w);
}

static void add_dw(void *ctx, const tap *t)
{
    sums_add(ctx, t->w, t->x, t->y);
}

ora ora_conv2d(const ora *x, const ora *w, const ora_conv *c)
{
    ora y = ora_new(conv_shape(&x->shape, &w->shape, c));
    sums s = sums_new(x, w, y.count);
    for (int64_t i = 0; i < y.count; i++)
        taps_of(&x->shape, &w->shape, &y.shape, c, i, add_y, &s);
    sums_done(&s, &y);
    return y;
}

ora ora_conv2d_dx(const ora *dy, const ora *w, mnt_shape x, const ora_conv *c)
{
    ora dx = ora_new(x);
    sums s = sums_new(dy, w, dx.count);
    for (int64_t i = 0; i < dy->count; i++)
        taps_of(&x, &w->shape, &dy->shape, c, i, add_dx, &s);
    sums_done(&s, &dx);
    return dx;
}

ora ora_conv2d_dw(const ora *x, const ora *dy, mnt_shape w, const ora_conv *c)
{
    ora dw = ora_new(w);
    sums s = sums_new(x, dy, dw.count);
    for (int64_t i = 0; i < dy->count; i++)
        taps_of(&x->shape, &w, &dy->shape, c, i, add_dw, &s);
    sums_done(&s, &dw);
    return dw;
}

/* Image index of tap (i, j) of window (p, q) in plane `nc`; -1 in the padding. */
static int64_t window_at(const mnt_shape *x, const ora_window *w, int64_t nc, int64_t p,
                         int64_t q, int64_t i, int64_t j)
{
    int64_t h = p * w->sh - w->ph + i * w->dh, v = q * w->sw - w->pw + j * w->dw;
    if (h < 0 || h >= x->dim[2] || v < 0 || v >= x->dim[3])
        return -1;
    return (nc * x->dim[2] + h) * x->dim[3] + v;
}

static mnt_shape window_shape(const mnt_shape *x, const ora_window *w)
{
    return (mnt_shape){ .ndim = 4,
                        .dim = { x->dim[0], x->dim[1],
                                 out_size(x->dim[2], w->kh, w->sh, w->ph, w->dh),
                                 out_size(x->dim[3], w->kw, w->sw, w->pw, w->dw) } };
}

/* Image index of every element of the column matrix, in order. */
static int64_t *column_map(const mnt_shape *x, const ora_window *w, mnt_shape *cols)
{
    mnt_shape y = window_shape(x, w);
    int64_t oh = y.dim[2], ow = y.dim[3], rows = x->dim[1] * w->kh * w->kw;
    *cols = (mnt_shape){ .ndim = 3, .dim = { x->dim[0], rows, oh * ow } };
    int64_t count = x->dim[0] * rows * oh * ow;
    int64_t *map = kit_alloc(((size_t)count + 1) * sizeof *map);
    for (int64_t at = 0; at < count; at++) {
        int64_t pos = at % (oh * ow), row = at / (oh * ow) % rows;
        int64_t n = at / (oh * ow) / rows;
        int64_t j = row % w->kw, i = row / w->kw % w->kh, c = row / w->kw / w->kh;
        map[at] = window_at(x, w, n * x->dim[1] + c, pos / ow, pos % ow, i, j);
    }
    return map;
}

ora ora_im2col(const ora *x, const ora_window *w)
{
    mnt_shape shape;
    int64_t *map = column_map(&x->shape, w, &shape);
    ora y = ora_new(shape);
    for (int64_t i = 0; i < y.count; i++)
        if (map[i] >= 0) {
            y.v[i] = x->v[map[i]];
            y.e[i] = x->e[map[i]];
        }
    free(map);
    return y;
}

ora ora_col2im(const ora *cols, mnt_shape image, const ora_window *w)
{
    mnt_shape shape;
    int64_t *map = column_map(&image, w, &shape);
    ora x = ora_new(image);
    ora one = ora_new((mnt_shape){ 0 });
    one.v[0] = 1;
    sums s = sums_new(cols, &one, x.count);
    for (int64_t i = 0; i < cols->count; i++)
        if (map[i] >= 0)
            sums_add(&s, map[i], i, 0);
    sums_done(&s, &x);
    ora_free(&one);
    free(map);
    return x;
}

/* Winner of a window: the first largest, NaN above all; -1 if it is all padding. */
static int64_t winner(const ora *x, const ora_window *w, int64_t nc, int64_t p,
                      int64_t q)
{
    int64_t best = -1;
    for (int64_t k = 0; k < w->kh * w->kw; k++) {
        int64_t at = window_at(&x->shape, w, nc, p, q, k / w->kw, k % w->kw);
        if (at < 0)
            continue;
        if (best < 0 ||
            (!isnan(x->v[best]) && (isnan(x->v[at]) || x->v[at] > x->v[best])))
            best = at;
    }
    return best;
}

ora ora_max_pool2d(const ora *x, const ora_window *w)
{
    ora y = ora_new(window_shape(&x->shape, w));
    int64_t oh = y.shape.dim[2], ow = y.shape.dim[3];
    for (int64_t at = 0; at < y.count; at++) {
        int64_t nc = at / (oh * ow), p = at / ow % oh, q = at % ow;
        y.v[at] = x->v[winner(x, w, nc, p, q)];
        for (int64_t k = 0; k < w->kh * w->kw; k++) {
            int64_t i = window_at(&x->shape, w, nc, p, q, k / w->kw, k % w->kw);
            if (i >= 0 && x->e[i] > y.e[at])
                y.e[at] = x->e[i];
        }
    }
    return y;
}

/* Adds one window's dy to its winner; to the bound of all that might have won. */
static void pool_back(sums *s, double *open, const ora *dy, const ora *x,
                      const ora_window *w, int64_t at)
{
    int64_t oh = dy->shape.dim[2], ow = dy->shape.dim[3];
    int64_t nc = at / (oh * ow), p = at / ow % oh, q = at % ow;
    int64_t best = winner(x, w, nc, p, q);
    bool unsure = false;
    for (int64_t k = 0; k < w->kh * w->kw; k++) {
        int64_t i = window_at(&x->shape, w, nc, p, q, k / w->kw, k % w->kw);
        if (i < 0 || i == best || x->e[i] + x->e[best] == 0)
            continue;
        if (x->v[best] - x->v[i] <= x->e[best] + x->e[i]) {
            open[i] += fabs(dy->v[at]) + dy->e[at];
            unsure = true;
        }
    }
    if (unsure)
        open[best] += fabs(dy->v[at]) + dy->e[at];
    sums_add(s, best, at, 0);
}

ora ora_max_pool2d_grad(const ora *dy, const ora *x, const ora_window *w)
{
    ora dx = ora_new(x->shape);
    ora one = ora_new((mnt_shape){ 0 });
    double *open = kit_alloc(((size_t)x->count + 1) * sizeof *open);
    one.v[0] = 1;
    sums s = sums_new(dy, &one, dx.count);
    for (int64_t at = 0; at < dy->count; at++)
        pool_back(&s, open, dy, x, w, at);
    sums_done(&s, &dx);
    for (int64_t i = 0; i < dx.count; i++)
        dx.e[i] += open[i];
    free(open);
    ora_free(&one);
    return dx;
}
