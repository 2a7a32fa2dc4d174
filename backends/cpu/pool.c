/* SPDX-License-Identifier: MIT */
/*
 * The thread pool.
 *
 * A loop is published under a sequence number. Each thread's share is one 64-bit
 * ticket { sequence, next chunk, end }; a chunk is claimed by compare-and-swap on it,
 * so a thread that comes late with an old sequence number claims nothing. The loop
 * cannot end while a claimed chunk is unfinished: whoever holds one may read fn, arg
 * and chunks; nobody else does.
 *
 * Waiting is spinning for a short time, then sleeping on a condition.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#endif

#include "pool.h"

#include "cpu.h"
#include "fpenv.h"
#include "memory.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS         40000u
#define SPIN_CROWDED_NS 2000u /* more threads than processors */
#define STACK_BYTES     (1u << 20)

typedef struct cpu_ticket {
    _Alignas(CPU_ALIGN) _Atomic uint64_t word;
} cpu_ticket;

typedef struct cpu_worker {
    pthread_t thread;
    cpu_pool *pool;
    int index;
} cpu_worker;

struct cpu_pool {
    const mnt_host *host;
    int threads, started;
    uint64_t spin_ns;
    cpu_worker *workers;
    cpu_ticket *tickets;

    cpu_pool_fn fn;
    void *arg;
    int chunks;
    _Alignas(CPU_ALIGN) _Atomic uint32_t sequence;
    _Alignas(CPU_ALIGN) atomic_int done;

    _Alignas(CPU_ALIGN) pthread_mutex_t mutex;
    pthread_cond_t work, finished;
    atomic_int sleepers;
    atomic_bool caller_sleeps, quit;
};

int cpu_processors(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n <= CPU_POOL_MAX_THREADS ? (int)n : 1;
}

/* ---- waiting ---- */

typedef struct spinner {
    uint64_t budget_ns, deadline;
    int rounds;
} spinner;

uint64_t cpu_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* One round of spinning; false once the time is over. */
static bool spin(spinner *s)
{
    cpu_relax();
    if (++s->rounds % 16 != 0)
        return true;
    if (s->budget_ns == SPIN_CROWDED_NS)
        sched_yield();
    uint64_t now = cpu_now_ns();
    if (s->deadline == 0)
        s->deadline = now + s->budget_ns;
    return now < s->deadline;
}

