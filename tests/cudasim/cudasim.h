/* SPDX-License-Identifier: MIT */
/*
 * What a test says to the simulated CUDA driver, and asks it: what the device is like,
 * what shall fail, what was reported. Programs under test open the driver's library and
 * use the driver interface alone; without a word from here everything comes from the
 * environment:
 *
 *   CUDASIM_DEVICES=N            how many; 0: cuInit() says CUDA_ERROR_NO_DEVICE
 *   CUDASIM_NAME=TEXT            of the device ("simulated GPU")
 *   CUDASIM_COMPUTE=N            compute capability, 90 for 9.0
 *   CUDASIM_DRIVER=N             CUDA version of the driver, 12080 for 12.8
 *   CUDASIM_MEMORY=BYTES         of a device (4 GiB)
 *   CUDASIM_WORKERS=N            operating system threads that run kernels (2)
 *   CUDASIM_ORDER=NAME[:SEED]    of threads and blocks: forward, reverse, random
 *   CUDASIM_FATAL=0              a report does not end the process
 *   CUDASIM_FAIL=CALL:AFTER:RESULT,...  faults, as cudasim_fail() has them, once each
 */
#ifndef CUDASIM_H
#define CUDASIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../metalsim/sim.h"

typedef struct cudasim_config {
    int devices;
    const char *name;
    int compute, driver_version;
    uint64_t memory;
    int workers;
    sim_order order;
    uint64_t seed;
} cudasim_config;

/* What the environment says. */
cudasim_config cudasim_config_default(void);
/* From now on; NULL: the default again. Faults are forgotten and a broken device is
 * whole again. Only while no context is retained. */
void cudasim_configure(const cudasim_config *config);

/*
 * Makes calls of one entry point ("cuMemAlloc_v2") return `result`, without an effect:
 * `times` calls after the next `after`; times < 0: all. The name "kernel" means the
 * execution of a kernel, whose error breaks the device and is heard at the next call
 * that waits.
 */
void cudasim_fail(const char *call, long after, long times, int result);

/* A rule of the driver that was broken, or a kernel's fault. With a handler the process
 * goes on. */
typedef void cudasim_handler(void *context, const char *text);
void cudasim_on_report(cudasim_handler *handler, void *context);
uint64_t cudasim_reports(void);

typedef struct cudasim_counts {
    /* Alive now. */
    int contexts, modules, streams, events, graphs, execs, allocations, pinned;
    /* Since the process began. */
    uint64_t kernels, graph_launches, uploads, downloads;
} cudasim_counts;
cudasim_counts cudasim_count(void);

#endif
