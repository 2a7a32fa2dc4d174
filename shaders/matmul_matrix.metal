/* SPDX-License-Identifier: MIT */
/*
 * Matrix products by simdgroup matrices, the variant "relaxed_matrix": their hardware adds
 * in an order that nobody specifies, so this kernel alone is not bound to rules C1 to C3
 * and runs only where it is asked for by name (docs/numerics.md, G). Every product is
 * still added once, in f32.
 */
#include "product.h"

#define MATRIX_TILE  64 /* elements of y a threadgroup, each way */
#define MATRIX_STEPS 16 /* of k that are staged at once */
#define MATRIX_PART  32 /* elements of y a simdgroup, each way */
/* Between rows of what is staged: a as [row][k], b as [k][column]. */
#define MATRIX_A_PITCH (MATRIX_STEPS + 4)
#define MATRIX_B_PITCH (MATRIX_TILE + 4)

/* Steps [k, k + MATRIX_STEPS) of 64 lines of an operand, which has `lines` lines and
 * `steps` steps; what does not exist is 0. Element (l, s) goes to l * to_line + s * to_step.
 * By 128 threads: neighbours take neighbours in memory. */
static inline void matrix_stage(device const float *from, int64_t line, int64_t step,
                                int64_t lines, int64_t k, int64_t steps,
                                threadgroup float *staged, uint to_line, uint to_step,
                                uint tid)
{
    bool along_k = step == 1;
    for (uint e = tid; e < MATRIX_TILE * MATRIX_STEPS; e += MNT_MATRIX_THREADS) {
        uint l = along_k ? e / MATRIX_STEPS : e % MATRIX_TILE;
        uint s = along_k ? e % MATRIX_STEPS : e / MATRIX_TILE;
        bool in = l < lines && k + s < steps;
        staged[l * to_line + s * to_step] = in ? from[l * line + (k + s) * step] : 0.0f;
    }
}

/*
 * 64 x 64 elements a threadgroup of four simdgroups of 32, each 32 x 32 of them: 4 x 4
 * matrices of 8 x 8 in registers. A simdgroup writes its matrices one by one by way of 64
 * floats of its own: lane l takes elements 2 l and 2 l + 1 of each, rows below m and
 * columns below n.
 */
kernel void product_matrix(device const float *a [[buffer(0)]],
                           device const float *b [[buffer(1)]],
                           device const float *bias [[buffer(2)]],
                           device float *y [[buffer(3)]],
                           constant mnt_product_args &p [[buffer(4)]],
                           uint group [[threadgroup_position_in_grid]],
                           uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float rows[MATRIX_TILE * MATRIX_A_PITCH];
    threadgroup float columns[MATRIX_STEPS * MATRIX_B_PITCH];
    threadgroup float made[MNT_MATRIX_THREADS * 2];
    product_place at = product_tile_at(p, group, MATRIX_TILE);
    device const float *from_a = a + at.batch * p.a_batch + at.row * p.a_row;
    device const float *from_b = b + at.batch * p.b_batch + at.column * p.b_column;
    uint simd = tid / 32, lane = tid % 32;
    uint top = simd / 2 * MATRIX_PART, left = simd % 2 * MATRIX_PART;
    simdgroup_float8x8 sum[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            sum[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int64_t k = 0; k < p.k; k += MATRIX_STEPS) {
        matrix_stage(from_a, p.a_row, p.a_step, p.m - at.row, k, p.k, rows,
                     MATRIX_A_PITCH, 1, tid);
        matrix_stage(from_b, p.b_column, p.b_step, p.n - at.column, k, p.k, columns, 1,
                     MATRIX_B_PITCH, tid);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int s = 0; s < MATRIX_STEPS; s += 8) {
            simdgroup_float8x8 left_of[4], right;
#pragma unroll
            for (int i = 0; i < 4; i++)
                simdgroup_load(left_of[i], rows + (top + 8 * i) * MATRIX_A_PITCH + s,
                               MATRIX_A_PITCH);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                simdgroup_load(right, columns + s * MATRIX_B_PITCH + left + 8 * j,
                               MATRIX_B_PITCH);
#pragma unroll
                for (int i = 0; i < 4; i++)
                    simdgroup_multiply_accumulate(sum[i][j], left_of[i], right,
                                                  sum[i][j]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    threadgroup float *own = made + simd * 64;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            simdgroup_store(sum[i][j], own, 8);
            simdgroup_barrier(mem_flags::mem_threadgroup);
            int64_t row = at.row + top + 8 * i + lane / 4;
            int64_t column = at.column + left + 8 * j + lane % 4 * 2;
            for (int q = 0; q < 2; q++)
                if (row < p.m && column + q < p.n)
                    y[(at.batch * p.m + row) * p.n + column + q] =
                        product_end(p, bias, column + q, mnt_flushf(own[2 * lane + q]));
            simdgroup_barrier(mem_flags::mem_threadgroup);
        }
}
