/* SPDX-License-Identifier: MIT */
/*
 * Optimizers. The operands that are updated in place are bound once, as outputs.
 */
#include "launch.h"

static mnt_optimizer_args args_of(const mnt_cmd *cmd, const mnt_operand *fault)
{
    const mnt_args_optim *a = &cmd->args.optim;
    mnt_optimizer_args args = { .count = gpu_count(&cmd->out[0]),
                                .points = a->schedule.points,
                                .nesterov = a->nesterov,
                                .decoupled = a->decoupled,
                                .guarded = fault->buffer != NULL,
                                .lr = a->lr,
                                .momentum = a->momentum,
                                .beta1 = a->beta1,
                                .beta2 = a->beta2,
                                .eps = a->eps,
                                .weight_decay = a->weight_decay };
    for (int i = 0; i < MNT_ARGS_SCHEDULE; i++) {
        args.step[i] = a->schedule.step[i];
        args.factor[i] = a->schedule.factor[i];
    }
    return args;
}

/* Operands state, fault -> state. */
static void launch_step(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_optimizer_args args = args_of(cmd, &cmd->in[1]);
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_optimizer_step, 1);
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_args(d, &args, sizeof args);
}

/* Operands w, dw, v or none, state, fault -> w, v. */
static void launch_sgd(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_optimizer_args args = args_of(cmd, &cmd->in[4]);
    args.velocity = cmd->out[1].buffer != NULL;
    gpu_dispatch *d =
        gpu_dispatch_add(e, GPU_KERNEL_sgd, gpu_groups(args.count, MNT_GROUP));
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, &cmd->out[1]);
    gpu_bind(d, &cmd->in[3]);
    gpu_bind(d, &cmd->in[4]);
    gpu_args(d, &args, sizeof args);
}

/* Operands w, dw, m, v, state, fault -> w, m, v. */
static void launch_adam(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_optimizer_args args = args_of(cmd, &cmd->in[5]);
    gpu_dispatch *d =
        gpu_dispatch_add(e, GPU_KERNEL_adam, gpu_groups(args.count, MNT_GROUP));
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, &cmd->out[1]);
    gpu_bind(d, &cmd->out[2]);
    gpu_bind(d, &cmd->in[4]);
    gpu_bind(d, &cmd->in[5]);
    gpu_args(d, &args, sizeof args);
}

const gpu_launcher gpu_launch_optim[] = {
    { MNT_OP_ID_optimizer_step, "ref", NULL, launch_step, NULL, GPU_ANY },
    { MNT_OP_ID_sgd, "ref", NULL, launch_sgd, NULL, GPU_ANY },
    { MNT_OP_ID_adam, "ref", NULL, launch_adam, NULL, GPU_ANY },
    { 0 },
};
