/* SPDX-License-Identifier: MIT */
/*
 * Device and pinned memory: pages between pages that nobody may touch. Device addresses
 * are numbers that are no addresses of this machine, never used twice; memory holds
 * garbage at first.
 */
#define _GNU_SOURCE
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ADDRESS UINT64_C(0x0d00000000000000)
#define GAP           UINT64_C(0x100000) /* between allocations */
#define GARBAGE       ((size_t)64 << 20) /* beyond that, pages stay as they are */

static memory *all;
static uint64_t next_address = FIRST_ADDRESS;
static uint64_t taken[64]; /* bytes, by device */

int memory_make(context *c, size_t bytes, bool pinned, memory **out)
{
    if (!pinned && bytes > config()->memory - taken[c->device])
        return CUDA_ERROR_OUT_OF_MEMORY;
    memory *m = calloc(1, sizeof *m);
    if (m)
        m->guard = guard_create(bytes);
    if (!m || !m->guard) {
        free(m);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->owner = c;
    if (bytes <= GARBAGE)
        memset(m->guard->data, 0xff, bytes); /* NaN */
    else
        m->fresh = true;
    if (!pinned) {
        m->address = next_address;
        next_address += (bytes + GAP) / GAP * GAP + GAP;
        taken[c->device] += bytes;
    }
    snprintf(m->name, sizeof m->name, "%s of %zu bytes",
             pinned ? "pinned memory" : "device memory", bytes);
    m->guard->name = m->name;
    m->next = all;
    all = m;
    *out = m;
    return 0;
}

void memory_free(memory *m)
{
    memory **at = &all;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    if (!guard_intact(m->guard))
        misuse(0, "something was written around %s", m->name);
    if (m->address)
        taken[m->owner->device] -= m->guard->bytes;
    guard_destroy(m->guard);
    free(m);
}

void memory_free_all(const context *owner)
{
    for (memory *m = all, *next; m; m = next) {
        next = m->next;
        if (m->owner == owner)
            memory_free(m);
    }
}

memory *memory_at(uint64_t address, size_t bytes)
{
    for (memory *m = all; m; m = m->next)
        if (m->address && m->owner == current() && address >= m->address &&
            address - m->address <= m->guard->bytes &&
            bytes <= m->guard->bytes - (address - m->address))
            return m;
    return NULL;
}

memory *memory_starting(uint64_t address)
{
    memory *m = memory_at(address, 0);
    return m && m->address == address ? m : NULL;
}

memory *pinned_at(const void *p, size_t bytes)
{
    uintptr_t at = (uintptr_t)p;
    for (memory *m = all; m; m = m->next) {
        uintptr_t base = (uintptr_t)m->guard->data;
        if (!m->address && at >= base && at - base <= m->guard->bytes &&
            bytes <= m->guard->bytes - (at - base))
            return m;
    }
    return NULL;
}

bool pinned_near(const void *p, size_t bytes)
{
    uintptr_t at = (uintptr_t)p;
    for (const memory *m = all; m; m = m->next) {
        uintptr_t base = (uintptr_t)m->guard->data;
        if (!m->address && at < base + m->guard->bytes && base < at + bytes)
            return true;
    }
    return false;
}

int memory_count(const context *owner, bool pinned)
{
    int n = 0;
    for (const memory *m = all; m; m = m->next)
        n += (!owner || m->owner == owner) && pinned == (m->address == 0);
    return n;
}
