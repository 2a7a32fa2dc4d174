/* SPDX-License-Identifier: MIT */
/*
 * The queue. Dispatches of many replays go into one command buffer through one serial
 * encoder, in which each dispatch sees what the ones before it wrote. At most
 * METAL_IN_FLIGHT command buffers are under way; their errors are collected when they
 * finish and reported by the next call that waits.
 */
#include "objects.h"

#include <stdio.h>
#include <string.h>

/* The name of a command buffer's error; the rest is the system's sentence. */
static const char *error_name(NSInteger code)
{
    switch (code) {
    case MTLCommandBufferErrorTimeout:
        return "timeout";
    case MTLCommandBufferErrorPageFault:
        return "page fault";
    case MTLCommandBufferErrorNotPermitted:
        return "not permitted";
    case MTLCommandBufferErrorOutOfMemory:
        return "out of memory";
    case MTLCommandBufferErrorInvalidResource:
        return "invalid resource";
    case MTLCommandBufferErrorDeviceRemoved:
        return "device removed";
    case MTLCommandBufferErrorAccessRevoked:
        return "access revoked";
    default:
        return "internal error";
    }
}

static void note_failure(metal_gpu *gpu, NSError *error)
{
    NSInteger code = error ? [error code] : MTLCommandBufferErrorInternal;
    if (code == MTLCommandBufferErrorDeviceRemoved ||
        code == MTLCommandBufferErrorAccessRevoked)
        gpu->lost = true;
    if (gpu->failed)
        return;
    gpu->failed =
        code == MTLCommandBufferErrorOutOfMemory ? MNT_NO_MEMORY : MNT_DEVICE;
    const char *words = error ? [[error localizedDescription] UTF8String] : "";
    snprintf(gpu->failure, sizeof gpu->failure,
             "metal: a command buffer failed (%s): %.220s", error_name(code), words);
}

/* Waits for the oldest command buffer under way. */
static void finish_oldest(metal_gpu *gpu)
{
    id<MTLCommandBuffer> c = gpu->flying[0];
    [c waitUntilCompleted];
    if ([c status] != MTLCommandBufferStatusCompleted)
        note_failure(gpu, [c error]);
    gpu->last.start_ns = (uint64_t)([c GPUStartTime] * 1e9);
    gpu->last.ns = (uint64_t)(([c GPUEndTime] - [c GPUStartTime]) * 1e9);
    [c release];
    gpu->flying_count--;
    memmove(gpu->flying, gpu->flying + 1,
            (size_t)gpu->flying_count * sizeof gpu->flying[0]);
}

mnt_status metal_check(metal_gpu *gpu)
{
    if (!gpu->lost || gpu->failed)
        return MNT_OK; /* a failure that was not reported yet comes first */
    return metal_fail(gpu->host, MNT_DEVICE, "the device was lost", nil);
}

/* The failure kept by note_failure(), reported once. */
static mnt_status report(metal_gpu *gpu)
{
    if (!gpu->failed)
        return metal_check(gpu);
    mnt_status st = gpu->failed;
    gpu->failed = MNT_OK;
    return gpu->host->fail(gpu->host->self, st, gpu->failure);
}

mnt_status metal_track(metal_gpu *gpu, id<MTLCommandBuffer> commands)
{
    if (gpu->flying_count == METAL_IN_FLIGHT)
        finish_oldest(gpu);
    gpu->flying[gpu->flying_count++] = [commands retain];
    return MNT_OK;
}

static id<MTLBuffer> object_of(const gpu_binding *b, const metal_buffer *scratch)
{
    return b->buffer ? ((metal_buffer *)b->buffer)->object : scratch->object;
}

static void encode(metal_gpu *gpu, id<MTLComputeCommandEncoder> e,
                   const gpu_dispatch *d, const metal_buffer *scratch)
{
    const gpu_kernel_row *row = &gpu_kernels[d->kernel];
    [e setComputePipelineState:gpu->pipeline[d->kernel]];
    for (int i = 0; i < d->bound; i++)
        [e setBuffer:object_of(&d->buffer[i], scratch)
              offset:(NSUInteger)d->buffer[i].offset
             atIndex:(NSUInteger)i];
    if (d->args_bytes > 0)
        [e setBytes:d->args
             length:(NSUInteger)d->args_bytes
            atIndex:(NSUInteger)row->buffers];
    [e dispatchThreadgroups:MTLSizeMake(d->groups, 1, 1)
        threadsPerThreadgroup:MTLSizeMake((NSUInteger)row->threads, 1, 1)];
}

mnt_status metal_commit(metal_gpu *gpu, const gpu_program *p, int first, int count,
                        int64_t times, metal_buffer *scratch)
{
    @autoreleasepool {
        mnt_status st = metal_check(gpu);
        if (st)
            return st;
        if (gpu->failed)
            return report(gpu);
        id<MTLCommandBuffer> commands = [gpu->queue commandBuffer];
        id<MTLComputeCommandEncoder> e = [commands computeCommandEncoder];
        if (!e)
            return metal_fail(gpu->host, MNT_DEVICE, "no command buffer can be made",
                              nil);
        for (int64_t t = 0; t < times; t++)
            for (int i = first; i < first + count; i++)
                encode(gpu, e, &p->dispatches[i], scratch);
        [e endEncoding];
        [commands commit];
        return metal_track(gpu, commands);
    }
}

mnt_status metal_wait(metal_gpu *gpu)
{
    @autoreleasepool {
        while (gpu->flying_count > 0)
            finish_oldest(gpu);
        return report(gpu);
    }
}

gpu_span metal_last_span(const metal_gpu *gpu)
{
    return gpu->last;
}
