/* SPDX-License-Identifier: MIT */
/*
 * Bias gradients from threadgroup memory ("stage"), and the sum over samples. dy [N, C]:
 * chunks of rows, added in order; dy [N, C, ..., w]: sums of planes, then the tree.
 */
#include "launch.h"

void gpu_dispatch_samples(gpu_emit *e, uint64_t from, int64_t leaves, int64_t size,
                          int samples, const mnt_operand *y)
{
    mnt_tree_args args = { .size = size,
                           .leaves = leaves,
                           .width = MNT_TREE_SAMPLES / samples };
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_sample_blocks,
                                       gpu_groups(size, MNT_SAMPLES_COLUMNS));
    gpu_bind_scratch(d, from);
    gpu_bind(d, y);
    gpu_args(d, &args, sizeof args);
}

static void rows(gpu_emit *e, const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0], *db = &cmd->out[0];
    mnt_columns_args args = { .rows = dy->dim[0], .columns = dy->dim[1] };
    int64_t each = MNT_BIAS_CHUNKS * MNT_BIAS_ROWS;
    int64_t chunks = (int64_t)gpu_groups(args.rows, MNT_BIAS_ROWS);
    bool one = args.rows <= each;
    uint64_t parts = 0;
    if (!one)
        parts = gpu_scratch(e, (uint64_t)(chunks * args.columns) * sizeof(float));
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_bias_chunks,
                                       gpu_groups(args.columns, MNT_BIAS_COLUMNS) *
                                           (one ? 1 : gpu_groups(args.rows, each)));
    gpu_bind(d, dy);
    if (one)
        gpu_bind(d, db);
    else
        gpu_bind_scratch(d, parts);
    gpu_args(d, &args, sizeof args);
    if (!one)
        gpu_dispatch_samples(e, parts, chunks, args.columns, MNT_TREE_SAMPLES, db);
}

static void planes(gpu_emit *e, const mnt_cmd *cmd, bool in_blocks)
{
    const mnt_operand *dy = &cmd->in[0];
    int64_t n = dy->dim[0], channels = dy->dim[1];
    mnt_planes_args args = { .planes = n * channels,
                             .h = gpu_dims(dy, 2, dy->ndim - 1),
                             .w = dy->dim[dy->ndim - 1],
                             .in_blocks = in_blocks };
    uint64_t parts = gpu_scratch(e, (uint64_t)args.planes * sizeof(float));
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_bias_planes,
                                       gpu_groups(args.planes, MNT_BIAS_PLANES));
    gpu_bind(d, dy);
    gpu_bind_scratch(d, parts);
    gpu_args(d, &args, sizeof args);
    gpu_dispatch_samples(e, parts, n, channels, 1, &cmd->out[0]);
}

/* Two lines of a plane must fit a segment, and its elements 32 bits. */
static bool accepts_grad(const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    if (dy->ndim == 2)
        return true;
    return dy->dim[dy->ndim - 1] <= MNT_BIAS_SEGMENT / 2 &&
           gpu_dims(dy, 2, dy->ndim) <= INT32_MAX;
}

static void launch_grad(gpu_emit *e, const mnt_cmd *cmd)
{
    if (cmd->in[0].ndim == 2)
        rows(e, cmd);
    else
        planes(e, cmd, true);
}

/* As in launch_reduce.c: an odd last line or column must not move a chunk's end. */
static bool accepts_pool(const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    return (2 * dy->dim[2] + 1) * (2 * dy->dim[3] + 1) <= MNT_SUM_BLOCK;
}

static void launch_pool(gpu_emit *e, const mnt_cmd *cmd)
{
    planes(e, cmd, false);
}

const gpu_launcher gpu_launch_bias[] = {
    { MNT_OP_ID_bias_grad, "stage", accepts_grad, launch_grad, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_pool_db, "stage", accepts_pool, launch_pool, NULL, GPU_ANY },
    { 0 },
};
