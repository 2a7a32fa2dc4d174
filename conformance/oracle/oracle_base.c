/* SPDX-License-Identifier: MIT */
/*
 * Memory and error arithmetic of the oracle, products and elementwise ops.
 */
#include "oracle.h"

#include "../kit/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

ora ora_new(mnt_shape shape)
{
    ora x = { .shape = shape, .count = 1 };
    for (int i = 0; i < shape.ndim; i++)
        x.count *= shape.dim[i];
    size_t n = (size_t)x.count + 1;
    x.v = kit_alloc(n * sizeof *x.v);
    x.e = kit_alloc(n * sizeof *x.e);
    return x;
}

ora ora_copy(const ora *x)
{
    ora y = ora_new(x->shape);
    memcpy(y.v, x->v, (size_t)x->count * sizeof *x->v);
    memcpy(y.e, x->e, (size_t)x->count * sizeof *x->e);
    return y;
}

void ora_free(ora *x)
{
    free(x->v);
    free(x->e);
    x->v = x->e = NULL;
}

double ora_gamma(double n)
{
    return n * ORA_U / (1.0 - n * ORA_U);
}

double ora_depth(int64_t n)
{
    if (n <= 4096)
        return (double)((n + 31) / 32 + 5);
    return 133.0 + ora_depth((n + 4095) / 4096);
}

double ora_flush(double x)
{
    return fabs(x) < ORA_MIN ? copysign(0.0, x) : x;
}

/* A sum of products in the making: value, sum of the finite magnitudes, carried error,
 * terms. */
typedef struct term_sum {
    double v, mag, carried;
    int64_t n;
} term_sum;

static void add_term(term_sum *s, double a, double ea, double b, double eb)
{
    s->v += a * b;
    s->mag += isfinite(a * b) ? fabs(a * b) : 0;
    if (ea > 0 || eb > 0)
        s->carried += fabs(a) * eb + ea * fabs(b) + ea * eb;
    s->n++;
}

/* One rounding a term, two for chunk sums; every rounding may also flush. Where a
 * partial sum may overflow, the order of the terms decides: nothing is promised. */
static double sum_bound(const term_sum *s)
{
    if (s->mag > ORA_MAX / 2)
        return INFINITY;
    if (!isfinite(s->v))
        return 0;
    double n = (double)s->n + 2;
    double flush = s->mag > 0 ? n * ORA_MIN : 0;
    return s->carried * (1 + ora_gamma(n)) + ora_gamma(n) * s->mag + flush;
}

ora ora_matmul(const ora *a, const ora *b, bool ta, bool tb)
{
    int na = a->shape.ndim, nb = b->shape.ndim;
    int64_t m = a->shape.dim[ta ? na - 1 : na - 2];
    int64_t k = a->shape.dim[ta ? na - 2 : na - 1];
    int64_t n = b->shape.dim[tb ? nb - 2 : nb - 1];
    mnt_shape shape = a->shape;
    shape.dim[na - 2] = m;
    shape.dim[na - 1] = n;
    int64_t batch = 1;
    for (int i = 0; i < na - 2; i++)
        batch *= shape.dim[i];
    ora y = ora_new(shape);
    for (int64_t p = 0; p < batch; p++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                int64_t oa = p * m * k, ob = nb > 2 ? p * k * n : 0;
                term_sum s = { 0 };
                for (int64_t q = 0; q < k; q++) {
                    int64_t ia = oa + (ta ? q * m + i : i * k + q);
                    int64_t ib = ob + (tb ? j * k + q : q * n + j);
                    add_term(&s, a->v[ia], a->e[ia], b->v[ib], b->e[ib]);
                }
                int64_t iy = (p * m + i) * n + j;
                y.v[iy] = s.v;
                y.e[iy] = sum_bound(&s);
            }
    return y;
}

/* The error of one rounding of v. */
static double rounding(double v)
{
    if (!isfinite(v))
        return 0;
    return ORA_U * fabs(v) + (v != 0 && fabs(v) < 2 * ORA_MIN ? ORA_MIN : 0);
}

/* Where the f32 result overflows, or may. */
static void overflow(double *v, double *e)
{
    if (isfinite(*v) && fabs(*v) - *e > ORA_MAX * (1 + ORA_U)) {
        *v = copysign(INFINITY, *v);
        *e = 0;
    } else if (isfinite(*v) && fabs(*v) + *e >= ORA_MAX) {
        *e = INFINITY;
    }
}

static int64_t channel_of(const mnt_shape *s, int64_t i)
{
    int64_t inner = 1;
    for (int d = 2; d < s->ndim; d++)
        inner *= s->dim[d];
    return i / inner % s->dim[1];
}

ora ora_bias_add(const ora *x, const ora *b)
{
    ora y = ora_new(x->shape);
    for (int64_t i = 0; i < y.count; i++) {
        int64_t c = channel_of(&x->shape, i);
        y.v[i] = x->v[i] + b->v[c];
        y.e[i] = x->e[i] + b->e[c];
        y.e[i] += rounding(fabs(y.v[i]) + y.e[i]);
        overflow(&y.v[i], &y.e[i]);
    }
    return y;
}

