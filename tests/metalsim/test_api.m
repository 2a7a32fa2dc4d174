/* SPDX-License-Identifier: MIT */
/*
 * The simulated Metal: right programs run, and every rule is broken once, to see what
 * is reported.
 *
 *   test_api IMAGE SOURCE
 */
#import <Metal/Metal.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "metalsim.h"

#if __has_feature(address_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const char *image_path, *source_path;

/* ---- reports ---- */
static char rule[64], text[1024];
static int reports;

static void note(void *context, const char *r, const char *t)
{
    (void)context;
    reports++;
    snprintf(rule, sizeof rule, "%s", r);
    snprintf(text, sizeof text, "%s", t);
}

static void reset(void)
{
    reports = 0;
    rule[0] = text[0] = '\0';
}

/* One report since the last time, of this rule, whose text holds `part`. */
static void check_report(const char *want, const char *part)
{
    if (reports != 1 || strcmp(rule, want) != 0 || !strstr(text, part))
        fail_msg("wanted %s: ...%s..., got %d reports, the last %s: %s", want, part,
                 reports, rule, text);
    reset();
}

static void check_nothing_left(void)
{
    char what[512];
    if (metalsim_alive(what, sizeof what) != 0)
        fail_msg("alive: %s", what);
    assert_int_equal(metalsim_memory_used(), 0);
    if (reports != 0)
        fail_msg("%s: %s", rule, text);
}

/* ---- a small world ---- */
typedef struct api_args {
    uint32_t count, add;
} api_args;

typedef struct world {
    id<MTLDevice> device;
    id<MTLCommandQueue> queue;
    id<MTLLibrary> library;
    id<MTLComputePipelineState> add;
    id<MTLBuffer> x, y;
} world;

static id<MTLComputePipelineState> pipeline(world *w, const char *name)
{
    NSError *error = nil;
    id<MTLFunction> f =
        [w->library newFunctionWithName:[NSString stringWithUTF8String:name]];
    assert_non_null(f);
    id<MTLComputePipelineState> p =
        [w->device newComputePipelineStateWithFunction:f error:&error];
    [f release];
    return p;
}

static void open_world(world *w)
{
    NSError *error = nil;
    w->device = MTLCreateSystemDefaultDevice();
    assert_non_null(w->device);
    w->queue = [w->device newCommandQueue];
    NSString *path = [NSString stringWithUTF8String:image_path];
    w->library = [w->device newLibraryWithURL:[NSURL fileURLWithPath:path]
                                        error:&error];
    assert_non_null(w->library);
    w->add = pipeline(w, "api_add");
    w->x = [w->device newBufferWithLength:400 options:MTLResourceStorageModeShared];
    w->y = [w->device newBufferWithLength:400 options:MTLResourceStorageModeShared];
    uint32_t *x = [w->x contents];
    for (uint32_t i = 0; i < 100; i++)
        x[i] = i;
}

static void close_world(world *w)
{
    [w->x release];
    [w->y release];
    [w->add release];
    [w->library release];
    [w->queue release];
    [w->device release];
}

static void encode_add(world *w, id<MTLComputeCommandEncoder> e, uint32_t add)
{
    api_args args = { 100, add };
    [e setComputePipelineState:w->add];
    [e setBuffer:w->x offset:0 atIndex:0];
    [e setBuffer:w->y offset:0 atIndex:1];
    [e setBytes:&args length:sizeof args atIndex:2];
    [e dispatchThreadgroups:MTLSizeMake(2, 1, 1)
        threadsPerThreadgroup:MTLSizeMake(64, 1, 1)];
}

static id<MTLCommandBuffer> add_command(world *w, uint32_t add)
{
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    encode_add(w, e, add);
    [e endEncoding];
    return c;
}

/* A test between the making of a world and the check that nothing of it is left. */
static void in_world(void (*test)(world *w))
{
    world w;
    reset();
    @autoreleasepool {
        open_world(&w);
        test(&w);
        close_world(&w);
    }
    check_nothing_left();
}

