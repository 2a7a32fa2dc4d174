/* SPDX-License-Identifier: MIT */
/*
 * The simulated Metal in right programs: what runs, loads and can be configured, and
 * the faults that were asked for.
 */
#include "api_world.h"

#include <pthread.h>

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
    char *bytes = read_file(api_image, &n);
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

    char *chars = read_file(api_source, &n);
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
    assert_true(metalsim_add_library(api_image));
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
    NSString *path = [NSString stringWithUTF8String:api_image];
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

int main(int argc, char **argv)
{
    if (!api_begin(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),       cmocka_unit_test(test_device),
        cmocka_unit_test(test_blit),      cmocka_unit_test(test_handler),
        cmocka_unit_test(test_life),      cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_libraries), cmocka_unit_test(test_config),
        cmocka_unit_test(test_failures),  cmocka_unit_test(test_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
