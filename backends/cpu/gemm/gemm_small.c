/* SPDX-License-Identifier: MIT */
/*
 * Products with few rows, such as inference of one image: B is read once, where it is,
 * and nothing is packed. Same order of roundings as everywhere (gemm.h).
 *
 * One idea: with few rows the time goes into reading B. Vectors run along its rows, as
 * many side by side as hide the latency of fma.
 */
#include "gemm_micro.h"

#define ROUND(n) (((n) + VEC_LANES - 1) / VEC_LANES * VEC_LANES)

/* Vectors side by side, for 1 to 4 rows. */
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

/*
 * Writes totals s [rows][cols] to C from (row, col), after bias and relu. Where c_col
 * is not 1, C is the transpose of what a caller sees, and vectors are scattered.
 */
static void finish(const cpu_gemm *g, const float *s, int rows, int64_t row, int cols,
                   int64_t col)
{
    for (int i = 0; i < rows; i++, s += ROUND(cols)) {
        float *c = g->c + (row + i) * g->c_row + col * g->c_col;
        for (int j = 0; j < cols; j += VEC_LANES) {
            const int lanes = cols - j < VEC_LANES ? cols - j : VEC_LANES;
            vecf y = vec_load(s + j);
            if (g->bias)
                y = y + vec_load_n(g->bias + col + j, lanes);
            if (g->row_bias)
                y = y + vec_set1(g->row_bias[row + i]);
            if (g->relu)
                y = vec_select((veci)(y <= vec_zero()), vec_zero(), y);
            if (g->c_col == 1) {
                vec_store_n(c + j, y, lanes);
                continue;
            }
            float lane[VEC_LANES];
            vec_store(lane, y);
            for (int l = 0; l < lanes; l++)
                c[(j + l) * g->c_col] = lane[l];
        }
    }
}

/* C of `rows` rows from `row`, `nv` vectors of columns from `col`; nv = 1: of which
 * `lanes` lanes exist. */
VEC_INLINE void run_few(const cpu_gemm *g, const int rows, const int nv, int64_t row,
                        int64_t col, int lanes)
{
    const float *a = g->a + row * g->a_row, *b = g->b + col * g->b_col;
    const int cols = nv == 1 ? lanes : nv * VEC_LANES;
    float *total = g->c + row * g->c_row + col;
    int64_t total_row = g->c_row;
    float s[4 * 8 * VEC_LANES] __attribute__((aligned(CPU_ALIGN)));
    const bool plain =
        !g->bias && !g->row_bias && !g->relu && g->c_col == 1 && cols == nv * VEC_LANES;
    if (!plain) {
        total = s;
        total_row = nv * VEC_LANES;
    }
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
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            float *c = total + i * total_row;
            GEMM_UNROLL
            for (int v = 0; v < nv; v++, c += VEC_LANES)
                vec_store(c, (left == g->k ? vec_zero() : vec_load(c)) + acc[i][v]);
        }
    }
    if (!plain)
        finish(g, s, rows, row, cols, col);
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

/* k = 0: every sum is +0. */
static void empty_rows(const cpu_gemm *g, int64_t col, int64_t col_end)
{
    const float zeros[VEC_LANES] = { 0 };
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = col; j < col_end; j += VEC_LANES) {
            const int64_t cols = col_end - j < VEC_LANES ? col_end - j : VEC_LANES;
            finish(g, zeros, 1, i, (int)cols, j);
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