#define WORLD_TEST(name)                                                               \
    static void name##_in(world *w);                                                   \
    static void name(void **state)                                                     \
    {                                                                                  \
        (void)state;                                                                   \
        in_world(name##_in);                                                           \
    }                                                                                  \
    static void name##_in(world *w)

/* ---- what is right ---- */
WORLD_TEST(test_run)
{
    id<MTLCommandBuffer> c = add_command(w, 7);
    assert_int_equal([c status], MTLCommandBufferStatusNotEnqueued);
    [c commit];
    assert_true([c status] >= MTLCommandBufferStatusCommitted);
    [c waitUntilCompleted];
    assert_int_equal([c status], MTLCommandBufferStatusCompleted);
    assert_null([c error]);
    assert_true([c GPUEndTime] >= [c GPUStartTime] && [c GPUStartTime] > 0);
    const uint32_t *y = [w->y contents];
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(y[i], i + 7);
}

WORLD_TEST(test_device)
{
    assert_non_null(strstr([[w->device name] UTF8String], "simulated"));
    assert_true([w->device supportsFamily:MTLGPUFamilyApple7]);
    assert_false([w->device supportsFamily:MTLGPUFamilyApple9]);
    assert_true([w->device supportsFamily:MTLGPUFamilyMetal3]);
    assert_true([w->device hasUnifiedMemory]);
    assert_true([w->device recommendedMaxWorkingSetSize] > 0);
    assert_int_equal([w->device currentAllocatedSize], 800);
    NSArray<id<MTLDevice>> *all = MTLCopyAllDevices();
    assert_int_equal([all count], 1);
    assert_true([all objectAtIndex:0] == w->device);
    assert_int_equal([[all objectAtIndex:0] registryID], [w->device registryID]);
    [all release];
    assert_int_equal([[w->library functionNames] count], 7);
    assert_string_equal([[[w->library functionNames] objectAtIndex:0] UTF8String],
                        "api_add");
    assert_null([w->library newFunctionWithName:@"nothing"]);
    assert_int_equal([w->add maxTotalThreadsPerThreadgroup], 1024);
    assert_int_equal([w->add threadExecutionWidth], 32);
    assert_int_equal([w->add staticThreadgroupMemoryLength], 0);
    id<MTLComputePipelineState> p = pipeline(w, "api_reverse");
    assert_int_equal([p maxTotalThreadsPerThreadgroup], 128);
    assert_int_equal([p staticThreadgroupMemoryLength], 512);
    [p release];
    [w->x setLabel:@"weights"];
    assert_string_equal([w->x.label UTF8String], "weights");
    assert_int_equal([w->x storageMode], MTLStorageModeShared);
    id<MTLBuffer> b = [w->device newBufferWithLength:16
                                             options:MTLResourceStorageModePrivate];
    assert_null([b contents]);
    [b release];
    for (int i = 0; i < 100; i++)
        assert_int_equal(((uint32_t *)[w->y contents])[i], 0);
}

WORLD_TEST(test_blit)
{
    id<MTLCommandBuffer> c = [w->queue commandBufferWithUnretainedReferences];
    id<MTLBlitCommandEncoder> e = [c blitCommandEncoder];
    [e copyFromBuffer:w->x sourceOffset:40 toBuffer:w->y destinationOffset:80 size:120];
    [e fillBuffer:w->x range:NSMakeRange(0, 8) value:0xab];
    [e endEncoding];
    MTLCommandBufferDescriptor *d = [[MTLCommandBufferDescriptor alloc] init];
    assert_true([d retainedReferences]);
    d.errorOptions = MTLCommandBufferErrorOptionEncoderExecutionStatus;
    id<MTLCommandBuffer> second = [w->queue commandBufferWithDescriptor:d];
    [d release];
    [c commit];
    [second commit];
    [second waitUntilCompleted];
    assert_int_equal([c status], MTLCommandBufferStatusCompleted);
    const uint32_t *x = [w->x contents], *y = [w->y contents];
    assert_int_equal(y[20], 10);
    assert_int_equal(y[49], 39);
    assert_int_equal(y[50], 0);
    assert_int_equal(x[1], 0xabababab);
    assert_int_equal(x[2], 2);
}

WORLD_TEST(test_handler)
{
    __block int calls = 0;
    __block pthread_t on;
    id<MTLBuffer> held = [w->device newBufferWithLength:4
                                                options:MTLResourceStorageModeShared];
    id<MTLCommandBuffer> c = add_command(w, 1);
    [c addCompletedHandler:^(id<MTLCommandBuffer> done) {
      calls += done.status == MTLCommandBufferStatusScheduled ? 0 : 1;
      *(uint32_t *)[held contents] = 9;
      on = pthread_self();
    }];
    [c addCompletedHandler:^(id<MTLCommandBuffer> done) {
      (void)done;
      calls += 10;
    }];
    [held retain];
    [held release]; /* the block holds it, too */
    [c commit];
    [c waitUntilCompleted];
    assert_int_equal(calls % 10 + calls / 10, 2);
    assert_false(pthread_equal(on, pthread_self()));
    assert_int_equal(*(uint32_t *)[held contents], 9);
    [held release];
}

/* Retained buffers live until the work is done; a full queue runs its oldest work. */
WORLD_TEST(test_life)
{
    id<MTLBuffer> b = [w->device newBufferWithLength:400
                                             options:MTLResourceStorageModeShared];
    api_args args = { 100, 5 };
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    [e setComputePipelineState:w->add];
    [e setBuffer:w->x offset:0 atIndex:0];
    [e setBuffer:b offset:4 atIndex:1];
    [e setBufferOffset:0 atIndex:1];
    [e setBytes:&args length:sizeof args atIndex:2];
    [e memoryBarrierWithScope:MTLBarrierScopeBuffers];
    [e dispatchThreadgroups:MTLSizeMake(2, 1, 1)
        threadsPerThreadgroup:MTLSizeMake(64, 1, 1)];
    [e setBuffer:nil offset:0 atIndex:1];
    [e endEncoding];
    [b release];
    [c commit];
    [c waitUntilCompleted];
    assert_int_equal([c status], MTLCommandBufferStatusCompleted);
    id<MTLCommandQueue> two = [w->device newCommandQueueWithMaxCommandBufferCount:2];
    for (int i = 0; i < 10; i++) {
        id<MTLCommandBuffer> next = [two commandBuffer];
        assert_non_null(next);
        [next commit];
        if (i == 9)
            [next waitUntilCompleted];
    }
    [two release];
}

/* Without a wait the host sees what was there before. */
WORLD_TEST(test_lazy)
{
    metalsim_counts before = metalsim_count();
    id<MTLCommandBuffer> c = add_command(w, 3);
    [c commit];
    assert_int_equal(metalsim_count().command_buffers, before.command_buffers);
    id<MTLCommandBuffer> d = add_command(w, 4);
    [d commit];
    [d waitUntilCompleted];
    assert_int_equal([c status], MTLCommandBufferStatusCompleted);
    assert_int_equal(metalsim_count().dispatches, before.dispatches + 2);
    assert_int_equal(((uint32_t *)[w->y contents])[1], 5);
}

/* ---- libraries ---- */
static void *read_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    static char data[8 << 20];
    *bytes = fread(data, 1, sizeof data, f);
    fclose(f);
    return data;
}

