/* SPDX-License-Identifier: MIT */
/*
 * The kit ops by name, and which of them reaches each row of ops.def: a row without its
 * KIT_OF_ line does not compile, so no op is without cases.
 */
#ifndef KIT_OPS_H
#define KIT_OPS_H

#include "../kit/kit.h"

extern const kit_op kit_matmul, kit_dense, kit_add, kit_sub, kit_mul, kit_scale,
    kit_relu, kit_bias_add, kit_reuse, kit_sum, kit_mean, kit_argmax, kit_softmax,
    kit_cross_entropy, kit_accuracy_count, kit_conv2d, kit_conv_block, kit_im2col,
    kit_col2im, kit_max_pool2d, kit_copy, kit_view, kit_reshape, kit_flatten, kit_cast,
    kit_gather, kit_fill_op;

/* ---- drawing random cases (edges.c) ---- */
/* A size around a tile's edge in [least, limit]; least is 0 or 1. */
int64_t kit_edge(kit_rng *r, int64_t least, int64_t limit);
/* n of them, whose product (a 0 counts as 1) is at most cap. */
void kit_edges(kit_rng *r, int64_t dim[], int n, int64_t least, int64_t cap);
mnt_shape kit_edge_shape(kit_rng *r, int fewest, int most, int64_t least, int64_t cap);
/* True once in n draws. */
bool kit_one_in(kit_rng *r, int64_t n);

#endif
