/* SPDX-License-Identifier: MIT */
/*
 * The list of fast convolution kernels, better ones first. Each accepts() says what its
 * variant is good for; what none of them takes is left to the reference kernels.
 */
#include "conv_kernels.h"

#define KERNEL(op, variant, name)                                                      \
    {                                                                                  \
        MNT_OP_ID_##op, variant, CPU_NAME(conv_##name##_accepts),                      \
            CPU_NAME(conv_##name##_plan), CPU_NAME(conv_##name##_run)                  \
    }

extern const cpu_kernel CPU_NAME(cpu_conv)[];

const cpu_kernel CPU_NAME(cpu_conv)[] = {
    KERNEL(conv2d, "lanes", lanes),
    KERNEL(conv2d, "direct", direct),
    KERNEL(conv2d_block, "lanes", lanes),
    KERNEL(conv2d_block, "direct", direct),
    KERNEL(conv2d_dx, "lanes", dx),
    KERNEL(conv2d_dw, "lanes", dw),
    KERNEL(conv2d_pool_dx, "sparse", pool_dx),
    KERNEL(conv2d_pool_dw, "sparse", pool_dw),
    KERNEL(conv2d_pool_db, "sparse", pool_db),
    KERNEL(im2col, "lines", im2col),
    KERNEL(col2im, "lines", col2im),
    { 0 },
};
