/* SPDX-License-Identifier: MIT */
/*
 * Fibers: stacks and the switch between them, for x86-64 and aarch64. A fiber stays on
 * the operating system's thread where it began. Nothing here knows of kernels.
 */
#ifndef METALSIM_FIBER_H
#define METALSIM_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define METALSIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define METALSIM_ASAN 1
#endif
#endif

typedef struct fiber {
    void *sp;
    char *stack;
    size_t size;
    void *fake; /* AddressSanitizer's */
} fiber;

typedef struct fiber_pool fiber_pool;

/* Up to `most` fibers, each to run `start` when first switched to. NULL without memory.
 * Stacks cost address space only until used. */
fiber_pool *fiber_pool_create(unsigned most, void (*start)(void));
void fiber_pool_destroy(fiber_pool *pool);
/* A fiber that nobody runs, NULL past `most`; last given back, first taken. */
fiber *fiber_take(fiber_pool *pool);
void fiber_give(fiber_pool *pool, fiber *f);
/* Forgets what all fibers were doing: every one is new and in the pool again. */
void fiber_pool_reset(fiber_pool *pool);

/* Whether an address lies below some fiber's stack, where nobody may write. */
bool fiber_overflowed(const fiber_pool *pool, const char *at);

/* To `to`, leaving `from`; returns when somebody switches back. */
void fiber_switch(fiber *from, fiber *to);
/* The first act of `start`: `from` is where the switch came from. */
void fiber_started(fiber *from);

#endif
