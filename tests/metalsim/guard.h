/* SPDX-License-Identifier: MIT */
/*
 * Memory of an MTLBuffer: pages of its own with a page on either side that nobody may
 * touch, the data against the end of the last page. While work that uses it is in flight
 * the host may not touch it either.
 */
#ifndef METALSIM_GUARD_H
#define METALSIM_GUARD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct guard {
    struct guard *next;
    char *map;
    size_t map_bytes;
    char *data; /* zeros at first */
    size_t bytes;
    const char *name; /* of the buffer, for reports; may change */
    int closed;       /* how often it was closed */
    int running;      /* how many kernels run that may touch it all the same */
} guard;

/* NULL without memory. */
guard *guard_create(size_t bytes);
void guard_destroy(guard *g);
/* The host may not touch it from now on, until it was opened as often as closed. */
void guard_close(guard *g);
void guard_open(guard *g);
/* Open for the device in between. */
void guard_run(guard *g, bool begins);
/* Whether nobody wrote into the slack around the data. */
bool guard_intact(const guard *g);

#endif
