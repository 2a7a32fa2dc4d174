/* SPDX-License-Identifier: MIT */
/*
 * The table of kit ops, and for each row of ops.def the one that reaches it.
 */
#include "ops.h"

const kit_op *const kit_ops[] = {
    &kit_matmul,
    &kit_dense,
    &kit_add,
    &kit_sub,
    &kit_mul,
    &kit_div,
    &kit_scale,
    &kit_relu,
    &kit_bias_add,
    &kit_reuse,
    &kit_sum,
    &kit_mean,
    &kit_argmax,
    &kit_softmax,
    &kit_cross_entropy,
    &kit_conv2d,
    &kit_conv_block,
    &kit_im2col,
    &kit_col2im,
    &kit_max_pool2d,
    &kit_copy,
    &kit_view,
    &kit_reshape,
    &kit_flatten,
    &kit_cast,
    &kit_gather,
    &kit_fill_op,
    &kit_uniform,
    &kit_normal,
    &kit_accumulate,
    &kit_batch,
    &kit_sgd,
    &kit_adam,
    &kit_accuracy_count,
    &kit_guarded_update,
    NULL,
};

const kit_op *const kit_of_row[MNT_OP_COUNT] = {
#define MNT_OP(name, n_in, n_out, args, flags) KIT_OF_##name,
#include <mnt/ops.def>
#undef MNT_OP
};
