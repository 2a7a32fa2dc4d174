/* SPDX-License-Identifier: MIT */
/*
 * Devices and their buffers. There is one object for each device as long as anybody
 * holds it; its configuration is that of the moment when it was made.
 */
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../group.h"

#define MAX_DEVICES 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SimDevice *known[MAX_DEVICES]; /* not retained */

static SimDevice *make_device(int number)
{
    SimDevice *d = [SimDevice new];
    d->config = *metalsim_current();
    d->number = number;
    d->engine = sim_engine_create(&(sim_options){ .workers = d->config.workers,
                                                  .simd_width = d->config.simd_width,
                                                  .order = d->config.order,
                                                  .seed = d->config.seed,
                                                  .report = metalsim_kernel_fault });
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    if (!d->engine || pthread_create(&d->thread, NULL, metalsim_device_thread, d) != 0)
        abort();
    return d;
}

static SimDevice *device_at(int number)
{
    pthread_mutex_lock(&lock);
    SimDevice *d = [known[number] retain];
    if (!d)
        d = known[number] = make_device(number);
    pthread_mutex_unlock(&lock);
    return d;
}

static int device_count(void)
{
    int n = metalsim_current()->devices;
    return n > MAX_DEVICES ? MAX_DEVICES : n;
}

id<MTLDevice> MTLCreateSystemDefaultDevice(void)
{
    return device_count() > 0 ? device_at(0) : nil;
}

NSArray<id<MTLDevice>> *MTLCopyAllDevices(void)
{
    id all[MAX_DEVICES];
    int n = device_count();
    for (int i = 0; i < n; i++)
        all[i] = device_at(i);
    NSArray *result = metalsim_array(all, (NSUInteger)(n > 0 ? n : 0));
    for (int i = 0; i < n; i++)
        [all[i] release];
    return result;
}

void metalsim_kernel_fault(void *context, const sim_report *report)
{
    (void)context;
    metalsim_report("kernel", "%s", report->text);
}

@implementation SimDevice
/* Nobody may find the device any more once its count can reach 0. */
- (oneway void)release
{
    pthread_mutex_lock(&lock);
    bool ends = [self retainCount] == 1;
    if (ends && known[number] == self)
        known[number] = nil;
    if (!ends)
        [super release];
    pthread_mutex_unlock(&lock);
    if (ends)
        [super release];
}

- (void)dealloc
{
    pthread_mutex_lock(&self->lock);
    stop = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&self->lock);
    pthread_join(thread, NULL);
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&changed);
    sim_engine_destroy(engine);
    [super dealloc];
}

- (NSString *)name
{
    static const char *const family[] = { "Apple8", "Apple7", "Apple9", "paravirtual" };
    char text[96];
    snprintf(text, sizeof text, "simulated GPU %d (%s)", number, family[config.family]);
    return [NSString stringWithUTF8String:text];
}

- (uint64_t)registryID
{
    return 0x51300000u + (uint64_t)number;
}

- (BOOL)hasUnifiedMemory
{
    return YES;
}

- (uint64_t)recommendedMaxWorkingSetSize
{
    return config.memory;
}

- (NSUInteger)maxBufferLength
{
    return config.max_buffer;
}

- (NSUInteger)maxThreadgroupMemoryLength
{
    return 32768;
}

- (MTLSize)maxThreadsPerThreadgroup
{
    return MTLSizeMake(SIM_MAX_THREADS, SIM_MAX_THREADS, SIM_MAX_THREADS);
}

- (NSUInteger)currentAllocatedSize
{
    return metalsim_memory_used();
}

- (BOOL)supportsFamily:(MTLGPUFamily)family
{
    static const NSInteger apple[] = { 8, 7, 9, 5 };
    bool real = config.family != METALSIM_PARAVIRTUAL;
    if (family > MTLGPUFamilyApple1 - 1 && family <= MTLGPUFamilyApple9)
        return family - 1000 <= apple[config.family];
    switch (family) {
    case MTLGPUFamilyMac2:
    case MTLGPUFamilyMetal3:
        return real;
    case MTLGPUFamilyCommon1:
    case MTLGPUFamilyCommon2:
    case MTLGPUFamilyCommon3:
        return YES;
    default:
        return NO;
    }
}

- (id<MTLCommandQueue>)newCommandQueue
{
    return [self newCommandQueueWithMaxCommandBufferCount:64];
}

- (id<MTLCommandQueue>)newCommandQueueWithMaxCommandBufferCount:(NSUInteger)most
{
    if (most == 0)
        metalsim_report("queue", "a queue for 0 command buffers");
    if (metalsim_fails(METALSIM_FAIL_QUEUE, NULL) || lost)
        return nil;
    SimQueue *q = [SimQueue new];
    q->device = [self retain];
    q->most = most;
    return q;
}

- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length
                             options:(MTLResourceOptions)options
{
    const MTLResourceOptions known_options =
        MTLResourceCPUCacheModeWriteCombined | MTLResourceStorageModePrivate |
        MTLResourceHazardTrackingModeUntracked | MTLResourceHazardTrackingModeTracked;
    if ((options & ~known_options) != 0) {
        metalsim_report("buffer-options", "options 0x%lx hold bits that no mode has",
                        options);
        return nil;
    }
    if (length == 0) {
        metalsim_report("buffer-length", "a buffer of 0 bytes");
        return nil;
    }
    if (length > config.max_buffer) {
        metalsim_report("buffer-length",
                        "a buffer of %lu bytes, maxBufferLength is %llu", length,
                        (unsigned long long)config.max_buffer);
        return nil;
    }
    if (metalsim_fails(METALSIM_FAIL_BUFFER, NULL) || lost ||
        !metalsim_take_memory((int64_t)length))
        return nil;
    guard *memory = guard_create(length);
    if (!memory) {
        metalsim_take_memory(-(int64_t)length);
        return nil;
    }
    metalsim_count_buffer();
    SimBuffer *b = [SimBuffer new];
    b->device = [self retain];
    b->options = options;
    b->memory = memory;
    snprintf(b->name, sizeof b->name, "a buffer of %lu bytes", length);
    memory->name = b->name;
    return b;
}

- (id<MTLLibrary>)newLibraryWithURL:(NSURL *)url error:(NSError **)error
{
    char why[512];
    const char *path = [[url path] UTF8String];
    if (metalsim_fails(METALSIM_FAIL_LIBRARY, NULL)) {
        metalsim_give_error(error, MTLLibraryErrorDomain, MTLLibraryErrorInternal,
                            "a fault was asked for");
        return nil;
    }
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f) {
        metalsim_give_error(error, MTLLibraryErrorDomain, MTLLibraryErrorFileNotFound,
                            "library not found: %s", path ? path : "(no path)");
        return nil;
    }
    fclose(f);
    sim_image *image = sim_image_open(path, why, sizeof why);
    if (image)
        return metalsim_library(self, image);
    metalsim_give_error(error, MTLLibraryErrorDomain, MTLLibraryErrorUnsupported, "%s",
                        why);
    return nil;
}

- (id<MTLLibrary>)newLibraryWithData:(dispatch_data_t)data error:(NSError **)error
{
    char why[512];
    if (metalsim_fails(METALSIM_FAIL_LIBRARY, NULL)) {
        metalsim_give_error(error, MTLLibraryErrorDomain, MTLLibraryErrorInternal,
                            "a fault was asked for");
        return nil;
    }
    sim_image *image = sim_image_open_memory(
        metalsim_data_bytes(data), dispatch_data_get_size(data), why, sizeof why);
    if (image)
        return metalsim_library(self, image);
    metalsim_give_error(error, MTLLibraryErrorDomain, MTLLibraryErrorUnsupported, "%s",
                        why);
    return nil;
}

- (id<MTLLibrary>)newLibraryWithSource:(NSString *)source
                               options:(MTLCompileOptions *)options
                                 error:(NSError **)error
{
    char why[512] = "a fault was asked for";
    NSInteger code = MTLLibraryErrorCompileFailure;
    if (!options || [options fastMathEnabled]) {
        metalsim_report("fast-math", "the source is compiled with fast math, whose "
                                     "results nobody can foretell");
        return nil;
    }
    sim_image *image = NULL;
    if (!metalsim_fails(METALSIM_FAIL_LIBRARY, NULL)) {
        const char *path = metalsim_library_for([source UTF8String], [source length]);
        snprintf(why, sizeof why, "the simulator has no image made from this source");
        if (path)
            image = sim_image_open(path, why, sizeof why);
    }
    if (image)
        return metalsim_library(self, image);
    metalsim_give_error(error, MTLLibraryErrorDomain, code, "%s", why);
    return nil;
}

- (id<MTLComputePipelineState>)newComputePipelineStateWithFunction:
                                   (id<MTLFunction>)function
                                                             error:(NSError **)error
{
    if (!function) {
        metalsim_report("pipeline", "a pipeline of a nil function");
        return nil;
    }
    return metalsim_pipeline(self, (SimFunction *)function, error);
}
@end

@implementation SimBuffer
- (NSString *)label
{
    return _label;
}

- (void)setLabel:(NSString *)label
{
    NSString *copy = [label copy];
    [_label release];
    _label = copy;
    metalsim_describe("buffer", _label, name, sizeof name);
}

- (id<MTLDevice>)device
{
    return device;
}

- (MTLStorageMode)storageMode
{
    return (options & MTLResourceStorageModePrivate) != 0 ? MTLStorageModePrivate
                                                          : MTLStorageModeShared;
}

- (NSUInteger)length
{
    return memory->bytes;
}

- (NSUInteger)allocatedSize
{
    return memory->bytes;
}

- (void *)contents
{
    if ([self storageMode] == MTLStorageModePrivate)
        return NULL;
    return memory->data;
}

- (void)dealloc
{
    if (users > 0) {
        metalsim_report("buffer-in-flight",
                        "%s is deallocated while a command buffer that does not "
                        "retain it uses it",
                        name);
        [self retain]; /* the work may still run: it stays, as a leak */
        return;
    }
    metalsim_take_memory(-(int64_t)memory->bytes);
    guard_destroy(memory);
    [_label release];
    [device release];
    [super dealloc];
}
@end
