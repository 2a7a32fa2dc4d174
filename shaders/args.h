/* SPDX-License-Identifier: MIT */
/*
 * Argument structs of the kernels, shared by host and shaders. Fixed-width types only,
 * 64-bit members first, so that every compiler lays them out alike; at most 384 bytes.
 */
#ifndef SHADERS_ARGS_H
#define SHADERS_ARGS_H

#ifndef __METAL_VERSION__
#include <stdint.h>
#endif

#define MNT_ARGS_DIMS 6

/* Up to four operands over one index space, row-major; strides in elements, 0 where an
 * operand is stretched. The host merges dimensions where all operands allow it. */
typedef struct mnt_view_args {
    int64_t count; /* elements of the index space */
    int64_t dim[MNT_ARGS_DIMS];
    int64_t stride[4][MNT_ARGS_DIMS];
    int32_t ndim;
    float value; /* scale, fill */
} mnt_view_args;

#endif
