/* SPDX-License-Identifier: MIT */
/*
 * Products with few rows, such as inference of one image: B is read once, where it is,
 * and nothing is packed. Same order of roundings as everywhere (gemm.h).
 *
 * One idea: with few rows the time goes into reading B. Vectors run along its rows, as
 * many side by side as hide the latency of fma.
 */
#include "gemm_micro.h"

#if defined(VEC_AVX2)
#define WIDE_1 8
#define WIDE_2 4
#define WIDE_3 4
#define WIDE_4 2
#else
#define WIDE_1 8
#define WIDE_2 8
#define WIDE_3 4
#define WIDE_4 4
#endif

/* C of `rows` rows from `row`, `nv` vectors of columns from `col`; nv = 1: of which
 * `lanes` lanes exist. */
VEC_INLINE void run_few(const cpu_gemm *g, const int rows, const int nv, int64_t row,
                        int64_t col, int lanes)
{
    const float *a = g->a + row * g->a_row, *b = g->b + col;
    gemm_tile t = { .c = g->c + row * g->c_row + col,
                    .c_row = g->c_row,
                    .m = rows,
                    .n = nv == 1 ? lanes : nv * VEC_LANES,
                    .bias = g->bias ? g->bias + col : NULL,
                    .row_bias = g->row_bias ? g->row_bias + row : NULL,
                    .relu = g->relu };
    for (int64_t left = g->k; left > 0; left -= g->chunk) {
        const int64_t length = left < g->chunk ? left : g->chunk;
        vecf acc[4][8];
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] = vec_zero();
        }
        GEMM_ROLLED
        for (int64_t p = 0; p < length; p++) {
            vecf x[4];
            GEMM_UNROLL
            for (int i = 0; i < rows; i++)
                x[i] = vec_set1(a[i * g->a_row]);
            GEMM_UNROLL
            for (int v = 0; v < nv; v++) {
                const float *from = b + v * VEC_LANES;
                const vecf y = nv == 1 ? vec_load_n(from, lanes) : vec_load(from);
                GEMM_UNROLL
                for (int i = 0; i < rows; i++)
                    acc[i][v] = vec_fma(x[i], y, acc[i][v]);
            }
            a += g->a_col;
            b += g->b_row;
        }
        float s[4 * 8 * VEC_LANES] __attribute__((aligned(CPU_ALIGN)));
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                vec_store(s + (i * nv + v) * VEC_LANES, acc[i][v]);
        }
        gemm_add_part(&t, s, nv * VEC_LANES, left == g->k, left <= g->chunk);
    }
}

/* Columns [col, col_end) of `rows` rows. */
VEC_INLINE void run_rows(const cpu_gemm *g, const int rows, const int wide, int64_t row,
                         int64_t col, int64_t col_end)
{
    for (; col + wide * VEC_LANES <= col_end; col += wide * VEC_LANES)
        run_few(g, rows, wide, row, col, VEC_LANES);
    for (; col + 2 * VEC_LANES <= col_end; col += 2 * VEC_LANES)
        run_few(g, rows, 2, row, col, VEC_LANES);
    for (; col < col_end; col += VEC_LANES) {
        const int64_t lanes = col_end - col < VEC_LANES ? col_end - col : VEC_LANES;
        run_few(g, rows, 1, row, col, (int)lanes);
    }
}

static void empty_rows(const cpu_gemm *g, int64_t col, int64_t col_end)
{
    const float zeros[VEC_LANES] = { 0 };
    for (int64_t j = col; j < col_end; j += VEC_LANES)
        for (int64_t i = 0; i < g->m; i++) {
            gemm_tile t = { .c = g->c + i * g->c_row + j,
                            .c_row = g->c_row,
                            .m = 1,
                            .n = (int)(col_end - j < VEC_LANES ? col_end - j
                                                               : VEC_LANES),
                            .bias = g->bias ? g->bias + j : NULL,
                            .row_bias = g->row_bias ? g->row_bias + i : NULL,
                            .relu = g->relu };
            gemm_add_part(&t, zeros, VEC_LANES, true, true);
        }
}

void CPU_NAME(cpu_gemm_few_rows)(const cpu_gemm *g, int64_t col, int64_t col_end)
{
    if (g->k == 0) {
        empty_rows(g, col, col_end);
        return;
    }
    int64_t row = 0;
    for (; row + 4 <= g->m; row += 4)
        run_rows(g, 4, WIDE_4, row, col, col_end);
    if (g->m - row == 3)
        run_rows(g, 3, WIDE_3, row, col, col_end);
    else if (g->m - row == 2)
        run_rows(g, 2, WIDE_2, row, col, col_end);
    else if (g->m - row == 1)
        run_rows(g, 1, WIDE_1, row, col, col_end);
}
