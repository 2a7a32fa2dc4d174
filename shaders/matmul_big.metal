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

/* A thread's four elements of 128 lines and eight steps from k on. */
static inline float4 big_fetch(product_side s, int64_t k, int64_t end, uint tid)
{
    if (s.step == 1)
        return product_four_steps(s, tid / 2, k + tid % 2 * 4, end);
    return product_four_lines(s, tid % 32 * 4, k + tid / 32, end);
}

static inline void big_store(bool along_k, threadgroup float4 *steps, uint tid,
                             float4 v)
{
    threadgroup float *single = (threadgroup float *)steps;
    if (along_k) {
#pragma unroll
        for (uint c = 0; c < 4; c++)
            single[(tid % 2 * 4 + c) * (4 * BIG_PITCH) + tid / 2] = v[c];
    } else {
        steps[tid / 32 * BIG_PITCH + tid % 32] = v;
    }
}

/* y += s for four neighbours of a row; the first chunk is added to +0, behind the last
 * come bias and relu. */
static inline void big_flush(constant mnt_product_args &p, device const float *bias,
                             device float *y, int64_t column, bool first, bool last,
                             thread const float *s)
{
    bool whole = p.y_vector != 0 && column + 4 <= p.n;
    float4 v = float4(0.0f);
    if (!first && whole)
        v = *(device const float4 *)y;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        if (column + c >= p.n)
            continue;
        if (!first && !whole)
            v[c] = y[c];
        v[c] = v[c] + s[c];
        if (last)
            v[c] = product_end(p, bias, column + c, v[c]);
        if (!whole)
            y[c] = v[c];
    }
    if (whole)
        *(device float4 *)y = v;
}

/*
 * Elements outside the operands are staged as zeros, rows and columns past the end are
 * not written. A chunk is a multiple of eight steps, or all of k.
 */
kernel void product_big(device const float *a [[buffer(0)]],
                        device const float *b [[buffer(1)]],
                        device const float *bias [[buffer(2)]],
                        device float *y [[buffer(3)]],
                        constant mnt_product_args &p [[buffer(4)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 sa[2 * BIG_STEPS * BIG_PITCH]; /* [buffer][step][line / 4] */
    threadgroup float4 sb[2 * BIG_STEPS * BIG_PITCH];
    product_place at = product_tile_at(p, group, BIG_TILE);
    product_side left = product_rows(p, at, a), right = product_columns(p, at, b);
    uint part = tid / 32, lane = tid % 32;
    uint ty = part / 2 * 4 + lane / 8, tx = part % 2 * 8 + lane % 8;
    float s[8][8];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            s[i][j] = 0.0f;
    big_store(left.step == 1, sa, tid, big_fetch(left, 0, p.k, tid));
    big_store(right.step == 1, sb, tid, big_fetch(right, 0, p.k, tid));
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint now = 0; /* the buffer that is read */
    int64_t due = p.chunk;
    for (int64_t k = 0; k < p.k; k += BIG_STEPS) {
        bool more = k + BIG_STEPS < p.k;
        float4 u, v;
        if (more) {
            u = big_fetch(left, k + BIG_STEPS, p.k, tid);
            v = big_fetch(right, k + BIG_STEPS, p.k, tid);
        }
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
        if (more) {
            now ^= 1;
            big_store(left.step == 1, sa + now * (BIG_STEPS * BIG_PITCH), tid, u);
            big_store(right.step == 1, sb + now * (BIG_STEPS * BIG_PITCH), tid, v);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (k + BIG_STEPS < due && more)
            continue;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int64_t row = at.row + 4 * ty + i % 4 + i / 4 * 64;
#pragma unroll
            for (int j = 0; j < 8; j += 4) {
                int64_t column = at.column + 4 * tx + j / 4 * 64;
                if (row < p.m && column < p.n)
                    big_flush(p, bias, y + (at.batch * p.m + row) * p.n + column,
                              column, due == p.chunk, !more, &s[i][j]);
            }
#pragma unroll
            for (int j = 0; j < 8; j++)
                s[i][j] = 0.0f;
        }
        due += p.chunk;
    }
}
