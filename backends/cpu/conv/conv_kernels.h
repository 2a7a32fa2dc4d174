/* SPDX-License-Identifier: MIT */
/*
 * The entry points of the fast convolution kernels, one set of three functions a
 * variant, for the list in conv_kernels.c; and the bounds their accepts() share.
 */
#ifndef CPU_CONV_KERNELS_H
#define CPU_CONV_KERNELS_H

#include "../cpu.h"

/* A thread's scratch may take this much before a variant steps back. */
#define CONV_MAX_LOCAL ((size_t)4 << 20)

#define CONV_DECLARE(name)                                                             \
    bool CPU_NAME(conv_##name##_accepts)(const mnt_cmd *cmd);                          \
    void CPU_NAME(conv_##name##_plan)(cpu_job * job);                                  \
    void CPU_NAME(conv_##name##_run)(const cpu_job *job, int phase, int64_t begin,     \
                                     int64_t end, char *local);

CONV_DECLARE(lanes)
CONV_DECLARE(direct)
CONV_DECLARE(dw)
CONV_DECLARE(dx)
CONV_DECLARE(pool_dw)
CONV_DECLARE(pool_dx)
CONV_DECLARE(pool_db)
CONV_DECLARE(im2col)
CONV_DECLARE(col2im)

/* Pooling that a forward tile does itself: no padding, winners that fit a byte. */
static inline bool conv_pool_fits(const mnt_args_window *q)
{
    return q->kernel_h <= 0 ||
           (q->pad_h == 0 && q->pad_w == 0 && q->kernel_h * q->kernel_w <= 255);
}

#endif
