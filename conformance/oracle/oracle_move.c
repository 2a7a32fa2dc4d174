/* SPDX-License-Identifier: MIT */
/*
 * Conversions, gathering, random numbers and optimizers of the oracle.
 */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>

static double saturate(double x, double lo, double hi)
{
    return isnan(x) ? 0 : x < lo ? lo : x > hi ? hi : trunc(x);
}

static double convert(double x, mnt_dtype from, mnt_dtype to, bool unit)
{
    if (from == to)
        return x;
    if (from == MNT_U8 && to == MNT_F32)
        return unit ? (double)(float)(x / 255.0) : x;
    if (to == MNT_I32)
        return saturate(x, -2147483648.0, 2147483647.0);
    if (to == MNT_U8)
        return saturate(x, 0, 255);
    return (double)(float)x;
}

ora ora_cast(const ora *x, mnt_dtype from, mnt_dtype to, bool unit)
{
    ora y = ora_new(x->shape);
    for (int64_t i = 0; i < y.count; i++)
        y.v[i] = convert(x->v[i], from, to, unit);
    return y;
}

ora ora_gather(const ora *table, const ora *index, mnt_dtype from, mnt_dtype to,
               bool unit)
{
    mnt_shape shape = table->shape;
    int64_t rows = shape.dim[0], row = 1;
    for (int d = 1; d < shape.ndim; d++)
        row *= shape.dim[d];
    shape.dim[0] = index->count;
    ora y = ora_new(shape);
    for (int64_t i = 0; i < y.count; i++) {
        double k = index->v[i / row];
        if (k >= 0 && k < (double)rows)
            y.v[i] = convert(table->v[(int64_t)k * row + i % row], from, to, unit);
    }
    return y;
}

void ora_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] };
    uint32_t k[2] = { key[0], key[1] };
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k[0];
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k[1];
        c[0] = n0;
        c[1] = (uint32_t)p1;
        c[2] = n2;
        c[3] = (uint32_t)p0;
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

/* Word `word` of the block numbered `block`. */
static uint32_t random_word(uint64_t seed, uint32_t stream, uint32_t replay,
                            uint64_t block, int word)
{
    uint32_t counter[4] = { (uint32_t)block, (uint32_t)(block >> 32), replay, stream };
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t out[4];
    ora_philox(counter, key, out);
    return out[word];
}

ora ora_uniform(mnt_shape shape, float lo, float hi, uint64_t seed, uint32_t stream,
                uint32_t replay)
{
    ora y = ora_new(shape);
    double width = (double)hi - (double)lo;
    for (int64_t i = 0; i < y.count; i++) {
        uint32_t w = random_word(seed, stream, replay, (uint64_t)i / 4, (int)(i % 4));
        double u = (double)(w >> 8) * 0x1p-24;
        y.v[i] = u * width + (double)lo;
        y.e[i] = ORA_U * (u * fabs(width) + fabs(y.v[i]));
    }
    return y;
}

ora ora_normal(mnt_shape shape, float mean, float std, uint64_t seed, uint32_t stream,
               uint32_t replay)
{
    ora y = ora_new(shape);
    const double pi = 3.14159265358979323846;
    for (int64_t i = 0; i < y.count; i++) {
        uint64_t block = (uint64_t)i / 2;
        int first = (int)(i % 2) * 2;
        uint32_t a = random_word(seed, stream, replay, block, first);
        uint32_t b = random_word(seed, stream, replay, block, first + 1);
        double u1 = ((double)(a >> 8) + 1) * 0x1p-24, u2 = (double)(b >> 8) * 0x1p-24;
        double r = sqrt(-2 * log(u1)), z = r * cos(2 * pi * u2);
        /* log 1 ulp, product and sqrt halve it; cospi 2 ulp, and the product */
        double ez = fabs(z) * 8 * ORA_U + r * 0x1p-48;
        y.v[i] = z * (double)std + (double)mean;
        y.e[i] = fabs((double)std) * ez + ORA_U * fabs(y.v[i]);
    }
    return y;
}

void ora_order(int64_t order[], int64_t n, bool shuffle, uint64_t seed, int64_t epoch)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; shuffle && i >= 1; i--) {
        uint32_t counter[4] = { (uint32_t)i, (uint32_t)epoch,
                                (uint32_t)((uint64_t)epoch >> 32), 0x53485546u };
        uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) }, out[4];
        ora_philox(counter, key, out);
        int64_t j = (int64_t)((uint64_t)out[0] * (uint64_t)(i + 1) >> 32);
        int64_t keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
}

