/* SPDX-License-Identifier: MIT */
/*
 * The microkernel: one register tile of C over a range of k, for every instruction set.
 * gemm_block.c makes the kernels from it.
 *
 * For each chunk the accumulators start at +0, take one fma for each k in rising order,
 * and are then added to C. B comes packed, [k][GEMM_NR]; A is read where a_row and a_k
 * say: from a packed panel (a_row 1, a_k GEMM_MR) or from the matrix itself.
 */
#ifndef CPU_GEMM_MICRO_H
#define CPU_GEMM_MICRO_H

#include "gemm.h"

#if defined(__clang__)
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")
#define GEMM_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define GEMM_UNROLL _Pragma("GCC unroll 16")
#define GEMM_ROLLED _Pragma("GCC unroll 1")
#endif

typedef struct gemm_tile {
    const float *a;
    int64_t a_row, a_k;
    const float *b;
    int64_t k, chunk; /* k > 0; a multiple of chunk unless it reaches the end of K */
    float *c;
    int64_t c_row;
    int m, n;   /* valid rows and columns, at most those of the kernel */
    bool first; /* the first chunk of K is among these: C is not read */
    bool last;  /* the last chunk of K is among these: finish with bias and relu */
    const float *bias, *row_bias;
    bool relu;
} gemm_tile;

typedef void (*gemm_kernel)(const gemm_tile *t);

/*
 * Adds the sums of one chunk, s [m][s_row], to C where C exists; after the last chunk
 * also bias and relu. For tiles at an edge and for the last chunk.
 */
static void gemm_add_part(const gemm_tile *t, const float *s, int s_row, bool first,
                          bool last)
{
    for (int i = 0; i < t->m; i++) {
        float *c = t->c + i * t->c_row;
        for (int j = 0; j < t->n; j += VEC_LANES) {
            int lanes = t->n - j < VEC_LANES ? t->n - j : VEC_LANES;
            vecf y = vec_zero();
            if (!first)
                y = vec_load_n(c + j, lanes);
            y = y + vec_load(s + i * s_row + j);
            if (last && t->bias)
                y = y + vec_load_n(t->bias + j, lanes);
            if (last && t->row_bias)
                y = y + vec_set1(t->row_bias[i]);
            if (last && t->relu)
                y = vec_select((veci)(y <= vec_zero()), vec_zero(), y);
            vec_store_n(c + j, y, lanes);
        }
    }
}

/* The same for a whole tile that is not the last, straight from the registers. */
VEC_INLINE void gemm_add_whole(const gemm_tile *t, vecf acc[GEMM_MR][GEMM_NV],
                               const int rows, const int nv, bool first)
{
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_row;
        GEMM_UNROLL
        for (int v = 0; v < nv; v++) {
            vecf y = first ? vec_zero() : vec_load(c + v * VEC_LANES);
            vec_store(c + v * VEC_LANES, y + acc[i][v]);
        }
    }
}

/* `rows` x `nv` vectors; by_rows: A has a_k = 1, otherwise a_row = 1. The constants
 * come from the functions below, so that every loop but that over k unrolls. */
VEC_INLINE void gemm_run_tile(const gemm_tile *t, const int rows, const int nv,
                              const bool by_rows)
{
    const bool direct = t->m == rows && t->n == nv * VEC_LANES;
    const float *a = t->a, *b = t->b;
    const int64_t a_row = t->a_row, a_k = t->a_k;
    bool first = t->first;
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        __builtin_prefetch(t->c + (i < t->m ? i : 0) * t->c_row, 1);
    for (int64_t left = t->k; left > 0; left -= t->chunk) {
        const int64_t length = left < t->chunk ? left : t->chunk;
        vecf acc[GEMM_MR][GEMM_NV];
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] = vec_zero();
        }
        /* Three rows an address: gcc otherwise makes one of each and runs out. */
        const float *from[4] = { a, rows > 3 ? a + 3 * a_row : a,
                                 rows > 6 ? a + 6 * a_row : a,
                                 rows > 9 ? a + 9 * a_row : a };
        GEMM_ROLLED
        for (int64_t p = 0; p < length; p++) {
            vecf row[GEMM_NV];
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                row[v] = vec_load(b + v * VEC_LANES);
            GEMM_UNROLL
            for (int i = 0; i < rows; i++) {
                const vecf x =
                    vec_set1(by_rows ? from[i / 3][p + i % 3 * a_row] : a[i]);
                GEMM_UNROLL
                for (int v = 0; v < nv; v++)
                    acc[i][v] = vec_fma(x, row[v], acc[i][v]);
            }
            a += by_rows ? 0 : a_k;
            b += GEMM_NR;
        }
        a += by_rows ? length : 0;
        const bool last = t->last && left <= t->chunk;
        if (direct && !last) {
            gemm_add_whole(t, acc, rows, nv, first);
        } else {
            float s[GEMM_MR * GEMM_NR] __attribute__((aligned(CPU_ALIGN)));
            GEMM_UNROLL
            for (int i = 0; i < rows; i++) {
                GEMM_UNROLL
                for (int v = 0; v < nv; v++)
                    vec_store(s + i * GEMM_NR + v * VEC_LANES, acc[i][v]);
            }
            gemm_add_part(t, s, GEMM_NR, first, last);
        }
        first = false;
    }
}

#endif
