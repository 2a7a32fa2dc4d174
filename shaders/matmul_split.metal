/* SPDX-License-Identifier: MIT */
/*
 * Matrix products of few elements: chunks of K (rule C3) go to different threads, so a
 * long sum is made by several of them, and added in order afterwards (C2).
 *
 * A threadgroup makes a tile of 16 x 16 or 32 x 32 elements. Its threads are 1, 2 or 4
 * slots, and slot g takes chunks g, g + slots, ..; the threads of a slot share the tile:
 *
 *   slots   tile      threads of one   elements of one   depth: steps of k at once
 *       4   16 x 16   8 x 8            2 x 2              64
 *       2   16 x 16   16 x 8           1 x 2             128
 *       1   16 x 16   16 x 16          1 x 1             256
 *       1   32 x 32   16 x 16          2 x 2             128
 *
 * Threadgroup memory, 32 KiB, holds of each slot the tile's rows of a and columns of b,
 * each `depth` floats along k, as vectors of four; vector q of line l lies at q ^ (l & 7),
 * so that eight lines at one k meet eight different groups of banks.
 */
#include "product.h"

/* A thread's four vectors from step k on. */
template <int tile, int depth, int layout>
static inline void split_fetch(product_side s, int64_t k, int left, thread float4 *v)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = product_fetch<tile, depth, 4, layout>(s, i, k, left);
}

/* Where they go. */
template <int tile, int depth, int layout>
static inline void split_store(product_side s, int left, thread const float4 *v,
                               threadgroup float4 *lines)
{
    threadgroup float *single = (threadgroup float *)lines;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float4 x = product_mask<tile, depth, 4, layout>(s, i, left, v[i]);
        if (product_along_k<layout>(s)) {
            uint l = uint(s.line + i * (tile / 4));
            lines[l * (depth / 4) + ((uint(s.k) / 4) ^ (l & 7))] = x;
            continue;
        }
        uint k = uint(s.k + i * (depth / 4));
#pragma unroll
        for (uint c = 0; c < 4; c++) {
            uint l = uint(s.line) + c;
            single[l * depth + ((k / 4) ^ (l & 7)) * 4 + k % 4] = x[c];
        }
    }
}

/*
 * Slots meet at every barrier: the longest chunk of a round decides how often. Elements
 * outside the operands and steps past a chunk's end are staged as zeros; rows and columns
 * past the end are not written. Where slots share a sum, thread t of the group adds and
 * writes element t; else each thread its own.
 */
