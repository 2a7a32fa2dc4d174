/* SPDX-License-Identifier: MIT */
/*
 * The simulated Metal in wrong programs: every rule of its interface is broken once, to
 * see what is reported, and kernels fail.
 */
#include "api_world.h"

#include <pthread.h>

/* ---- encoders ---- */
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

/* ---- life ---- */
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
    if (!api_begin(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_encoding), cmocka_unit_test(test_wrong_order),
        cmocka_unit_test(test_wrong_blits),    cmocka_unit_test(test_wrong_objects),
        cmocka_unit_test(test_wrong_life),     cmocka_unit_test(test_no_pool),
        cmocka_unit_test(test_host_access),    cmocka_unit_test(test_unretained),
        cmocka_unit_test(test_kernel_faults),  cmocka_unit_test(test_slack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
