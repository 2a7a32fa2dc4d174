/* SPDX-License-Identifier: MIT */
/*
 * Dispatches: checks of the bindings, the workers that share out the threadgroups, the
 * order of groups and threads, and the reports. Workers are threads of the engine for its
 * whole life, so that fibers never change their thread and the caller's floating-point
 * environment is left alone: theirs flushes subnormals, as GPUs may.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"

#define MAX_WORKERS 64

struct sim_engine {
    sim_options options;
    int workers;
    pthread_t thread[MAX_WORKERS];
    sim_worker *worker[MAX_WORKERS];
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    unsigned serial; /* of the dispatch the workers shall take part in */
    int wanted, busy;
    bool stop;
    /* The dispatch. */
    const sim_function *function;
    const sim_array *array;
    unsigned arrays;
    sim_call call;
    void *buffer[SIM_MAX_BINDINGS];
    unsigned long length[SIM_MAX_BINDINGS];
    uint64_t seed;
    atomic_uint next;
    atomic_bool failed;
    uint64_t threads, dispatches;
    pthread_mutex_t report_lock;
    uint64_t reports;
    char first[512]; /* the dispatch's first report */
};

/* ---- reports ---- */
static void report_to_stderr(const sim_report *r)
{
    fprintf(stderr, "metalsim: %s\n", r->text);
}

void sim_engine_report(sim_engine *e, const sim_view *view, const sim_site *site,
                       uint32_t who, const char *format, ...)
{
    char text[512];
    int n = 0;
    if (site && site->file)
        n = snprintf(text, sizeof text, "%s:%u:%u: ", site->file, site->line,
                     site->column);
    if (view && n >= 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, "kernel %s: ", view->kernel);
    va_list list;
    va_start(list, format);
    if (n >= 0 && (size_t)n < sizeof text)
        n += vsnprintf(text + n, sizeof text - (size_t)n, format, list);
    va_end(list);
    if (view && view->group != SIM_NOBODY && n >= 0 && (size_t)n < sizeof text) {
        if (who == SIM_NOBODY)
            snprintf(text + n, sizeof text - (size_t)n, " [threadgroup %u]",
                     view->group);
        else
            snprintf(text + n, sizeof text - (size_t)n, " [threadgroup %u, thread %u]",
                     view->group, who);
    }
    sim_report r = { .kernel = view ? view->kernel : NULL,
                     .group = view ? view->group : SIM_NOBODY,
                     .thread = who,
                     .text = text };
    if (site)
        r.site = *site;
    atomic_store(&e->failed, true);
    pthread_mutex_lock(&e->report_lock);
    e->reports++;
    if (e->first[0] == '\0')
        memcpy(e->first, text, sizeof e->first);
    if (e->options.report)
        e->options.report(e->options.context, &r);
    else
        report_to_stderr(&r);
    pthread_mutex_unlock(&e->report_lock);
}

/* ---- order ---- */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The i-th group to run, of n: a permutation made of bijections of the next power of
 * two, repeated until the result is below n. */
static uint32_t group_at(const sim_engine *e, uint32_t i)
{
    uint32_t n = e->call.groups;
    if (e->options.order == SIM_FORWARD)
        return i;
    if (e->options.order == SIM_REVERSE)
        return n - 1 - i;
    int bits = 1;
    while (bits < 32 && (UINT64_C(1) << bits) < n)
        bits++;
    uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint64_t odd = mix(e->seed) | 1, add = mix(e->seed + 1);
    uint64_t x = i;
    do {
        for (int round = 0; round < 3; round++) {
            x = (x * odd + add) & mask;
            x ^= x >> (bits + 1) / 2;
        }
    } while (x >= n);
    return (uint32_t)x;
}

/* The same threads in the same order whichever worker runs the group. */
static void order_threads(const sim_engine *e, sim_worker *w, uint32_t group)
{
    unsigned n = w->threads, *p = w->permutation;
    w->order = NULL;
    if (e->options.order == SIM_FORWARD)
        return;
    w->order = p;
    for (unsigned i = 0; i < n; i++)
        p[i] = n - 1 - i;
    if (e->options.order == SIM_REVERSE)
        return;
    uint64_t state = mix(e->seed ^ (uint64_t)group << 20);
    for (unsigned i = n; i > 1; i--) {
        state = mix(state + UINT64_C(0x9e3779b97f4a7c15));
        unsigned j = (unsigned)(state % i), t = p[i - 1];
        p[i - 1] = p[j];
        p[j] = t;
    }
}

/* ---- workers ---- */
/* A GPU's arithmetic, whatever the thread that made this one has: to nearest, without
 * traps, subnormals flushed. */
