/* SPDX-License-Identifier: MIT */
/*
 * The data of a case: values by pattern, and how an operand lies in its base (offset,
 * transposed, sliced, stretched). Everything is a function of the case's text.
 */
#include "kit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float special(kit_rng *r)
{
    const float list[] = { NAN,     INFINITY, -INFINITY, 0.0f, -0.0f, FLT_MAX,
                           -1e-40f, 1e-40f,   FLT_MIN,   1.0f, -1.0f };
    return list[kit_below(r, (int64_t)(sizeof list / sizeof *list))];
}

typedef enum pattern {
    RANDOM,
    TIES,
    ZEROS,
    SPECIAL,
    SUBNORMAL,
    LARGE,
    HUGE_ONES,
    WIDE,
    EQUAL,
    ONES,
    NEAR,
    AWAY,
    HOLES,
    NINF,
    ONE_NAN,
    TWO_INF,
    SPACED,
    PATTERNS
} pattern;

static const char *const names[PATTERNS] = {
    "random", "ties", "zeros", "special", "subnormal", "large",
    "huge",   "wide", "equal", "ones",    "near",      "away",
    "holes",  "ninf", "nan",   "inf",     "spaced",
};

static float one_of(pattern p, kit_rng *r)
{
    const float tiny[] = { 1e-40f, -1e-40f, FLT_MIN, -FLT_MIN * 1.5f, 0.0f, -0.0f };
    float u = kit_float(r);
    switch (p) {
    case TIES:
        return (float)kit_below(r, 5) * 0.5f - 1.0f;
    case ZEROS:
        return u < 0 ? -0.0f : 0.0f;
    case SPECIAL:
        return kit_below(r, 6) == 0 ? special(r) : u;
    case SUBNORMAL:
        return tiny[kit_below(r, 6)];
    case LARGE:
        return u * 1e4f;
    case HUGE_ONES:
        return u * 3e38f;
    case WIDE:
        return ldexpf(u, (int)kit_below(r, 80) - 20);
    case EQUAL:
        return 0.75f;
    case ONES:
        return 1.0f;
    case NEAR:
        return 1e4f + u * 1e-2f;
    case AWAY:
        return u < 0 ? u - 0.5f : u + 0.5f;
    case HOLES:
        return kit_below(r, 4) ? -INFINITY : u;
    case NINF:
        return -INFINITY;
    default:
        return u;
    }
}

/* Distinct values 0.01 apart, none near 0, in random order: for finite differences. */
static void fill_spaced(float *x, int64_t n, kit_rng *r)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(((double)i - (double)n / 2 + 0.25) * 0.01);
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = kit_below(r, i + 1);
        float t = x[i];
        x[i] = x[j];
        x[j] = t;
    }
}

/* "nan7" is "nan" with its place; *place is -1 without one. */
static pattern pattern_of(const char *p, int64_t *place)
{
    *place = -1;
    for (int i = 0; i < PATTERNS; i++)
        if (!strcmp(p, names[i]))
            return (pattern)i;
    if (strncmp(p, "nan", 3) != 0 || strspn(p + 3, "0123456789") != strlen(p + 3))
        kit_die("unknown value pattern '%s'", p);
    *place = atoll(p + 3);
    return ONE_NAN;
}