static id<MTLLibrary> from_data(world *w, const void *bytes, size_t size,
                                NSError **error)
{
    dispatch_data_t data =
        dispatch_data_create(bytes, size, NULL, DISPATCH_DATA_DESTRUCTOR_DEFAULT);
    id<MTLLibrary> l = [w->device newLibraryWithData:data error:error];
    dispatch_release(data);
    return l;
}

WORLD_TEST(test_libraries)
{
    NSError *error = nil;
    size_t n;
    char *bytes = read_file(image_path, &n);
    id<MTLLibrary> l = from_data(w, bytes, n, &error);
    assert_non_null(l);
    [l release];
    assert_null(from_data(w, bytes, n / 2, &error));
    assert_int_equal([error code], MTLLibraryErrorUnsupported);
    assert_non_null(strstr([[error localizedDescription] UTF8String], "cut short"));
    assert_true([[error domain] isEqualToString:MTLLibraryErrorDomain]);
    bytes[n / 3] ^= 1;
    assert_null(from_data(w, bytes, n, &error));
    assert_non_null(strstr([[error localizedDescription] UTF8String], "damaged"));
    assert_null(from_data(w, bytes, n, NULL));
    assert_null([w->device newLibraryWithURL:[NSURL fileURLWithPath:@"/nonexistent"]
                                       error:&error]);
    assert_int_equal([error code], MTLLibraryErrorFileNotFound);

    char *chars = read_file(source_path, &n);
    NSString *source = [[NSString alloc] initWithBytes:chars
                                                length:n
                                              encoding:NSUTF8StringEncoding];
    MTLCompileOptions *options = [[MTLCompileOptions alloc] init];
    options.languageVersion = MTLLanguageVersion3_0;
    assert_null([w->device newLibraryWithSource:source options:options error:&error]);
    check_report("fast-math", "fast math");
    options.fastMathEnabled = NO;
    assert_null([w->device newLibraryWithSource:source options:options error:&error]);
    assert_int_equal([error code], MTLLibraryErrorCompileFailure);
    assert_true(metalsim_add_library(image_path));
    l = [w->device newLibraryWithSource:source options:options error:&error];
    assert_non_null(l);
    assert_int_equal([[l functionNames] count], 7);
    [l release];
    [options release];
    [source release];
}

