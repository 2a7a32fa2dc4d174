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

/* Which tile of which product a threadgroup makes; tiles of one product row-major. There
 * are fewer than 2^31 tiles, so their numbers are 32-bit: a division of 64 bits is long. */
struct product_place {
    int64_t batch, row, column; /* of the tile's first element */
};

static inline product_place product_tile_at(constant mnt_product_args &p, uint group,
                                            int tile)
{
    uint across = uint((p.n + tile - 1) / tile);
    uint line = group / across, batch = 0, row = line;
    if (p.batches > 1) {
        uint down = uint((p.m + tile - 1) / tile);
        batch = line / down;
        row = line - batch * down;
    }
    product_place at;
    at.batch = batch;
    at.row = int64_t(row) * tile;
    at.column = int64_t(group - line * across) * tile;
    return at;
}

/* How an operand's neighbours in memory lie, and whether four of them may be loaded as
 * one. A constant of the kernel: with code for several ways loads wait for each other. */
enum {
    PRODUCT_ANY = 0,   /* known at run time; loaded one by one */
    PRODUCT_STEPS = 1, /* along k, in vectors */
    PRODUCT_LINES = 2  /* along the lines, in vectors */
};

/*
 * A thread's share of an operand's tile, `tile` lines of `depth` steps: vectors of four
 * neighbours in memory. Lines are rows of op(a), or columns of op(b); neighbours lie along
 * k where the stride between steps is 1, else along the lines, where that stride is 1.
 */
struct product_side {
    device const float *safe; /* the tile's first element */
    device const float *from; /* the share's first, at k = 0; maybe past the end */
    int64_t step;             /* stride to the next step of k */
    int64_t next;             /* stride to the share's next vector */
    int line, k;              /* of the share's first element, in the tile */
    int lines;                /* of the tile that exist */
    bool along_k;
};

template <int layout> static inline bool product_along_k(product_side s)
{
    return layout == PRODUCT_ANY ? s.along_k : layout == PRODUCT_STEPS;
}

/* Thread t of tile depth / 4 / `vectors` threads. */
template <int tile, int depth, int vectors, int layout>
static inline product_side product_side_of(device const float *from, int64_t line,
                                           int64_t step, int64_t lines, uint t)
{
    product_side s;
    s.along_k = step == 1;
    bool along_k = product_along_k<layout>(s);
    s.line = int(along_k ? t / (depth / 4) : t % (tile / 4) * 4);
    s.k = int(along_k ? t % (depth / 4) * 4 : t / (tile / 4));
    s.lines = int(lesser(lines, tile));
    s.safe = from;
    s.from = from + s.line * line + s.k * step;
    s.step = step;
    s.next = along_k ? tile / vectors * line : depth / vectors * step;
    return s;
}

template <int tile, int depth, int vectors, int layout>
static inline product_side product_rows(constant mnt_product_args &p, product_place at,
                                        device const float *a, uint t)
{
    return product_side_of<tile, depth, vectors, layout>(
        a + at.batch * p.a_batch + at.row * p.a_row, p.a_row, p.a_step, p.m - at.row,
        t);
}

template <int tile, int depth, int vectors, int layout>
static inline product_side product_columns(constant mnt_product_args &p,
                                           product_place at, device const float *b,
                                           uint t)
{
    return product_side_of<tile, depth, vectors, layout>(
        b + at.batch * p.b_batch + at.column * p.b_column, p.b_column, p.b_step,
        p.n - at.column, t);
}

/* Elements of the share's i-th vector that exist, of the `left` steps from there on: 4 or
 * more, less, or none. */
template <int tile, int depth, int vectors, int layout>
static inline int product_exist(product_side s, int i, int left)
{
    bool along_k = product_along_k<layout>(s);
    int line = s.line + (along_k ? i * (tile / vectors) : 0);
    int k = s.k + (along_k ? 0 : i * (depth / vectors));
    bool in = line < s.lines && k < left;
    if (layout != PRODUCT_ANY)
        return in ? 4 : 0;
    return in ? (along_k ? left - k : s.lines - line) : 0;
}

/*
 * The share's i-th vector at step k of the operand. Loads are never conditional, or each
 * would be waited for before the next begins: what does not exist is read where something
 * does, and product_mask() drops it when it is stored. The four of a vector exist together
 * or not at all, since lines and chunks are multiples of four then.
 */
template <int tile, int depth, int vectors, int layout>
static inline float4 product_fetch(product_side s, int i, int64_t k, int left)
{
    int exist = product_exist<tile, depth, vectors, layout>(s, i, left);
    device const float *from = exist > 0 ? s.from + k * s.step + i * s.next : s.safe;
    if (layout != PRODUCT_ANY)
        return *(device const float4 *)from;
    float4 v;
    v[0] = from[0];
    v[1] = from[exist > 1 ? 1 : 0];
    v[2] = from[exist > 2 ? 2 : 0];
    v[3] = from[exist > 3 ? 3 : 0];
    return v;
}

template <int tile, int depth, int vectors, int layout>
static inline float4 product_mask(product_side s, int i, int left, float4 v)
{
    int exist = product_exist<tile, depth, vectors, layout>(s, i, left);
#pragma unroll
    for (int c = 0; c < 4; c++)
        v[c] = exist > c ? v[c] : 0.0f;
    return v;
}

#endif
