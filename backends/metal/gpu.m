/* SPDX-License-Identifier: MIT */
/*
 * The device, its library of kernels and their pipelines.
 *
 * The library comes from the file that MNT_METALLIB names, else from the metallib that
 * the build embedded, else from the embedded source, compiled when the device is opened
 * (a build without Apple's metal compiler has only that). A library must hold every
 * kernel of shaders/kernels.def before anything runs, so that one of another version is
 * found at once and named.
 */
#include "objects.h"

#include "library.h"

#include <dispatch/dispatch.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mnt_status metal_fail(const mnt_host *host, mnt_status status, const char *what,
                      NSError *error)
{
    char text[480];
    const char *words = error ? [[error localizedDescription] UTF8String] : NULL;
    snprintf(text, sizeof text, "metal: %s%s%.300s", what, words ? ": " : "",
             words ? words : "");
    return host->fail(host->self, status, text);
}

int metal_gpu_count(void)
{
    @autoreleasepool {
        NSArray<id<MTLDevice>> *all = MTLCopyAllDevices();
        int n = (int)[all count];
        [all release];
        return n;
    }
}

/* The device, retained; nil if there is none. The system's default is the first. */
static id<MTLDevice> find_device(int index)
{
    id<MTLDevice> chosen = MTLCreateSystemDefaultDevice();
    if (index == 0 && chosen)
        return chosen;
    NSArray<id<MTLDevice>> *all = MTLCopyAllDevices();
    id<MTLDevice> found = nil;
    int at = chosen ? 1 : 0; /* the index of the next that is not the default */
    for (NSUInteger i = 0; i < [all count] && !found; i++) {
        id<MTLDevice> d = [all objectAtIndex:i];
        if (chosen && [d registryID] == [chosen registryID])
            continue;
        if (at++ == index)
            found = [d retain];
    }
    [all release];
    [chosen release];
    return found;
}

/* ---- library ---- */

static mnt_status library_from_file(metal_gpu *gpu, const char *path)
{
    NSError *error = nil;
    char what[400];
    FILE *file = fopen(path, "rb");
    if (!file) {
        snprintf(what, sizeof what, "MNT_METALLIB: %.200s: %s", path, strerror(errno));
        return metal_fail(gpu->host, MNT_NOT_FOUND, what, nil);
    }
    fclose(file);
    NSString *name = [NSString stringWithUTF8String:path];
    NSURL *url = name ? [NSURL fileURLWithPath:name] : nil;
    if (url)
        gpu->library = [gpu->device newLibraryWithURL:url error:&error];
    if (gpu->library)
        return MNT_OK;
    snprintf(what, sizeof what,
             "MNT_METALLIB: %.200s is damaged, or made for a newer system", path);
    return metal_fail(gpu->host, MNT_FORMAT, what, error);
}

static mnt_status library_from_data(metal_gpu *gpu)
{
    NSError *error = nil;
    dispatch_data_t data = dispatch_data_create(metal_library_data, metal_library_size,
                                                NULL, DISPATCH_DATA_DESTRUCTOR_DEFAULT);
    gpu->library = [gpu->device newLibraryWithData:data error:&error];
    dispatch_release(data);
    return gpu->library ? MNT_OK
                        : metal_fail(gpu->host, MNT_DEVICE,
                                     "the embedded metallib cannot be loaded", error);
}

static mnt_status library_from_source(metal_gpu *gpu)
{
    NSError *error = nil;
    NSString *source = [[NSString alloc] initWithBytes:metal_source_text
                                                length:metal_source_size
                                              encoding:NSUTF8StringEncoding];
    MTLCompileOptions *options = [[MTLCompileOptions alloc] init];
    /* The shaders switch to safe mathematics by pragma where the language knows it;
     * before, this is the only switch. */
    options.fastMathEnabled = NO;
    options.languageVersion = MTLLanguageVersion3_0;
    gpu->library = source ? [gpu->device newLibraryWithSource:source
                                                      options:options
                                                        error:&error]
                          : nil;
    [options release];
    [source release];
    return gpu->library
               ? MNT_OK
               : metal_fail(gpu->host, MNT_DEVICE,
                            "the kernels cannot be compiled from source", error);
}

