/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the simulated Metal share: reports are collected and compared, and a
 * test runs between the making of a small world (device, queue, library, one pipeline,
 * two buffers) and the check that nothing of it is left.
 *
 *   test_NAME IMAGE SOURCE
 */
#ifndef API_WORLD_H
#define API_WORLD_H

#import <Metal/Metal.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metalsim.h"

#if __has_feature(address_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* The image of shaders/api.metal and the source that it was made from. */
extern const char *api_image, *api_source;
/* Takes the two from the command line and collects reports; false: they are missing. */
bool api_begin(int argc, char **argv);

/* ---- reports ---- */
/* One report since the last time, of this rule, whose text holds `part`. */
void check_report(const char *want, const char *part);
/* No object is alive, no byte of a buffer, and nothing was reported. */
void check_nothing_left(void);

/* ---- a small world ---- */
typedef struct api_args {
    uint32_t count, add;
} api_args;

typedef struct world {
    id<MTLDevice> device;
    id<MTLCommandQueue> queue;
    id<MTLLibrary> library;
    id<MTLComputePipelineState> add;
    id<MTLBuffer> x, y; /* uint32_t[100]; x[i] = i */
} world;

/* Owned by the caller; nil if the device refuses it. */
id<MTLComputePipelineState> pipeline(world *w, const char *name);
/* A command buffer, not committed: y[i] = x[i] + add. */
id<MTLCommandBuffer> add_command(world *w, uint32_t add);
void in_world(void (*test)(world *w));

#define WORLD_TEST(name)                                                               \
    static void name##_in(world *w);                                                   \
    static void name(void **state)                                                     \
    {                                                                                  \
        (void)state;                                                                   \
        in_world(name##_in);                                                           \
    }                                                                                  \
    static void name##_in(world *w)

#endif