/* ---- the configuration ---- */
static void with_config(metalsim_config c, void (*test)(world *w))
{
    metalsim_configure(&c);
    in_world(test);
    metalsim_configure(NULL);
}

static void is_paravirtual(world *w)
{
    assert_false([w->device supportsFamily:MTLGPUFamilyApple7]);
    assert_false([w->device supportsFamily:MTLGPUFamilyMetal3]);
    assert_null(pipeline(w, "api_simd"));
    assert_int_equal([w->add maxTotalThreadsPerThreadgroup], 256);
    assert_int_equal([w->add threadExecutionWidth], 16);
    assert_null([w->device newBufferWithLength:1000
                                       options:MTLResourceStorageModeShared]);
    assert_null([w->device newBufferWithLength:2000
                                       options:MTLResourceStorageModeShared]);
    check_report("buffer-length", "maxBufferLength is 1500");
}

static void simd_is_eight(world *w)
{
    id<MTLComputePipelineState> p = pipeline(w, "api_simd");
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    [e setComputePipelineState:p];
    [e setBuffer:w->y offset:0 atIndex:0];
    [e dispatchThreadgroups:MTLSizeMake(1, 1, 1)
        threadsPerThreadgroup:MTLSizeMake(16, 1, 1)];
    [e endEncoding];
    [c commit];
    [c waitUntilCompleted];
    assert_int_equal(((uint32_t *)[w->y contents])[9], 8008);
    [p release];
}

static void test_config(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    c.family = METALSIM_PARAVIRTUAL;
    c.pipeline_limit = 256;
    c.simd_width = 16;
    c.memory = 1200;
    c.max_buffer = 1500;
    with_config(c, is_paravirtual);
    c = metalsim_config_default();
    c.simd_width = 8;
    c.order = SIM_RANDOM;
    with_config(c, simd_is_eight);
    c = metalsim_config_default();
    c.eager = true;
    with_config(c, test_run_in);
    with_config(c, test_blit_in);
    with_config(c, test_life_in);
    c.devices = 0;
    metalsim_configure(&c);
    @autoreleasepool {
        assert_null(MTLCreateSystemDefaultDevice());
        NSArray *none = MTLCopyAllDevices();
        assert_int_equal([none count], 0);
        [none release];
    }
    c.devices = 2;
    metalsim_configure(&c);
    @autoreleasepool {
        NSArray<id<MTLDevice>> *two = MTLCopyAllDevices();
        assert_int_equal([two count], 2);
        assert_true([[two objectAtIndex:0] registryID] !=
                    [[two objectAtIndex:1] registryID]);
        [two release];
    }
    metalsim_configure(NULL);
    check_nothing_left();
}

