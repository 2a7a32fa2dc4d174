/* SPDX-License-Identifier: MIT */
/*
 * A block of C from packed B: the loops around the microkernel, and the product of few
 * rows, which needs no packing at all.
 *
 * One idea: for each slice of k (whole chunks, about GEMM_DEPTH) the block's part of A
 * is packed into scratch. It and GEMM_WIDE panels of B fill the second-level cache. A
 * panel of one of them stays in the first while those of the other stream past it: the
 * narrower one streams, unless the wider one does not fit.
 */
#include "gemm_micro.h"
#include "gemm_pack.h"

#define GEMM_DEPTH 256 /* k of a slice */
#define GEMM_TALL  240 /* rows packed at a time, if a slice is GEMM_DEPTH deep */
#define GEMM_WIDE  12  /* panels of B that pass over these rows while they are cached */

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
GEMM_KERNEL(gemm_rows_wide, GEMM_MR, GEMM_NV, true)
GEMM_KERNEL(gemm_rows_narrow, GEMM_MR, 1, true)

/* By height (high, mid, low) and width (wide, narrow). */
static const gemm_kernel kernels[3][2] = {
    { gemm_high_wide, gemm_high_narrow },
    { gemm_mid_wide, gemm_mid_narrow },
    { gemm_low_wide, gemm_low_narrow },
};

/* The smallest kernel that covers m x n; rows: A is not packed, and m is GEMM_MR. */
static gemm_kernel gemm_choose(int m, int n, bool rows)
{
    const bool narrow = n <= VEC_LANES;
    if (rows)
        return narrow ? gemm_rows_narrow : gemm_rows_wide;
    return kernels[m > GEMM_MR2 ? 0 : m > GEMM_MR3 ? 1 : 2][narrow];
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
    int64_t rows = GEMM_DEPTH * GEMM_TALL / (depth > 0 ? depth : 1);
    int64_t panels = (rows > 4 * GEMM_TALL ? 4 * GEMM_TALL : rows) / GEMM_MR;
    return panels < 1 ? 1 : panels;
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

/*
 * Whether full tiles read A where it lies: its rows run along k, few panels would repay
 * a packing, and GEMM_MR rows do not fall into the same sets of the first-level cache.
 */
static bool reads_rows(const cpu_gemm *g, int64_t panels)
{
    return g->a_col == 1 && panels * GEMM_NR <= 256 && g->a_row % 512 != 0;
}

/* A part of the block: rows [row, row_end) of the slice [k, k + length). */
typedef struct gemm_slice {
    int64_t row, row_end, k, length;
    const float *a; /* packed panels of these rows */
    bool rows;      /* full tiles read g->a instead */
} gemm_slice;

/* The tile at row i of panel j. */
static void run_tile(const cpu_gemm *g, const gemm_slice *s, const float *packed,
                     int64_t i, int64_t j)
{
    const int64_t col = j * GEMM_NR, m = s->row_end - i, n = g->n - col;
    const bool rows = s->rows && m >= GEMM_MR;
    const bool last = s->k + s->length == g->k;
    const gemm_tile t = { .a = rows ? g->a + i * g->a_row + s->k
                                    : s->a + (i - s->row) * s->length,
                          .a_row = rows ? g->a_row : 1,
                          .a_k = GEMM_MR,
                          .b = packed + (j * g->k + s->k) * GEMM_NR,
                          .k = s->length,
                          .chunk = g->chunk,
                          .c = g->c + i * g->c_row + col,
                          .c_row = g->c_row,
                          .m = m < GEMM_MR ? (int)m : GEMM_MR,
                          .n = n < GEMM_NR ? (int)n : GEMM_NR,
                          .first = s->k == 0,
                          .last = last && (g->bias || g->row_bias || g->relu),
                          .bias = g->bias ? g->bias + col : NULL,
                          .row_bias = g->row_bias ? g->row_bias + i : NULL,
                          .relu = g->relu };
    gemm_choose(t.m, t.n, rows)(&t);
}

static void run_slice(const cpu_gemm *g, const gemm_slice *s, const float *packed,
                      int64_t panel, int64_t panel_end)
{
#if GEMM_KEEP_A
    for (int64_t i = s->row; i < s->row_end; i += GEMM_MR)
        for (int64_t j = panel; j < panel_end; j++)
            run_tile(g, s, packed, i, j);
#else
    for (int64_t j = panel; j < panel_end; j++)
        for (int64_t i = s->row; i < s->row_end; i += GEMM_MR)
            run_tile(g, s, packed, i, j);
#endif
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
    gemm_slice s = { .a = scratch, .rows = reads_rows(g, panel_end - panel) };
    for (s.row = row; s.row < row_end; s.row += height) {
        s.row_end = row_end - s.row < height ? row_end : s.row + height;
        const int64_t full = s.rows ? (s.row_end - s.row) / GEMM_MR * GEMM_MR : 0;
        for (s.k = 0; s.k < g->k; s.k += depth) {
            s.length = g->k - s.k < depth ? g->k - s.k : depth;
            CPU_NAME(cpu_gemm_pack_a)
            (g, scratch + full * s.length, s.row + full, s.row_end, s.k,
             s.k + s.length);
            for (int64_t j = panel; j < panel_end; j += GEMM_WIDE)
                run_slice(g, &s, packed, j,
                          panel_end - j < GEMM_WIDE ? panel_end : j + GEMM_WIDE);
        }
    }
}
