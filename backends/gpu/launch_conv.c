/* SPDX-License-Identifier: MIT */
/*
 * Convolutions: geometry, and how many samples a thread of the weight gradient sums. The
 * sum over samples goes through scratch memory: parts of a power of two of samples, then
 * their tree (launch_reduce.c). Single dims are 32-bit in the kernels, so larger ones are
 * refused.
 */
#include "launch_conv.h"

#define MOST_DIM   (1 << 30)
#define MOST_PARTS 32768 /* parts of a weight gradient that keep a GPU busy */

static int64_t positions(int64_t size, int64_t kernel, int stride, int pad,
                         int dilation)
{
    int64_t room = size + 2 * (int64_t)pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

mnt_conv_args gpu_conv_args(const mnt_args_conv *a, const mnt_operand *image,
                            const mnt_operand *weight)
{
    mnt_conv_args p = { .n = image->dim[0],
                        .c = (int32_t)image->dim[1],
                        .h = (int32_t)image->dim[2],
                        .w = (int32_t)image->dim[3],
                        .o = (int32_t)weight->dim[0],
                        .c_group = (int32_t)weight->dim[1],
                        .o_group = (int32_t)(weight->dim[0] / a->groups),
                        .kh = (int32_t)weight->dim[2],
                        .kw = (int32_t)weight->dim[3],
                        .stride_h = a->stride_h,
                        .stride_w = a->stride_w,
                        .pad_h = a->pad_h,
                        .pad_w = a->pad_w,
                        .dilation_h = a->dilation_h,
                        .dilation_w = a->dilation_w };
    p.oh = (int32_t)positions(p.h, p.kh, p.stride_h, p.pad_h, p.dilation_h);
    p.ow = (int32_t)positions(p.w, p.kw, p.stride_w, p.pad_w, p.dilation_w);
    p.yh = p.oh;
    p.yw = p.ow;
    p.chunk = (int32_t)(a->chunk < MOST_DIM ? a->chunk : MOST_DIM);
    return p;
}

bool gpu_conv_fits(const mnt_operand *image, const mnt_operand *weight)
{
    for (int d = 0; d < 4; d++)
        if ((d > 0 && image->dim[d] > MOST_DIM) || weight->dim[d] > MOST_DIM)
            return false;
    return weight->dim[2] * weight->dim[3] <= MOST_DIM;
}

static bool accepts_forward(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->in[0], &cmd->in[1]);
}

static bool accepts_dx(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->out[0], &cmd->in[1]);
}

static bool accepts_dw(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->in[0], &cmd->out[0]);
}

static bool accepts_pool_dx(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->out[0], &cmd->in[2]);
}

/* ---- forward ---- */

static void emit_forward(gpu_emit *e, const mnt_cmd *cmd, mnt_conv_args *p,
                         const mnt_operand *bias, const mnt_operand *winner)
{
    p->count = gpu_count(&cmd->out[0]);
    p->bias = bias->buffer != NULL;
    p->winners = winner->buffer != NULL;
    gpu_dispatch *d =
        gpu_dispatch_add(e,
                         winner->dtype == MNT_I32 ? GPU_KERNEL_conv_forward_i32
                                                  : GPU_KERNEL_conv_forward_u8,
                         gpu_groups(p->count, MNT_GROUP));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, bias);
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, winner);
    gpu_args(d, p, sizeof *p);
}

static void launch_forward(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_conv_args p = gpu_conv_args(&cmd->args.conv, &cmd->in[0], &cmd->in[1]);
    emit_forward(e, cmd, &p, &gpu_absent, &gpu_absent);
}

mnt_conv_args gpu_conv_block_args(const mnt_cmd *cmd)
{
    const mnt_args_block *a = &cmd->args.block;
    mnt_conv_args p = gpu_conv_args(&a->conv, &cmd->in[0], &cmd->in[1]);
    p.relu = a->relu;
    p.pool_h = a->pool.kernel_h;
    p.pool_w = a->pool.kernel_w;
    p.pool_stride_h = a->pool.stride_h;
    p.pool_stride_w = a->pool.stride_w;
    p.pool_pad_h = a->pool.pad_h;
    p.pool_pad_w = a->pool.pad_w;
    p.yh = (int32_t)cmd->out[0].dim[2];
    p.yw = (int32_t)cmd->out[0].dim[3];
    return p;
}

