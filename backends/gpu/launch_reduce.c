/* SPDX-License-Identifier: MIT */
/*
 * Reductions. Sums of more than 4096 elements are levels: each dispatch sums blocks of
 * 4096, and the next one sums what it left in scratch memory, until one block is left.
 * "columns" is for reduced axes that lie across memory, "narrow" for few elements an
 * output, "simd" and "ref" for any.
 */
#include "launch.h"

#include <string.h>

/* Dims of x without those of one element, neighbours merged; kept dims carry y's
 * strides beside x's. */
static void reduce_args(mnt_reduce_args *a, const mnt_cmd *cmd)
{
    const mnt_operand *x = &cmd->in[0], *y = &cmd->out[0];
    int axis = cmd->args.reduce.axis, end = axis + cmd->args.reduce.count;
    int64_t kept_dim[MNT_MAX_DIMS], kept[2][MNT_MAX_DIMS];
    int64_t reduced[1][MNT_MAX_DIMS] = { { 0 } };
    int n = 0;
    for (int d = 0; d < x->ndim; d++) {
        if (d >= axis && d < end)
            continue;
        kept_dim[n] = x->dim[d];
        kept[0][n] = x->stride[d];
        kept[1][n] = y->stride[n];
        n++;
    }
    mnt_view_args v;
    memset(a, 0, sizeof *a);
    gpu_view_merge(&v, n, kept_dim, 2, (const int64_t(*)[MNT_MAX_DIMS])kept);
    a->outputs = v.count;
    a->kept_ndim = v.ndim;
    memcpy(a->kept_dim, v.dim, sizeof v.dim);
    memcpy(a->kept_x, v.stride[0], sizeof v.stride[0]);
    memcpy(a->kept_y, v.stride[1], sizeof v.stride[1]);
    memcpy(reduced[0], x->stride + axis, (size_t)(end - axis) * sizeof reduced[0][0]);
    gpu_view_merge(&v, end - axis, x->dim + axis, 1,
                   (const int64_t(*)[MNT_MAX_DIMS])reduced);
    a->length = v.count;
    a->reduced_ndim = v.ndim;
    memcpy(a->reduced_dim, v.dim, sizeof v.dim);
    memcpy(a->reduced_x, v.stride[0], sizeof v.stride[0]);
    a->divide = cmd->op == MNT_OP_ID_mean;
    a->divisor = (float)a->length;
}

static int64_t blocks_of(int64_t length)
{
    int64_t blocks = (int64_t)gpu_groups(length, MNT_SUM_BLOCK);
    return blocks > 0 ? blocks : 1;
}

/* The sums that a level leaves, as the next level's x. */
static void next_level(mnt_reduce_args *a)
{
    a->length = a->blocks;
    a->reduced_ndim = 1;
    a->reduced_dim[0] = a->blocks;
    a->reduced_x[0] = 1;
    int64_t stride = a->blocks;
    for (int d = a->kept_ndim - 1; d >= 0; d--) {
        a->kept_x[d] = stride;
        stride *= a->kept_dim[d];
    }
}

/* All levels, the first by `kernel`; x NULL: scratch memory at `from`. */
static void emit_sum(gpu_emit *e, mnt_reduce_args *a, const mnt_operand *x,
                     uint64_t from, const mnt_operand *y, gpu_kernel kernel)
{
    for (bool first = true;; first = false) {
        a->blocks = blocks_of(a->length);
        bool wide = kernel == GPU_KERNEL_reduce_sum_columns;
        uint64_t groups =
            wide ? gpu_groups(a->outputs, MNT_COLUMNS) * (uint64_t)a->blocks
                 : gpu_groups(a->outputs * a->blocks, MNT_GROUP_ROWS);
        uint64_t to = 0;
        if (a->blocks > 1)
            to = gpu_scratch(e, (uint64_t)(a->outputs * a->blocks) * sizeof(float));
        gpu_dispatch *d = gpu_dispatch_add(e, kernel, groups);
        if (first && x)
            gpu_bind(d, x);
        else
            gpu_bind_scratch(d, from);
        if (a->blocks > 1)
            gpu_bind_scratch(d, to);
        else
            gpu_bind(d, y);
        gpu_args(d, a, sizeof *a);
        if (a->blocks == 1)
            return;
        from = to;
        kernel = wide ? GPU_KERNEL_reduce_sum : kernel;
        next_level(a);
    }
}

void gpu_dispatch_sum(gpu_emit *e, uint64_t from, int64_t n, const mnt_operand *y,
                      bool mean)
{
    mnt_reduce_args a = { .outputs = 1,
                          .length = n,
                          .reduced_dim = { n },
                          .reduced_x = { 1 },
                          .reduced_ndim = 1,
                          .divide = mean,
                          .divisor = (float)n };
    emit_sum(e, &a, NULL, from, y, GPU_KERNEL_reduce_sum);
}

static void launch_ref(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    emit_sum(e, &a, &cmd->in[0], 0, &cmd->out[0], GPU_KERNEL_reduce_sum);
}

static void launch_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    emit_sum(e, &a, &cmd->in[0], 0, &cmd->out[0], GPU_KERNEL_reduce_sum_simd);
}

/* One reduced dim that lies across memory, and outputs side by side in it. */
static bool accepts_columns(const mnt_cmd *cmd)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    return a.reduced_ndim == 1 && a.reduced_x[0] != 1 && a.kept_ndim > 0 &&
           a.kept_x[a.kept_ndim - 1] == 1;
}

