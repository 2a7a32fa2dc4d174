/* SPDX-License-Identifier: MIT */
/*
 * Verdicts on a result: the same bits as another one, or inside the oracle's bounds.
 */
#include "kit.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool wrong(kit_verdict *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Keeps the first sentence. */
static bool wrong(kit_verdict *v, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (v->ok)
        vsnprintf(v->text, sizeof v->text, format, ap);
    va_end(ap);
    v->ok = false;
    return false;
}

/* What is wrong with element i of `what`. */
static bool complain(kit_verdict *v, const kit_case *c, const char *where,
                     const char *what, mnt_shape shape, int64_t i, const char *text)
{
    char s[96], at[96];
    return wrong(v, "%s: case '%s' on %s: %s %s at %s: %s", c->op->name, c->text, where,
                 what, kit_shape_text(s, sizeof s, shape),
                 kit_index_text(at, sizeof at, shape, i), text);
}

static bool same(kit_verdict *v, const kit_case *c, const char *where, const char *what,
                 mnt_dtype dtype, mnt_shape shape, const void *want, const void *got)
{
    int64_t i = kit_difference(dtype, want, got, mnt_shape_count(shape));
    char text[160];
    if (i < 0)
        return true;
    return complain(v, c, where, what, shape, i,
                    kit_element_text(text, sizeof text, dtype, want, got, i));
}

static const char *grad_name(int i, char buf[24])
{
    snprintf(buf, 24, "gradient %d", i);
    return buf;
}

static bool same_shape(mnt_shape a, mnt_shape b)
{
    bool ok = a.ndim == b.ndim;
    for (int d = 0; ok && d < a.ndim; d++)
        ok = a.dim[d] == b.dim[d];
    return ok;
}

/* y of the replays that both have. */
static void same_state(kit_verdict *v, const kit_case *c, const char *where,
                       const kit_result *want, const kit_result *got)
{
    int end = want->first + want->replays, end_got = got->first + got->replays;
    int first = want->first > got->first ? want->first : got->first;
    int last = end < end_got ? end : end_got;
    if (first < last) {
        mnt_shape s = want->shape;
        s.dim[0] = 1;
        size_t one = (size_t)mnt_shape_count(s) * mnt_dtype_size(want->dtype);
        s.dim[0] = last - first;
        same(v, c, where, "y", want->dtype, s,
             (const char *)want->y + (size_t)(first - want->first) * one,
             (const char *)got->y + (size_t)(first - got->first) * one);
    }
    for (int i = 0; i < c->n && end == end_got; i++) {
        char name[24];
        snprintf(name, sizeof name, "parameter %d", i);
        if (want->param[i] && got->param[i])
            same(v, c, where, name, MNT_F32, c->in[i].base_shape, want->param[i],
                 got->param[i]);
    }
}

static bool same_results(const kit_case *c, const char *where, const kit_result *want,
                         const kit_result *got, kit_verdict *v)
{
    char a[96], b[96];
    mnt_shape shape = got->shape;
    if (got->replays && shape.ndim)
        shape.dim[0] = want->shape.dim[0];
    if (want->dtype != got->dtype || !same_shape(want->shape, shape))
        return wrong(v, "%s: case '%s' on %s: y is %s, want %s", c->op->name, c->text,
                     where, kit_shape_text(a, sizeof a, got->shape),
                     kit_shape_text(b, sizeof b, want->shape));
    if (want->status != got->status || strcmp(want->error, got->error) != 0)
        wrong(v, "%s: case '%s' on %s: the fault is \"%.120s\", want \"%.120s\"",
              c->op->name, c->text, where, got->error, want->error);
    if (want->replays)
        same_state(v, c, where, want, got);
    else
        same(v, c, where, "y", want->dtype, want->shape, want->y, got->y);
    for (int i = 0; i < c->n; i++) {
        char name[24];
        if (!want->grad[i] != !got->grad[i])
            wrong(v, "%s: case '%s' on %s: gradient %d exists on one side only",
                  c->op->name, c->text, where, i);
        else if (want->grad[i])
            same(v, c, where, grad_name(i, name), MNT_F32, c->in[i].base_shape,
                 want->grad[i], got->grad[i]);
    }
    if (want->after && got->after)
        same_results(c, where, want->after, got->after, v);
    return v->ok;
}

bool kit_same(const kit_case *c, const char *where, const kit_result *want,
              const kit_result *got, kit_verdict *v)
{
    *v = (kit_verdict){ .ok = true };
    return same_results(c, where, want, got, v);
}

static bool inside(double want, double bound, float got, bool moves)
{
    double g = (double)got;
    if (isinf(bound))
        return true;
    if (isnan(want))
        return isnan(got);
    if (isnan(got))
        return false;
    if (!moves && g != 0 && fabs(g) < ORA_MIN)
        return false;
    double limit = (double)FLT_MAX * (1 + ORA_U);
    if (isinf(want) || fabs(want) - bound > limit)
        return isinf(got) && (g > 0) == (want > 0);
    if (isinf(got))
        return (g > 0 ? want : -want) + bound >= limit;
    if (want == 0 && bound == 0)
        return g == 0 && !signbit(got) == !signbit(want);
    return fabs(g - want) <= bound;
}

