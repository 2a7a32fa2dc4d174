/* SPDX-License-Identifier: MIT */
/*
 * A threadgroup: its threads, its barrier, the exchange of values in its simdgroups.
 *
 * A fiber takes threads that have not begun and runs them to their end, one after the
 * other. Only a thread that has to wait keeps its fiber; then another fiber goes on. So
 * without barriers one fiber runs all. Who may go on stands in a ring, in the order in
 * which it was freed. When nobody may and nobody can begin, some threads wait for others
 * that never come: the one fault that Metal answers with a hang.
 */
#define _GNU_SOURCE
#include "group.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where SIGSEGV is handled when a kernel has used up its own stack. */
#define SIGNAL_STACK ((size_t)64 << 10)

static _Thread_local sim_worker *self;

static void fiber_main(void);

bool group_worker_init(sim_worker *w, sim_engine *engine)
{
    memset(w, 0, sizeof *w);
    w->engine = engine;
    w->fibers = fiber_pool_create(SIM_MAX_THREADS + 1, fiber_main);
    w->memory = aligned_alloc(256, (32u << 10) + 256u * SIM_MAX_ARRAYS);
    w->signal_stack = malloc(SIGNAL_STACK);
    if (!w->fibers || !w->memory || !w->signal_stack) {
        group_worker_free(w);
        return false;
    }
    return true;
}

void group_worker_free(sim_worker *w)
{
    fiber_pool_destroy(w->fibers);
    free(w->memory);
    free(w->signal_stack);
}

void group_worker_enter(sim_worker *w)
{
    self = w;
#ifndef METALSIM_ASAN /* which has one already */
    stack_t s = { .ss_sp = w->signal_stack, .ss_size = SIGNAL_STACK };
    sigaltstack(&s, NULL);
#endif
}

bool group_overflowed(const char *at)
{
    return self && fiber_overflowed(self->fibers, at);
}

void group_begin(sim_worker *w, const sim_image *image, const sim_entry *entry,
                 const sim_call *call, const sim_array *array, unsigned arrays)
{
    w->image = image;
    w->entry = entry;
    w->one_fiber = (entry->collective & 1) == 0;
    w->threads = call->threads;
    w->simd_width = call->simd_width;
    w->view.call = call;
    w->view.kernel = entry->name;
    w->view.dispatch++;
    w->failed = false;
    w->arrays = arrays;
    w->array_bytes = 0;
    for (unsigned i = 0; i < arrays; i++) {
        w->array[i] = array[i];
        size_t end = array[i].offset + array[i].bytes;
        w->array_bytes = end > w->array_bytes ? end : w->array_bytes;
    }
}

/* ---- who goes on ---- */
static void leave_for(sim_worker *w, fiber *to)
{
    fiber *from = w->current;
    if (from == to)
        return;
    w->switches++;
    w->current = to;
    fiber_switch(from, to);
}

/* Ends the group: never comes back to the calling fiber. */
static _Noreturn void give_up(sim_worker *w)
{
    w->failed = true;
    leave_for(w, &w->outside);
    abort(); /* a fiber of a failed group is never switched to */
}

static void make_ready(sim_worker *w, unsigned thread)
{
    w->thread[thread].state = THREAD_RUNS;
    w->ready[w->tail++ % SIM_MAX_THREADS] = thread;
}

static bool same_site(const sim_site *a, const sim_site *b)
{
    return a->line == b->line && a->column == b->column &&
           (a->file == b->file || strcmp(a->file, b->file) == 0);
}

/* Some wait and nobody is left who could free them. */
static _Noreturn void starved(sim_worker *w)
{
    unsigned in_simd = SIM_NOBODY;
    for (unsigned i = 0; i < w->threads; i++)
        if (w->thread[i].state == THREAD_SIMD)
            in_simd = i;
    if (in_simd == SIM_NOBODY) {
        sim_engine_report(w->engine, &w->view, &w->site, SIM_NOBODY,
                          "barrier reached by %u of %u threads only", w->waiting,
                          w->threads);
        give_up(w);
    }
    const group_thread *t = &w->thread[in_simd];
    if (w->waiting > 0)
        sim_engine_report(w->engine, &w->view, &t->site, in_simd,
                          "waits in a simdgroup function while others wait at the "
                          "barrier of line %u",
                          w->site.line);
    else
        sim_engine_report(w->engine, &w->view, &t->site, in_simd,
                          "simdgroup function reached by some lanes only");
    give_up(w);
}