static mnt_status open_library(metal_gpu *gpu, const char **from)
{
    const char *path = getenv("MNT_METALLIB");
    if (path && *path) {
        *from = "metallib of MNT_METALLIB";
        return library_from_file(gpu, path);
    }
    if (metal_library_size > 0) {
        *from = "embedded metallib";
        return library_from_data(gpu);
    }
    *from = "kernels compiled from source";
    return library_from_source(gpu);
}

static bool holds(NSArray<NSString *> *names, const char *kernel)
{
    for (NSUInteger i = 0; i < [names count]; i++)
        if (strcmp([[names objectAtIndex:i] UTF8String], kernel) == 0)
            return true;
    return false;
}

static mnt_status check_library(metal_gpu *gpu, const char *from)
{
    NSArray<NSString *> *names = [gpu->library functionNames];
    for (int k = 0; k < GPU_KERNEL_COUNT; k++) {
        char what[200];
        if (holds(names, gpu_kernels[k].name))
            continue;
        snprintf(what, sizeof what,
                 "the %s lacks the kernel %s: it is of another version", from,
                 gpu_kernels[k].name);
        return metal_fail(gpu->host, MNT_ABI, what, nil);
    }
    return MNT_OK;
}

/* ---- pipelines ---- */

/* Retained; nil if none can be made, with the reason in *what and *error. */
static id<MTLComputePipelineState> new_pipeline(metal_gpu *gpu, gpu_kernel kernel,
                                                const char **what, NSError **error)
{
    NSString *name = [NSString stringWithUTF8String:gpu_kernels[kernel].name];
    id<MTLFunction> f = [gpu->library newFunctionWithName:name];
    *what =
        f ? "no pipeline can be made of the kernel" : "the library lacks the kernel";
    if (!f)
        return nil;
    id<MTLComputePipelineState> p =
        [gpu->device newComputePipelineStateWithFunction:f error:error];
    [f release];
    return p;
}

static mnt_status make_pipeline(metal_gpu *gpu, gpu_kernel kernel)
{
    NSError *error = nil;
    const char *why = "";
    gpu->pipeline[kernel] = new_pipeline(gpu, kernel, &why, &error);
    if (gpu->pipeline[kernel])
        return MNT_OK;
    char what[160];
    snprintf(what, sizeof what, "%s %s", why, gpu_kernels[kernel].name);
    return metal_fail(gpu->host, MNT_DEVICE, what, error);
}

mnt_status metal_gpu_fit(metal_gpu *gpu, gpu_kernel kernel, gpu_fit *out)
{
    @autoreleasepool {
        mnt_status st = gpu->pipeline[kernel] ? MNT_OK : make_pipeline(gpu, kernel);
        NSUInteger n = [gpu->pipeline[kernel] maxTotalThreadsPerThreadgroup];
        out->threads = n < 65536 ? (int)n : 65536;
        out->simd_width = (int)[gpu->pipeline[kernel] threadExecutionWidth];
        return st;
    }
}

/* A pipeline is the query that every system answers: where the device lacks what the
 * kernel is made of, there is none. */
static bool runs_by_simdgroup(metal_gpu *gpu, gpu_kernel kernel)
{
    NSError *error = nil;
    const char *why = "";
    gpu->pipeline[kernel] = new_pipeline(gpu, kernel, &why, &error);
    int width = (int)[gpu->pipeline[kernel] threadExecutionWidth];
    if (width == GPU_SIMD_WIDTH)
        return true;
    char text[400];
    const char *words = error ? [[error localizedDescription] UTF8String] : NULL;
    if (gpu->pipeline[kernel])
        snprintf(text, sizeof text, "metal: simdgroups of %s have %d threads",
                 gpu_kernels[kernel].name, width);
    else
        snprintf(text, sizeof text, "metal: %s %s: %.200s", why,
                 gpu_kernels[kernel].name, words ? words : "no reason is given");
    gpu->host->log(gpu->host->self, MNT_LOG_INFO, text);
    return false;
}

