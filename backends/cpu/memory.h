/* SPDX-License-Identifier: MIT */
/*
 * Aligned memory on top of the host's allocator, for everything the cpu backend holds:
 * tensors, scratch, caches, its own structures.
 */
#ifndef CPU_MEMORY_H
#define CPU_MEMORY_H

#include <mnt/backend.h>

/* Zeroed memory aligned to CPU_ALIGN bytes; NULL on failure. 0 bytes is allowed. */
void *cpu_alloc(const mnt_host *host, uint64_t bytes);
/* NULL is allowed. */
void cpu_free(const mnt_host *host, void *p);

#endif
