/* SPDX-License-Identifier: MIT */
/*
 * A block of C from packed B: the loops around the microkernel, and the product of few
 * rows, which needs no packing at all.
 *
 * One idea: for each slice of k (whole chunks, about GEMM_DEPTH) the block's part of A
 * is packed into scratch that stays in the second-level cache; a panel of B then passes
 * over all of it while it stays in the first.
 */
#include "gemm_micro.h"
#include "gemm_pack.h"

#define GEMM_DEPTH 256 /* k of a slice */
#define GEMM_TALL  10  /* panels of A in a block, if a slice is GEMM_DEPTH deep */

#define GEMM_KERNEL(name, rows, nv, by_rows)                                           \
    static void name(const gemm_tile *t)                                               \
    {                                                                                  \
        gemm_run_tile(t, (rows), (nv), (by_rows));                                     \
    }

GEMM_KERNEL(gemm_high_wide, GEMM_MR, GEMM_NV, false)
GEMM_KERNEL(gemm_high_narrow, GEMM_MR, 1, false)
GEMM_KERNEL(gemm_mid_wide, GEMM_MR2, GEMM_NV, false)
GEMM_KERNEL(gemm_mid_narrow, GEMM_MR2, 1, false)
GEMM_KERNEL(gemm_low_wide, GEMM_MR3, GEMM_NV, false)
GEMM_KERNEL(gemm_low_narrow, GEMM_MR3, 1, false)

/* By height (high, mid, low) and width (wide, narrow). */
static const gemm_kernel gemm_kernels[3][2] = {
    { gemm_high_wide, gemm_high_narrow },
    { gemm_mid_wide, gemm_mid_narrow },
    { gemm_low_wide, gemm_low_narrow },
};

/* The smallest kernel that covers m x n. */
static gemm_kernel gemm_choose(int m, int n)
{
    int height = m > GEMM_MR2 ? 0 : m > GEMM_MR3 ? 1 : 2;
    return gemm_kernels[height][n <= VEC_LANES];
}

/* Whole chunks that a slice holds, as k. */
static int64_t depth_of(int64_t k, int64_t chunk)
{
    int64_t depth = chunk >= GEMM_DEPTH ? chunk : GEMM_DEPTH / chunk * chunk;
    return depth < k ? depth : k;
}

/* Panels of A that are packed at a time. */
static int64_t panels_of(int64_t depth)
{
    int64_t panels = GEMM_DEPTH * GEMM_TALL / (depth > 0 ? depth : 1);
    return panels < 1 ? 1 : panels > 4 * GEMM_TALL ? 4 * GEMM_TALL : panels;
}

int64_t CPU_NAME(cpu_gemm_scratch_floats)(int64_t k, int64_t chunk)
{
    int64_t depth = depth_of(k, chunk);
    return panels_of(depth) * depth * GEMM_MR;
}

/* k = 0: every sum is +0. */
static void finish_empty(const cpu_gemm *g, int64_t row, int64_t row_end, int64_t col,
                         int64_t col_end)
{
    const float zeros[GEMM_NR] = { 0 };
    for (int64_t i = row; i < row_end; i++) {
        for (int64_t j = col; j < col_end; j += GEMM_NR) {
            gemm_tile t = { .c = g->c + i * g->c_row + j,
                            .c_row = g->c_row,
                            .m = 1,
                            .n = (int)(col_end - j < GEMM_NR ? col_end - j : GEMM_NR),
                            .bias = g->bias ? g->bias + j : NULL,
                            .row_bias = g->row_bias ? g->row_bias + i : NULL,
                            .relu = g->relu };
            gemm_add_part(&t, zeros, GEMM_NR, true, true);
        }
    }
}

/* Rows [row, row_end) by panels, for the slice [k, k + length); A is packed. */
static void run_slice(const cpu_gemm *g, const float *packed, const float *a,
                      int64_t row, int64_t row_end, int64_t panel, int64_t panel_end,
                      int64_t k, int64_t length)
{
    const bool last = k + length == g->k && (g->bias || g->row_bias || g->relu);
    gemm_tile t = { .a_row = 1,
                    .a_k = GEMM_MR,
                    .k = length,
                    .chunk = g->chunk,
                    .c_row = g->c_row,
                    .first = k == 0,
                    .last = last,
                    .relu = g->relu };
    for (int64_t j = panel; j < panel_end; j++) {
        const int64_t col = j * GEMM_NR;
        t.n = (int)(g->n - col < GEMM_NR ? g->n - col : GEMM_NR);
        t.b = packed + (j * g->k + k) * GEMM_NR;
        t.bias = g->bias ? g->bias + col : NULL;
        for (int64_t i = row; i < row_end; i += GEMM_MR) {
            t.m = (int)(row_end - i < GEMM_MR ? row_end - i : GEMM_MR);
            t.a = a + (i - row) * length;
            t.c = g->c + i * g->c_row + col;
            t.row_bias = g->row_bias ? g->row_bias + i : NULL;
            gemm_choose(t.m, t.n)(&t);
        }
    }
}

void CPU_NAME(cpu_gemm_block)(const cpu_gemm *g, const float *packed, int64_t row,
                              int64_t row_end, int64_t panel, int64_t panel_end,
                              float *scratch)
{
    if (g->k == 0) {
        int64_t col_end = panel_end * GEMM_NR < g->n ? panel_end * GEMM_NR : g->n;
        finish_empty(g, row, row_end, panel * GEMM_NR, col_end);
        return;
    }
    const int64_t depth = depth_of(g->k, g->chunk);
    const int64_t height = panels_of(depth) * GEMM_MR;
    for (; row < row_end; row += height) {
        const int64_t end = row_end - row < height ? row_end : row + height;
        for (int64_t k = 0; k < g->k; k += depth) {
            const int64_t length = g->k - k < depth ? g->k - k : depth;
            CPU_NAME(cpu_gemm_pack_a)(g, scratch, row, end, k, k + length);
            run_slice(g, packed, scratch, row, end, panel, panel_end, k, length);
        }
    }
}