/* ---- faults that were asked for ---- */
WORLD_TEST(test_failures)
{
    NSError *error = nil;
    metalsim_fail(METALSIM_FAIL_BUFFER, 1, 1, 0);
    id<MTLBuffer> b = [w->device newBufferWithLength:4
                                             options:MTLResourceStorageModeShared];
    assert_non_null(b);
    [b release];
    assert_null([w->device newBufferWithLength:4 options:MTLResourceStorageModeShared]);
    metalsim_fail(METALSIM_FAIL_QUEUE, 0, 1, 0);
    assert_null([w->device newCommandQueue]);
    metalsim_fail(METALSIM_FAIL_LIBRARY, 0, 1, 0);
    NSString *path = [NSString stringWithUTF8String:image_path];
    assert_null([w->device newLibraryWithURL:[NSURL fileURLWithPath:path]
                                       error:&error]);
    assert_non_null(error);
    metalsim_fail(METALSIM_FAIL_FUNCTION, 0, 1, 0);
    assert_null([w->library newFunctionWithName:@"api_add"]);
    metalsim_fail(METALSIM_FAIL_PIPELINE, 0, 1, 0);
    assert_null(pipeline(w, "api_add"));
    metalsim_fail(METALSIM_FAIL_COMMAND_BUFFER, 0, 1, 0);
    assert_null([w->queue commandBuffer]);
    metalsim_fail(METALSIM_FAIL_ENCODER, 0, 1, 0);
    assert_null([[w->queue commandBuffer] computeCommandEncoder]);
    metalsim_fail(METALSIM_FAIL_EXECUTION, 0, 1, MTLCommandBufferErrorTimeout);
    id<MTLCommandBuffer> c = add_command(w, 1);
    [c commit];
    [c waitUntilCompleted];
    assert_int_equal([c status], MTLCommandBufferStatusError);
    assert_int_equal([[c error] code], MTLCommandBufferErrorTimeout);
    assert_true([[[c error] domain] isEqualToString:MTLCommandBufferErrorDomain]);
    assert_int_equal(((uint32_t *)[w->y contents])[1], 0);
    c = add_command(w, 1);
    [c commit];
    [c waitUntilCompleted];
    assert_int_equal([c status], MTLCommandBufferStatusCompleted);
}

WORLD_TEST(test_removed)
{
    metalsim_fail(METALSIM_FAIL_EXECUTION, 1, 1, MTLCommandBufferErrorDeviceRemoved);
    for (int i = 0; i < 3; i++) {
        id<MTLCommandBuffer> c = add_command(w, 1);
        [c commit];
        [c waitUntilCompleted];
        assert_int_equal([c status], i == 0 ? MTLCommandBufferStatusCompleted
                                            : MTLCommandBufferStatusError);
        assert_int_equal([[c error] code],
                         i == 0 ? 0 : MTLCommandBufferErrorDeviceRemoved);
    }
    assert_null([w->device newBufferWithLength:4 options:MTLResourceStorageModeShared]);
}

/* ---- broken rules: encoders ---- */
typedef void encode_wrong(world *w, id<MTLComputeCommandEncoder> e);

static void broken(world *w, encode_wrong *encode, const char *want, const char *part)
{
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    api_args args = { 100, 1 };
    [e setComputePipelineState:w->add];
    [e setBuffer:w->x offset:0 atIndex:0];
    [e setBuffer:w->y offset:0 atIndex:1];
    [e setBytes:&args length:sizeof args atIndex:2];
    encode(w, e);
    check_report(want, part);
    [e endEncoding];
    bool dispatched = strncmp(want, "dispatch", 8) == 0;
    [c commit];
    [c waitUntilCompleted];
    if (dispatched)
        assert_int_equal([[c error] code], MTLCommandBufferErrorInvalidResource);
}

static void dispatch(id<MTLComputeCommandEncoder> e, NSUInteger groups,
                     NSUInteger threads)
{
    [e dispatchThreadgroups:MTLSizeMake(groups, 1, 1)
        threadsPerThreadgroup:MTLSizeMake(threads, 1, 1)];
}

#define WRONG(name) static void name(world *w, id<MTLComputeCommandEncoder> e)

