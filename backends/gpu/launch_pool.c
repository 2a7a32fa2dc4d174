/* SPDX-License-Identifier: MIT */
/*
 * Windows over images: one dispatch an op, one thread an element. Single dims are 32-bit
 * in the kernels, so larger ones are refused.
 */
#include "launch.h"

#define MOST_DIM (1 << 30)

static int64_t positions(int64_t size, int kernel, int stride, int pad, int dilation)
{
    int64_t room = size + 2 * (int64_t)pad - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* Of an image [n, c, h, w]. */
static mnt_window_args args_of(const mnt_cmd *cmd, const mnt_operand *image)
{
    const mnt_args_window *a = &cmd->args.window;
    mnt_window_args p = { .count = gpu_count(&cmd->out[0]),
                          .h = (int32_t)image->dim[2],
                          .w = (int32_t)image->dim[3],
                          .kh = a->kernel_h,
                          .kw = a->kernel_w,
                          .stride_h = a->stride_h,
                          .stride_w = a->stride_w,
                          .pad_h = a->pad_h,
                          .pad_w = a->pad_w,
                          .dilation_h = a->dilation_h,
                          .dilation_w = a->dilation_w };
    p.oh = (int32_t)positions(p.h, p.kh, p.stride_h, p.pad_h, p.dilation_h);
    p.ow = (int32_t)positions(p.w, p.kw, p.stride_w, p.pad_w, p.dilation_w);
    return p;
}

static bool fits(const mnt_cmd *cmd, const mnt_operand *image)
{
    const mnt_args_window *a = &cmd->args.window;
    return image->dim[2] <= MOST_DIM && image->dim[3] <= MOST_DIM &&
           (int64_t)a->kernel_h * a->kernel_w <= MOST_DIM;
}

static bool accepts_from_image(const mnt_cmd *cmd)
{
    return fits(cmd, &cmd->in[0]);
}

static bool accepts_to_image(const mnt_cmd *cmd)
{
    return fits(cmd, &cmd->out[0]);
}

static void emit(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel,
                 const mnt_window_args *p)
{
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, gpu_groups(p->count, MNT_GROUP));
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        gpu_bind(d, &cmd->in[i]);
    for (int i = 0; i < mnt_op_outputs(cmd->op); i++)
        gpu_bind(d, &cmd->out[i]);
    gpu_args(d, p, sizeof *p);
}

static void launch_max(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_window_args p = args_of(cmd, &cmd->in[0]);
    p.winners = cmd->out[1].buffer != NULL;
    emit(e, cmd,
         cmd->out[1].dtype == MNT_I32 ? GPU_KERNEL_pool_max_i32
                                      : GPU_KERNEL_pool_max_u8,
         &p);
}

static void launch_max_grad(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_window_args p = args_of(cmd, &cmd->out[0]);
    emit(e, cmd,
         cmd->in[1].dtype == MNT_I32 ? GPU_KERNEL_pool_max_grad_i32
                                     : GPU_KERNEL_pool_max_grad_u8,
         &p);
}

static void launch_im2col(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_window_args p = args_of(cmd, &cmd->in[0]);
    emit(e, cmd, GPU_KERNEL_image_columns, &p);
}

static void launch_col2im(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_window_args p = args_of(cmd, &cmd->out[0]);
    emit(e, cmd, GPU_KERNEL_columns_image, &p);
}

const gpu_launcher gpu_launch_pool[] = {
    { MNT_OP_ID_max_pool2d, "ref", accepts_from_image, launch_max, NULL, GPU_ANY },
    { MNT_OP_ID_max_pool2d_grad, "ref", accepts_to_image, launch_max_grad, NULL,
      GPU_ANY },
    { MNT_OP_ID_im2col, "ref", accepts_from_image, launch_im2col, NULL, GPU_ANY },
    { MNT_OP_ID_col2im, "ref", accepts_to_image, launch_col2im, NULL, GPU_ANY },
    { 0 },
};
