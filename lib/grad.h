/* SPDX-License-Identifier: MIT */
/*
 * Gradient rules, one a differentiable op, each beside its op in op_*.c; backward.c
 * lists them. A rule records commands for the gradients of node's inputs and hands them
 * to mnti_add_grad(). Also the few recorders that rules of other families use.
 */
#ifndef MNTI_GRAD_H
#define MNTI_GRAD_H

#include "core.h"

/* ORDER: backward.c's table. */
#define MNTI_GRADS(X)                                                                  \
    X(matmul)                                                                          \
    X(add)                                                                             \
    X(sub)                                                                             \
    X(mul)                                                                             \
    X(div)                                                                             \
    X(scale)                                                                           \
    X(relu)                                                                            \
    X(bias_add)                                                                        \
    X(sum)                                                                             \
    X(mean)                                                                            \
    X(softmax)                                                                         \
    X(cross_entropy)                                                                   \
    X(conv2d)                                                                          \
    X(im2col)                                                                          \
    X(col2im)                                                                          \
    X(max_pool2d)                                                                      \
    X(copy)                                                                            \
    X(cast)

#define MNTI_DECLARE_GRAD(op)                                                          \
    void mnti_grad_##op(mnt_graph *g, const mnti_node *node, mnt_tensor *dy);
MNTI_GRADS(MNTI_DECLARE_GRAD)
#undef MNTI_DECLARE_GRAD
void mnti_grad_view(mnt_graph *g, const mnti_node *node, mnt_tensor *dy);

/* sum, mean or argmax over axes [axis, axis + count); keep: they stay as dims of 1. */
mnt_tensor *mnti_reduce(mnt_graph *g, mnt_op op, mnt_tensor *x, int axis, int count,
                        bool keep);
/* One command with one f32 output. */
mnt_tensor *mnti_record_1(mnt_graph *g, mnt_op op, mnt_tensor *const in[], int n_in,
                          mnt_shape shape, mnt_args args);
bool mnti_same_shape(const mnt_tensor *a, const mnt_tensor *b);
/* Fails the graph with DTYPE unless t is of that type. */
bool mnti_want_dtype(mnt_graph *g, mnt_op op, const char *what, const mnt_tensor *t,
                     mnt_dtype dtype);
/* Arguments and result shape of a convolution; false and a failed graph if it cannot
 * be. Layers ask before they make parameters. */
bool mnti_conv2d_shape(mnt_graph *g, mnt_tensor *x, mnt_shape w,
                       const mnt_conv2d_desc *desc, mnt_args_conv *a, mnt_shape *y);
/* Chunk of a matrix product with inner size k (numerics C3). */
int64_t mnti_matmul_chunk(int64_t k);

#endif
