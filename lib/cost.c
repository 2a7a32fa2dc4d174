/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic operations and bytes of a command, for profiles: 2 operations a
 * multiply-add, elementwise ops 1 an element, every operand moved once.
 */
#include "core.h"

static double count(const mnt_operand *o)
{
    return o->buffer ? (double)mnt_operand_count(o) : 0.0;
}

static double matmul_flops(const mnt_cmd *cmd)
{
    const mnt_operand *a = &cmd->in[0];
    double inner = (double)a->dim[a->ndim - 1 - (cmd->args.matmul.ta ? 1 : 0)];
    return 2.0 * inner * count(&cmd->out[0]);
}

/* weights [O, C/g, kh, kw] used at each of `positions` output positions of an image */
static double conv_flops(const mnt_operand *w, double images, double positions)
{
    return 2.0 * count(w) * images * positions;
}

double mnti_cmd_flops(const mnt_cmd *cmd)
{
    const mnt_operand *in = cmd->in, *out = cmd->out;
    switch (cmd->op) {
    case MNT_OP_ID_matmul:
    case MNT_OP_ID_dense:
        return matmul_flops(cmd);
    case MNT_OP_ID_conv2d:
        return conv_flops(&in[1], (double)out->dim[0],
                          (double)out->dim[2] * (double)out->dim[3]);
    case MNT_OP_ID_conv2d_block: {
        double pool = cmd->args.block.pool.kernel_h
                          ? (double)cmd->args.block.pool.stride_h *
                                (double)cmd->args.block.pool.stride_w
                          : 1.0;
        return conv_flops(&in[1], (double)out->dim[0],
                          pool * (double)out->dim[2] * (double)out->dim[3]);
    }
    case MNT_OP_ID_conv2d_dx:
        return conv_flops(&in[1], (double)in[0].dim[0],
                          (double)in[0].dim[2] * (double)in[0].dim[3]);
    case MNT_OP_ID_conv2d_dw:
        return conv_flops(&out[0], (double)in[1].dim[0],
                          (double)in[1].dim[2] * (double)in[1].dim[3]);
    case MNT_OP_ID_conv2d_pool_dx:
        return conv_flops(&in[2], (double)in[0].dim[0],
                          (double)in[0].dim[2] * (double)in[0].dim[3]);
    case MNT_OP_ID_conv2d_pool_dw:
        return conv_flops(&out[0], (double)in[1].dim[0],
                          (double)in[1].dim[2] * (double)in[1].dim[3]);
    case MNT_OP_ID_sgd:
        return 6.0 * count(&in[0]);
    case MNT_OP_ID_adam:
        return 14.0 * count(&in[0]);
    case MNT_OP_ID_copy:
    case MNT_OP_ID_gather:
    case MNT_OP_ID_fill:
    case MNT_OP_ID_batch_index:
    case MNT_OP_ID_advance:
    case MNT_OP_ID_im2col:
        return 0.0;
    default: {
        double most = count(&out[0]);
        for (int i = 0; i < MNT_MAX_IN; i++)
            if (count(&in[i]) > most)
                most = count(&in[i]);
        return most;
    }
    }
}

double mnti_cmd_bytes(const mnt_cmd *cmd)
{
    double bytes = 0.0;
    if (cmd->op == MNT_OP_ID_batch_index) /* of the permutation only what is taken */
        return 2.0 * count(&cmd->out[0]) * 4.0;
    int first = cmd->op == MNT_OP_ID_gather ? 1 : 0; /* of the table only the rows */
    if (first)
        bytes += count(&cmd->out[0]) * (double)mnt_dtype_size(cmd->in[0].dtype);
    for (int i = first; i < MNT_MAX_IN; i++)
        bytes += count(&cmd->in[i]) * (double)mnt_dtype_size(cmd->in[i].dtype);
    for (int i = 0; i < MNT_MAX_OUT; i++)
        bytes += count(&cmd->out[i]) * (double)mnt_dtype_size(cmd->out[i].dtype);
    return bytes;
}
