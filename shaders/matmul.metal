/* SPDX-License-Identifier: MIT */
/*
 * Matrix products (matmul, and dense with its bias and relu): every element of y is its
 * own chain over k, cut into chunks (rules C1 to C3), in one thread from beginning to
 * end. So the kernels differ only in how operands come near; none splits k.
 *
 *   ref    one element a thread, operands from device memory, any chunk
 *   tile   16 x 16 elements a threadgroup, one a thread
 *   block  64 x 64 elements a threadgroup, 4 x 4 a thread
 *
 * tile and block take 16 steps of k at a time through threadgroup memory, so a chunk must
 * be a multiple of 16, or all of k.
 */
#include "product.h"

#define PRODUCT_STEP 16

/* A thread an element of y, row-major, so that neighbours read one row of a and
 * neighbouring columns of b. */
kernel void product_ref(device const float *a [[buffer(0)]],
                        device const float *b [[buffer(1)]],
                        device const float *bias [[buffer(2)]],
                        device float *y [[buffer(3)]],
                        constant mnt_product_args &p [[buffer(4)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint tid [[thread_index_in_threadgroup]])
{
    int64_t e = int64_t(group) * MNT_GROUP + tid;
    if (e >= p.batches * p.m * p.n)
        return;
    int64_t row = quotient(e, p.n), j = e - row * p.n;
    int64_t batch = quotient(row, p.m), i = row - batch * p.m;
    int64_t at = batch * p.a_batch + i * p.a_row;
    int64_t bt = batch * p.b_batch + j * p.b_column;
    float sum = 0.0f;
    for (int64_t first = 0; first < p.k; first += p.chunk) {
        int64_t end = lesser(p.k, first + p.chunk);
        float s = 0.0f;
        for (int64_t k = first; k < end; k++)
            s = fma(a[at + k * p.a_step], b[bt + k * p.b_step], s);
        sum = sum + s;
    }
    y[e] = product_end(p, bias, j, sum);
}

/*
 * Thread (ty, tx) makes element (row + ty, column + tx). Each step of k loads one element
 * of a and one of b a thread, neighbouring threads along the operand's memory. Elements
 * outside the operands are loaded as 0 and never used: the last step of k is cut, and
 * rows and columns past the end are not written.
 */
kernel void product_tile(device const float *a [[buffer(0)]],
                         device const float *b [[buffer(1)]],
                         device const float *bias [[buffer(2)]],
                         device float *y [[buffer(3)]],
                         constant mnt_product_args &p [[buffer(4)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float sa[16][PRODUCT_STEP + 1]; /* [row][k] */
    threadgroup float sb[PRODUCT_STEP][16 + 1]; /* [k][column] */
    product_place at = product_tile_at(p, group, 16);
    uint tx = tid % 16, ty = tid / 16;
    uint ai = p.a_step == 1 ? ty : tx, ak = p.a_step == 1 ? tx : ty;
    uint bj = p.b_step == 1 ? ty : tx, bk = p.b_step == 1 ? tx : ty;
    bool a_in = at.row + ai < p.m, b_in = at.column + bj < p.n;
    int64_t from_a = at.batch * p.a_batch + (at.row + ai) * p.a_row;
    int64_t from_b = at.batch * p.b_batch + (at.column + bj) * p.b_column;
    float sum = 0.0f, s = 0.0f;
    int64_t left = p.chunk; /* of the chunk */
    for (int64_t k = 0; k < p.k; k += PRODUCT_STEP) {
        sa[ai][ak] = a_in && k + ak < p.k ? a[from_a + (k + ak) * p.a_step] : 0.0f;
        sb[bk][bj] = b_in && k + bk < p.k ? b[from_b + (k + bk) * p.b_step] : 0.0f;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        int steps = int(lesser(p.k - k, PRODUCT_STEP));
        for (int i = 0; i < steps; i++)
            s = fma(sa[ty][i], sb[i][tx], s);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        left -= PRODUCT_STEP;
        if (left <= 0 || k + PRODUCT_STEP >= p.k) {
            sum = sum + s;
            s = 0.0f;
            left = p.chunk;
        }
    }
    int64_t row = at.row + ty, column = at.column + tx;
    if (row < p.m && column < p.n)
        y[(at.batch * p.m + row) * p.n + column] = product_end(p, bias, column, sum);
}

/*
 * Thread (ty, tx) makes rows 4 ty .. and columns 4 tx .. of the tile, 16 sums in
 * registers. Each step of k brings 64 x 16 elements of a and of b, four of each a thread;
 * a is stored turned, so that a thread reads its four rows, and its four columns of b, as
 * one vector. Bounds as in product_tile.
 */
kernel void product_block(device const float *a [[buffer(0)]],
                          device const float *b [[buffer(1)]],
                          device const float *bias [[buffer(2)]],
                          device float *y [[buffer(3)]],
                          constant mnt_product_args &p [[buffer(4)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 sa[PRODUCT_STEP][16 + 1]; /* [k][row / 4] */
    threadgroup float4 sb[PRODUCT_STEP][16 + 1]; /* [k][column / 4] */
    threadgroup float *fa = (threadgroup float *)&sa[0][0];
    threadgroup float *fb = (threadgroup float *)&sb[0][0];
    const uint pitch = 4 * (16 + 1);
    product_place at = product_tile_at(p, group, 64);
    int64_t from_a = at.batch * p.a_batch + at.row * p.a_row;
    int64_t from_b = at.batch * p.b_batch + at.column * p.b_column;
    uint tx = tid % 16, ty = tid / 16;
    float sum[4][4], s[4][4];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            sum[i][j] = s[i][j] = 0.0f;
    int64_t left = p.chunk;
    for (int64_t k = 0; k < p.k; k += PRODUCT_STEP) {
        for (uint q = 0; q < 4; q++) {
            uint e = tid + q * MNT_GROUP;
            uint i = p.a_step == 1 ? e / PRODUCT_STEP : e % 64;
            uint ak = p.a_step == 1 ? e % PRODUCT_STEP : e / 64;
            uint j = p.b_step == 1 ? e / PRODUCT_STEP : e % 64;
            uint bk = p.b_step == 1 ? e % PRODUCT_STEP : e / 64;
            fa[ak * pitch + i] = at.row + i < p.m && k + ak < p.k
                                     ? a[from_a + i * p.a_row + (k + ak) * p.a_step]
                                     : 0.0f;
            fb[bk * pitch + j] = at.column + j < p.n && k + bk < p.k
                                     ? b[from_b + j * p.b_column + (k + bk) * p.b_step]
                                     : 0.0f;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        int steps = int(lesser(p.k - k, PRODUCT_STEP));
        for (int e = 0; e < steps; e++) {
            float4 u = sa[e][ty], v = sb[e][tx];
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    s[i][j] = fma(u[i], v[j], s[i][j]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        left -= PRODUCT_STEP;
        if (left <= 0 || k + PRODUCT_STEP >= p.k) {
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) {
                    sum[i][j] = sum[i][j] + s[i][j];
                    s[i][j] = 0.0f;
                }
            left = p.chunk;
        }
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int64_t row = at.row + 4 * ty + i, column = at.column + 4 * tx + j;
            if (row < p.m && column < p.n)
                y[(at.batch * p.m + row) * p.n + column] =
                    product_end(p, bias, column, sum[i][j]);
        }
}
