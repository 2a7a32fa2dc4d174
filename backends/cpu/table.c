/* SPDX-License-Identifier: MIT */
/*
 * The kernels of one instruction set, compiled once for each: lists in order of
 * preference, the reference kernels (ref_*.c), which run any command, last.
 */
#include "cpu.h"

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)

#define LISTS(X)                                                                       \
    X(gemm)                                                                            \
    X(conv)                                                                            \
    X(maxpool)                                                                         \
    X(rows_elementwise)                                                                \
    X(rows_loss)                                                                       \
    X(rows_move)                                                                       \
    X(rows_optim)                                                                      \
    X(rows_softmax)                                                                    \
    X(rows_reduce)                                                                     \
    X(ref_matmul)                                                                      \
    X(ref_elementwise)                                                                 \
    X(ref_reduce)                                                                      \
    X(ref_loss)                                                                        \
    X(ref_conv)                                                                        \
    X(ref_pool)                                                                        \
    X(ref_move)                                                                        \
    X(ref_random)                                                                      \
    X(ref_optim)

#define DECLARE(list) extern const cpu_kernel CPU_NAME(cpu_##list)[];
LISTS(DECLARE)
#undef DECLARE

#define ENTRY(list) CPU_NAME(cpu_##list),
static const cpu_kernel_list lists[] = { LISTS(ENTRY) NULL };
#undef ENTRY

const cpu_isa CPU_NAME(cpu_isa) = { TEXT(CPU_ISA), lists };
