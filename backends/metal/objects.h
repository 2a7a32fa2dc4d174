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

    /* Command buffers under way, the oldest first. */
    id<MTLCommandBuffer> flying[METAL_IN_FLIGHT];
    int flying_count;
    mnt_status failed; /* of a finished command buffer, not yet reported */
    char failure[320];
    bool lost; /* the device is gone: every further call fails */
    gpu_span last;
};

/* The sentence "metal: what: the error's own words", or without words if there are
 * none; returns `status`. */
mnt_status metal_fail(const mnt_host *host, mnt_status status, const char *what,
                      NSError *error);
/* commands.m: a committed command buffer joins those under way. */
mnt_status metal_track(metal_gpu *gpu, id<MTLCommandBuffer> commands);
/* commands.m: DEVICE if the device is gone. */
mnt_status metal_check(metal_gpu *gpu);

#endif
