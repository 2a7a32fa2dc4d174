/* SPDX-License-Identifier: MIT */
/*
 * Weight gradients of convolutions from threadgroup memory ("stage"): how an image is laid
 * out there, which channels a threadgroup takes, how many samples make a part.
 *
 * The layout keeps the taps of a window in banks of their own: a line is kw, a plane kh kw
 * elements on, modulo the 32 banks, so neighbouring threads with neighbouring taps never
 * meet in one.
 */
#include "launch.h"

#define BANKS     32
#define MOST_DIM  (1 << 30)
#define MOST_PART 8    /* samples of a part */
#define FULL_GRID 1024 /* threadgroups that keep a GPU busy */
#define MOST_TAPS (7 * MNT_ROW_LANES)
#define ROWS      8 /* output channels of a threadgroup */

/* The least number from `least` on that is `rest` modulo BANKS. */
static int64_t in_bank(int64_t least, int64_t rest)
{
    return least + ((rest - least) % BANKS + BANKS) % BANKS;
}

static int64_t positions(int64_t size, int64_t kernel, int stride, int pad,
                         int dilation)
{
    int64_t room = size + 2 * (int64_t)pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* Lines, columns, their places, and the channels of a block. False: a channel is too
 * large to be staged. */
static bool lay_out(mnt_weight_args *p)
{
    int64_t rows =
        (int64_t)(p->oh - 1) * p->stride_h + (int64_t)(p->kh - 1) * p->dilation_h + 1;
    int64_t columns =
        (int64_t)(p->ow - 1) * p->stride_w + (int64_t)(p->kw - 1) * p->dilation_w + 1;
    int64_t taps = (int64_t)p->kh * p->kw;
    if (rows > MNT_WEIGHT_IMAGE || columns > MNT_WEIGHT_IMAGE || taps > MOST_TAPS)
        return false;
    int64_t pitch = in_bank(columns, p->kw), plane = in_bank(rows * pitch, taps);
    if (plane > MNT_WEIGHT_IMAGE) {
        pitch = columns;
        plane = rows * columns;
    }
    if (plane > MNT_WEIGHT_IMAGE)
        return false;
    int64_t channels = MNT_WEIGHT_IMAGE / plane;
    if (channels > MOST_TAPS / taps)
        channels = MOST_TAPS / taps;
    if (channels > p->c_group)
        channels = p->c_group;
    p->rows = (int32_t)rows;
    p->columns = (int32_t)columns;
    p->pitch = (int32_t)pitch;
    p->plane = (int32_t)plane;
    p->channels = (int32_t)channels;
    p->blocks_c = (int32_t)gpu_groups(p->c_group, channels);
    p->blocks_o = (int32_t)gpu_groups(p->o_group, ROWS);
    return true;
}

/* What weight_quotient() takes. */
static uint32_t inverse(int64_t divisor)
{
    return divisor <= 1 ? 0 : (uint32_t)(((1ll << 32) + divisor - 1) / divisor);
}

static void invert(mnt_weight_args *p)
{
    p->by_columns = inverse(p->columns);
    p->by_rows = inverse(p->rows);
    p->by_taps = inverse((int64_t)p->kh * p->kw);
    p->by_kw = inverse(p->kw);
    p->by_windows = inverse(p->yw);
    p->by_two_lines = inverse(2 * (int64_t)p->ow);
}

/* Threadgroups of a part. */
static int64_t blocks_of(const mnt_weight_args *p)
{
    return (int64_t)p->blocks_c * p->blocks_o * p->groups;
}

/* False: not for these kernels. Operands x, dy -> dw, or x, dy, winners -> dw. */
static bool args_of(mnt_weight_args *p, const mnt_cmd *cmd)
{
    bool pooled = cmd->op == MNT_OP_ID_conv2d_pool_dw;
    const mnt_args_conv *a = pooled ? &cmd->args.block.conv : &cmd->args.conv;
    const mnt_operand *x = &cmd->in[0], *dy = &cmd->in[1], *dw = &cmd->out[0];
    for (int d = 0; d < 4; d++)
        if ((d > 0 && x->dim[d] > MOST_DIM) || dw->dim[d] > MOST_DIM || dw->dim[d] < 1)
            return false;
    int64_t oh = positions(x->dim[2], dw->dim[2], a->stride_h, a->pad_h, a->dilation_h);
    int64_t ow = positions(x->dim[3], dw->dim[3], a->stride_w, a->pad_w, a->dilation_w);
    if (oh < 1 || ow < 1 || oh > MNT_SUM_BLOCK || ow > MNT_SUM_BLOCK ||
        oh * ow > MNT_SUM_BLOCK)
        return false;
    *p = (mnt_weight_args){ .n = x->dim[0],
                            .weights = gpu_count(dw),
                            .groups = a->groups,
                            .c = (int32_t)x->dim[1],
                            .h = (int32_t)x->dim[2],
                            .w = (int32_t)x->dim[3],
                            .o = (int32_t)dw->dim[0],
                            .oh = (int32_t)oh,
                            .ow = (int32_t)ow,
                            .c_group = (int32_t)dw->dim[1],
                            .o_group = (int32_t)(dw->dim[0] / a->groups),
                            .kh = (int32_t)dw->dim[2],
                            .kw = (int32_t)dw->dim[3],
                            .stride_h = a->stride_h,
                            .stride_w = a->stride_w,
                            .pad_h = a->pad_h,
                            .pad_w = a->pad_w,
                            .dilation_h = a->dilation_h,
                            .dilation_w = a->dilation_w,
                            .yw = (int32_t)dy->dim[3],
                            .list =
                                (int32_t)(pooled ? dy->dim[2] * dy->dim[3] : oh * ow),
                            .padded = a->pad_h > 0 || a->pad_w > 0 };
    return lay_out(p);
}

static bool accepts(const mnt_cmd *cmd)
{
    mnt_weight_args p;
    if (cmd->op == MNT_OP_ID_conv2d_pool_dw && cmd->in[2].dtype != MNT_U8)
        return false;
    return args_of(&p, cmd);
}

/* Taps a thread holds: the fewest of 1, 3 and 7 that the block's channels need. */
static gpu_kernel kernel_of(const mnt_weight_args *p, bool pooled)
{
    int64_t each =
        (int64_t)gpu_groups((int64_t)p->channels * p->kh * p->kw, MNT_ROW_LANES);
    if (each > 3)
        return pooled ? GPU_KERNEL_weight_pooled_7 : GPU_KERNEL_weight_dense_7;
    if (each > 1)
        return pooled ? GPU_KERNEL_weight_pooled_3 : GPU_KERNEL_weight_dense_3;
    return pooled ? GPU_KERNEL_weight_pooled_1 : GPU_KERNEL_weight_dense_1;
}

static void launch(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_weight_args p;
    if (!args_of(&p, cmd))
        return;
    p.samples = MOST_PART;
    while (p.samples > 1 &&
           (int64_t)gpu_groups(p.n, p.samples) * blocks_of(&p) < FULL_GRID)
        p.samples /= 2;
    invert(&p);
    int64_t leaves = (int64_t)gpu_groups(p.n, p.samples);
    uint64_t parts = gpu_scratch(e, (uint64_t)(leaves * p.weights) * sizeof(float));
    gpu_dispatch *d =
        gpu_dispatch_add(e, kernel_of(&p, cmd->op == MNT_OP_ID_conv2d_pool_dw),
                         (uint64_t)leaves * (uint64_t)blocks_of(&p));
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        gpu_bind(d, &cmd->in[i]);
    gpu_bind_scratch(d, parts);
    gpu_args(d, &p, sizeof p);
    gpu_dispatch_samples(e, parts, leaves, p.weights, p.samples, &cmd->out[0]);
}

const gpu_launcher gpu_launch_conv_weight[] = {
    { MNT_OP_ID_conv2d_dw, "stage", accepts, launch, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_pool_dw, "stage", accepts, launch, NULL, GPU_ANY },
    { 0 },
};