/* The current thread waits, or its fiber has nothing to do: somebody else's turn. */
static void schedule(sim_worker *w)
{
    if (w->head != w->tail) {
        unsigned next = w->ready[w->head++ % SIM_MAX_THREADS];
        w->view.index = next;
        leave_for(w, w->thread[next].fiber);
        return;
    }
    if (w->started < w->threads) {
        fiber *f = fiber_take(w->fibers);
        if (!f) {
            sim_engine_report(w->engine, &w->view, NULL, SIM_NOBODY,
                              "the simulator has no memory for stacks");
            give_up(w);
        }
        leave_for(w, f);
        return;
    }
    if (w->live > 0)
        starved(w);
    leave_for(w, &w->outside);
}

static void thread_ended(sim_worker *w, unsigned thread)
{
    group_simd *s = &w->simd[thread / w->simd_width];
    w->thread[thread].state = THREAD_DONE;
    w->live--;
    s->live--;
    if (w->waiting > 0) {
        sim_engine_report(w->engine, &w->view, &w->site, thread,
                          "returned while others of its threadgroup wait at this "
                          "barrier");
        give_up(w);
    }
    if (s->waiting > 0) {
        sim_engine_report(w->engine, &w->view, &s->site, thread,
                          "returned while others of its simdgroup wait in this "
                          "simdgroup function");
        give_up(w);
    }
}

static void run_new_threads(sim_worker *w)
{
    if (w->one_fiber) {
        w->started = w->threads;
        w->entry->run(w->view.call, &w->view, w->memory, w->view.group, 0, w->threads,
                      w->order);
        w->live = 0;
        return;
    }
    while (w->started < w->threads) {
        unsigned i = w->started++;
        unsigned thread = w->order ? w->order[i] : i;
        w->thread[thread].fiber = w->current;
        w->thread[thread].state = THREAD_RUNS;
        w->view.index = thread;
        w->entry->run(w->view.call, &w->view, w->memory, w->view.group, thread, 1,
                      NULL);
        thread_ended(w, thread);
    }
}

static void fiber_main(void)
{
    sim_worker *w = self;
    fiber_started(&w->outside);
    for (;;) {
        run_new_threads(w);
        fiber_give(w->fibers, w->current);
        schedule(w);
    }
}

bool group_run(sim_worker *w, unsigned group)
{
    unsigned width = w->simd_width;
    w->view.group = group;
    w->view.index = 0;
    w->view.epoch[0] = w->view.epoch[1] = 0;
    w->live = w->threads;
    w->started = w->waiting = w->head = w->tail = 0;
    if (!w->one_fiber)
        for (unsigned i = 0; i < w->threads; i += width) {
            group_simd *s = &w->simd[i / width];
            unsigned left = w->threads - i;
            s->size = s->live = left < width ? left : width;
            s->waiting = s->parity = 0;
            w->view.simd_epoch[i / width][0] = w->view.simd_epoch[i / width][1] = 0;
        }
    const sim_library *library = sim_image_library(w->image);
    if (w->arrays > 0 && library->memory)
        library->memory(&w->view, w->memory, w->array_bytes, w->array, w->arrays);
    w->groups++;
    w->current = &w->outside;
    fiber *f = fiber_take(w->fibers);
    if (!f) {
        sim_engine_report(w->engine, &w->view, NULL, SIM_NOBODY,
                          "the simulator has no memory for stacks");
        return false;
    }
    leave_for(w, f);
    if (w->failed)
        fiber_pool_reset(w->fibers);
    return !w->failed;
}

/* ---- what kernels call ---- */
static void need_fibers(sim_worker *w, const sim_site *site)
{
    if (!w->one_fiber)
        return;
    sim_engine_report(w->engine, &w->view, site, w->view.index,
                      "a collective function that the rewriter did not see");
    give_up(w);
}

