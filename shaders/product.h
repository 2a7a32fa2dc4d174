/* SPDX-License-Identifier: MIT */
/*
 * What the kernels of matrix products share: which tile a threadgroup makes, what comes
 * behind a sum, and loads of four neighbours at a time.
 */
#ifndef SHADERS_PRODUCT_H
#define SHADERS_PRODUCT_H

#include "common.h"

/* Bias of column j, relu: what comes behind the sum. */
static inline float product_end(constant mnt_product_args &p, device const float *bias,
                                int64_t j, float v)
{
    if (p.bias != 0)
        v = v + bias[j];
    return p.relu != 0 && v <= 0.0f ? 0.0f : v;
}

/* Which tile of which product a threadgroup makes; tiles of one product row-major. */
struct product_place {
    int64_t batch, row, column; /* of the tile's first element */
};

static inline product_place product_tile_at(constant mnt_product_args &p, int64_t group,
                                            int64_t tile)
{
    int64_t across = quotient(p.n + tile - 1, tile);
    int64_t down = quotient(p.m + tile - 1, tile);
    int64_t line = quotient(group, across);
    product_place at;
    at.batch = quotient(line, down);
    at.row = (line - at.batch * down) * tile;
    at.column = (group - line * across) * tile;
    return at;
}

/* An operand as a tile sees it: lines are rows of op(a), or columns of op(b). One of the
 * strides is 1. */
struct product_side {
    device const float *from; /* the tile's first line at k = 0 */
    int64_t line, step;       /* strides: to the next line, to the next k */
    int64_t lines;            /* of the operand, from the tile's first on */
    bool vector;              /* four neighbours may be loaded as one vector */
};

static inline product_side product_rows(constant mnt_product_args &p, product_place at,
                                        device const float *a)
{
    product_side s;
    s.from = a + at.batch * p.a_batch + at.row * p.a_row;
    s.line = p.a_row;
    s.step = p.a_step;
    s.lines = p.m - at.row;
    s.vector = p.a_vector != 0;
    return s;
}

static inline product_side product_columns(constant mnt_product_args &p,
                                           product_place at, device const float *b)
{
    product_side s;
    s.from = b + at.batch * p.b_batch + at.column * p.b_column;
    s.line = p.b_column;
    s.step = p.b_step;
    s.lines = p.n - at.column;
    s.vector = p.b_vector != 0;
    return s;
}

/* Four elements along k, from (line, k) on; zeros past the last line and from `end` on. */
static inline float4 product_four_steps(product_side s, int64_t line, int64_t k,
                                        int64_t end)
{
    device const float *from = s.from + line * s.line + k;
    bool in = line < s.lines;
    if (s.vector && in && k + 4 <= end)
        return *(device const float4 *)from;
    float4 v = float4(0.0f);
    for (int c = 0; c < 4; c++)
        if (in && k + c < end)
            v[c] = from[c];
    return v;
}

/* Four lines from `line` on at k, likewise. */
static inline float4 product_four_lines(product_side s, int64_t line, int64_t k,
                                        int64_t end)
{
    device const float *from = s.from + k * s.step + line;
    if (s.vector && k < end && line + 4 <= s.lines)
        return *(device const float4 *)from;
    float4 v = float4(0.0f);
    for (int c = 0; c < 4; c++)
        if (k < end && line + c < s.lines)
            v[c] = from[c];
    return v;
}

#endif
