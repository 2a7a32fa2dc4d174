/* SPDX-License-Identifier: MIT */
/* What the launchers of convolutions share: their arguments. */
#ifndef GPU_LAUNCH_CONV_H
#define GPU_LAUNCH_CONV_H

#include "launch.h"

/* Whether every single dim but the number of samples fits 32 bits in the kernels. */
bool gpu_conv_fits(const mnt_operand *image, const mnt_operand *weight);
/* Geometry and chunk; nothing of bias, relu, pool and count. */
mnt_conv_args gpu_conv_args(const mnt_args_conv *a, const mnt_operand *image,
                            const mnt_operand *weight);
/* Of a conv2d_block, with relu and the pool. */
mnt_conv_args gpu_conv_block_args(const mnt_cmd *cmd);

#endif
