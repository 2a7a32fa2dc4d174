/* SPDX-License-Identifier: MIT */
/*
 * Which launchers may run a command, the best first: the variant preferred for all ops,
 * then those that think it worth their while, then any that accepts. An op's forced
 * variant is its only one. What the device can run of them is gpu.c's to find out.
 */
#include "gpu.h"

#include "launch.h"

#include <string.h>

const gpu_launcher *const gpu_launchers[] = {
#define GPU_LIST(family) gpu_launch_##family,
    GPU_FAMILIES(GPU_LIST)
#undef GPU_LIST
        NULL,
};

enum { RANKS = 3 };

/* 0 for the best; RANKS: it cannot run the command. */
static int rank(const gpu_force *f, const mnt_cmd *cmd, const gpu_launcher *l)
{
    const char *only = f->op[cmd->op];
    if (l->op != cmd->op || (l->need & ~f->has) ||
        (only && strcmp(l->name, only) != 0) || (l->accepts && !l->accepts(cmd)))
        return RANKS;
    if (only || (f->all && strcmp(l->name, f->all) == 0))
        return 0;
    if (gpu_relaxed(l->name))
        return RANKS;
    return !l->prefers || l->prefers(cmd) ? 1 : 2;
}

const gpu_launcher *gpu_candidate(const gpu_force *f, const mnt_cmd *cmd, int i)
{
    if (!mnt_cmd_valid(cmd))
        return NULL;
    for (int r = 0; r < RANKS; r++)
        for (int k = 0; gpu_launchers[k]; k++)
            for (const gpu_launcher *l = gpu_launchers[k]; l->name; l++)
                if (rank(f, cmd, l) == r && i-- == 0)
                    return l;
    return NULL;
}
