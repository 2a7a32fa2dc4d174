/* SPDX-License-Identifier: MIT */
/*
 * Random numbers: a thread makes a block of four words, of which a uniform number needs
 * one and a normal number two.
 */
#include "launch.h"

static void emit(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel, int64_t each)
{
    const mnt_args_random *a = &cmd->args.random;
    mnt_random_args args = { .seed = a->seed,
                             .count = gpu_count(&cmd->out[0]),
                             .stream = a->stream,
                             .a = a->a,
                             .b = a->b };
    gpu_dispatch *d =
        gpu_dispatch_add(e, kernel, gpu_groups(args.count, MNT_GROUP * each));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &args, sizeof args);
}

static void launch_uniform(gpu_emit *e, const mnt_cmd *cmd)
{
    emit(e, cmd, GPU_KERNEL_random_uniform, 4);
}

static void launch_normal(gpu_emit *e, const mnt_cmd *cmd)
{
    emit(e, cmd, GPU_KERNEL_random_normal, 2);
}

static void launch_advance(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_random_args args = { .count = 2 };
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_random_advance, 1);
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &args, sizeof args);
}

const gpu_launcher gpu_launch_random[] = {
    { MNT_OP_ID_uniform, "ref", NULL, launch_uniform, NULL, GPU_ANY },
    { MNT_OP_ID_normal, "ref", NULL, launch_normal, NULL, GPU_ANY },
    { MNT_OP_ID_advance, "ref", NULL, launch_advance, NULL, GPU_ANY },
    { 0 },
};
