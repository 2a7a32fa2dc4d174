/* SPDX-License-Identifier: MIT */
/*
 * Aligned memory on top of the host's allocator. The host's memory is zeroed but has
 * malloc's alignment only, so each block is a little larger and keeps the address to
 * free in front.
 */
#include "memory.h"

#include "cpu.h"

#include <string.h>

void *cpu_alloc(const mnt_host *host, uint64_t bytes)
{
    const size_t extra = CPU_ALIGN + sizeof(void *);
    if (bytes > SIZE_MAX - extra)
        return NULL;
    void *raw = host->alloc(host->self, (size_t)bytes + extra);
    if (!raw)
        return NULL;
    uintptr_t at = (uintptr_t)raw + extra;
    char *p = (char *)raw + extra - at % CPU_ALIGN;
    memcpy(p - sizeof raw, &raw, sizeof raw);
    return p;
}

void cpu_free(const mnt_host *host, void *p)
{
    if (!p)
        return;
    void *raw;
    memcpy(&raw, (char *)p - sizeof raw, sizeof raw);
    host->free(host->self, raw);
}