static void find_needs(metal_gpu *gpu)
{
    if (runs_by_simdgroup(gpu, GPU_KERNEL_reduce_sum_simd))
        gpu->has |= GPU_NEEDS_SIMD;
    if (gpu->has && runs_by_simdgroup(gpu, GPU_KERNEL_product_matrix))
        gpu->has |= GPU_NEEDS_MATRIX;
}

unsigned metal_gpu_has(const metal_gpu *gpu)
{
    return gpu->has;
}

/* ---- open and close ---- */

/* The first kernel, one of the simplest, tells whether this device runs any: one that
 * cannot is refused here, where "auto" can go on to another backend. */
static mnt_status describe(metal_gpu *gpu, const char *from)
{
    const gpu_kernel_row *row = &gpu_kernels[0];
    gpu_fit fit = { 0 };
    mnt_status st = metal_gpu_fit(gpu, (gpu_kernel)0, &fit);
    if (st)
        return st;
    if (fit.threads < row->threads) {
        char what[200];
        snprintf(what, sizeof what,
                 "the kernel %s needs %d threads in a threadgroup, this device runs %d",
                 row->name, row->threads, fit.threads);
        return metal_fail(gpu->host, MNT_UNSUPPORTED, what, nil);
    }
    snprintf(gpu->name, sizeof gpu->name, "%.95s", [[gpu->device name] UTF8String]);
    find_needs(gpu);
    snprintf(gpu->detail, sizeof gpu->detail, "%s, %s memory, SIMD width %d%s%s", from,
             [gpu->device hasUnifiedMemory] ? "unified" : "separate", fit.simd_width,
             gpu->has & GPU_NEEDS_SIMD ? "" : ", no \"simd\" variants",
             gpu->has & GPU_NEEDS_MATRIX ? "" : ", no simdgroup matrices");
    return MNT_OK;
}

mnt_status metal_gpu_open(metal_gpu **out, const mnt_host *host, int index)
{
    *out = NULL;
    @autoreleasepool {
        metal_gpu *gpu = host->alloc(host->self, sizeof *gpu);
        if (!gpu)
            return metal_fail(host, MNT_NO_MEMORY, "no memory for a device", nil);
        gpu->host = host;
        const char *from = "";
        mnt_status st = MNT_OK;
        gpu->device = find_device(index);
        if (!gpu->device)
            st = metal_fail(host, MNT_NOT_FOUND,
                            index == 0 ? "this machine has no Metal device"
                                       : "there is no device of this index",
                            nil);
        if (st == MNT_OK)
            st = open_library(gpu, &from);
        if (st == MNT_OK)
            st = check_library(gpu, from);
        if (st == MNT_OK) {
            gpu->queue = [gpu->device newCommandQueue];
            [gpu->queue setLabel:@"libmnt"];
            if (!gpu->queue)
                st = metal_fail(host, MNT_DEVICE, "no command queue can be made", nil);
        }
        if (st == MNT_OK)
            st = describe(gpu, from);
        if (st) {
            metal_gpu_close(gpu);
            return st;
        }
        *out = gpu;
        return MNT_OK;
    }
}

void metal_gpu_close(metal_gpu *gpu)
{
    if (!gpu)
        return;
    @autoreleasepool {
        (void)metal_wait(gpu);
        for (int k = 0; k < GPU_KERNEL_COUNT; k++)
            [gpu->pipeline[k] release];
        for (int i = 0; i < gpu->spare_count; i++)
            [gpu->spare[i] release];
        [gpu->queue release];
        [gpu->library release];
        [gpu->device release];
        gpu->host->free(gpu->host->self, gpu);
    }
}

const char *metal_gpu_name(const metal_gpu *gpu)
{
    return gpu->name;
}

const char *metal_gpu_detail(const metal_gpu *gpu)
{
    return gpu->detail;
}

uint64_t metal_gpu_memory(const metal_gpu *gpu)
{
    @autoreleasepool {
        return [gpu->device recommendedMaxWorkingSetSize];
    }
}