void kit_fill(float *x, int64_t n, const char *name, kit_rng *r)
{
    int64_t place;
    pattern p = pattern_of(name, &place);
    if (p == SPACED) {
        fill_spaced(x, n, r);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        x[i] = one_of(p, r);
    if (n && p == ONE_NAN)
        x[place < 0 ? kit_below(r, n) : place % n] = NAN;
    if (n && p == TWO_INF) {
        x[kit_below(r, n)] = INFINITY;
        x[kit_below(r, n)] = -INFINITY;
    }
}

static void fill_base(kit_in *in, int64_t n, kit_rng *r)
{
    in->base = kit_alloc((size_t)n * mnt_dtype_size(in->dtype));
    if (in->dtype == MNT_F32) {
        kit_fill(in->base, n, in->values, r);
    } else if (in->dtype == MNT_U8) {
        for (int64_t i = 0; i < n; i++)
            ((uint8_t *)in->base)[i] = (uint8_t)(n >= 256 ? i : kit_below(r, 256));
    } else {
        for (int64_t i = 0; i < n; i++)
            ((int32_t *)in->base)[i] =
                in->limit ? (int32_t)kit_below(r, in->limit)
                          : (int32_t)(kit_next(r) >> (32 + kit_below(r, 30)));
    }
}

static int64_t offset_of(const kit_in *in)
{
    return strncmp(in->view, "offset", 6) == 0 ? atoll(in->view + 6) : 0;
}

static mnt_shape base_of(const kit_in *in)
{
    mnt_shape s = in->shape, b = s;
    if (strncmp(in->view, "offset", 6) == 0)
        return (mnt_shape){ 1, { offset_of(in) + mnt_shape_count(s) + 5 } };
    for (int d = 0; d < s.ndim; d++) {
        if (!strcmp(in->view, "transposed"))
            b.dim[d] = s.dim[s.ndim - 1 - d];
        if (!strcmp(in->view, "sliced"))
            b.dim[d] = s.dim[d] + 3;
    }
    if (!strcmp(in->view, "stretched") && s.ndim > 0)
        b.dim[s.ndim > 1 ? s.ndim - 2 : 0] = 1;
    return b;
}

/* Index in the base of element i of the operand. */
static int64_t base_index(const kit_in *in, int64_t i)
{
    const mnt_shape *s = &in->shape, *b = &in->base_shape;
    if (strncmp(in->view, "offset", 6) == 0)
        return offset_of(in) + i;
    int64_t k[MNT_MAX_DIMS] = { 0 };
    for (int d = s->ndim - 1; d >= 0; i /= s->dim[d], d--) {
        int64_t at = i % s->dim[d];
        if (!strcmp(in->view, "transposed"))
            k[s->ndim - 1 - d] = at;
        else if (!strcmp(in->view, "sliced"))
            k[d] = at + 1 + d % 2;
        else
            k[d] = b->dim[d] == 1 ? 0 : at;
    }
    int64_t at = 0;
    for (int d = 0; d < b->ndim; d++)
        at = at * b->dim[d] + k[d];
    return at;
}

static bool all_finite(const kit_in *in)
{
    if (in->dtype != MNT_F32)
        return true;
    const float *x = in->base;
    for (int64_t i = 0; i < mnt_shape_count(in->base_shape); i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static void check_view(const kit_case *c, const kit_in *in)
{
    static const char *const known[] = { "plain", "transposed", "sliced", "stretched" };
    bool found = strncmp(in->view, "offset", 6) == 0;
    for (int i = 0; i < 4; i++)
        found = found || !strcmp(in->view, known[i]);
    if (!found || ((in->param || in->fed) && strcmp(in->view, "plain") != 0))
        kit_die("%s: case '%s': view '%s'", c->op->name, c->text, in->view);
}

/* "min" and "max" of i32, "limit" of the input, or a number. */
static int32_t bad_value(const kit_in *in, const char *word)
{
    if (!strcmp(word, "min"))
        return INT32_MIN;
    if (!strcmp(word, "max"))
        return INT32_MAX;
    return !strcmp(word, "limit") ? (int32_t)in->limit : (int32_t)atoll(word);
}

/* Puts what bad= and bad2= say into the rows of an i32 input. */
static void spoil(const kit_case *c, kit_in *in)
{
    static const char *const keys[] = { "bad", "bad2" };
    for (int k = 0; k < 2 && in->dtype == MNT_I32 && in->limit > 0; k++) {
        char word[24];
        const char *colon = strchr(kit_word(c, keys[k], "", word), ':');
        if (!word[0])
            continue;
        size_t bytes = (size_t)mnt_shape_count(in->base_shape) * sizeof(int32_t);
        int64_t row = atoll(word);
        if (!colon || row < 0 || row >= mnt_shape_count(in->shape))
            kit_die("%s: case '%s': %s=%s", c->op->name, c->text, keys[k], word);
        if (!in->good)
            in->good = memcpy(kit_alloc(bytes), in->base, bytes);
        ((int32_t *)in->base)[in->map[row]] = bad_value(in, colon + 1);
    }
}

int64_t kit_bad_row(const kit_case *c, int i, int32_t *value)
{
    const kit_in *in = &c->in[i];
    for (int64_t k = 0; k < mnt_shape_count(in->shape); k++) {
        *value = ((const int32_t *)in->base)[in->map[k]];
        if (*value < 0 || *value >= in->limit)
            return k;
    }
    return -1;
}

/* Values, and where each element of the operand lies. */
static void init_input(kit_case *c, int i, kit_rng *r)
{
    kit_in *in = &c->in[i];
    char v[16], w[20];
    snprintf(v, sizeof v, i ? "v%d" : "v", i);
    snprintf(w, sizeof w, i ? "view%d" : "view", i);
    kit_word(c, v, "random", in->values);
    kit_word(c, w, "plain", in->view);
    if (i == 1 && !in->param && kit_int(c, "param", 0))
        in->param = "p1";
    check_view(c, in);
    in->base_shape = base_of(in);
    int64_t one = mnt_shape_count(in->shape), n = in->fed ? c->replays * one : one;
    int64_t sets = in->fed && !c->queued ? c->replays : 1;
    fill_base(in, sets * mnt_shape_count(in->base_shape), r);
    in->map = kit_alloc((size_t)n * sizeof *in->map);
    for (int64_t k = 0; k < n; k++)
        in->map[k] = !in->fed ? base_index(in, k) : c->queued ? k % one : k;
    spoil(c, in);
}

void kit_case_init(kit_case *c, const kit_op *op, const char *text)
{
    *c = (kit_case){ .op = op };
    if (strlen(text) >= sizeof c->text)
        kit_die("%s: case too long: %s", op->name, text);
    strcpy(c->text, text);
    c->replays = (int)kit_int(c, "replays", op->flags & KIT_STATE ? 5 : 3);
    if (c->replays < 1)
        kit_die("%s: case '%s': replays must be 1 or more", op->name, text);
    c->queued = (op->flags & KIT_STATE) && kit_int(c, "queued", 0);
    c->n = op->inputs(c, c->in);
    bool finite = true, grad = false;
    kit_rng r = { kit_hash(text, strlen(text)) };
    for (int i = 0; i < c->n; i++) {
        init_input(c, i, &r);
        finite = finite && all_finite(&c->in[i]);
        grad = grad || c->in[i].grad;
    }
    c->backward = op->backward && grad && finite && kit_int(c, "grad", 1);
}

void kit_case_free(kit_case *c)
{
    for (int i = 0; i < c->n; i++) {
        free(c->in[i].base);
        free(c->in[i].good);
        free(c->in[i].map);
    }
}

mnt_shape kit_stacked(const kit_case *c, mnt_shape s)
{
    mnt_shape out = { s.ndim + 1, { c->replays } };
    if (s.ndim == MNT_MAX_DIMS)
        kit_die("%s: case '%s': too many dimensions", c->op->name, c->text);
    memcpy(out.dim + 1, s.dim, (size_t)s.ndim * sizeof *s.dim);
    return out;
}

static ora operand_of(const kit_case *c, const kit_in *in, const void *base)
{
    mnt_shape shape = in->fed ? kit_stacked(c, in->shape) : in->shape;
    ora x = ora_new(shape);
    for (int64_t k = 0; k < x.count; k++) {
        int64_t at = in->map[k];
        if (in->dtype == MNT_F32)
            x.v[k] = (double)((const float *)base)[at];
        else if (in->dtype == MNT_U8)
            x.v[k] = ((const uint8_t *)base)[at];
        else
            x.v[k] = ((const int32_t *)base)[at];
        if (in->dtype == MNT_F32 && !(c->op->flags & KIT_MOVES))
            x.v[k] = ora_flush(x.v[k]);
    }
    return x;
}

ora kit_operand(const kit_case *c, int i)
{
    return operand_of(c, &c->in[i], c->in[i].base);
}

ora kit_operand_good(const kit_case *c, int i)
{
    const kit_in *in = &c->in[i];
    return operand_of(c, in, in->good ? in->good : in->base);
}

void kit_upstream(const kit_case *c, float *dy, int64_t n)
{
    kit_rng r = { kit_hash(c->text, strlen(c->text)) ^ 0x5bd1e995u };
    char word[24];
    if (kit_has(c, "dy")) {
        kit_fill(dy, n, kit_word(c, "dy", "", word), &r);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float u = kit_float(&r);
        dy[i] = n > 4 && kit_below(&r, 16) == 0 ? 0.0f : u < 0 ? u - 0.25f : u + 0.25f;
    }
}

ora kit_to_base(const kit_in *in, const ora *dx)
{
    ora base = ora_new(in->base_shape);
    double *mag = kit_alloc((size_t)base.count * sizeof *mag);
    double *n = kit_alloc((size_t)base.count * sizeof *n);
    for (int64_t k = 0; k < dx->count; k++) {
        int64_t at = in->map[k];
        /* a lone term keeps its sign, a sum starts from +0 */
        base.v[at] = n[at] > 0 ? base.v[at] + 0.0 + dx->v[k] : dx->v[k];
        base.e[at] += dx->e[k];
        mag[at] += isfinite(dx->v[k]) ? fabs(dx->v[k]) + dx->e[k] : 0;
        n[at] += 1;
    }
    for (int64_t i = 0; i < base.count; i++)
        if (n[i] > 1 && mag[i] > ORA_MAX / 2)
            base.e[i] = INFINITY;
        else if (n[i] > 1 && isfinite(base.v[i]))
            base.e[i] += ora_gamma(n[i]) * mag[i] + (mag[i] > 0 ? n[i] * ORA_MIN : 0);
    free(mag);
    free(n);
    return base;
}