WRONG(binding_missing)
{
    (void)w;
    [e setBuffer:nil offset:0 atIndex:1];
    dispatch(e, 1, 64);
}
WRONG(binding_small)
{
    (void)w;
    [e setBytes:"abc" length:4 atIndex:2];
    dispatch(e, 1, 64);
}
WRONG(binding_unaligned)
{
    [e setBuffer:w->y offset:2 atIndex:1];
    dispatch(e, 1, 64);
}
WRONG(binding_bytes_written)
{
    (void)w;
    [e setBytes:"abcd" length:4 atIndex:1];
    dispatch(e, 1, 64);
}
WRONG(binding_offset)
{
    [e setBuffer:w->y offset:400 atIndex:1];
}
WRONG(binding_offset_later)
{
    (void)w;
    [e setBufferOffset:404 atIndex:1];
}
WRONG(binding_offset_of_bytes)
{
    (void)w;
    [e setBufferOffset:0 atIndex:2];
}
WRONG(binding_index)
{
    [e setBuffer:w->y offset:0 atIndex:31];
}
WRONG(bytes_too_long)
{
    (void)w;
    static char bytes[4097];
    [e setBytes:bytes length:sizeof bytes atIndex:2];
}
WRONG(bytes_none)
{
    (void)w;
    [e setBytes:"" length:0 atIndex:2];
}
WRONG(dispatch_none)
{
    (void)w;
    dispatch(e, 0, 64);
}
WRONG(dispatch_flat)
{
    (void)w;
    [e dispatchThreadgroups:MTLSizeMake(1, 0, 1)
        threadsPerThreadgroup:MTLSizeMake(64, 1, 1)];
}
WRONG(dispatch_too_many)
{
    (void)w;
    dispatch(e, 1, 1025);
}
WRONG(pipeline_nil)
{
    (void)w;
    id<MTLComputePipelineState> none = nil;
    [e setComputePipelineState:none];
}
WRONG(barrier_scope)
{
    (void)w;
    [e memoryBarrierWithScope:(MTLBarrierScope)0];
}

WORLD_TEST(test_wrong_encoding)
{
    broken(w, binding_missing, "binding-missing",
           "api_add: nothing is bound at index 1 (y)");
    broken(w, binding_small, "binding-small",
           "index 2 (p) has 4 bytes, the struct needs 8");
    broken(w, binding_unaligned, "binding-alignment",
           "index 1 (y) has offset 2, no multiple of 4");
    broken(w, binding_bytes_written, "binding-bytes", "index 1 (y) is written");
    broken(w, binding_offset, "binding-offset", "offset 400 in a buffer of 400 bytes");
    broken(w, binding_offset_later, "binding-offset", "offset 404 in");
    broken(w, binding_offset_of_bytes, "binding-offset", "no buffer is bound");
    broken(w, binding_index, "binding-index", "index 31, the last is 30");
    broken(w, bytes_too_long, "bytes-length", "4097 bytes");
    broken(w, bytes_none, "bytes-length", "0 bytes");
    broken(w, dispatch_none, "dispatch-size", "0 x 1 x 1 threadgroups of 64");
    broken(w, dispatch_flat, "dispatch-size", "1 x 0 x 1");
    broken(w, dispatch_too_many, "dispatch-threads",
           "1025 threads a threadgroup, the pipeline runs 1024");
    broken(w, pipeline_nil, "pipeline", "nil");
    broken(w, barrier_scope, "barrier-scope", "scope 0");

    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    dispatch(e, 1, 64);
    check_report("pipeline", "a dispatch without a pipeline");
    id<MTLComputePipelineState> p = pipeline(w, "api_reverse");
    [e setComputePipelineState:p];
    dispatch(e, 1, 129);
    check_report("dispatch-threads", "the pipeline runs 128");
    [e endEncoding];
    [p release];
    assert_null(pipeline(w, "api_too_large"));
}

WORLD_TEST(test_wrong_order)
{
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    [c waitUntilCompleted];
    check_report("wait-before-commit", "for ever");
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    assert_null([c blitCommandEncoder]);
    check_report("encoder-open", "another");
    [c commit];
    check_report("encoder-open", "committed with an encoder open");
    [e endEncoding];
    [e endEncoding];
    check_report("encoder-ended", "endEncoding after endEncoding");
    [e setBuffer:w->x offset:0 atIndex:0];
    check_report("encoder-ended", "setBuffer:offset:atIndex: after endEncoding");
    dispatch(e, 1, 1);
    check_report("encoder-ended", "dispatchThreadgroups:");
    [c commit];
    [c commit];
    check_report("commit-twice", "twice");
    assert_null([c computeCommandEncoder]);
    check_report("encode-after-commit", "committed");
    [c addCompletedHandler:^(id<MTLCommandBuffer> b) {
      (void)b;
    }];
    check_report("handler-after-commit", "after");
    [c waitUntilCompleted];
    @autoreleasepool {
        c = [w->queue commandBuffer];
        e = [c computeCommandEncoder];
        (void)e;
    }
    check_report("encoder-open", "deallocated before endEncoding");
}

