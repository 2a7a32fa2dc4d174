/* SPDX-License-Identifier: MIT */
/*
 * Matrix products of many elements: 128 x 128 a threadgroup, 8 x 8 a thread as 2 x 2
 * squares of 4 x 4, 64 apart, so that a thread's rows and columns are four vectors.
 *
 *              64 columns      64 columns
 *             +---------------+---------------+
 *             |  4x4 of       |  4x4 of       |    Threads are 16 x 16 in a square; 32
 *   64 rows   |  thread       |  the same     |    of one simdgroup are 4 x 8 neighbours,
 *             |  (ty, tx)     |  thread       |    so their reads share banks' words.
 *             +---------------+---------------+
 *   64 rows   |  4x4          |  4x4          |
 *             +---------------+---------------+
 *
 * Eight steps of k lie in threadgroup memory while the next eight are on their way in
 * registers: two buffers, one barrier for eight steps. Sums of chunks are added in y,
 * which the same thread reads again: as registers they would be 64 more.
 */
#include "product.h"

#define BIG_TILE  128
#define BIG_STEPS 8
#define BIG_PITCH 33 /* vectors of a step's 128 lines, and one more for the banks */

template <int layout>
static inline void big_store(product_side s, int left, float4 v,
                             threadgroup float4 *steps)
{
    threadgroup float *single = (threadgroup float *)steps;
    v = product_mask<BIG_TILE, BIG_STEPS, 1, layout>(s, 0, left, v);
    if (product_along_k<layout>(s)) {
#pragma unroll
        for (int c = 0; c < 4; c++)
            single[(s.k + c) * (4 * BIG_PITCH) + s.line] = v[c];
    } else {
        steps[s.k * BIG_PITCH + s.line / 4] = v;
    }
}

/* y += s for four neighbours of a row; the first chunk is added to +0, behind the last
 * come bias and relu. */
static inline void big_flush(constant mnt_product_args &p, device const float *bias,
                             device float4 *y, int64_t column, bool first, bool last,
                             thread const float *s)
{
    float4 v = float4(0.0f);
    if (!first)
        v = *y;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        v[c] = v[c] + s[c];
        if (last)
            v[c] = product_end(p, bias, column + c, v[c]);
    }
    *y = v;
}

/*
 * Elements outside the operands are staged as zeros, rows and columns past the end are
 * not written. A chunk is a multiple of eight steps, or all of k; operands and y are such
 * that four neighbours are one vector.
 */
template <int rows_in, int columns_in>
kernel void
product_big(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
            device const float *bias [[buffer(2)]], device float *y [[buffer(3)]],
            constant mnt_product_args &p [[buffer(4)]],
            uint group [[threadgroup_position_in_grid]],
            uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 sa[2 * BIG_STEPS * BIG_PITCH]; /* [buffer][step][line / 4] */
    threadgroup float4 sb[2 * BIG_STEPS * BIG_PITCH];
    /* The tile's row of y and column, from where they are read again at a chunk's end: as
     * registers the addresses of a thread's 16 vectors would be there all the time. */
    threadgroup int64_t corner[3];
    product_place at = product_tile_at(p, group, BIG_TILE);
    product_side rows = product_rows<BIG_TILE, BIG_STEPS, 1, rows_in>(p, at, a, tid);
    product_side columns =
        product_columns<BIG_TILE, BIG_STEPS, 1, columns_in>(p, at, b, tid);
    uint part = tid / 32, lane = tid % 32;
    uint ty = part / 2 * 4 + lane / 8, tx = part % 2 * 8 + lane % 8;
    if (tid == 0) {
        corner[0] = at.row;
        corner[1] = at.column;
        corner[2] = at.batch * p.m;
    }
    float s[8][8];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            s[i][j] = 0.0f;
    int left = int(lesser(p.k, BIG_STEPS));
    float4 u = product_fetch<BIG_TILE, BIG_STEPS, 1, rows_in>(rows, 0, 0, left);
    float4 v = product_fetch<BIG_TILE, BIG_STEPS, 1, columns_in>(columns, 0, 0, left);
    big_store<rows_in>(rows, left, u, sa);
    big_store<columns_in>(columns, left, v, sb);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint now = 0; /* the buffer that is read */
    int64_t due = p.chunk;
    for (int64_t k = 0; k < p.k; k += BIG_STEPS) {
        /* Behind the last step come zeros: a condition would let the compiler move the
         * loads to where they are stored. */
        left = int(lesser(p.k - k - BIG_STEPS, BIG_STEPS));
        u = product_fetch<BIG_TILE, BIG_STEPS, 1, rows_in>(rows, 0, k + BIG_STEPS,
                                                           left);
        v = product_fetch<BIG_TILE, BIG_STEPS, 1, columns_in>(columns, 0, k + BIG_STEPS,
                                                              left);
        threadgroup const float4 *pa = sa + now * (BIG_STEPS * BIG_PITCH) + ty;
        threadgroup const float4 *pb = sb + now * (BIG_STEPS * BIG_PITCH) + tx;
#pragma unroll
        for (int e = 0; e < BIG_STEPS; e++) {
            float4 x[2], w[2];
            x[0] = pa[e * BIG_PITCH];
            x[1] = pa[e * BIG_PITCH + 16];
            w[0] = pb[e * BIG_PITCH];
            w[1] = pb[e * BIG_PITCH + 16];
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                    s[i][j] = fma(x[i / 4][i % 4], w[j / 4][j % 4], s[i][j]);
        }
        now ^= 1;
        big_store<rows_in>(rows, left, u, sa + now * (BIG_STEPS * BIG_PITCH));
        big_store<columns_in>(columns, left, v, sb + now * (BIG_STEPS * BIG_PITCH));
        threadgroup_barrier(mem_flags::mem_threadgroup);
        bool last = k + BIG_STEPS >= p.k;
        if (k + BIG_STEPS < due && !last)
            continue;
        int64_t row0 = corner[0] + 4 * ty, column0 = corner[1] + 4 * tx;
        device float *corner_y = y + (corner[2] + row0) * p.n + column0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int down = i % 4 + i / 4 * 64;
#pragma unroll
            for (int j = 0; j < 8; j += 4) {
                int64_t column = column0 + j / 4 * 64;
                if (row0 + down < p.m && column < p.n)
                    big_flush(p, bias,
                              (device float4 *)(corner_y + down * p.n + j / 4 * 64),
                              column, due == p.chunk, last, &s[i][j]);
            }
#pragma unroll
            for (int j = 0; j < 8; j++)
                s[i][j] = 0.0f;
        }
        due += p.chunk;
    }
}

template [[host_name(
    "product_big_nn")]] kernel decltype(product_big<1, 2>) product_big<1, 2>;
template [[host_name(
    "product_big_nt")]] kernel decltype(product_big<1, 1>) product_big<1, 1>;
template [[host_name(
    "product_big_tn")]] kernel decltype(product_big<2, 2>) product_big<2, 2>;
