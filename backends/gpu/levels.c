/* SPDX-License-Identifier: MIT */
/*
 * The levels of a program: which commands may run side by side. The planner found them
 * (mnt_cmd.level); here they are numbered without gaps and the commands are listed by
 * them. Within a level the order of the program stays.
 */
#include "gpu.h"

#include <stdlib.h>

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

bool gpu_levels(gpu_program *p, const mnt_host *host, const mnt_program *program)
{
    size_t n = (size_t)program->count;
    uint64_t *key =
        host->alloc(host->self, (n + 1) * sizeof *key); /* level, position */
    if (!key)
        return false;
    for (size_t i = 0; i < n; i++)
        key[i] = (uint64_t)program->cmds[i].level << 32 | i;
    qsort(key, n, sizeof *key, by_key);
    p->level_count = 0;
    for (size_t i = 0; i < n; i++) {
        p->order[i] = (int)(uint32_t)key[i];
        p->level_count += i == 0 || key[i] >> 32 != key[i - 1] >> 32;
        p->cmds[p->order[i]].level = p->level_count - 1;
    }
    host->free(host->self, key);
    return true;
}
