/* SPDX-License-Identifier: MIT */
/*
 * What the launch_*.c files share: the lists they export, merged views of strided
 * operands, and the commonest dispatch. How a command is cut into dispatches stands in
 * the files of the families.
 */
#ifndef GPU_LAUNCH_H
#define GPU_LAUNCH_H

#include "../../shaders/args.h"
#include "gpu.h"

#include <string.h>

/* Families with a list of their own, fast ones first. */
#define GPU_FAMILIES(X)                                                                \
    X(matmul)                                                                          \
    X(conv_weight)                                                                     \
    X(conv_tile)                                                                       \
    X(conv)                                                                            \
    X(pool)                                                                            \
    X(elementwise)                                                                     \
    X(move)                                                                            \
    X(bias)                                                                            \
    X(reduce)                                                                          \
    X(loss)                                                                            \
    X(random)                                                                          \
    X(optim)

#define GPU_DECLARE(family) extern const gpu_launcher gpu_launch_##family[];
GPU_FAMILIES(GPU_DECLARE)
#undef GPU_DECLARE

/* Whether a variant of this name gives up the bits. */
static inline bool gpu_relaxed(const char *variant)
{
    return strncmp(variant, "relaxed", 7) == 0;
}

/* Threadgroups that cover `items` in shares of `each`. */
static inline uint64_t gpu_groups(int64_t items, int64_t each)
{
    return items <= 0 ? 0 : ((uint64_t)items - 1) / (uint64_t)each + 1;
}

/* Product of dims [first, end). */
static inline int64_t gpu_dims(const mnt_operand *o, int first, int end)
{
    int64_t n = 1;
    for (int d = first; d < end; d++)
        n *= o->dim[d];
    return n;
}

static inline int64_t gpu_count(const mnt_operand *o)
{
    return gpu_dims(o, 0, o->ndim);
}

/* The scratch operand: what a kernel binds where it needs nothing. */
extern const mnt_operand gpu_absent;

/*
 * The view of `operands` operands over the index space dim[0..ndim); stride(k, d) of
 * operand k lies at stride[k][d]. Dims of one element vanish and neighbours merge where
 * all operands allow it.
 */
void gpu_view_merge(mnt_view_args *v, int ndim, const int64_t *dim, int operands,
                    const int64_t (*stride)[MNT_MAX_DIMS]);
/* Of operands that have o[0]'s shape. */
void gpu_view(mnt_view_args *v, const mnt_operand *const o[], int operands);
/* Whether the last of the operands is whole in memory and each of the others too, or a
 * single value. */
bool gpu_view_flat(const mnt_view_args *v, int operands);

/* One dispatch over the view: operands o in the order of bindings. */
void gpu_dispatch_view(gpu_emit *e, gpu_kernel kernel, const mnt_view_args *v,
                       const mnt_operand *const o[], int operands);

/* launch_move.c: names the lowest index outside [0, limit) in the fault word. */
void gpu_dispatch_fault(gpu_emit *e, const mnt_cmd *cmd, const mnt_operand *index,
                        int64_t limit, mnt_fault kind, const mnt_operand *fault);

/* launch_reduce.c: the sum of n floats in scratch memory by rule D into y, a single
 * value; divided by n if `mean`. */
void gpu_dispatch_sum(gpu_emit *e, uint64_t from, int64_t n, const mnt_operand *y,
                      bool mean);
/* launch_bias.c: the sum over samples (C6) of parts [leaves, size] in scratch memory, each
 * of `samples` samples; samples MNT_TREE_SAMPLES: the sum of the parts in order. */
void gpu_dispatch_samples(gpu_emit *e, uint64_t from, int64_t leaves, int64_t size,
                          int samples, const mnt_operand *y);
/* launch_reduce.c: the same sum by a thread an element; of parts [leaves, size] in scratch memory,
 * each of `samples` samples. */
void gpu_dispatch_tree(gpu_emit *e, uint64_t from, int64_t leaves, int64_t size,
                       int samples, const mnt_operand *y);

#endif
