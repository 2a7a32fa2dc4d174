/* SPDX-License-Identifier: MIT */
/*
 * Between gemm_pack.c and gemm_block.c: packing of A, which nobody else calls. Packing
 * of B is in gemm.h.
 */
#ifndef CPU_GEMM_PACK_H
#define CPU_GEMM_PACK_H

#include "gemm.h"

#define GEMM_SLICE 256 /* k of a unit of B's packing */

/* op(A) of rows [row, row_end) and k [k, k_end) as panels of GEMM_MR rows, [k][row]. */
void CPU_NAME(cpu_gemm_pack_a)(const cpu_gemm *g, float *dst, int64_t row,
                               int64_t row_end, int64_t k, int64_t k_end);

#endif
