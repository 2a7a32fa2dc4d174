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
    kit_gather, kit_fill_op, kit_div, kit_uniform, kit_normal, kit_accumulate,
    kit_batch, kit_sgd, kit_adam, kit_guarded_update;

/* ---- the kit op that reaches a row of ops.def ---- */
#define KIT_OF_matmul             &kit_matmul
#define KIT_OF_dense              &kit_dense
#define KIT_OF_add                &kit_add
#define KIT_OF_sub                &kit_sub
#define KIT_OF_mul                &kit_mul
#define KIT_OF_div                &kit_div
#define KIT_OF_scale              &kit_scale
#define KIT_OF_relu               &kit_relu
#define KIT_OF_relu_grad          &kit_relu
#define KIT_OF_bias_add           &kit_bias_add
#define KIT_OF_bias_grad          &kit_bias_add
#define KIT_OF_sum                &kit_sum
#define KIT_OF_mean               &kit_mean
#define KIT_OF_argmax             &kit_argmax
#define KIT_OF_softmax            &kit_softmax
#define KIT_OF_softmax_grad       &kit_softmax
#define KIT_OF_cross_entropy      &kit_cross_entropy
#define KIT_OF_cross_entropy_grad &kit_cross_entropy
#define KIT_OF_cross_entropy_both &kit_cross_entropy
#define KIT_OF_accuracy_count     &kit_accuracy_count
#define KIT_OF_conv2d             &kit_conv2d
#define KIT_OF_conv2d_dx          &kit_conv2d
#define KIT_OF_conv2d_dw          &kit_conv2d
#define KIT_OF_im2col             &kit_im2col
#define KIT_OF_col2im             &kit_col2im
#define KIT_OF_max_pool2d         &kit_max_pool2d
#define KIT_OF_max_pool2d_grad    &kit_max_pool2d
#define KIT_OF_conv2d_block       &kit_conv_block
#define KIT_OF_conv2d_pool_dx     &kit_conv_block
#define KIT_OF_conv2d_pool_dw     &kit_conv_block
#define KIT_OF_conv2d_pool_db     &kit_conv_block
#define KIT_OF_copy               &kit_copy
#define KIT_OF_cast               &kit_cast
#define KIT_OF_gather             &kit_gather
#define KIT_OF_batch_index        &kit_batch
#define KIT_OF_fill               &kit_fill_op
#define KIT_OF_accumulate         &kit_accumulate
#define KIT_OF_uniform            &kit_uniform
#define KIT_OF_normal             &kit_normal
#define KIT_OF_advance            &kit_uniform
#define KIT_OF_optimizer_step     &kit_sgd
#define KIT_OF_sgd                &kit_sgd
#define KIT_OF_adam               &kit_adam

/* ---- shared by several files ---- */
/* The data type named by a word; f32 without it. */
mnt_dtype kit_type(const kit_case *c, const char *key);
/* fault() of ops whose input 1 are labels: the lowest bad row, named. */
mnt_status kit_label_fault(const kit_case *c, char *part, size_t size);
/* " bad=3:-1 .." for `rows` rows. */
void kit_append_bad(kit_text *t, int64_t rows, kit_rng *r);

/* ---- drawing random cases (edges.c) ---- */
/* A size around a tile's edge in [least, limit]; least is 0 or 1. */
int64_t kit_edge(kit_rng *r, int64_t least, int64_t limit);
/* n of them, whose product (a 0 counts as 1) is at most cap. */
void kit_edges(kit_rng *r, int64_t dim[], int n, int64_t least, int64_t cap);
mnt_shape kit_edge_shape(kit_rng *r, int fewest, int most, int64_t least, int64_t cap);
/* True once in n draws. */
bool kit_one_in(kit_rng *r, int64_t n);

/* ---- and geometries of images (geometry.c) ---- */
typedef struct kit_geometry {
    int64_t n, c, o, h, w; /* c and o: channels of one group */
    int k[2], s[2], p[2], d[2], g;
} kit_geometry;
/* A legal one within the work. conv: with o and groups; pool: no dilation, and less
 * padding than kernel. */
kit_geometry kit_draw_geometry(kit_rng *r, int64_t work, bool conv, bool pool);
/* Positions of the window along an axis; 0: it does not fit. */
int64_t kit_positions(const kit_geometry *q, int axis);
/* All its words but o and g. */
void kit_append_geometry(kit_text *t, const kit_geometry *q);

#endif
