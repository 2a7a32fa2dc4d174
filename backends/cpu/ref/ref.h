/* SPDX-License-Identifier: MIT */
/*
 * What the reference kernels share: walks over strided operands, the fixed summation
 * orders, the rule of the maximum, and convolution geometry. Numbers in comments (C5,
 * D1) are rules of docs/numerics.md.
 *
 * The reference kernels are the definition of every op in loops as plain as possible;
 * all faster kernels give the same bits. They take whatever the op allows.
 */
#ifndef CPU_REF_H
#define CPU_REF_H

#include "../cpu.h"

#include <mnt/scalar.h>

#define REF_BLOCK 4096 /* elements a unit, and elements a summation block */
#define REF_TREE  64   /* samples a tree of C6 */

static inline int64_t ref_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Product of dims [first, end). */
static inline int64_t ref_dims(const mnt_operand *o, int first, int end)
{
    int64_t n = 1;
    for (int d = first; d < end; d++)
        n *= o->dim[d];
    return n;
}

static inline int64_t ref_count(const mnt_operand *o)
{
    return ref_dims(o, 0, o->ndim);
}

static inline int64_t ref_blocks(int64_t count)
{
    return (count + REF_BLOCK - 1) / REF_BLOCK;
}

/* One unit for each REF_BLOCK elements of the first output. */
static inline void ref_plan_blocks(cpu_job *job)
{
    cpu_plan_units(job, ref_blocks(ref_count(&job->cmd->out[0])));
}

static inline void ref_plan_one(cpu_job *job)
{
    cpu_plan_units(job, 1);
}

/* Elements of units [begin, end) of a plan by blocks. */
typedef struct ref_range {
    int64_t first, end;
} ref_range;

static inline ref_range ref_elements(const cpu_job *job, int64_t begin, int64_t end)
{
    int64_t n = ref_count(&job->cmd->out[0]);
    return (ref_range){ begin * REF_BLOCK, ref_min(n, end * REF_BLOCK) };
}

/* For operands of one shape: `count` elements along the last axis, for up to three
 * operands. */
typedef struct ref_run {
    int64_t count;
    int64_t at[3], step[3];
} ref_run;

/* The run from row-major element i on, cut at element `end`. */
static inline ref_run ref_run_at(const mnt_operand *const o[], int operands, int64_t i,
                                 int64_t end)
{
    ref_run r = { .count = 1 };
    int last = o[0]->ndim - 1;
    if (last >= 0)
        r.count = ref_min(o[0]->dim[last] - i % o[0]->dim[last], end - i);
    for (int d = last; d >= 0; d--) {
        int64_t c = i % o[0]->dim[d];
        i /= o[0]->dim[d];
        for (int k = 0; k < operands; k++)
            r.at[k] += c * o[k]->stride[d];
    }
    for (int k = 0; k < operands && last >= 0; k++)
        r.step[k] = o[k]->stride[last];
    return r;
}

/*
 * Sums by rule D: 32 lanes over at most 4096 elements, their tree, and the results of
 * such blocks summed the same way. Level 0 takes elements, level 1 blocks, and so on.
 */
#define REF_LANES  32
#define REF_LEVELS 4

typedef struct ref_sum {
    float lane[REF_LEVELS][REF_LANES];
    int64_t count[REF_LEVELS];
} ref_sum;

static inline ref_sum ref_sum_start(void)
{
    return (ref_sum){ .count = { 0 } };
}

static inline float ref_tree32(float v[REF_LANES])
{
    for (int h = REF_LANES / 2; h > 0; h /= 2)
        for (int l = 0; l < h; l++)
            v[l] = v[l] + v[l + h];
    return v[0];
}

/* Where the next element of a level goes. A full block becomes an element above. */
static inline float *ref_sum_next(ref_sum *s, int level)
{
    int full = level;
    while (s->count[full] == REF_BLOCK && full + 1 < REF_LEVELS)
        full++;
    for (; full > level; full--) {
        float block = ref_tree32(s->lane[full - 1]);
        float *up = &s->lane[full][s->count[full]++ % REF_LANES];
        *up = *up + block;
        memset(s->lane[full - 1], 0, sizeof s->lane[0]);
        s->count[full - 1] = 0;
    }
    return &s->lane[level][s->count[level]++ % REF_LANES];
}

