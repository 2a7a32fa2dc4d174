/* SPDX-License-Identifier: MIT */
/*
 * What a test says to the simulated Metal, and asks it: what the device is like, what
 * shall fail, what was reported. Programs under test use Metal alone; without a word from
 * here everything comes from the environment:
 *
 *   METALSIM_DEVICES=N             how many; 0: there is none
 *   METALSIM_PIPELINE_LIMIT=N      threads a threadgroup of any pipeline (1024)
 *   METALSIM_KERNEL_LIMITS=WORD=N,...  the same for kernels whose names begin so
 *   METALSIM_SIMD_WIDTH=N          8, 16, 32 or 64 (32)
 *   METALSIM_FAMILY=NAME           apple7, apple8, apple9 or paravirtual (apple8);
 *                                  paravirtual has no simdgroup functions
 *   METALSIM_MEMORY=BYTES          of all buffers together (4 GiB)
 *   METALSIM_MAX_BUFFER=BYTES      of one buffer (1 GiB)
 *   METALSIM_WORKERS=N             operating system threads that run kernels (2)
 *   METALSIM_ORDER=NAME[:SEED]     of threads and threadgroups: forward, reverse, random
 *   METALSIM_EAGER=1               work begins at commit, not when somebody waits for it
 *   METALSIM_COMMAND_NS=N          what the GPU's clock says of each command buffer; 0,
 *                                  the default: what it took
 *   METALSIM_HOST_ACCESS=1         the host may touch buffers in flight
 *   METALSIM_FATAL=0               a report does not end the process
 *   METALSIM_LIBRARIES=PATH:...    images that stand for compilations of their sources
 *   METALSIM_FAIL=WHAT:AFTER[:CODE],...  faults, as metalsim_fail() has them
 */
#ifndef METALSIM_H
#define METALSIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim.h"

#ifdef __cplusplus
extern "C" {
#endif
/* Tests call these also where the simulator is inside a shared library. */
#pragma GCC visibility push(default)

typedef enum metalsim_family {
    METALSIM_APPLE8,
    METALSIM_APPLE7,
    METALSIM_APPLE9,
    METALSIM_PARAVIRTUAL
} metalsim_family;

typedef struct metalsim_config {
    int devices;
    unsigned pipeline_limit, simd_width;
    metalsim_family family;
    uint64_t memory, max_buffer;
    int workers;
    sim_order order;
    uint64_t seed;
    uint64_t command_ns;
    bool eager, host_access;
} metalsim_config;

/* What the environment says. */
metalsim_config metalsim_config_default(void);
/* For devices made from now on: those alive stay as they are. NULL: the default again.
 * Faults and images added are forgotten. */
void metalsim_configure(const metalsim_config *config);
/* Pipelines made from now on of functions whose names begin with `word` run at most
 * `threads` threads in a threadgroup, until the next configuration. */
void metalsim_limit(const char *word, unsigned threads);
/* And say that their simdgroups have `width` threads, whatever they run with. */
void metalsim_width(const char *word, unsigned width);
/* The image that newLibraryWithSource: gives for the source it was made from. */
bool metalsim_add_library(const char *path);

/* ---- reports ----
 * A use of the interface that Metal's validation stops at, and what it cannot see; a
 * fault of a kernel. `rule` is a word that tests compare, text a sentence. */
typedef void metalsim_handler(void *context, const char *rule, const char *text);
/* NULL, as at first: to stderr, and the process ends (but see METALSIM_FATAL). */
void metalsim_on_report(metalsim_handler *handler, void *context);
uint64_t metalsim_reports(void);

/* ---- faults ---- */
typedef enum metalsim_fault {
    METALSIM_FAIL_BUFFER,         /* newBufferWithLength: gives nil */
    METALSIM_FAIL_LIBRARY,        /* newLibraryWith...: nil and an error */
    METALSIM_FAIL_FUNCTION,       /* newFunctionWithName: nil */
    METALSIM_FAIL_PIPELINE,       /* newComputePipelineState...: nil and an error */
    METALSIM_FAIL_QUEUE,          /* newCommandQueue: nil */
    METALSIM_FAIL_COMMAND_BUFFER, /* commandBuffer: nil */
    METALSIM_FAIL_ENCODER,        /* computeCommandEncoder, blitCommandEncoder: nil */
    METALSIM_FAIL_EXECUTION,      /* a committed command buffer ends with an error */
    METALSIM_FAULTS
} metalsim_fault;

/* After `after` more calls that succeed, `times` calls fail (-1: all from then on). code:
 * for EXECUTION the MTLCommandBufferError; 11, device removed, holds for all later ones. */
void metalsim_fail(metalsim_fault what, long after, long times, long code);

/* ---- what there is ---- */
/* Objects alive, and a list of them by class, "2 MTLBuffer, 1 MTLLibrary". */
long metalsim_alive(char *text, size_t size);
/* Bytes of buffers alive. */
uint64_t metalsim_memory_used(void);
/* Of all devices since the beginning: command buffers run, dispatches, and so on; buffers
 * and pipelines made; the most command buffers of one queue that were committed and not
 * done at the same time. */
typedef struct metalsim_counts {
    uint64_t command_buffers, dispatches, copies, fills, groups, threads;
    uint64_t buffers, pipelines, most_in_flight;
} metalsim_counts;
metalsim_counts metalsim_count(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