WORLD_TEST(test_wrong_blits)
{
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLBlitCommandEncoder> e = [c blitCommandEncoder];
    id<MTLBuffer> none = nil;
    [e copyFromBuffer:none sourceOffset:0 toBuffer:w->y destinationOffset:0 size:4];
    check_report("blit", "nil");
    [e copyFromBuffer:w->x sourceOffset:0 toBuffer:w->y destinationOffset:0 size:0];
    check_report("blit-size", "0 bytes");
    [e copyFromBuffer:w->x sourceOffset:0 toBuffer:w->y destinationOffset:4 size:400];
    check_report("blit-bounds", "bytes 4 to 404 of a buffer of 400 bytes");
    [e copyFromBuffer:w->x sourceOffset:2 toBuffer:w->y destinationOffset:0 size:4];
    check_report("blit-alignment", "multiples of 4");
    [e copyFromBuffer:w->x sourceOffset:0 toBuffer:w->x destinationOffset:4 size:8];
    check_report("blit-overlap", "overlap");
    [e fillBuffer:w->x range:NSMakeRange(0, 404) value:1];
    check_report("blit-bounds", "404");
    [e fillBuffer:w->x range:NSMakeRange(0, 3) value:1];
    check_report("blit-alignment", "size 3");
    [e endEncoding];
    [e fillBuffer:w->x range:NSMakeRange(0, 4) value:1];
    check_report("encoder-ended", "fillBuffer:");
}

WORLD_TEST(test_wrong_objects)
{
    assert_null([w->device newBufferWithLength:0 options:MTLResourceStorageModeShared]);
    check_report("buffer-length", "0 bytes");
    assert_null([w->device newBufferWithLength:4 options:(MTLResourceOptions)4096]);
    check_report("buffer-options", "0x1000");
    id<MTLFunction> none = nil;
    assert_null([w->device newComputePipelineStateWithFunction:none error:NULL]);
    check_report("pipeline", "nil function");
    MTLCommandBufferDescriptor *nothing = nil;
    assert_null([w->queue commandBufferWithDescriptor:nothing]);
    check_report("descriptor", "nil");
    id<MTLCommandQueue> one = [w->device newCommandQueueWithMaxCommandBufferCount:1];
    @autoreleasepool {
        id<MTLCommandBuffer> first = [one commandBuffer];
        assert_non_null(first);
        assert_null([one commandBuffer]);
        check_report("queue-full", "1 command buffers of a queue for 1");
    }
    [one release];
    for (int i = 0; i < 64; i++)
        assert_non_null([w->queue commandBuffer]);
    assert_null([w->queue commandBuffer]);
    check_report("queue-full", "64 command buffers");
}

/* ---- broken rules: life ---- */
WORLD_TEST(test_wrong_life)
{
    id<MTLBuffer> b = [w->device newBufferWithLength:4
                                             options:MTLResourceStorageModeShared];
    NSUInteger length = [b length];
    [b release];
    assert_int_equal(length, 4);
    length = [b length];
    check_report("dead-object", "length is sent to a SimBuffer that was deallocated");
    [b release];
    check_report("dead-object", "release is sent to a SimBuffer");
    [(NSString *)w->device UTF8String];
    check_report("selector", "SimDevice does not know UTF8String");
    NSArray *all = MTLCopyAllDevices();
    assert_null([all objectAtIndex:1]);
    check_report("array", "element 1 of an array of 1");
    [all release];
}

static void *without_pool(void *device)
{
    [[(id<MTLDevice>)device retain] autorelease];
    return NULL;
}

WORLD_TEST(test_no_pool)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, without_pool, w->device), 0);
    pthread_join(thread, NULL);
    check_report("pool", "SimDevice is autoreleased and there is no pool");
    [w->device release]; /* what the missing pool did not */
}

