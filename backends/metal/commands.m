/* SPDX-License-Identifier: MIT */
/*
 * The queue. Dispatches of many replays go into one command buffer through one serial
 * encoder, in which each dispatch sees what the ones before it wrote. At most
 * METAL_IN_FLIGHT command buffers are under way. The first error of one that finished
 * ends the device's work: the next call that waits reports it, and every call after.
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
    case MTLCommandBufferErrorMemoryless:
        return "memoryless";
    case MTLCommandBufferErrorDeviceRemoved:
        return "device removed";
    case MTLCommandBufferErrorStackOverflow:
        return "stack overflow";
    case MTLCommandBufferErrorAccessRevoked:
        return "access revoked";
    default:
        return "internal error";
    }
}

void metal_break(metal_gpu *gpu, mnt_status status, const char *what)
{
    if (gpu->failed)
        return;
    gpu->failed = status;
    snprintf(gpu->failure, sizeof gpu->failure,
             "metal: %.320s; what the device holds is lost: open it again", what);
}

static void note_failure(metal_gpu *gpu, NSError *error)
{
    NSInteger code = error ? [error code] : MTLCommandBufferErrorInternal;
    bool memory = code == MTLCommandBufferErrorOutOfMemory;
    const char *words = error ? [[error localizedDescription] UTF8String] : "no error";
    char what[320];
    snprintf(what, sizeof what, "a command buffer failed (%s): %.220s",
             error_name(code), words);
    metal_break(gpu, memory ? MNT_NO_MEMORY : MNT_DEVICE, what);
}

/* Waits for the oldest command buffer under way. */
static void finish_oldest(metal_gpu *gpu)
{
    id<MTLCommandBuffer> c = gpu->flying[0].commands;
    [c waitUntilCompleted];
    if ([c status] != MTLCommandBufferStatusCompleted)
        note_failure(gpu, [c error]);
    gpu->last.start_ns = (uint64_t)([c GPUStartTime] * 1e9);
    gpu->last.ns = (uint64_t)(([c GPUEndTime] - [c GPUStartTime]) * 1e9 + 0.5);
    metal_spare(gpu, gpu->flying[0].staging);
    [c release];
    gpu->flying_count--;
    memmove(gpu->flying, gpu->flying + 1,
            (size_t)gpu->flying_count * sizeof gpu->flying[0]);
}

mnt_status metal_check(metal_gpu *gpu)
{
    if (!gpu->failed)
        return MNT_OK;
    return gpu->host->fail(gpu->host->self, gpu->failed, gpu->failure);
}

mnt_status metal_send(metal_gpu *gpu, id<MTLCommandBuffer> commands,
                      id<MTLBuffer> staging)
{
    if (gpu->flying_count == METAL_IN_FLIGHT)
        finish_oldest(gpu);
    mnt_status st = metal_check(gpu);
    if (st) {
        metal_spare(gpu, staging);
        return st;
    }
    [commands commit];
    gpu->flying[gpu->flying_count].commands = [commands retain];
    gpu->flying[gpu->flying_count].staging = staging;
    gpu->flying_count++;
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
        id<MTLCommandBuffer> commands = [gpu->queue commandBuffer];
        id<MTLComputeCommandEncoder> e = [commands computeCommandEncoder];
        if (!e)
            return metal_fail(gpu->host, MNT_DEVICE, "no command buffer can be made",
                              nil);
        for (int64_t t = 0; t < times; t++)
            for (int i = first; i < first + count; i++)
                encode(gpu, e, &p->dispatches[i], scratch);
        [e endEncoding];
        return metal_send(gpu, commands, nil);
    }
}

mnt_status metal_wait(metal_gpu *gpu)
{
    @autoreleasepool {
        while (gpu->flying_count > 0)
            finish_oldest(gpu);
        return metal_check(gpu);
    }
}

gpu_span metal_last_span(const metal_gpu *gpu)
{
    return gpu->last;
}
