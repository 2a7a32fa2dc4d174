/* SPDX-License-Identifier: MIT */
/*
 * Matrix products of few elements: chunks of K (rule C3) go to different threads, so a
 * long sum is made by several of them, and added in order afterwards (C2).
 *
 * A threadgroup makes 16 x 16 elements. Its threads are 1, 2 or 4 slots, and slot g takes
 * chunks g, g + slots, ..; 256 threads share a slot's 256 elements, so one makes 1 x 1,
 * 1 x 2 or 2 x 2 of them, rows 8 apart and columns 8 apart:
 *
 *   slots   threads of one   elements of one   depth: steps of k staged at once
 *       4   8 x 8            2 x 2              64
 *       2   16 x 8           1 x 2             128
 *       1   16 x 16          1 x 1             256
 *
 * Threadgroup memory, 32 KiB, holds of each slot 16 rows of a and 16 columns of b, each
 * `depth` floats along k, as vectors of four; vector q of line l lies at q ^ (l & 7), so
 * that eight lines at one k meet eight different groups of banks.
 */
#include "product.h"

#define SPLIT_TILE 16

/* Four vectors of a thread's share of 16 lines and `depth` steps from k on: thread t of
 * `threads`. */
template <int depth, int threads>
static inline void split_fetch(product_side s, int64_t k, int64_t end, uint t,
                               thread float4 *v)
{
    if (s.step == 1) {
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            uint f = t + i * threads;
            v[i] = product_four_steps(s, f / (depth / 4), k + f % (depth / 4) * 4, end);
        }
    } else {
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            uint f = t + i * threads;
            v[i] = product_four_lines(s, f % 4 * 4, k + f / 4, end);
        }
    }
}

/* Where the same thread's vectors go. */
template <int depth, int threads>
static inline void split_store(bool along_k, threadgroup float4 *lines, uint t,
                               thread const float4 *v)
{
    threadgroup float *single = (threadgroup float *)lines;
    if (along_k) {
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            uint f = t + i * threads, l = f / (depth / 4), q = f % (depth / 4);
            lines[l * (depth / 4) + (q ^ (l & 7))] = v[i];
        }
    } else {
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            uint f = t + i * threads, k = f / 4;
#pragma unroll
            for (uint c = 0; c < 4; c++) {
                uint l = f % 4 * 4 + c;
                single[l * depth + ((k / 4) ^ (l & 7)) * 4 + k % 4] = v[i][c];
            }
        }
    }
}

/*
 * Slots meet at every barrier: the longest chunk of a round decides how often. Elements
 * outside the operands and steps past a chunk's end are staged as zeros; rows and columns
 * past the end are not written. Thread t of the group adds and writes element t.
 */
template <int slots>
kernel void
product_split(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
              device const float *bias [[buffer(2)]], device float *y [[buffer(3)]],
              constant mnt_product_args &p [[buffer(4)]],
              uint group [[threadgroup_position_in_grid]],
              uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 staged[2048];
    const int depth = 256 / slots, threads = MNT_GROUP / slots, quads = depth / 4;
    const int rows = slots == 4 ? 2 : 1, columns = slots == 1 ? 1 : 2;
    uint slot = tid / threads, t = tid % threads;
    uint tx = t % (SPLIT_TILE / columns), ty = t / (SPLIT_TILE / columns);
    threadgroup float4 *sa = staged + slot * (2048 / slots);
    threadgroup float4 *sb = sa + SPLIT_TILE * quads;
    threadgroup float *parts = (threadgroup float *)staged;
    product_place at = product_tile_at(p, group, SPLIT_TILE);
    product_side left = product_rows(p, at, a), right = product_columns(p, at, b);
    float sum = 0.0f;
    for (int64_t first = 0; first < p.k; first += slots * p.chunk) {
        int64_t start = first + slot * p.chunk, end = lesser(p.k, start + p.chunk);
        int64_t longest = lesser(p.chunk, p.k - first);
        float s[rows][columns];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                s[i][j] = 0.0f;
        float4 u[4], v[4];
        split_fetch<depth, threads>(left, start, end, t, u);
        split_fetch<depth, threads>(right, start, end, t, v);
        for (int64_t k = 0; k < longest; k += depth) {
            split_store<depth, threads>(left.step == 1, sa, t, u);
            split_store<depth, threads>(right.step == 1, sb, t, v);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            if (k + depth < longest) {
                split_fetch<depth, threads>(left, start + k + depth, end, t, u);
                split_fetch<depth, threads>(right, start + k + depth, end, t, v);
            }
            int steps = int(lesser(end - start - k, depth));
            uint many = steps > 0 ? uint(steps + 3) / 4 : 0;
#pragma unroll 4
            for (uint q = 0; q < many; q++) {
                float4 x[rows], w[columns];
                for (int i = 0; i < rows; i++)
                    x[i] = sa[(ty + 8 * i) * quads + (q ^ (ty & 7))];
                for (int j = 0; j < columns; j++)
                    w[j] = sb[(tx + 8 * j) * quads + (q ^ (tx & 7))];
                for (int c = 0; c < 4; c++)
                    for (int i = 0; i < rows; i++)
                        for (int j = 0; j < columns; j++)
                            s[i][j] = fma(x[i][c], w[j][c], s[i][j]);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        if (slots == 1) {
            sum = sum + s[0][0];
            continue;
        }
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                parts[slot * 256 + (ty + 8 * i) * SPLIT_TILE + tx + 8 * j] = s[i][j];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int g = 0; g < slots; g++)
            if (first + g * p.chunk < p.k)
                sum = sum + parts[g * 256 + tid];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    int64_t row = at.row + tid / SPLIT_TILE, column = at.column + tid % SPLIT_TILE;
    if (row < p.m && column < p.n)
        y[(at.batch * p.m + row) * p.n + column] = product_end(p, bias, column, sum);
}

template
    [[host_name("product_split_1")]] kernel decltype(product_split<1>) product_split<1>;
template
    [[host_name("product_split_2")]] kernel decltype(product_split<2>) product_split<2>;
template
    [[host_name("product_split_4")]] kernel decltype(product_split<4>) product_split<4>;