template <int slots, int tile, int rows_in, int columns_in>
kernel void
product_split(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
              device const float *bias [[buffer(2)]], device float *y [[buffer(3)]],
              constant mnt_product_args &p [[buffer(4)]],
              uint group [[threadgroup_position_in_grid]],
              uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 staged[2048];
    const int threads = MNT_GROUP / slots, depth = 4096 / slots / tile;
    const int quads = depth / 4;
    const int rows = slots == 4 || tile == 32 ? 2 : 1;
    const int columns = slots >= 2 || tile == 32 ? 2 : 1;
    uint slot = tid / threads, t = tid % threads;
    uint tx = t % (tile / columns), ty = t / (tile / columns);
    threadgroup float4 *sa = staged + slot * (2048 / slots);
    threadgroup float4 *sb = sa + tile * quads;
    threadgroup float *parts = (threadgroup float *)staged;
    product_place at = product_tile_at(p, group, tile);
    product_side left = product_rows<tile, depth, 4, rows_in>(p, at, a, t);
    product_side right = product_columns<tile, depth, 4, columns_in>(p, at, b, t);
    float sum[rows][columns]; /* slots > 1: of element tid, in sum[0][0] */
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            sum[i][j] = 0.0f;
    for (int64_t first = 0; first < p.k; first += slots * p.chunk) {
        int64_t start = first + slot * p.chunk, end = lesser(p.k, start + p.chunk);
        int64_t longest = lesser(p.chunk, p.k - first);
        float s[rows][columns];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                s[i][j] = 0.0f;
        float4 u[4], v[4];
        int steps = int(lesser(end - start, depth));
        split_fetch<tile, depth, rows_in>(left, start, steps, u);
        split_fetch<tile, depth, columns_in>(right, start, steps, v);
        for (int64_t k = 0; k < longest; k += depth) {
            split_store<tile, depth, rows_in>(left, steps, u, sa);
            split_store<tile, depth, columns_in>(right, steps, v, sb);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            int now = steps;
            if (k + depth < longest) {
                steps = int(lesser(end - start - k - depth, depth));
                split_fetch<tile, depth, rows_in>(left, start + k + depth, steps, u);
                split_fetch<tile, depth, columns_in>(right, start + k + depth, steps,
                                                     v);
            }
            uint many = now > 0 ? uint(now + 3) / 4 : 0;
#pragma unroll 4
            for (uint q = 0; q < many; q++) {
                float4 x[rows], w[columns];
                for (int i = 0; i < rows; i++)
                    x[i] = sa[(ty + tile / rows * i) * quads + (q ^ (ty & 7))];
                for (int j = 0; j < columns; j++)
                    w[j] = sb[(tx + tile / columns * j) * quads + (q ^ (tx & 7))];
                for (int c = 0; c < 4; c++)
                    for (int i = 0; i < rows; i++)
                        for (int j = 0; j < columns; j++)
                            s[i][j] = fma(x[i][c], w[j][c], s[i][j]);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        if (slots == 1) {
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < columns; j++)
                    sum[i][j] = sum[i][j] + s[i][j];
            continue;
        }
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                parts[slot * 256 + (ty + 8 * i) * 16 + tx + 8 * j] = s[i][j];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int g = 0; g < slots; g++)
            if (first + g * p.chunk < p.k)
                sum[0][0] = sum[0][0] + parts[g * 256 + tid];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const int each_i = slots > 1 ? 1 : rows, each_j = slots > 1 ? 1 : columns;
    uint i0 = slots > 1 ? tid / tile : ty, j0 = slots > 1 ? tid % tile : tx;
    for (int i = 0; i < each_i; i++)
        for (int j = 0; j < each_j; j++) {
            int64_t row = at.row + i0 + tile / rows * i;
            int64_t column = at.column + j0 + tile / columns * j;
            if (row < p.m && column < p.n)
                y[(at.batch * p.m + row) * p.n + column] =
                    product_end(p, bias, column, sum[i][j]);
        }
}

/* Suffix: whether op() of a and of b is a transpose; the last two are vectors' layouts. */
template [[host_name("product_split_1")]] kernel decltype(product_split<1, 16, 0, 0>)
    product_split<1, 16, 0, 0>;
template [[host_name("product_split_1_nn")]] kernel decltype(product_split<1, 16, 1, 2>)
    product_split<1, 16, 1, 2>;
template [[host_name("product_split_1_nt")]] kernel decltype(product_split<1, 16, 1, 1>)
    product_split<1, 16, 1, 1>;
template [[host_name("product_split_1_tn")]] kernel decltype(product_split<1, 16, 2, 2>)
    product_split<1, 16, 2, 2>;
template [[host_name("product_split_2")]] kernel decltype(product_split<2, 16, 0, 0>)
    product_split<2, 16, 0, 0>;
template [[host_name("product_split_2_nn")]] kernel decltype(product_split<2, 16, 1, 2>)
    product_split<2, 16, 1, 2>;
template [[host_name("product_split_2_nt")]] kernel decltype(product_split<2, 16, 1, 1>)
    product_split<2, 16, 1, 1>;
template [[host_name("product_split_2_tn")]] kernel decltype(product_split<2, 16, 2, 2>)
    product_split<2, 16, 2, 2>;
template [[host_name("product_split_4")]] kernel decltype(product_split<4, 16, 0, 0>)
    product_split<4, 16, 0, 0>;
template [[host_name("product_split_4_nn")]] kernel decltype(product_split<4, 16, 1, 2>)
    product_split<4, 16, 1, 2>;
template [[host_name("product_split_4_nt")]] kernel decltype(product_split<4, 16, 1, 1>)
    product_split<4, 16, 1, 1>;
template [[host_name("product_split_4_tn")]] kernel decltype(product_split<4, 16, 2, 2>)
    product_split<4, 16, 2, 2>;
template [[host_name("product_split_wide")]] kernel decltype(product_split<1, 32, 0, 0>)
    product_split<1, 32, 0, 0>;
template
    [[host_name("product_split_wide_nn")]] kernel decltype(product_split<1, 32, 1, 2>)
        product_split<1, 32, 1, 2>;
template
    [[host_name("product_split_wide_nt")]] kernel decltype(product_split<1, 32, 1, 1>)
        product_split<1, 32, 1, 1>;
template
    [[host_name("product_split_wide_tn")]] kernel decltype(product_split<1, 32, 2, 2>)
        product_split<1, 32, 2, 2>;
