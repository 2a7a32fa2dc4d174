/* SPDX-License-Identifier: MIT */
/*
 * Verdicts on a result: the same bits as another one, or inside the oracle's bounds.
 */
#include "kit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints what is wrong with element i of `what`. */
static void complain(const kit_case *c, const char *where, const char *what,
                     mnt_shape shape, int64_t i, const char *text)
{
    char s[96], at[96];
    print_error("%s: case '%s' on %s: %s %s at %s: %s\n", c->op->name, c->text, where,
                what, sup_shape_text(s, sizeof s, shape),
                sup_index_text(at, sizeof at, shape, i), text);
}

static bool same(const kit_case *c, const char *where, const char *what,
                 mnt_dtype dtype, mnt_shape shape, const void *want, const void *got)
{
    int64_t i = sup_difference(dtype, want, got, mnt_shape_count(shape));
    char text[160];
    if (i < 0)
        return true;
    complain(c, where, what, shape, i,
             sup_element_text(text, sizeof text, dtype, want, got, i));
    return false;
}

static const char *grad_name(int i, char buf[24])
{
    snprintf(buf, 24, "gradient %d", i);
    return buf;
}

bool kit_same(const kit_case *c, const char *where, const kit_result *want,
              const kit_result *got)
{
    bool ok = same(c, where, "y", want->dtype, want->shape, want->y, got->y);
    for (int i = 0; i < c->n; i++) {
        char name[24];
        if (!want->grad[i] != !got->grad[i]) {
            print_error("%s: case '%s' on %s: gradient %d exists on one side only\n",
                        c->op->name, c->text, where, i);
            ok = false;
        } else if (want->grad[i]) {
            ok = same(c, where, grad_name(i, name), MNT_F32, c->in[i].base_shape,
                      want->grad[i], got->grad[i]) &&
                 ok;
        }
    }
    return ok;
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
        return fabs(want) + bound >= limit && (g > 0) == (want > 0);
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

static bool right(const kit_case *c, const char *where, const char *what,
                  const ora *want, mnt_dtype dtype, const void *got)
{
    int64_t i = kit_outside(want, dtype, got, c->op->moves);
    if (i < 0)
        return true;
    double g = dtype == MNT_F32  ? (double)((const float *)got)[i]
               : dtype == MNT_U8 ? ((const uint8_t *)got)[i]
                                 : ((const int32_t *)got)[i];
    char text[160];
    snprintf(text, sizeof text, "oracle %.10g +- %.3g, got %.10g (off by %.3g)",
             want->v[i], want->e[i], g, fabs(g - want->v[i]));
    complain(c, where, what, want->shape, i, text);
    return false;
}

static bool gradients_right(const kit_case *c, const char *where, const ora in[],
                            const ora *y, const kit_result *got)
{
    ora dy = ora_new(y->shape), dx[KIT_MAX_IN] = { 0 };
    float *up = sup_alloc((size_t)y->count * sizeof *up);
    kit_upstream(c, up, y->count);
    for (int64_t i = 0; i < y->count; i++)
        dy.v[i] = (double)up[i];
    free(up);
    c->op->backward(c, in, &dy, dx);
    bool ok = true;
    for (int i = 0; i < c->n; i++) {
        char name[24];
        if (!c->in[i].grad)
            continue;
        if (!got->grad[i]) {
            print_error("%s: case '%s': gradient %d does not exist\n", c->op->name,
                        c->text, i);
            ok = false;
        } else {
            ora base = kit_to_base(&c->in[i], &dx[i]);
            ok =
                right(c, where, grad_name(i, name), &base, MNT_F32, got->grad[i]) && ok;
            ora_free(&base);
        }
        ora_free(&dx[i]);
    }
    ora_free(&dy);
    return ok;
}

bool kit_right(const kit_case *c, const char *where, const kit_result *got)
{
    ora in[KIT_MAX_IN];
    for (int i = 0; i < c->n; i++)
        in[i] = kit_operand(c, i);
    ora y = c->op->forward(c, in);
    bool ok = y.shape.ndim == got->shape.ndim;
    for (int d = 0; d < y.shape.ndim; d++)
        ok = ok && y.shape.dim[d] == got->shape.dim[d];
    if (!ok) {
        char a[96], b[96];
        print_error("%s: case '%s': y is %s, want %s\n", c->op->name, c->text,
                    sup_shape_text(a, sizeof a, got->shape),
                    sup_shape_text(b, sizeof b, y.shape));
    } else {
        ok = right(c, where, "y", &y, got->dtype, got->y);
        if (got->backward)
            ok = gradients_right(c, where, in, &y, got) && ok;
    }
    for (int i = 0; i < c->n; i++)
        ora_free(&in[i]);
    ora_free(&y);
    return ok;
}