int64_t kit_outside(const ora *want, mnt_dtype dtype, const void *got, bool moves)
{
    for (int64_t i = 0; i < want->count; i++) {
        bool ok = false;
        if (dtype == MNT_F32)
            ok = inside(want->v[i], want->e[i], ((const float *)got)[i], moves);
        else if (dtype == MNT_U8)
            ok = want->v[i] == ((const uint8_t *)got)[i];
        else
            ok = want->v[i] == ((const int32_t *)got)[i];
        if (!ok)
            return i;
    }
    return -1;
}

/* Worst error in units of the last place and as a share of the bound. */
static void measure(kit_verdict *v, const ora *want, const float *got)
{
    for (int64_t i = 0; i < want->count; i++) {
        double w = fabs(want->v[i]), e = fabs((double)got[i] - want->v[i]);
        if (!isfinite(w) || w < ORA_MIN || !isfinite(got[i]) || isinf(want->e[i]))
            continue;
        int exponent;
        frexp(w, &exponent);
        double ulp = e / ldexp(1.0, exponent - 24);
        if (ulp > v->ulp)
            v->ulp = ulp;
        if (want->e[i] > 0 && e / want->e[i] > v->share)
            v->share = e / want->e[i];
    }
}

static void right(kit_verdict *v, const kit_case *c, const char *where,
                  const char *what, const ora *want, mnt_dtype dtype, const void *got)
{
    if (dtype == MNT_F32)
        measure(v, want, got);
    int64_t i = kit_outside(want, dtype, got, c->op->flags & KIT_MOVES);
    if (i < 0)
        return;
    double g = dtype == MNT_F32  ? (double)((const float *)got)[i]
               : dtype == MNT_U8 ? ((const uint8_t *)got)[i]
                                 : ((const int32_t *)got)[i];
    char text[160];
    snprintf(text, sizeof text, "oracle %.10g +- %.3g, got %.10g (off by %.3g)",
             want->v[i], want->e[i], g, fabs(g - want->v[i]));
    complain(v, c, where, what, want->shape, i, text);
}

static void gradients_right(kit_verdict *v, const kit_case *c, const char *where,
                            const ora in[], const ora *y, const kit_result *got)
{
    ora dy = ora_new(y->shape), dx[KIT_MAX_IN] = { 0 };
    float *up = kit_alloc((size_t)y->count * sizeof *up);
    kit_upstream(c, up, y->count);
    for (int64_t i = 0; i < y->count; i++)
        dy.v[i] = c->op->flags & KIT_MOVES ? (double)up[i] : ora_flush((double)up[i]);
    free(up);
    c->op->backward(c, in, &dy, dx);
    for (int i = 0; i < c->n; i++) {
        char name[24];
        if (!c->in[i].grad)
            continue;
        if (!got->grad[i]) {
            wrong(v, "%s: case '%s' on %s: gradient %d does not exist", c->op->name,
                  c->text, where, i);
        } else {
            ora base = kit_to_base(&c->in[i], &dx[i]);
            right(v, c, where, grad_name(i, name), &base, MNT_F32, got->grad[i]);
            ora_free(&base);
        }
        ora_free(&dx[i]);
    }
    ora_free(&dy);
}

/* The replays that the result has, of a y with all of them. */
static void cut(ora *y, const kit_result *got)
{
    if (!got->replays || y->shape.dim[0] < got->first + got->replays)
        return;
    int64_t one = y->count / y->shape.dim[0];
    y->shape.dim[0] = got->replays;
    y->count = got->replays * one;
    memmove(y->v, y->v + got->first * one, (size_t)y->count * sizeof *y->v);
    memmove(y->e, y->e + got->first * one, (size_t)y->count * sizeof *y->e);
}

static void right_results(const kit_case *c, const char *where, const kit_result *got,
                          bool good, kit_verdict *v)
{
    ora in[KIT_MAX_IN];
    for (int i = 0; i < c->n; i++)
        in[i] = good ? kit_operand_good(c, i) : kit_operand(c, i);
    ora y = c->op->forward(c, in);
    cut(&y, got);
    if (!same_shape(y.shape, got->shape)) {
        char a[96], b[96];
        wrong(v, "%s: case '%s' on %s: y is %s, the oracle's is %s", c->op->name,
              c->text, where, kit_shape_text(a, sizeof a, got->shape),
              kit_shape_text(b, sizeof b, y.shape));
    } else {
        right(v, c, where, "y", &y, got->dtype, got->y);
        if (got->backward)
            gradients_right(v, c, where, in, &y, got);
    }
    for (int i = 0; i < c->n; i++)
        ora_free(&in[i]);
    ora_free(&y);
}

bool kit_right(const kit_case *c, const char *where, const kit_result *got,
               kit_verdict *v)
{
    *v = (kit_verdict){ .ok = true };
    if (!c->op->forward)
        return true;
    right_results(c, where, got, false, v);
    if (got->after)
        right_results(c, where, got->after, true, v);
    return v->ok;
}
