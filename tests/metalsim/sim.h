/* SPDX-License-Identifier: MIT */
/*
 * The simulator below the Objective-C layer, in plain C: load an image, ask for its
 * functions, run one over a grid. An image is a shared object made from .metal sources
 * by metalsim_image() of metalsim.cmake.
 *
 * Threads of a threadgroup are fibers, started lazily, so a kernel that meets no barrier
 * runs as a loop. Faults (divergent barriers, races, missing bindings) are found and
 * reported, never undefined: a dispatch that had one returns false.
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/sim_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sim_image sim_image;
typedef struct sim_function sim_function;
typedef struct sim_engine sim_engine;

/* ---- images ---- */
/* NULL and a sentence in error: missing, damaged, or of another simulator's version. */
sim_image *sim_image_open(const char *path, char *error, size_t error_size);
sim_image *sim_image_open_memory(const void *data, size_t bytes, char *error,
                                 size_t error_size);
void sim_image_close(sim_image *image); /* takes NULL */
enum sim_kind sim_image_kind(const sim_image *image);
const char *sim_image_source_hash(const sim_image *image);
int sim_image_count(const sim_image *image);
const sim_function *sim_image_at(const sim_image *image, int i);
const sim_function *sim_image_find(const sim_image *image, const char *name);

const char *sim_function_name(const sim_function *f);
const sim_entry *sim_function_entry(const sim_function *f);
/* The parameter bound at an index, or NULL. */
const sim_param *sim_function_param(const sim_function *f, unsigned index);
/* Bytes of threadgroup memory that its arrays take. */
size_t sim_function_threadgroup_bytes(const sim_function *f);

/* ---- running ---- */
typedef enum sim_order { SIM_FORWARD, SIM_REVERSE, SIM_RANDOM } sim_order;

typedef struct sim_report {
    const char *kernel;
    sim_site site;          /* file NULL: not of a place in a shader */
    uint32_t group, thread; /* SIM_NOBODY: not of one thread */
    const char *text;       /* the whole sentence, place and thread included */
} sim_report;
#define SIM_NOBODY 0xffffffffu

typedef struct sim_options {
    int workers;         /* operating system threads; 0: 2 */
    unsigned simd_width; /* 8, 16, 32 or 64; 0: 32 */
    sim_order order;     /* of threadgroups, and of threads in each */
    uint64_t seed;
    /* Called once for each fault, maybe from several threads but one at a time; NULL:
     * to stderr. */
    void (*report)(void *context, const sim_report *report);
    void *context;
} sim_options;

/* NULL without memory or threads. One dispatch at a time. */
sim_engine *sim_engine_create(const sim_options *options);
void sim_engine_destroy(sim_engine *engine); /* takes NULL */
/* Order and seed for the dispatches to come. */
void sim_engine_order(sim_engine *engine, sim_order order, uint64_t seed);

typedef struct sim_binding {
    void *base; /* NULL: nothing is bound at this index */
    size_t length;
    size_t offset; /* bytes from base */
} sim_binding;

typedef struct sim_dispatch {
    const sim_function *function;
    uint32_t groups, threads; /* threadgroups, and threads of each */
    int bindings;
    const sim_binding *binding;
    /* Bytes bound at the index `bindings`, as setBytes does; NULL: none. */
    const void *args;
    size_t args_bytes;
} sim_dispatch;

/* False if anything was reported; the first sentence is in error. */
bool sim_run(sim_engine *engine, const sim_dispatch *dispatch, char *error,
             size_t error_size);

typedef struct sim_stats {
    uint64_t dispatches, groups, threads, switches, barriers, simd_operations, reports;
} sim_stats;
void sim_engine_stats(const sim_engine *engine, sim_stats *out);

#ifdef __cplusplus
}
#endif

#endif
