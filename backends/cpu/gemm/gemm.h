/* SPDX-License-Identifier: MIT */
/*
 * Products of matrices in chunks, for the kernels of the cpu backend: C = op(A) op(B)
 * with the rounding order of numerics C1 and C2, packed and blocked. Nothing here knows
 * commands or jobs (gemm.c does).
 *
 * B is packed once into panels of GEMM_NR columns, by any number of callers; then any
 * block of rows and panels of C can be computed, each element whole in one call. So the
 * division into calls never changes a bit.
 */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include "../cpu.h"
#include "../vec.h"

/*
 * The register tile, GEMM_MR rows by GEMM_NV vectors, and two lower ones for the last
 * rows. The accumulators, a row of B and one broadcast must fit the register file.
 * GEMM_KEEP_A: a panel of A, not of B, stays in the first-level cache.
 */
#if defined(VEC_AVX512)
#define GEMM_MR     12
#define GEMM_MR2    8
#define GEMM_MR3    4
#define GEMM_NV     2
#define GEMM_KEEP_A 1
#elif defined(VEC_AVX2)
#define GEMM_MR  6
#define GEMM_MR2 4
#define GEMM_MR3 2
#define GEMM_NV  2
#elif defined(VEC_NEON)
#define GEMM_MR  8
#define GEMM_MR2 4
#define GEMM_MR3 2
#define GEMM_NV  3
#else
#define GEMM_MR  4
#define GEMM_MR2 2
#define GEMM_MR3 1
#define GEMM_NV  2
#endif
#if !defined(GEMM_KEEP_A)
#define GEMM_KEEP_A 0
#endif
#define GEMM_NR (GEMM_NV * VEC_LANES)

/*
 * One product. op(A)[i][p] = a[i a_row + p a_col], op(B)[p][j] = b[p b_row + j b_col],
 * C[i][j] = c[i c_row + j c_col]. Afterwards bias (of the column), row_bias (of the
 * row) are added, if not NULL, and relu applied. k = 0 gives +0 (then bias, relu).
 */
typedef struct cpu_gemm {
    int64_t m, n, k;
    int64_t chunk; /* >= 1 */
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row, b_col;
    float *c;
    int64_t c_row, c_col; /* c_col: 1, but for cpu_gemm_few_rows() */
    const float *bias;
    const float *row_bias;
    bool relu;
} cpu_gemm;

static inline int64_t cpu_gemm_panels(int64_t n)
{
    return (n + GEMM_NR - 1) / GEMM_NR;
}

/* Floats that all panels of op(B) take; panel j begins at packed + j k GEMM_NR, which
 * should be aligned to CPU_ALIGN. */
static inline int64_t cpu_gemm_packed_floats(int64_t n, int64_t k)
{
    return cpu_gemm_panels(n) * k * GEMM_NR;
}

/* The packing is divided into units, so that it can be shared out. */
int64_t CPU_NAME(cpu_gemm_pack_units)(int64_t n, int64_t k);
void CPU_NAME(cpu_gemm_pack)(const cpu_gemm *g, float *packed, int64_t begin,
                             int64_t end);

/* Floats of scratch that cpu_gemm_block() needs. */
int64_t CPU_NAME(cpu_gemm_scratch_floats)(int64_t k, int64_t chunk);

/* Rows [row, row_end) of panels [panel, panel_end) of C. row is a multiple of GEMM_MR;
 * so is row_end, or it is m. */
void CPU_NAME(cpu_gemm_block)(const cpu_gemm *g, const float *packed, int64_t row,
                              int64_t row_end, int64_t panel, int64_t panel_end,
                              float *scratch);

/* Few rows, columns [col, col_end), nothing packed: b_col must be 1. */
void CPU_NAME(cpu_gemm_few_rows)(const cpu_gemm *g, int64_t col, int64_t col_end);

#endif
