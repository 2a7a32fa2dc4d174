/* SPDX-License-Identifier: MIT */
/*
 * One operating system's thread of the simulator: it runs threadgroups one after the
 * other, the threads of a group as fibers. sim.c deals out the groups.
 */
#ifndef METALSIM_GROUP_H
#define METALSIM_GROUP_H

#include <stdarg.h>

#include "fiber.h"
#include "sim.h"

enum thread_state { THREAD_NEW, THREAD_RUNS, THREAD_BARRIER, THREAD_SIMD, THREAD_DONE };

typedef struct group_thread {
    fiber *fiber;
    sim_site site; /* of what it waits in */
    uint8_t state;
} group_thread;

typedef struct group_simd {
    unsigned size, live, waiting, parity, operation;
    sim_site site;
    unsigned long long active[2];
} group_simd;

typedef struct sim_worker {
    sim_view view;
    sim_engine *engine;
    const sim_image *image;
    const sim_entry *entry;
    fiber_pool *fibers;
    fiber outside; /* the operating system's thread itself */
    fiber *current;
    bool one_fiber; /* all threads of a group run on one: no collective functions */
    unsigned threads, live, started;
    unsigned simd_width;
    /* The barrier that threads wait at. */
    unsigned waiting, flags;
    sim_site site;
    unsigned head, tail; /* of ready, a ring */
    bool failed;
    uint64_t switches, barriers, simd_operations, groups;
    const unsigned *order; /* NULL: forward */
    unsigned permutation[SIM_MAX_THREADS];
    unsigned ready[SIM_MAX_THREADS];
    group_thread thread[SIM_MAX_THREADS];
    group_simd simd[SIM_MAX_THREADS / 8];
    unsigned char slot[2][SIM_MAX_THREADS][SIM_SLOT_BYTES];
    size_t array_bytes;
    unsigned arrays;
    sim_array array[SIM_MAX_ARRAYS];
    void *signal_stack;
    unsigned char *memory; /* threadgroup memory, of this worker's group */
} sim_worker;

extern const sim_services group_services;

bool group_worker_init(sim_worker *w, sim_engine *engine);
void group_worker_free(sim_worker *w);
/* This operating system's thread is w from now on. */
void group_worker_enter(sim_worker *w);
/* Whether this thread's kernel has run out of stack at an address. */
bool group_overflowed(const char *at);
/* Before the groups of a dispatch. */
void group_begin(sim_worker *w, const sim_image *image, const sim_entry *entry,
                 const sim_call *call, const sim_array *array, unsigned arrays);
/* False if the group failed; the worker can go on with another dispatch. */
bool group_run(sim_worker *w, unsigned group);

/* Of sim.c: notes a fault of thread `who` (SIM_NOBODY: none). */
void sim_engine_report(sim_engine *engine, const sim_view *view, const sim_site *site,
                       uint32_t who, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Of image.c. */
const sim_library *sim_image_library(const sim_image *image);
const sim_image *sim_function_image(const sim_function *f);
const sim_array *sim_function_arrays(const sim_function *f, unsigned *count);

#endif