static bool prefers_columns(const mnt_cmd *cmd)
{
    return gpu_count(&cmd->out[0]) >= MNT_COLUMNS / 2;
}

static void launch_columns(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    emit_sum(e, &a, &cmd->in[0], 0, &cmd->out[0], GPU_KERNEL_reduce_sum_columns);
}

/* One block an output, so no levels. */
static bool accepts_narrow(const mnt_cmd *cmd)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    return a.length <= MNT_SUM_BLOCK;
}

static bool prefers_narrow(const mnt_cmd *cmd)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    return a.length <= MNT_ROW_LANES;
}

static void emit_one(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel, int64_t each)
{
    mnt_reduce_args a;
    reduce_args(&a, cmd);
    a.blocks = 1;
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, gpu_groups(a.outputs, each));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &a, sizeof a);
}

static void launch_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_one(e, cmd, GPU_KERNEL_reduce_sum_narrow, MNT_GROUP);
}

static void launch_argmax(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_one(e, cmd, GPU_KERNEL_reduce_argmax, MNT_GROUP_ROWS);
}

static void launch_argmax_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_one(e, cmd, GPU_KERNEL_reduce_argmax_simd, MNT_GROUP_ROWS);
}

static void launch_argmax_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_one(e, cmd, GPU_KERNEL_reduce_argmax_narrow, MNT_GROUP);
}

void gpu_dispatch_tree(gpu_emit *e, uint64_t from, int64_t leaves, int64_t size,
                       int samples, const mnt_operand *y)
{
    mnt_tree_args args = { .size = size,
                           .leaves = leaves,
                           .width = MNT_TREE_SAMPLES / samples };
    gpu_dispatch *d =
        gpu_dispatch_add(e, GPU_KERNEL_sample_tree, gpu_groups(size, MNT_GROUP));
    gpu_bind_scratch(d, from);
    gpu_bind(d, y);
    gpu_args(d, &args, sizeof args);
}

static void bias_rows(gpu_emit *e, const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    mnt_columns_args args = { .rows = dy->dim[0], .columns = dy->dim[1] };
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_bias_rows,
                                       gpu_groups(args.columns, MNT_COLUMNS));
    gpu_bind(d, dy);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &args, sizeof args);
}

/* dy [N, C, ..., w]: sums of planes, then the tree over samples. */
static void bias_planes(gpu_emit *e, const mnt_cmd *cmd, bool in_blocks)
{
    const mnt_operand *dy = &cmd->in[0];
    int64_t n = dy->dim[0], channels = dy->dim[1];
    mnt_planes_args args = { .planes = n * channels,
                             .h = gpu_dims(dy, 2, dy->ndim - 1),
                             .w = dy->dim[dy->ndim - 1],
                             .in_blocks = in_blocks };
    uint64_t parts = gpu_scratch(e, (uint64_t)args.planes * sizeof(float));
    gpu_dispatch *d =
        gpu_dispatch_add(e, GPU_KERNEL_plane_sums, gpu_groups(args.planes, MNT_GROUP));
    gpu_bind(d, dy);
    gpu_bind_scratch(d, parts);
    gpu_args(d, &args, sizeof args);
    gpu_dispatch_tree(e, parts, n, channels, 1, &cmd->out[0]);
}

static void launch_bias_grad(gpu_emit *e, const mnt_cmd *cmd)
{
    if (cmd->in[0].ndim == 2)
        bias_rows(e, cmd);
    else
        bias_planes(e, cmd, true);
}

/*
 * db behind a pool: a window is a 2x2 block with one winner, so its windows in order are
 * the block order. The command does not tell an even image from one with an odd last row
 * or column; they differ in where 4096 positions end, so such images are refused.
 */
static bool accepts_pool_db(const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    return (2 * dy->dim[2] + 1) * (2 * dy->dim[3] + 1) <= MNT_SUM_BLOCK;
}

static void launch_pool_db(gpu_emit *e, const mnt_cmd *cmd)
{
    bias_planes(e, cmd, false);
}

const gpu_launcher gpu_launch_reduce[] = {
    { MNT_OP_ID_sum, "columns", accepts_columns, launch_columns, prefers_columns,
      GPU_ANY },
    { MNT_OP_ID_sum, "narrow", accepts_narrow, launch_narrow, prefers_narrow, GPU_ANY },
    { MNT_OP_ID_sum, "simd", NULL, launch_simd, NULL, GPU_NEEDS_SIMD },
    { MNT_OP_ID_sum, "ref", NULL, launch_ref, NULL, GPU_ANY },
    { MNT_OP_ID_mean, "columns", accepts_columns, launch_columns, prefers_columns,
      GPU_ANY },
    { MNT_OP_ID_mean, "narrow", accepts_narrow, launch_narrow, prefers_narrow,
      GPU_ANY },
    { MNT_OP_ID_mean, "simd", NULL, launch_simd, NULL, GPU_NEEDS_SIMD },
    { MNT_OP_ID_mean, "ref", NULL, launch_ref, NULL, GPU_ANY },
    { MNT_OP_ID_argmax, "narrow", NULL, launch_argmax_narrow, prefers_narrow, GPU_ANY },
    { MNT_OP_ID_argmax, "simd", NULL, launch_argmax_simd, NULL, GPU_NEEDS_SIMD },
    { MNT_OP_ID_argmax, "ref", NULL, launch_argmax, NULL, GPU_ANY },
    { MNT_OP_ID_bias_grad, "ref", NULL, launch_bias_grad, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_pool_db, "ref", accepts_pool_db, launch_pool_db, NULL, GPU_ANY },
    { 0 },
};
