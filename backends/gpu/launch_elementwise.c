/* SPDX-License-Identifier: MIT */
/*
 * Elementwise ops: every one is a dispatch over a view. "flat" takes operands that lie
 * whole in memory (or are one value), "ref" any strides; bias_add is an addition whose
 * second operand is stretched.
 */
#include "launch.h"

#include <string.h>

/* Operands in the order of bindings: inputs, then the output. */
static int operands_of(const mnt_cmd *cmd, const mnt_operand *o[3])
{
    int n = mnt_op_inputs(cmd->op);
    for (int i = 0; i < n; i++)
        o[i] = &cmd->in[i];
    o[n] = &cmd->out[0];
    return n + 1;
}

/* Dims N, C and all that comes behind; b lies along C. */
static void bias_view(mnt_view_args *v, const mnt_cmd *cmd)
{
    const mnt_operand *x = &cmd->in[0];
    int64_t inner = gpu_dims(x, 2, x->ndim), channels = x->dim[1];
    const int64_t dim[3] = { x->dim[0], channels, inner };
    const int64_t stride[3][MNT_MAX_DIMS] = {
        { channels * inner, inner, 1 },
        { 0, 1, 0 },
        { channels * inner, inner, 1 },
    };
    gpu_view_merge(v, 3, dim, 3, stride);
}

static int view_of(mnt_view_args *v, const mnt_cmd *cmd, const mnt_operand *o[3])
{
    int operands = operands_of(cmd, o);
    if (cmd->op == MNT_OP_ID_bias_add)
        bias_view(v, cmd);
    else
        gpu_view(v, o, operands);
    if (cmd->op == MNT_OP_ID_scale)
        memcpy(&v->bits, &cmd->args.scale.value, sizeof v->bits);
    return operands;
}

static bool accepts_flat(const mnt_cmd *cmd)
{
    mnt_view_args v;
    const mnt_operand *o[3];
    return gpu_view_flat(&v, view_of(&v, cmd, o));
}

static gpu_kernel kernel_of(mnt_op op, bool flat)
{
    switch (op) {
    case MNT_OP_ID_sub:
        return flat ? GPU_KERNEL_sub_flat : GPU_KERNEL_sub;
    case MNT_OP_ID_mul:
        return flat ? GPU_KERNEL_mul_flat : GPU_KERNEL_mul;
    case MNT_OP_ID_div:
        return flat ? GPU_KERNEL_div_flat : GPU_KERNEL_div;
    case MNT_OP_ID_scale:
        return flat ? GPU_KERNEL_scale_flat : GPU_KERNEL_scale;
    case MNT_OP_ID_relu:
        return flat ? GPU_KERNEL_relu_flat : GPU_KERNEL_relu;
    case MNT_OP_ID_relu_grad:
        return flat ? GPU_KERNEL_relu_grad_flat : GPU_KERNEL_relu_grad;
    default: /* add, bias_add */
        return flat ? GPU_KERNEL_add_flat : GPU_KERNEL_add;
    }
}

static void launch_flat(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_view_args v;
    const mnt_operand *o[3];
    int operands = view_of(&v, cmd, o);
    gpu_dispatch_view(e, kernel_of(cmd->op, true), &v, o, operands);
}

static void launch_ref(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_view_args v;
    const mnt_operand *o[3];
    int operands = view_of(&v, cmd, o);
    gpu_dispatch_view(e, kernel_of(cmd->op, false), &v, o, operands);
}

#define ROWS(op)                                                                       \
    { MNT_OP_ID_##op, "flat", accepts_flat, launch_flat, NULL, GPU_ANY },              \
    {                                                                                  \
        MNT_OP_ID_##op, "ref", NULL, launch_ref, NULL, GPU_ANY                         \
    }

const gpu_launcher gpu_launch_elementwise[] = {
    ROWS(add),  ROWS(sub),       ROWS(mul),      ROWS(div), ROWS(scale),
    ROWS(relu), ROWS(relu_grad), ROWS(bias_add), { 0 },
};
