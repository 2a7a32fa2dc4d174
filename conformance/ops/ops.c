/* SPDX-License-Identifier: MIT */
/*
 * The table of kit ops.
 */
#include "ops.h"

const kit_op *const kit_ops[] = {
    &kit_matmul,  &kit_dense,         &kit_add,
    &kit_sub,     &kit_mul,           &kit_scale,
    &kit_relu,    &kit_bias_add,      &kit_reuse,
    &kit_sum,     &kit_mean,          &kit_argmax,
    &kit_softmax, &kit_cross_entropy, &kit_accuracy_count,
    &kit_conv2d,  &kit_conv_block,    &kit_im2col,
    &kit_col2im,  &kit_max_pool2d,    &kit_copy,
    &kit_view,    &kit_reshape,       &kit_flatten,
    &kit_cast,    &kit_gather,        &kit_fill_op,
    NULL,
};