static inline void ref_sum_add(ref_sum *s, float v)
{
    float *lane = ref_sum_next(s, 0);
    *lane = *lane + v;
}

static inline void ref_sum_product(ref_sum *s, float a, float b)
{
    float *lane = ref_sum_next(s, 0);
    *lane = mnt_fmaf(a, b, *lane);
}

/* The total; the sum is spent. */
static inline float ref_sum_total(ref_sum *s)
{
    float total = ref_tree32(s->lane[0]);
    for (int level = 1; level < REF_LEVELS && s->count[level] > 0; level++) {
        float *up = ref_sum_next(s, level);
        *up = *up + total;
        total = ref_tree32(s->lane[level]);
    }
    return total;
}

/* A maximum: the first of equals, the first NaN over every number. */
typedef struct ref_best {
    float value;
    int64_t index; /* -1: nothing offered yet */
} ref_best;

static inline void ref_best_offer(ref_best *b, float v, int64_t index)
{
    if (b->index < 0 || v > b->value || (v != v && b->value == b->value))
        *b = (ref_best){ v, index };
}

static inline ref_best ref_row_best(const float *x, int64_t n)
{
    ref_best best = { 0.0f, -1 };
    for (int64_t i = 0; i < n; i++)
        ref_best_offer(&best, x[i], i);
    return best;
}

/* Output positions along one axis. */
static inline int64_t ref_positions(int64_t size, int kernel, int stride, int pad,
                                    int dilation)
{
    int64_t room = size + 2 * (int64_t)pad - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* Along one axis: the tap by which the window at `position` holds `pixel`, else -1. */
static inline int64_t ref_tap(int64_t pixel, int64_t position, int kernel, int stride,
                              int pad, int dilation)
{
    int64_t d = pixel + pad - position * stride;
    if (d < 0 || d % dilation != 0 || d / dilation >= kernel)
        return -1;
    return d / dilation;
}

/* Along one axis: the positions whose windows can hold `pixel`. */
static inline ref_range ref_touching(int64_t pixel, int64_t positions, int kernel,
                                     int stride, int pad, int dilation)
{
    int64_t far = pixel + pad;
    int64_t near = far - (int64_t)dilation * (kernel - 1);
    int64_t first = near > 0 ? (near + stride - 1) / stride : 0;
    return (ref_range){ first, ref_min(positions, far / stride + 1) };
}

/* The position after (y, x) in block order (C5): 2x2 blocks, cut at the edges. */
static inline void ref_block_next(int64_t h, int64_t w, int64_t *y, int64_t *x)
{
    if (*x % 2 == 0 && *x + 1 < w) {
        *x += 1;
        return;
    }
    *x -= *x % 2;
    if (*y % 2 == 0 && *y + 1 < h) {
        *y += 1;
        return;
    }
    *y -= *y % 2;
    *x += 2;
    if (*x >= w) {
        *x = 0;
        *y += 2;
    }
}

/* Pairwise sum of the results of 1 <= n <= 64 samples (C6); t is spent. */
static inline float ref_tree64(float t[REF_TREE], int64_t n)
{
    for (int64_t h = 1; h < REF_TREE; h *= 2)
        for (int64_t s = 0; s + h < n; s += 2 * h)
            t[s] = t[s] + t[s + h];
    return t[0];
}

static inline int32_t ref_winner(const void *index, mnt_dtype dtype, int64_t i)
{
    return dtype == MNT_U8 ? ((const uint8_t *)index)[i] : ((const int32_t *)index)[i];
}

static inline void ref_set_winner(void *index, mnt_dtype dtype, int64_t i, int64_t tap)
{
    if (dtype == MNT_U8)
        ((uint8_t *)index)[i] = (uint8_t)tap;
    else
        ((int32_t *)index)[i] = (int32_t)tap;
}

#endif
