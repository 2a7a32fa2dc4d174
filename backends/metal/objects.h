/* SPDX-License-Identifier: MIT */
/*
 * The Metal objects behind metal.h, for the .m files only. Every `id` in a struct is
 * owned: retained when stored, released when replaced or freed.
 */
#ifndef METAL_OBJECTS_H
#define METAL_OBJECTS_H

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include "metal.h"

#if defined(__has_feature)
#if __has_feature(objc_arc)
#error "the metal backend retains and releases by hand: compile with -fno-objc-arc"
#endif
#endif

struct metal_buffer {
    id<MTLBuffer> object;
    const mnt_host *host;
};

struct metal_gpu {
    const mnt_host *host;
    id<MTLDevice> device;
    id<MTLCommandQueue> queue;
    id<MTLLibrary> library;
    id<MTLComputePipelineState> pipeline[GPU_KERNEL_COUNT]; /* nil until asked for */
    char name[96], detail[160];
    unsigned has; /* gpu_need */

    /* Command buffers under way, the oldest first; what a copy reads from stays with it
     * and then waits among the spare ones for the next. */
    struct {
        id<MTLCommandBuffer> commands;
        id<MTLBuffer> staging; /* or nil */
    } flying[METAL_IN_FLIGHT];
    int flying_count;
    id<MTLBuffer> spare[METAL_IN_FLIGHT];
    int spare_count;
    gpu_span last;

    /* Of the first work that failed. The device may then hold half a step, so every
     * later call that would show it or go on from it fails with this. */
    mnt_status failed;
    char failure[400];
};

/* The sentence "metal: what: the error's own words", or without words if there are
 * none; returns `status`. */
mnt_status metal_fail(const mnt_host *host, mnt_status status, const char *what,
                      NSError *error);
/* commands.m: commits, and the command buffer joins those under way, with the staging
 * memory it reads (nil: none), which is handed over. Fails if earlier work failed. */
mnt_status metal_send(metal_gpu *gpu, id<MTLCommandBuffer> commands,
                      id<MTLBuffer> staging);
/* commands.m: the failure that ended this device's work, OK if there was none. */
mnt_status metal_check(metal_gpu *gpu);
/* memory.m: staging memory that is not needed any more. */
void metal_spare(metal_gpu *gpu, id<MTLBuffer> staging);

#endif