static void own_environment(void)
{
#if defined(__x86_64__)
    unsigned csr = 0x9fc0u;
    __asm__ volatile("ldmxcsr %0" : : "m"(csr));
#elif defined(__aarch64__)
    uint64_t fpcr = UINT64_C(1) << 24;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

static void work(sim_engine *e, sim_worker *w)
{
    group_begin(w, sim_function_image(e->function), sim_function_entry(e->function),
                &e->call, e->array, e->arrays);
    w->view.dispatch = e->dispatches;
    while (!w->failed) {
        uint32_t i = atomic_fetch_add(&e->next, 1);
        if (i >= e->call.groups)
            return;
        uint32_t group = group_at(e, i);
        order_threads(e, w, group);
        if (!group_run(w, group))
            atomic_store(&e->next, e->call.groups); /* the others stop, too */
    }
}

typedef struct worker_start {
    sim_engine *engine;
    int number;
} worker_start;

static void *worker_main(void *argument)
{
    worker_start start = *(worker_start *)argument;
    free(argument);
    sim_engine *e = start.engine;
    sim_worker *w = e->worker[start.number];
    w->view.worker = (unsigned)start.number;
    w->view.own[0] = (const char *)w;
    w->view.own_bytes[0] = sizeof *w;
    w->view.own[1] = (const char *)e;
    w->view.own_bytes[1] = sizeof *e;
    group_worker_enter(w);
    own_environment();
    unsigned seen = 0;
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->stop && (e->serial == seen || start.number >= e->wanted)) {
            seen = e->serial;
            pthread_cond_wait(&e->begin, &e->lock);
        }
        if (e->stop)
            break;
        seen = e->serial;
        pthread_mutex_unlock(&e->lock);
        work(e, w);
        pthread_mutex_lock(&e->lock);
        if (--e->busy == 0)
            pthread_cond_signal(&e->end);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static bool start_worker(sim_engine *e, int number)
{
    worker_start *start = malloc(sizeof *start);
    sim_worker *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    if (!start || !w || !group_worker_init(w, e)) {
        free(start);
        free(w);
        return false;
    }
    e->worker[number] = w;
    *start = (worker_start){ e, number };
    if (pthread_create(&e->thread[number], NULL, worker_main, start) != 0) {
        free(start);
        group_worker_free(w);
        free(w);
        return false;
    }
    e->workers++;
    return true;
}

/* A sanitizer ends the process: say which kernel ran. */
#ifdef METALSIM_ASAN
void __sanitizer_set_death_callback(void (*callback)(void));
__attribute__((visibility("default"))) void __ubsan_on_report(void);

static void name_running_kernel(void)
{
    const sim_view *v = group_services.view();
    if (v && v->kernel)
        fprintf(stderr, "metalsim: that was kernel %s [threadgroup %u, thread %u]\n",
                v->kernel, v->group, v->index);
}

/* The library of UBSan calls it; where that is one of its own the callback of
 * AddressSanitizer's would not be. */
void __ubsan_on_report(void)
{
    name_running_kernel();
}
#endif

sim_engine *sim_engine_create(const sim_options *options)
{
#ifdef METALSIM_ASAN
    __sanitizer_set_death_callback(name_running_kernel);
#endif
    sim_engine *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    if (options)
        e->options = *options;
    if (e->options.workers <= 0)
        e->options.workers = 2;
    if (e->options.workers > MAX_WORKERS)
        e->options.workers = MAX_WORKERS;
    unsigned width = e->options.simd_width;
    if (width != 8 && width != 16 && width != 64)
        e->options.simd_width = 32;
    e->seed = e->options.seed;
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->report_lock, NULL);
    pthread_cond_init(&e->begin, NULL);
    pthread_cond_init(&e->end, NULL);
    for (int i = 0; i < e->options.workers; i++)
        if (!start_worker(e, i)) {
            sim_engine_destroy(e);
            return NULL;
        }
    return e;
}

void sim_engine_destroy(sim_engine *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->begin);
    pthread_mutex_unlock(&e->lock);
    for (int i = 0; i < e->workers; i++) {
        pthread_join(e->thread[i], NULL);
        group_worker_free(e->worker[i]);
        free(e->worker[i]);
    }
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->report_lock);
    pthread_cond_destroy(&e->begin);
    pthread_cond_destroy(&e->end);
    free(e);
}

void sim_engine_order(sim_engine *e, sim_order order, uint64_t seed)
{
    e->options.order = order;
    e->options.seed = seed;
}

