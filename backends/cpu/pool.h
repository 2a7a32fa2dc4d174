/* SPDX-License-Identifier: MIT */
/*
 * A pool of threads for short parallel loops.
 *
 * cpu_pool_run() splits chunks 0 .. n-1 over the threads; the caller is thread 0. Each
 * thread has a contiguous share and, when that is used up, takes chunks from the
 * others. The caller never waits for a thread that holds no chunk: one that sleeps, or
 * that the system runs somewhere else, costs nothing.
 */
#ifndef CPU_POOL_H
#define CPU_POOL_H

#include <mnt/backend.h>

#define CPU_POOL_MAX_THREADS 1024
#define CPU_POOL_MAX_CHUNKS  65535

typedef struct cpu_pool cpu_pool;

typedef void (*cpu_pool_fn)(void *arg, int chunk, int thread);

/* Processors that this process may run on, at least 1. */
int cpu_processors(void);
/* The monotonic clock. */
uint64_t cpu_now_ns(void);

/*
 * Starts threads - 1 workers. Errors: NO_MEMORY; DEVICE when the system refuses a
 * thread (the sentence names the count).
 */
mnt_status cpu_pool_create(cpu_pool **out, const mnt_host *host, int threads);
/* Joins the workers. NULL is allowed. */
void cpu_pool_destroy(cpu_pool *pool);
int cpu_pool_threads(const cpu_pool *pool);

/*
 * Runs fn(arg, chunk, thread) for every chunk and returns when all have finished;
 * chunks <= CPU_POOL_MAX_CHUNKS. wake: whether workers that sleep are worth waking;
 * those that are awake help anyway.
 */
void cpu_pool_run(cpu_pool *pool, int chunks, bool wake, cpu_pool_fn fn, void *arg);

#endif