/* Waits for a loop other than `last`; false when the pool ends. */
static bool await_loop(cpu_pool *pool, uint32_t last)
{
    spinner s = { .budget_ns = pool->spin_ns };
    do {
        if (atomic_load_explicit(&pool->sequence, memory_order_acquire) != last)
            return !atomic_load(&pool->quit);
    } while (spin(&s));
    pthread_mutex_lock(&pool->mutex);
    /* Raised before the check: cpu_pool_run() stores the sequence first and looks for
     * sleepers second, so one of the two sees the other. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->sequence) == last && !atomic_load(&pool->quit))
        pthread_cond_wait(&pool->work, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
    return !atomic_load(&pool->quit);
}

static void await_done(cpu_pool *pool, int chunks)
{
    spinner s = { .budget_ns = pool->spin_ns };
    do {
        if (atomic_load_explicit(&pool->done, memory_order_acquire) == chunks)
            return;
    } while (spin(&s));
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->done) != chunks)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- working ---- */

/* Claims a chunk of the loop `sequence`; -1: none left, or the loop is over. */
static int claim(cpu_ticket *ticket, uint32_t sequence)
{
    uint64_t word = atomic_load_explicit(&ticket->word, memory_order_acquire);
    for (;;) {
        uint32_t next = (uint32_t)(word >> 16) & 0xffffu, end = word & 0xffffu;
        if ((uint32_t)(word >> 32) != sequence || next >= end)
            return -1;
        if (atomic_compare_exchange_weak_explicit(&ticket->word, &word, word + 0x10000u,
                                                  memory_order_acq_rel,
                                                  memory_order_acquire))
            return (int)next;
    }
}

static void work(cpu_pool *pool, int thread, uint32_t sequence)
{
    for (int i = 0; i < pool->threads; i++) {
        cpu_ticket *ticket = &pool->tickets[(thread + i) % pool->threads];
        int chunk;
        while ((chunk = claim(ticket, sequence)) >= 0) {
            int chunks = pool->chunks;
            pool->fn(pool->arg, chunk, thread);
            if (atomic_fetch_add(&pool->done, 1) + 1 != chunks)
                continue;
            if (thread != 0 && atomic_load(&pool->caller_sleeps)) {
                pthread_mutex_lock(&pool->mutex);
                pthread_cond_signal(&pool->finished);
                pthread_mutex_unlock(&pool->mutex);
            }
        }
    }
}

static void *worker_main(void *arg)
{
    const cpu_worker *worker = arg;
    cpu_pool *pool = worker->pool;
    cpu_fpenv unused;
    cpu_fpenv_enter(&unused);
    uint32_t last = 0;
    while (await_loop(pool, last)) {
        last = atomic_load_explicit(&pool->sequence, memory_order_acquire);
        work(pool, worker->index, last);
    }
    return NULL;
}

int cpu_pool_threads(const cpu_pool *pool)
{
    return pool->threads;
}

void cpu_pool_run(cpu_pool *pool, int chunks, bool wake, cpu_pool_fn fn, void *arg)
{
    if (pool->threads == 1 || chunks <= 1) {
        for (int i = 0; i < chunks; i++)
            fn(arg, i, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->chunks = chunks;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    uint32_t sequence = atomic_load_explicit(&pool->sequence, memory_order_relaxed) + 1;
    for (int t = 0; t < pool->threads; t++) {
        uint64_t begin = (uint64_t)chunks * (uint64_t)t / (uint64_t)pool->threads;
        uint64_t end = (uint64_t)chunks * (uint64_t)(t + 1) / (uint64_t)pool->threads;
        atomic_store_explicit(&pool->tickets[t].word,
                              (uint64_t)sequence << 32 | begin << 16 | end,
                              memory_order_release);
    }
    atomic_store(&pool->sequence, sequence);
    if (wake && atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
    work(pool, 0, sequence);
    await_done(pool, chunks);
}

/* ---- life ---- */

static mnt_status start_workers(cpu_pool *pool)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return MNT_NO_MEMORY;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    /* Signals belong to the program's own threads. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    mnt_status status = MNT_OK;
    for (int i = 1; i < pool->threads && status == MNT_OK; i++) {
        cpu_worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = i;
        if (pthread_create(&w->thread, &attr, worker_main, w) == 0)
            pool->started = i;
        else
            status = MNT_DEVICE;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return status;
}

mnt_status cpu_pool_create(cpu_pool **out, const mnt_host *host, int threads)
{
    *out = NULL;
    cpu_pool *pool = cpu_alloc(host, sizeof *pool);
    if (!pool)
        return host->fail(host->self, MNT_NO_MEMORY, "cpu: no memory for the pool");
    pool->host = host;
    pool->threads = threads;
    pool->spin_ns = threads > cpu_processors() ? SPIN_CROWDED_NS : SPIN_NS;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->workers = cpu_alloc(host, (uint64_t)threads * sizeof *pool->workers);
    pool->tickets = cpu_alloc(host, (uint64_t)threads * sizeof *pool->tickets);
    mnt_status status =
        pool->workers && pool->tickets ? start_workers(pool) : MNT_NO_MEMORY;
    if (status != MNT_OK) {
        char text[96];
        snprintf(text, sizeof text, "cpu: the system refused thread %d of %d",
                 pool->started + 2, threads);
        cpu_pool_destroy(pool);
        return host->fail(host->self, status,
                          status == MNT_DEVICE ? text : "cpu: no memory for the pool");
    }
    *out = pool;
    return MNT_OK;
}

void cpu_pool_destroy(cpu_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->quit, true);
    /* Those who spin look at the sequence, those who sleep at quit. */
    atomic_fetch_add(&pool->sequence, 1);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i <= pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    const mnt_host *host = pool->host;
    cpu_free(host, pool->tickets);
    cpu_free(host, pool->workers);
    cpu_free(host, pool);
}