static void launch_block(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_conv_args p = gpu_conv_block_args(cmd);
    emit_forward(e, cmd, &p, &cmd->in[2], &cmd->out[1]);
}

/* ---- gradients ---- */

/* Operands dy, w -> dx, or dy, winners, w -> dx. */
static void launch_dx(gpu_emit *e, const mnt_cmd *cmd)
{
    bool pooled = cmd->op == MNT_OP_ID_conv2d_pool_dx;
    const mnt_operand *w = &cmd->in[pooled ? 2 : 1];
    mnt_conv_args p = gpu_conv_args(pooled ? &cmd->args.block.conv : &cmd->args.conv,
                                    &cmd->out[0], w);
    p.count = gpu_count(&cmd->out[0]);
    p.yh = (int32_t)cmd->in[0].dim[2];
    p.yw = (int32_t)cmd->in[0].dim[3];
    gpu_kernel kernel = GPU_KERNEL_conv_dx_dense;
    if (pooled)
        kernel = cmd->in[1].dtype == MNT_I32 ? GPU_KERNEL_conv_dx_pooled_i32
                                             : GPU_KERNEL_conv_dx_pooled_u8;
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, gpu_groups(p.count, MNT_GROUP));
    gpu_bind(d, &cmd->in[0]);
    if (pooled)
        gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, w);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &p, sizeof p);
}

/* Samples a part: as many as leave enough parts to work on. */
static int samples_of(int64_t n, int64_t weights)
{
    int samples = MNT_TREE_SAMPLES;
    while (samples > 1 &&
           gpu_groups(n, samples) * (uint64_t)weights < (uint64_t)MOST_PARTS)
        samples /= 2;
    return samples;
}

/* Operands x, dy -> dw, or x, dy, winners -> dw. */
static void emit_dw(gpu_emit *e, const mnt_cmd *cmd, const mnt_args_conv *a,
                    gpu_kernel kernel)
{
    mnt_conv_args p = gpu_conv_args(a, &cmd->in[0], &cmd->out[0]);
    p.count = gpu_count(&cmd->out[0]);
    p.yh = (int32_t)cmd->in[1].dim[2];
    p.yw = (int32_t)cmd->in[1].dim[3];
    p.samples = samples_of(p.n, p.count);
    int64_t leaves = (int64_t)gpu_groups(p.n, p.samples);
    uint64_t parts = gpu_scratch(e, (uint64_t)(leaves * p.count) * sizeof(float));
    gpu_dispatch *d =
        gpu_dispatch_add(e, kernel, gpu_groups(leaves * p.count, MNT_GROUP));
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        gpu_bind(d, &cmd->in[i]);
    gpu_bind_scratch(d, parts);
    gpu_args(d, &p, sizeof p);
    gpu_dispatch_tree(e, parts, leaves, p.count, p.samples, &cmd->out[0]);
}

static void launch_dw(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_dw(e, cmd, &cmd->args.conv, GPU_KERNEL_conv_dw_dense);
}

static void launch_pool_dw(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_dw(e, cmd, &cmd->args.block.conv,
            cmd->in[2].dtype == MNT_I32 ? GPU_KERNEL_conv_dw_pooled_i32
                                        : GPU_KERNEL_conv_dw_pooled_u8);
}

/* Zeros can be left out where the positions are one chunk; the winners of 2x2 windows
 * are u8. */
static bool accepts_winners(const mnt_cmd *cmd)
{
    if (!accepts_dw(cmd) || cmd->in[2].dtype != MNT_U8)
        return false;
    mnt_conv_args p = gpu_conv_args(&cmd->args.block.conv, &cmd->in[0], &cmd->out[0]);
    return (int64_t)p.oh * p.ow <= MNT_SUM_BLOCK;
}

static void launch_winners(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_dw(e, cmd, &cmd->args.block.conv, GPU_KERNEL_conv_dw_winners);
}

const gpu_launcher gpu_launch_conv[] = {
    { MNT_OP_ID_conv2d, "ref", accepts_forward, launch_forward, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_dx, "ref", accepts_dx, launch_dx, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_dw, "ref", accepts_dw, launch_dw, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_block, "ref", accepts_forward, launch_block, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_pool_dx, "ref", accepts_pool_dx, launch_dx, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_pool_dw, "winners", accepts_winners, launch_winners, NULL,
      GPU_ANY },
    { MNT_OP_ID_conv2d_pool_dw, "ref", accepts_dw, launch_pool_dw, NULL, GPU_ANY },
    { 0 },
};
