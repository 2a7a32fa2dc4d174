/* SPDX-License-Identifier: MIT */
/*
 * Buffers in memory that processor and GPU share. A write while work is under way goes
 * through staging memory, used again and again, and a copy on the queue, so it neither
 * waits nor overtakes; otherwise it is a memcpy. Command buffers retain what they use:
 * a released buffer lives until the work that was submitted is done.
 */
#include "objects.h"

#include <stdio.h>
#include <string.h>

#define STAGING_LEAST ((uint64_t)4096)
#define STAGING_MOST ((uint64_t)16 << 20) /* larger ones are not kept */

static id<MTLBuffer> new_buffer(metal_gpu *gpu, uint64_t bytes)
{
    return [gpu->device newBufferWithLength:(NSUInteger)(bytes ? bytes : 1)
                                    options:MTLResourceStorageModeShared];
}

static mnt_status no_memory(metal_gpu *gpu, uint64_t bytes)
{
    char what[160];
    snprintf(what, sizeof what, "no memory for a buffer of %llu bytes",
             (unsigned long long)bytes);
    return metal_fail(gpu->host, MNT_NO_MEMORY, what, nil);
}

mnt_status metal_buffer_create(metal_gpu *gpu, uint64_t bytes, metal_buffer **out)
{
    *out = NULL;
    @autoreleasepool {
        mnt_status st = metal_check(gpu);
        if (st)
            return st;
        uint64_t most = [gpu->device maxBufferLength];
        if (bytes > most) {
            char what[160];
            snprintf(what, sizeof what,
                     "a buffer of %llu bytes is more than this device's limit of %llu",
                     (unsigned long long)bytes, (unsigned long long)most);
            return metal_fail(gpu->host, MNT_NO_MEMORY, what, nil);
        }
        metal_buffer *b = gpu->host->alloc(gpu->host->self, sizeof *b);
        if (!b)
            return metal_fail(gpu->host, MNT_NO_MEMORY, "no memory for a buffer", nil);
        b->host = gpu->host;
        b->object = new_buffer(gpu, bytes);
        if (!b->object) {
            gpu->host->free(gpu->host->self, b);
            return no_memory(gpu, bytes);
        }
        *out = b;
        return MNT_OK;
    }
}

void metal_buffer_release(metal_buffer *b)
{
    if (!b)
        return;
    @autoreleasepool {
        [b->object release];
        b->host->free(b->host->self, b);
    }
}

/* ---- staging ---- */

/* A spare buffer of at least so many bytes, else a new one; nil without memory. Sizes
 * are powers of two, so that a spare one fits again. */
static id<MTLBuffer> take_staging(metal_gpu *gpu, uint64_t bytes)
{
    uint64_t size = STAGING_LEAST;
    while (size < bytes && size < STAGING_MOST)
        size *= 2;
    size = size < bytes ? bytes : size;
    for (int i = 0; i < gpu->spare_count; i++) {
        id<MTLBuffer> b = gpu->spare[i];
        if ([b length] < bytes)
            continue;
        gpu->spare[i] = gpu->spare[--gpu->spare_count];
        return b;
    }
    return new_buffer(gpu, size);
}

void metal_spare(metal_gpu *gpu, id<MTLBuffer> staging)
{
    if (staging && [staging length] <= STAGING_MOST &&
        gpu->spare_count < METAL_IN_FLIGHT)
        gpu->spare[gpu->spare_count++] = staging;
    else
        [staging release];
}

static mnt_status write_queued(metal_gpu *gpu, metal_buffer *b, uint64_t offset,
                               const void *data, uint64_t bytes)
{
    id<MTLBuffer> staging = take_staging(gpu, bytes);
    if (!staging)
        return no_memory(gpu, bytes);
    memcpy([staging contents], data, (size_t)bytes);
    id<MTLCommandBuffer> commands = [gpu->queue commandBuffer];
    id<MTLBlitCommandEncoder> copy = [commands blitCommandEncoder];
    if (!copy) {
        metal_spare(gpu, staging);
        return metal_fail(gpu->host, MNT_DEVICE, "a copy cannot be encoded", nil);
    }
    [copy copyFromBuffer:staging
             sourceOffset:0
                 toBuffer:b->object
        destinationOffset:(NSUInteger)offset
                     size:(NSUInteger)bytes];
    [copy endEncoding];
    return metal_send(gpu, commands, staging);
}

/* A copy between buffers moves whole words on some devices. */
static bool copies(uint64_t offset, uint64_t bytes)
{
    return offset % 4 == 0 && bytes % 4 == 0;
}

mnt_status metal_buffer_write(metal_gpu *gpu, metal_buffer *b, uint64_t offset,
                              const void *data, uint64_t bytes)
{
    if (bytes == 0)
        return MNT_OK;
    @autoreleasepool {
        mnt_status st = metal_check(gpu);
        if (st == MNT_OK && gpu->flying_count > 0) {
            if (copies(offset, bytes))
                return write_queued(gpu, b, offset, data, bytes);
            st = metal_wait(gpu);
        }
        if (st == MNT_OK)
            memcpy((char *)[b->object contents] + offset, data, (size_t)bytes);
        return st;
    }
}

mnt_status metal_buffer_read(metal_gpu *gpu, metal_buffer *b, uint64_t offset,
                             void *data, uint64_t bytes)
{
    mnt_status st = metal_wait(gpu);
    if (st || bytes == 0)
        return st;
    @autoreleasepool {
        memcpy(data, (const char *)[b->object contents] + offset, (size_t)bytes);
        return MNT_OK;
    }
}