static void service_barrier(unsigned flags, const sim_site *site)
{
    sim_worker *w = self;
    need_fibers(w, site);
    unsigned me = w->view.index;
    w->thread[me].site = *site;
    w->thread[me].state = THREAD_BARRIER;
    if (w->waiting++ == 0) {
        w->site = *site;
        w->flags = flags;
    } else if (!same_site(site, &w->site)) {
        sim_engine_report(w->engine, &w->view, site, me,
                          "divergent barrier: others of its threadgroup wait at "
                          "%s:%u:%u",
                          w->site.file, w->site.line, w->site.column);
        give_up(w);
    } else {
        w->flags &= flags;
    }
    if (w->live != w->threads) {
        sim_engine_report(w->engine, &w->view, site, me,
                          "barrier after %u threads of the threadgroup returned",
                          w->threads - w->live);
        give_up(w);
    }
    if (w->waiting == w->threads) {
        w->waiting = 0;
        w->barriers++;
        w->view.epoch[0] += (w->flags & SIM_MEM_DEVICE) != 0;
        w->view.epoch[1] += (w->flags & SIM_MEM_THREADGROUP) != 0;
        for (unsigned i = 0; i < w->threads; i++)
            make_ready(w, w->order ? w->order[i] : i);
    }
    schedule(w);
}

static void exchange(sim_lanes *out, const void *value, unsigned bytes,
                     unsigned operation, const sim_site *site)
{
    sim_worker *w = self;
    need_fibers(w, site);
    unsigned me = w->view.index, width = w->simd_width;
    unsigned first = me / width * width, lane = me - first;
    group_simd *s = &w->simd[me / width];
    unsigned parity = s->parity;
    if (s->waiting++ == 0) {
        s->site = *site;
        s->operation = operation;
        s->active[parity] = 0;
    } else if (s->operation != operation || !same_site(site, &s->site)) {
        sim_engine_report(w->engine, &w->view, site, me,
                          "divergent simdgroup function: other lanes are at %s:%u:%u",
                          s->site.file, s->site.line, s->site.column);
        give_up(w);
    }
    if (s->live != s->size) {
        sim_engine_report(w->engine, &w->view, site, me,
                          "simdgroup function after %u lanes of the simdgroup returned",
                          s->size - s->live);
        give_up(w);
    }
    memcpy(w->slot[parity][me], value, bytes);
    s->active[parity] |= 1ull << lane;
    w->thread[me].site = *site;
    w->thread[me].state = THREAD_SIMD;
    if (s->waiting == s->live) {
        s->waiting = 0;
        s->parity ^= 1;
        w->simd_operations++;
        for (unsigned i = first; i < first + width && i < w->threads; i++)
            if (w->thread[i].state == THREAD_SIMD)
                make_ready(w, i);
    }
    schedule(w);
    out->active = s->active[parity];
    out->slot = (const unsigned char(*)[SIM_SLOT_BYTES])w->slot[parity][first];
    out->lane = lane;
}

static void service_exchange(sim_lanes *out, const void *value, unsigned bytes,
                             unsigned operation, const sim_site *site)
{
    exchange(out, value, bytes, operation, site);
}

static void service_simd_barrier(unsigned flags, const sim_site *site)
{
    sim_worker *w = self;
    unsigned simd = w->view.index / w->simd_width;
    unsigned parity = w->simd[simd].parity;
    sim_lanes lanes;
    exchange(&lanes, "", 1, 0xffffu, site);
    /* The first lane that goes on counts for all. */
    if (w->simd[simd].active[parity] != 0) {
        w->simd[simd].active[parity] = 0;
        w->view.simd_epoch[simd][0] += (flags & SIM_MEM_DEVICE) != 0;
        w->view.simd_epoch[simd][1] += (flags & SIM_MEM_THREADGROUP) != 0;
    }
}

static unsigned service_lane(void)
{
    return self->view.index % self->simd_width;
}

static void service_fail(const char *text, const sim_site *site)
{
    sim_worker *w = self;
    sim_engine_report(w->engine, &w->view, site, w->view.index, "%s", text);
    give_up(w);
}

static void service_report(const char *text, const sim_site *site)
{
    sim_worker *w = self;
    sim_engine_report(w->engine, &w->view, site, w->view.index, "%s", text);
}

static const sim_view *service_view(void)
{
    return self ? &self->view : NULL;
}

const sim_services group_services = {
    .barrier = service_barrier,
    .exchange = service_exchange,
    .simd_barrier = service_simd_barrier,
    .lane = service_lane,
    .fail = service_fail,
    .report = service_report,
    .view = service_view,
};