/* ---- a dispatch ---- */
static bool check_binding(sim_engine *e, const sim_view *view, const sim_param *p,
                          const sim_binding *b)
{
    const char *name = p->name;
    unsigned index = p->index;
    if (!b || !b->base)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "nothing is bound at index %u (%s)", index, name);
    else if (b->offset > b->length)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "index %u (%s): offset %zu in a buffer of %zu bytes", index,
                          name, b->offset, b->length);
    else if (b->length - b->offset < p->bytes)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "index %u (%s): %zu bytes are bound, %s needs %u", index,
                          name, b->length - b->offset,
                          p->reference ? "the struct" : "an element", p->bytes);
    else if (((uintptr_t)b->base + b->offset) % p->alignment != 0)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "index %u (%s): offset %zu is not a multiple of %u", index,
                          name, b->offset, p->alignment);
    else
        return true;
    return false;
}

static bool bind_all(sim_engine *e, const sim_view *view, const sim_dispatch *d)
{
    const sim_entry *entry = sim_function_entry(d->function);
    sim_binding args = { .base = (void *)(uintptr_t)d->args, .length = d->args_bytes };
    memset(e->buffer, 0, sizeof e->buffer);
    memset(e->length, 0, sizeof e->length);
    for (unsigned i = 0; i < entry->params; i++) {
        const sim_param *p = &entry->param[i];
        const sim_binding *b = NULL;
        if ((int)p->index < d->bindings)
            b = &d->binding[p->index];
        else if ((int)p->index == d->bindings && d->args)
            b = &args;
        if (!check_binding(e, view, p, b))
            return false;
        e->buffer[p->index] = (char *)b->base + b->offset;
        e->length[p->index] = b->length - b->offset;
    }
    return true;
}

static bool check_shape(sim_engine *e, const sim_view *view, const sim_dispatch *d)
{
    const sim_entry *entry = sim_function_entry(d->function);
    unsigned most = entry->max_threads ? entry->max_threads : SIM_MAX_THREADS;
    size_t bytes = sim_function_threadgroup_bytes(d->function);
    if (d->groups == 0 || d->threads == 0)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "a dispatch of %u threadgroups of %u threads", d->groups,
                          d->threads);
    else if (d->threads > most)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "%u threads a threadgroup, the kernel takes %u", d->threads,
                          most);
    else if (bytes > 32768)
        sim_engine_report(e, view, NULL, SIM_NOBODY,
                          "%zu bytes of threadgroup memory, 32768 is the limit", bytes);
    else
        return true;
    return false;
}

/* The watcher of a race image is one for all engines. */
static pthread_mutex_t watcher = PTHREAD_MUTEX_INITIALIZER;

static void run_on_workers(sim_engine *e, int most)
{
    pthread_mutex_lock(&e->lock);
    e->wanted = e->call.groups < (unsigned)most ? (int)e->call.groups : most;
    e->busy = e->wanted;
    e->serial++;
    pthread_cond_broadcast(&e->begin);
    while (e->busy > 0)
        pthread_cond_wait(&e->end, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

bool sim_run(sim_engine *e, const sim_dispatch *d, char *error, size_t error_size)
{
    const sim_entry *entry = sim_function_entry(d->function);
    const sim_library *library = sim_image_library(sim_function_image(d->function));
    e->function = d->function;
    e->array = sim_function_arrays(d->function, &e->arrays);
    e->call = (sim_call){ .buffer = e->buffer,
                          .length = e->length,
                          .groups = d->groups,
                          .threads = d->threads,
                          .simd_width = e->options.simd_width };
    e->dispatches++;
    e->seed = mix(e->options.seed + e->dispatches);
    e->first[0] = '\0';
    atomic_store(&e->failed, false);
    atomic_store(&e->next, 0);
    sim_view nobody = { .kernel = entry->name, .group = SIM_NOBODY };
    if (check_shape(e, &nobody, d) && bind_all(e, &nobody, d)) {
        bool race = library->kind == SIM_RACE;
        if (race)
            pthread_mutex_lock(&watcher);
        if (library->dispatch)
            library->dispatch(&e->call, entry, 1);
        run_on_workers(e, race ? 1 : e->workers);
        if (library->dispatch)
            library->dispatch(&e->call, entry, 0);
        if (race)
            pthread_mutex_unlock(&watcher);
        e->threads += (uint64_t)d->groups * d->threads;
    }
    if (!atomic_load(&e->failed))
        return true;
    snprintf(error, error_size, "%s", e->first);
    return false;
}

void sim_engine_stats(const sim_engine *e, sim_stats *out)
{
    *out = (sim_stats){ .dispatches = e->dispatches,
                        .threads = e->threads,
                        .reports = e->reports };
    for (int i = 0; i < e->workers; i++) {
        out->groups += e->worker[i]->groups;
        out->switches += e->worker[i]->switches;
        out->barriers += e->worker[i]->barriers;
        out->simd_operations += e->worker[i]->simd_operations;
    }
}
