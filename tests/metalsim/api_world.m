/* SPDX-License-Identifier: MIT */
/*
 * The world of the tests of the simulated Metal.
 */
#include "api_world.h"

const char *api_image, *api_source;

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

void check_report(const char *want, const char *part)
{
    if (reports != 1 || strcmp(rule, want) != 0 || !strstr(text, part))
        fail_msg("wanted %s: ...%s..., got %d reports, the last %s: %s", want, part,
                 reports, rule, text);
    reset();
}

void check_nothing_left(void)
{
    char what[512];
    if (metalsim_alive(what, sizeof what) != 0)
        fail_msg("alive: %s", what);
    assert_int_equal(metalsim_memory_used(), 0);
    if (reports != 0)
        fail_msg("%s: %s", rule, text);
}

bool api_begin(int argc, char **argv)
{
    if (argc < 3)
        return false;
    api_image = argv[1];
    api_source = argv[2];
    metalsim_on_report(note, NULL);
    return true;
}

id<MTLComputePipelineState> pipeline(world *w, const char *name)
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
    NSString *path = [NSString stringWithUTF8String:api_image];
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

id<MTLCommandBuffer> add_command(world *w, uint32_t add)
{
    id<MTLCommandBuffer> c = [w->queue commandBuffer];
    id<MTLComputeCommandEncoder> e = [c computeCommandEncoder];
    encode_add(w, e, add);
    [e endEncoding];
    return c;
}

void in_world(void (*test)(world *w))
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