/* Reads and writes of a buffer whose work nobody waited for. */
WORLD_TEST(test_host_access)
{
    id<MTLCommandBuffer> c = add_command(w, 7);
    volatile uint32_t *y = [w->y contents];
    [c commit];
    uint32_t early = y[3];
    check_report("host-access", "byte 12 of a buffer of 400 bytes");
    assert_int_equal(early, 0);
    [c waitUntilCompleted];
    assert_int_equal(y[3], 10);
}

WORLD_TEST(test_unretained)
{
    id<MTLBuffer> b = [w->device newBufferWithLength:16
                                             options:MTLResourceStorageModeShared];
    id<MTLCommandBuffer> c = [w->queue commandBufferWithUnretainedReferences];
    id<MTLBlitCommandEncoder> e = [c blitCommandEncoder];
    [e fillBuffer:b range:NSMakeRange(0, 16) value:1];
    [e endEncoding];
    [b release];
    check_report("buffer-in-flight", "a buffer of 16 bytes is deallocated");
    [c commit];
    [c waitUntilCompleted];
    [b release]; /* the report kept it alive */
}

/* ---- kernels that fail ---- */
static id<MTLCommandBuffer> run_kernel(world *w, const char *name, NSUInteger offset,
                                       api_args args)
{
    id<MTLComputePipelineState> p = pipeline(w, name);
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    [e setComputePipelineState:p];
    [e setBuffer:w->y offset:offset atIndex:0];
    [e setBytes:&args length:sizeof args atIndex:1];
    dispatch(e, 1, 4);
    [e endEncoding];
    [c commit];
    [c waitUntilCompleted];
    [p release];
    return c;
}

WORLD_TEST(test_kernel_faults)
{
    id<MTLCommandBuffer> c = run_kernel(w, "api_divergent", 0, (api_args){ 0, 0 });
    check_report("kernel", "returned while others of its threadgroup wait");
    assert_int_equal([c status], MTLCommandBufferStatusError);
    assert_int_equal([[c error] code], MTLCommandBufferErrorInternal);
    c = run_kernel(w, "api_past_end", 0, (api_args){ 100, 1 });
    assert_int_equal([[c error] code], MTLCommandBufferErrorPageFault);
    check_report("kernel", "touches memory 0 bytes past the end of a buffer");
    [w->y setLabel:@"activations"];
    c = run_kernel(w, "api_past_end", 0, (api_args){ 0u - 8192u / 4u, 1 });
    check_report("kernel", "kernel api_past_end: touches memory far from all buffers");
    if (!SANITIZED) {
        c = run_kernel(w, "api_deep", 0, (api_args){ 3, 1 });
        check_report("kernel", "kernel api_deep: needs more stack than a thread has");
    }
    c = run_kernel(w, "api_past_end", 0, (api_args){ 0, 1 });
    assert_int_equal([c status], MTLCommandBufferStatusCompleted);
    assert_int_equal(((uint32_t *)[w->y contents])[3], 1);
}

/* 398 bytes: two bytes of slack after them belong to nobody. */
WORLD_TEST(test_slack)
{
    if (SANITIZED)
        return; /* AddressSanitizer would end the process */
    [w->y release];
    w->y = [w->device newBufferWithLength:398 options:MTLResourceStorageModeShared];
    id<MTLCommandBuffer> c = run_kernel(w, "api_past_end", 0, (api_args){ 96, 1 });
    check_report("out-of-bounds", "wrote just outside a buffer of 398 bytes");
    assert_int_equal([[c error] code], MTLCommandBufferErrorPageFault);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    image_path = argv[1];
    source_path = argv[2];
    metalsim_on_report(note, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_blit),
        cmocka_unit_test(test_handler),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_libraries),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_wrong_encoding),
        cmocka_unit_test(test_wrong_order),
        cmocka_unit_test(test_wrong_blits),
        cmocka_unit_test(test_wrong_objects),
        cmocka_unit_test(test_wrong_life),
        cmocka_unit_test(test_no_pool),
        cmocka_unit_test(test_host_access),
        cmocka_unit_test(test_unretained),
        cmocka_unit_test(test_kernel_faults),
        cmocka_unit_test(test_slack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
