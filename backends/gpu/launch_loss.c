/* SPDX-License-Identifier: MIT */
/*
 * Softmax and losses: rows in a first dispatch, and where a scalar is wanted a second
 * one over the rows' results, in scratch memory.
 */
#include "launch.h"

static mnt_rows_args rows_of(const mnt_cmd *cmd)
{
    const mnt_operand *z = &cmd->in[0];
    mnt_rows_args a = { .rows = gpu_dims(z, 0, z->ndim - 1),
                        .width = z->ndim > 0 ? z->dim[z->ndim - 1] : 1,
                        .id = cmd->id };
    a.divisor = (float)a.rows;
    return a;
}

static void launch_rows(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_rows_args a = rows_of(cmd);
    bool grad = cmd->op == MNT_OP_ID_softmax_grad;
    uint64_t groups = a.width > 0 ? gpu_groups(a.rows, MNT_GROUP_ROWS) : 0;
    gpu_dispatch *d = gpu_dispatch_add(
        e, grad ? GPU_KERNEL_softmax_grad : GPU_KERNEL_softmax, groups);
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        gpu_bind(d, &cmd->in[i]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &a, sizeof a);
}

/* Rows of logits, labels, dloss; losses go to scratch memory. */
static void emit_rows(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel,
                      const mnt_operand *dloss, uint64_t losses,
                      const mnt_operand *dlogits)
{
    mnt_rows_args a = rows_of(cmd);
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, gpu_groups(a.rows, MNT_GROUP_ROWS));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, dloss);
    gpu_bind_scratch(d, losses);
    gpu_bind(d, dlogits);
    gpu_args(d, &a, sizeof a);
}

/* The mean of the losses, and the lowest row with a label out of range. */
static void emit_finish(gpu_emit *e, const mnt_cmd *cmd, uint64_t losses,
                        const mnt_operand *loss, const mnt_operand *fault)
{
    mnt_rows_args a = rows_of(cmd);
    a.guarded = fault->buffer != NULL;
    if (a.rows > MNT_SUM_BLOCK) {
        gpu_dispatch_sum(e, losses, a.rows, loss, true);
        if (fault->buffer)
            gpu_dispatch_fault(e, cmd, &cmd->in[1], a.width, MNT_FAULT_LABEL, fault);
        return;
    }
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_entropy_finish, 1);
    gpu_bind_scratch(d, losses);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, loss);
    gpu_bind(d, fault);
    gpu_args(d, &a, sizeof a);
}

static uint64_t losses_of(gpu_emit *e, const mnt_cmd *cmd)
{
    return gpu_scratch(e, (uint64_t)rows_of(cmd).rows * sizeof(float));
}

static void launch_loss(gpu_emit *e, const mnt_cmd *cmd)
{
    uint64_t losses = losses_of(e, cmd);
    emit_rows(e, cmd, GPU_KERNEL_entropy_loss, &gpu_absent, losses, &gpu_absent);
    emit_finish(e, cmd, losses, &cmd->out[0], &cmd->out[1]);
}

static void launch_grad(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_rows(e, cmd, GPU_KERNEL_entropy_grad, &cmd->in[2], 0, &cmd->out[0]);
}

static void launch_both(gpu_emit *e, const mnt_cmd *cmd)
{
    uint64_t losses = losses_of(e, cmd);
    emit_rows(e, cmd, GPU_KERNEL_entropy_both, &cmd->in[2], losses, &cmd->out[1]);
    emit_finish(e, cmd, losses, &cmd->out[0], &cmd->out[2]);
}

static void launch_accuracy(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_rows_args a = rows_of(cmd);
    uint64_t groups = gpu_groups(a.rows, MNT_GROUP_ROWS);
    uint64_t counts = gpu_scratch(e, groups * sizeof(int32_t));
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_accuracy_rows, groups);
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind_scratch(d, counts);
    gpu_args(d, &a, sizeof a);
    a.rows = (int64_t)groups;
    d = gpu_dispatch_add(e, GPU_KERNEL_accuracy_total, 1);
    gpu_bind_scratch(d, counts);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &a, sizeof a);
}

const gpu_launcher gpu_launch_loss[] = {
    { MNT_OP_ID_softmax, "ref", NULL, launch_rows, NULL },
    { MNT_OP_ID_softmax_grad, "ref", NULL, launch_rows, NULL },
    { MNT_OP_ID_cross_entropy, "ref", NULL, launch_loss, NULL },
    { MNT_OP_ID_cross_entropy_grad, "ref", NULL, launch_grad, NULL },
    { MNT_OP_ID_cross_entropy_both, "ref", NULL, launch_both, NULL },
    { MNT_OP_ID_accuracy_count, "ref", NULL, launch_accuracy, NULL },
    { 0 },
};