double ora_rate(const ora_optim *o, int64_t step)
{
    int n = o->points;
    if (n == 0)
        return o->lr;
    if (step <= o->step[0])
        return o->lr * o->factor[0];
    for (int i = 0; i + 1 < n; i++)
        if (step < o->step[i + 1]) {
            double t =
                (double)(step - o->step[i]) / (double)(o->step[i + 1] - o->step[i]);
            return o->lr * (o->factor[i] + (o->factor[i + 1] - o->factor[i]) * t);
        }
    return o->lr * o->factor[n - 1];
}

/* fma(a, b, c) of values with bounds, one rounding. */
typedef struct approx {
    double v, e;
} approx;

static approx fma_of(approx a, approx b, approx c)
{
    approx y = { a.v * b.v + c.v, fabs(a.v) * b.e + a.e * fabs(b.v) + a.e * b.e + c.e };
    y.e += ORA_U * (fabs(y.v) + y.e) + ORA_MIN;
    return y;
}

static approx constant(double v)
{
    return (approx){ v, 4 * ORA_U * fabs(v) };
}

static approx sgd_one(approx w, approx g, approx *v, const ora_optim *o, double rate)
{
    g = fma_of(constant(o->weight_decay), w, g);
    *v = fma_of(constant(o->momentum), *v, g);
    approx u = o->nesterov ? fma_of(constant(o->momentum), *v, g) : *v;
    return fma_of(constant(-rate), u, w);
}

static approx adam_one(approx w, approx g, approx *m, approx *v, const ora_optim *o,
                       double rate, int64_t step)
{
    const approx zero = { 0, 0 };
    double n = (double)(step + 1);
    if (o->decoupled)
        w = fma_of(constant(-rate * o->weight_decay), w, w);
    else
        g = fma_of(constant(o->weight_decay), w, g);
    /* 1 - b in f32: the rounding of b shows at full size in the small difference */
    double c1 = (double)(1.0f - (float)o->beta1), c2 = (double)(1.0f - (float)o->beta2);
    *m = fma_of(constant(o->beta1), *m, fma_of(constant(c1), g, zero));
    approx gg = fma_of(g, g, zero);
    *v = fma_of(constant(o->beta2), *v, fma_of(constant(c2), gg, zero));
    double b1 = (double)(float)o->beta1, b2 = (double)(float)o->beta2;
    double p1 = pow(b1, n), p2 = pow(b2, n);
    /* P is a product of n factors: absolute error n u P, seen in 1 - P */
    approx a = { rate / (1 - p1), 0 }, r = { 1 / sqrt(1 - p2), 0 };
    a.e = a.v * (n * ORA_U * p1 / (1 - p1) + 4 * ORA_U);
    r.e = r.v * (n * ORA_U * p2 / (1 - p2) + 4 * ORA_U);
    approx root = { sqrt(v->v), 0 };
    root.e = v->v > 0 ? sqrt(v->v + v->e) - root.v + ORA_U * root.v : sqrt(v->e);
    approx den = fma_of(root, r, constant(o->eps));
    approx q = { m->v / den.v, 0 };
    q.e = (m->e + fabs(q.v) * den.e) / fabs(den.v - den.e) + 2 * ORA_U * fabs(q.v);
    return fma_of((approx){ -a.v, a.e }, q, w);
}

void ora_update(ora *w, const ora *dw, ora *m, ora *v, const ora_optim *o, int64_t step)
{
    double rate = ora_rate(o, step);
    for (int64_t i = 0; i < w->count; i++) {
        approx p = { w->v[i], w->e[i] }, g = { dw->v[i], dw->e[i] };
        approx av = { v->v[i], v->e[i] }, am = { 0, 0 };
        /* squares would overflow, and what follows depends on where: the order of the
         * roundings has other tests */
        if (isinf(p.e) || !(fabs(p.v) < 0x1p60) || !(fabs(g.v) < 0x1p60)) {
            w->e[i] = INFINITY;
            continue;
        }
        if (o->adam) {
            am = (approx){ m->v[i], m->e[i] };
            p = adam_one(p, g, &am, &av, o, rate, step);
            m->v[i] = am.v;
            m->e[i] = am.e;
        } else {
            p = sgd_one(p, g, &av, o, rate);
        }
        v->v[i] = av.v;
        v->e[i] = av.e;
        w->v[i] = p.v;
        w->e[i] = p.e;
    }
}
