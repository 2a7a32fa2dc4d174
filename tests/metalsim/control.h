/* SPDX-License-Identifier: MIT */
/*
 * The C side of metalsim.h for the Objective-C files: reports, faults that were asked
 * for, images for sources, and counters.
 */
#ifndef METALSIM_CONTROL_H
#define METALSIM_CONTROL_H

#include "metalsim.h"

/* Reports a broken rule; returns only if the process goes on. */
void metalsim_report(const char *rule, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether this call of its kind has to fail; its code in *code, if asked for. */
bool metalsim_fails(metalsim_fault what, long *code);
const metalsim_config *metalsim_current(void);
/* The file of the image made from a source, NULL if there is none. */
const char *metalsim_library_for(const void *source, size_t bytes);

/* The most threads that a pipeline of this function runs, SIM_MAX_THREADS unless a test
 * said less. */
unsigned metalsim_limit_of(const char *function);
/* 0: nothing was said. */
unsigned metalsim_width_of(const char *function);
void metalsim_count_command_buffer(void);
void metalsim_count_buffer(void);
void metalsim_count_pipeline(void);
void metalsim_count_in_flight(uint64_t now);
void metalsim_count_run(bool dispatch, bool copy, uint64_t groups, uint64_t threads);
/* False if the device has not so much memory left; bytes < 0: given back. */
bool metalsim_take_memory(int64_t bytes);

#endif