ora ora_bias_grad(const ora *dy)
{
    ora db = ora_new((mnt_shape){ .ndim = 1, .dim = { dy->shape.dim[1] } });
    term_sum *s = kit_alloc(((size_t)db.count + 1) * sizeof *s);
    for (int64_t i = 0; i < dy->count; i++)
        add_term(&s[channel_of(&dy->shape, i)], dy->v[i], dy->e[i], 1, 0);
    for (int64_t c = 0; c < db.count; c++) {
        db.v[c] = s[c].v;
        db.e[c] = sum_bound(&s[c]);
    }
    free(s);
    return db;
}

/* Offset in an array of shape `from` of element i of the stretched shape `to`. */
static int64_t stretched(const mnt_shape *from, const mnt_shape *to, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = to->ndim - 1, f = from->ndim - 1; d >= 0; d--, f--) {
        int64_t k = i % to->dim[d];
        i /= to->dim[d];
        if (f < 0)
            continue;
        at += from->dim[f] == 1 ? 0 : k * step;
        step *= from->dim[f];
    }
    return at;
}

static mnt_shape stretch(const mnt_shape *a, const mnt_shape *b)
{
    mnt_shape y = a->ndim >= b->ndim ? *a : *b;
    const mnt_shape *s = a->ndim >= b->ndim ? b : a;
    int skip = y.ndim - s->ndim;
    for (int d = 0; d < s->ndim; d++)
        if (y.dim[skip + d] == 1)
            y.dim[skip + d] = s->dim[d];
    return y;
}

static double apply(char op, double a, double b)
{
    return op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
}

ora ora_binary(char op, const ora *a, const ora *b)
{
    ora y = ora_new(stretch(&a->shape, &b->shape));
    for (int64_t i = 0; i < y.count; i++) {
        int64_t ia = stretched(&a->shape, &y.shape, i);
        int64_t ib = stretched(&b->shape, &y.shape, i);
        double va = a->v[ia], vb = b->v[ib], ea = a->e[ia], eb = b->e[ib];
        y.v[i] = apply(op, va, vb);
        if (op == '*')
            y.e[i] = fabs(va) * eb + ea * fabs(vb) + ea * eb;
        else if (op == '/')
            y.e[i] = (ea > 0 ? ea / fabs(vb) : 0) +
                     (eb > 0 ? fabs(va) * eb / (vb * vb) * 1.01 : 0);
        else
            y.e[i] = ea + eb;
        y.e[i] += rounding(fabs(y.v[i]) + y.e[i]);
        overflow(&y.v[i], &y.e[i]);
    }
    return y;
}

ora ora_unstretch(const ora *dy, mnt_shape shape)
{
    ora dx = ora_new(shape);
    term_sum *s = kit_alloc(((size_t)dx.count + 1) * sizeof *s);
    /* A lone term is not added to +0 and keeps its sign, unless an axis went: an absent
     * axis is summed over even where it has one element. */
    bool summed = shape.ndim < dy->shape.ndim;
    for (int64_t i = 0; i < dy->count; i++) {
        int64_t to = stretched(&shape, &dy->shape, i);
        add_term(&s[to], dy->v[i], dy->e[i], 1, 0);
        dx.v[to] = s[to].n == 1 && !summed ? dy->v[i] : s[to].v;
        dx.e[to] = s[to].n == 1 ? dy->e[i] : sum_bound(&s[to]);
    }
    free(s);
    return dx;
}

ora ora_scale(const ora *x, double s)
{
    ora y = ora_new(x->shape);
    for (int64_t i = 0; i < y.count; i++) {
        y.v[i] = s * x->v[i];
        y.e[i] = x->e[i] > 0 ? fabs(s) * x->e[i] : 0;
        y.e[i] += rounding(fabs(y.v[i]) + y.e[i]);
        overflow(&y.v[i], &y.e[i]);
    }
    return y;
}

ora ora_relu(const ora *x)
{
    ora y = ora_new(x->shape);
    for (int64_t i = 0; i < y.count; i++) {
        y.v[i] = !(x->v[i] <= 0) ? x->v[i] : 0.0;
        y.e[i] = x->e[i];
    }
    return y;
}

ora ora_relu_grad(const ora *dy, const ora *x)
{
    ora dx = ora_new(x->shape);
    for (int64_t i = 0; i < dx.count; i++) {
        bool open = x->e[i] > 0 && fabs(x->v[i]) <= x->e[i];
        dx.v[i] = x->v[i] > 0 ? dy->v[i] : 0.0;
        dx.e[i] = open ? fabs(dy->v[i]) + dy->e[i] : x->v[i] > 0 ? dy->e[i] : 0;
    }
    return dx;
}
