/* SPDX-License-Identifier: MIT */
/*
 * Softmax and losses: rows in a first dispatch, and where a scalar is wanted a second
 * one over the rows' results, in scratch memory. "narrow" gives a row to one thread,
 * "simd" to a simdgroup of 32, "ref" to 32 threads.
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

static bool accepts_narrow(const mnt_cmd *cmd)
{
    return rows_of(cmd).width <= MNT_SUM_BLOCK;
}

static bool prefers_narrow(const mnt_cmd *cmd)
{
    return rows_of(cmd).width <= MNT_ROW_LANES;
}

/* Threadgroups for all rows. */
static uint64_t groups_of(const mnt_cmd *cmd, bool narrow)
{
    return gpu_groups(rows_of(cmd).rows, narrow ? MNT_GROUP : MNT_GROUP_ROWS);
}

static void emit_softmax(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel,
                         bool narrow)
{
    mnt_rows_args a = rows_of(cmd);
    gpu_dispatch *d =
        gpu_dispatch_add(e, kernel, a.width > 0 ? groups_of(cmd, narrow) : 0);
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        gpu_bind(d, &cmd->in[i]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &a, sizeof a);
}

static void launch_softmax(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_softmax(e, cmd, GPU_KERNEL_softmax, false);
}

static void launch_softmax_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_softmax(e, cmd, GPU_KERNEL_softmax_narrow, true);
}

static void launch_softmax_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_softmax(e, cmd, GPU_KERNEL_softmax_simd, false);
}

static void launch_softmax_grad(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_softmax(e, cmd, GPU_KERNEL_softmax_grad, false);
}

static void launch_softmax_grad_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_softmax(e, cmd, GPU_KERNEL_softmax_grad_narrow, true);
}

static void launch_softmax_grad_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_softmax(e, cmd, GPU_KERNEL_softmax_grad_simd, false);
}

/* Rows of logits, labels, dloss; losses go to scratch memory. */
static void emit_rows(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel, bool narrow,
                      const mnt_operand *dloss, uint64_t losses,
                      const mnt_operand *dlogits)
{
    mnt_rows_args a = rows_of(cmd);
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, groups_of(cmd, narrow));
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

static void emit_loss(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel, bool narrow)
{
    uint64_t losses = losses_of(e, cmd);
    emit_rows(e, cmd, kernel, narrow, &gpu_absent, losses, &gpu_absent);
    emit_finish(e, cmd, losses, &cmd->out[0], &cmd->out[1]);
}

static void launch_loss(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_loss(e, cmd, GPU_KERNEL_entropy_loss, false);
}

static void launch_loss_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_loss(e, cmd, GPU_KERNEL_entropy_loss_narrow, true);
}

static void launch_loss_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_loss(e, cmd, GPU_KERNEL_entropy_loss_simd, false);
}

static void launch_grad(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_rows(e, cmd, GPU_KERNEL_entropy_grad, false, &cmd->in[2], 0, &cmd->out[0]);
}

static void launch_grad_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_rows(e, cmd, GPU_KERNEL_entropy_grad_narrow, true, &cmd->in[2], 0,
              &cmd->out[0]);
}

static void launch_grad_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_rows(e, cmd, GPU_KERNEL_entropy_grad_simd, false, &cmd->in[2], 0,
              &cmd->out[0]);
}

static void emit_both(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel, bool narrow)
{
    uint64_t losses = losses_of(e, cmd);
    emit_rows(e, cmd, kernel, narrow, &cmd->in[2], losses, &cmd->out[1]);
    emit_finish(e, cmd, losses, &cmd->out[0], &cmd->out[2]);
}

static void launch_both(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_both(e, cmd, GPU_KERNEL_entropy_both, false);
}

static void launch_both_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_both(e, cmd, GPU_KERNEL_entropy_both_narrow, true);
}

static void launch_both_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_both(e, cmd, GPU_KERNEL_entropy_both_simd, false);
}

/* One threadgroup for all rows: of few elements each, and few of them. */
static bool accepts_group(const mnt_cmd *cmd)
{
    mnt_rows_args a = rows_of(cmd);
    return a.rows <= MNT_ENTROPY_ROWS && a.width >= 1 && a.width <= MNT_ENTROPY_WIDTH;
}

/* Operands logits, labels, fault -> loss, fault, or logits, labels, dloss, fault -> loss,
 * dlogits, fault. */
static void launch_group(gpu_emit *e, const mnt_cmd *cmd)
{
    bool both = cmd->op == MNT_OP_ID_cross_entropy_both;
    const mnt_operand *fault = &cmd->out[both ? 2 : 1];
    mnt_rows_args a = rows_of(cmd);
    a.guarded = fault->buffer != NULL;
    gpu_dispatch *d = gpu_dispatch_add(
        e, both ? GPU_KERNEL_entropy_group_both : GPU_KERNEL_entropy_group_loss, 1);
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, both ? &cmd->in[2] : &gpu_absent);
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, both ? &cmd->out[1] : &gpu_absent);
    gpu_bind(d, fault);
    gpu_args(d, &a, sizeof a);
}

static void emit_accuracy(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel,
                          bool narrow)
{
    mnt_rows_args a = rows_of(cmd);
    uint64_t groups = groups_of(cmd, narrow);
    uint64_t counts = gpu_scratch(e, groups * sizeof(int32_t));
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, groups);
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    if (groups == 1)
        gpu_bind(d, &cmd->out[0]);
    else
        gpu_bind_scratch(d, counts);
    gpu_args(d, &a, sizeof a);
    if (groups == 1)
        return;
    a.rows = (int64_t)groups;
    d = gpu_dispatch_add(e, GPU_KERNEL_accuracy_total, 1);
    gpu_bind_scratch(d, counts);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &a, sizeof a);
}

static void launch_accuracy(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_accuracy(e, cmd, GPU_KERNEL_accuracy_rows, false);
}

static void launch_accuracy_narrow(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_accuracy(e, cmd, GPU_KERNEL_accuracy_rows_narrow, true);
}

static void launch_accuracy_simd(gpu_emit *e, const mnt_cmd *cmd)
{
    emit_accuracy(e, cmd, GPU_KERNEL_accuracy_rows_simd, false);
}

#define ROWS(op, launch)                                                               \
    {                                                                                  \
        MNT_OP_ID_##op,  "narrow",       accepts_narrow,                               \
        launch##_narrow, prefers_narrow, GPU_ANY                                       \
    },                                                                                 \
        { MNT_OP_ID_##op, "simd", NULL, launch##_simd, NULL, GPU_NEEDS_SIMD },         \
    {                                                                                  \
        MNT_OP_ID_##op, "ref", NULL, launch, NULL, GPU_ANY                             \
    }

const gpu_launcher gpu_launch_loss[] = {
    ROWS(softmax, launch_softmax),
    ROWS(softmax_grad, launch_softmax_grad),
    { MNT_OP_ID_cross_entropy, "group", accepts_group, launch_group, NULL, GPU_ANY },
    { MNT_OP_ID_cross_entropy_both, "group", accepts_group, launch_group, NULL,
      GPU_ANY },
    ROWS(cross_entropy, launch_loss),
    ROWS(cross_entropy_grad, launch_grad),
    ROWS(cross_entropy_both, launch_both),
    ROWS(accuracy_count, launch_accuracy),
    { 0 },
};
