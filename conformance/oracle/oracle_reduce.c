/* SPDX-License-Identifier: MIT */
/*
 * Reductions, softmax, the loss and counting of the oracle.
 *
 * Bounds of the transcendental functions are the contract's: exp and log within 1 ulp,
 * that is 2 u relative.
 */
#include "oracle.h"

#include <math.h>

/* x seen as [outer, n, inner] around the reduced axes, and the shape without them. */
typedef struct split {
    int64_t outer, n, inner;
    mnt_shape rest;
} split;

static split split_axes(const mnt_shape *s, int axis, int count)
{
    split p = { 1, 1, 1, { 0 } };
    for (int d = 0; d < s->ndim; d++) {
        if (d >= axis && d < axis + count) {
            p.n *= s->dim[d];
            continue;
        }
        *(d < axis ? &p.outer : &p.inner) *= s->dim[d];
        p.rest.dim[p.rest.ndim++] = s->dim[d];
    }
    return p;
}

ora ora_sum(const ora *x, int axis, int count)
{
    split p = split_axes(&x->shape, axis, count);
    ora y = ora_new(p.rest);
    double n = ora_depth(p.n);
    for (int64_t o = 0; o < p.outer; o++)
        for (int64_t i = 0; i < p.inner; i++) {
            double v = 0, mag = 0, carried = 0; /* mag: of the finite ones */
            for (int64_t k = 0; k < p.n; k++) {
                int64_t at = (o * p.n + k) * p.inner + i;
                v += x->v[at];
                mag += isfinite(x->v[at]) ? fabs(x->v[at]) : 0;
                carried += x->e[at];
            }
            int64_t at = o * p.inner + i;
            y.v[at] = v;
            y.e[at] = carried * (1 + ora_gamma(n)) + ora_gamma(n) * mag;
            y.e[at] += mag > 0 && mag < 0x1p-100 ? (double)p.n * ORA_MIN : 0;
            if (mag > ORA_MAX / 2)
                y.e[at] = INFINITY;
            else if (!isfinite(v))
                y.e[at] = 0;
        }
    return y;
}

static void divide(ora *x, double n)
{
    for (int64_t i = 0; i < x->count; i++) {
        x->v[i] /= n;
        x->e[i] = x->e[i] / n;
        if (!isfinite(x->v[i]))
            continue;
        x->e[i] += ORA_U * (fabs(x->v[i]) + x->e[i]);
        x->e[i] += x->v[i] != 0 && fabs(x->v[i]) < 2 * ORA_MIN ? ORA_MIN : 0;
    }
}

ora ora_mean(const ora *x, int axis, int count)
{
    ora y = ora_sum(x, axis, count);
    divide(&y, (double)split_axes(&x->shape, axis, count).n);
    return y;
}

ora ora_sum_grad(const ora *dy, mnt_shape shape, int axis, int count, bool mean)
{
    split p = split_axes(&shape, axis, count);
    ora t = ora_copy(dy);
    if (mean)
        divide(&t, (double)p.n);
    ora dx = ora_new(shape);
    for (int64_t at = 0; at < dx.count; at++) {
        int64_t from = at / (p.n * p.inner) * p.inner + at % p.inner;
        dx.v[at] = t.v[from];
        dx.e[at] = t.e[from];
    }
    ora_free(&t);
    return dx;
}

/* The largest of n values `step` apart: the first of equals, the first NaN of all. */
static int64_t first_largest(const double *v, int64_t n, int64_t step)
{
    int64_t best = 0;
    for (int64_t k = 1; k < n; k++) {
        if (isnan(v[best * step]))
            break;
        if (isnan(v[k * step]) || v[k * step] > v[best * step])
            best = k;
    }
    return best;
}

ora ora_argmax(const ora *x, int axis, int count)
{
    split p = split_axes(&x->shape, axis, count);
    ora y = ora_new(p.rest);
    for (int64_t o = 0; o < p.outer; o++)
        for (int64_t i = 0; i < p.inner; i++)
            y.v[o * p.inner + i] =
                (double)first_largest(x->v + o * p.n * p.inner + i, p.n, p.inner);
    return y;
}

/* A row of softmax: values and bounds of p, log of the sum, largest element. */
typedef struct row_sum {
    double max, sum, rel; /* rel: relative error of the computed sum */
} row_sum;

/* Fills p and e with the exponentials and their bounds. */
static row_sum exponentials(const double *z, const double *ez, int64_t n, double *p,
                            double *e)
{
    row_sum r = { 0 };
    double carried = 0;
    r.max = z[first_largest(z, n, 1)];
    for (int64_t i = 0; i < n; i++) {
        double d = z[i] - r.max;
        p[i] = exp(d);
        double err = ORA_U * fabs(d) + 2 * ez[i];
        /* exp(d + err): 1 ulp and the cut to zero below the normal range */
        e[i] = p[i] == 0 ? 0 : p[i] * (expm1(err) + 2.1 * ORA_U) + 2 * ORA_MIN;
        if (d == 0 && ez[i] == 0)
            e[i] = 0;
        if (d < -200)
            e[i] = p[i] = 0;
        r.sum += p[i];
        carried += e[i];
    }
    r.rel = (carried + ora_gamma(ora_depth(n)) * (r.sum + carried)) / r.sum;
    return r;
}

ora ora_softmax(const ora *z)
{
    ora y = ora_new(z->shape);
    int64_t n = z->shape.dim[z->shape.ndim - 1];
    for (int64_t at = 0; n && at < z->count; at += n) {
        row_sum r = exponentials(z->v + at, z->e + at, n, y.v + at, y.e + at);
        for (int64_t i = at; i < at + n; i++) {
            y.v[i] /= r.sum;
            y.e[i] = y.v[i] == 0 ? 0 : y.e[i] / r.sum + y.v[i] * (r.rel + 1.1 * ORA_U);
            y.e[i] += y.v[i] > 0 && y.v[i] < 4 * ORA_MIN ? 4 * ORA_MIN : 0;
        }
    }
    return y;
}

ora ora_softmax_grad(const ora *dy, const ora *y)
{
    ora dx = ora_new(y->shape);
    int64_t n = y->shape.dim[y->shape.ndim - 1];
    double depth = ora_depth(n) + 1;
    for (int64_t at = 0; n && at < y->count; at += n) {
        double t = 0, et = 0, mag = 0;
        for (int64_t i = at; i < at + n; i++) {
            t += dy->v[i] * y->v[i];
            mag += fabs(dy->v[i] * y->v[i]);
            et += fabs(dy->v[i]) * y->e[i] + dy->e[i] * (y->v[i] + y->e[i]);
        }
        et += ora_gamma(depth) * (mag + et) + depth * ORA_MIN;
        for (int64_t i = at; i < at + n; i++) {
            double d = dy->v[i] - t, ed = dy->e[i] + et;
            ed += ORA_U * (fabs(d) + ed);
            dx.v[i] = y->v[i] * d;
            dx.e[i] = y->e[i] * fabs(d) + (y->v[i] + y->e[i]) * ed;
            dx.e[i] += 1.1 * ORA_U * fabs(dx.v[i]) + ORA_MIN;
        }
    }
    return dx;
}

/* Loss of one row and its bound. */
static double row_loss(const ora *z, int64_t at, int64_t c, double label, ora *tmp,
                       double *err)
{
    row_sum r = exponentials(z->v + at, z->e + at, c, tmp->v, tmp->e);
    *err = 0;
    if (!(label >= 0 && label < (double)c))
        return NAN;
    int64_t k = at + (int64_t)label;
    double a = log(r.sum), b = z->v[k] - r.max;
    if (!isfinite(a - b) || -b > ORA_MAX)
        return a - b > 0 ? INFINITY : NAN;
    double eb = ORA_U * fabs(b) + 2 * z->e[k];
    *err = 1.1 * r.rel + 2.1 * ORA_U * fabs(a) + eb;
    *err += ORA_U * (fabs(a - b) + *err);
    return a - b;
}

ora ora_cross_entropy(const ora *z, const ora *labels)
{
    int64_t n = z->shape.dim[0], c = z->shape.dim[1];
    ora loss = ora_new((mnt_shape){ 0 });
    ora tmp = ora_new((mnt_shape){ .ndim = 1, .dim = { c } });
    double mag = 0;
    for (int64_t i = 0; i < n; i++) {
        double err, l = row_loss(z, i * c, c, labels->v[i], &tmp, &err);
        loss.v[0] += l;
        loss.e[0] += err;
        mag += isfinite(l) ? fabs(l) : 0;
    }
    loss.e[0] += ora_gamma(ora_depth(n)) * (mag + loss.e[0]);
    if (!isfinite(loss.v[0]))
        loss.e[0] = 0;
    if (mag > ORA_MAX / 2)
        loss.e[0] = INFINITY;
    divide(&loss, (double)n);
    ora_free(&tmp);
    return loss;
}

ora ora_cross_entropy_grad(const ora *z, const ora *labels, const ora *dloss)
{
    int64_t n = z->shape.dim[0], c = z->shape.dim[1];
    ora dz = ora_softmax(z);
    double scale = dloss->v[0] / (double)n;
    double es = dloss->e[0] / (double)n + ORA_U * fabs(scale);
    for (int64_t i = 0; i < n; i++) {
        double label = labels->v[i];
        bool valid = label >= 0 && label < (double)c;
        for (int64_t j = 0; j < c; j++) {
            int64_t at = i * c + j;
            double d = dz.v[at] - (label == (double)j ? 1 : 0);
            double ed = dz.e[at] + (d == dz.v[at] ? 0 : ORA_U * fabs(d));
            dz.v[at] = valid ? d * scale : 0;
            double e = ed * (fabs(scale) + es) + fabs(d) * es;
            dz.e[at] = valid ? e + 1.1 * ORA_U * fabs(dz.v[at]) + ORA_MIN : 0;
        }
    }
    return dz;
}

ora ora_accuracy(const ora *z, const ora *labels)
{
    int64_t n = z->shape.dim[0], c = z->shape.dim[1];
    ora y = ora_new((mnt_shape){ 0 });
    for (int64_t i = 0; i < n; i++)
        y.v[0] += (double)first_largest(z->v + i * c, c, 1) == labels->v[i];
    return y;
}
