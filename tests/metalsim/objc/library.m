/* SPDX-License-Identifier: MIT */
/*
 * Libraries, their functions, and pipelines: what a device refuses to run is refused
 * when the pipeline is made.
 */
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>

NSErrorDomain const MTLLibraryErrorDomain = @"MTLLibraryErrorDomain";

@implementation MTLCompileOptions
- (instancetype)init
{
    _fastMathEnabled = YES;
    _languageVersion = MTLLanguageVersion3_1;
    return self;
}

- (BOOL)fastMathEnabled
{
    return _fastMathEnabled;
}

- (void)setFastMathEnabled:(BOOL)enabled
{
    _fastMathEnabled = enabled;
}

- (MTLLanguageVersion)languageVersion
{
    return _languageVersion;
}

- (void)setLanguageVersion:(MTLLanguageVersion)version
{
    _languageVersion = version;
}
@end

SimLibrary *metalsim_library(SimDevice *device, sim_image *image)
{
    SimLibrary *l = [SimLibrary new];
    l->device = [device retain];
    l->image = image;
    return l;
}

@implementation SimLibrary
SIM_LABEL

- (id<MTLDevice>)device
{
    return device;
}

- (NSArray<NSString *> *)functionNames
{
    int n = sim_image_count(image);
    id *names = calloc((size_t)n + 1, sizeof *names);
    if (!names)
        abort();
    for (int i = 0; i < n; i++)
        names[i] = metalsim_string(sim_function_name(sim_image_at(image, i)));
    NSArray *result = metalsim_array(names, (NSUInteger)n);
    for (int i = 0; i < n; i++)
        [names[i] release];
    free(names);
    return [result autorelease];
}

- (id<MTLFunction>)newFunctionWithName:(NSString *)name
{
    const sim_function *f = sim_image_find(image, [name UTF8String]);
    if (!f || metalsim_fails(METALSIM_FAIL_FUNCTION, NULL))
        return nil;
    SimFunction *result = [SimFunction new];
    result->library = [self retain];
    result->function = f;
    return result;
}

- (void)dealloc
{
    sim_image_close(image);
    [_label release];
    [device release];
    [super dealloc];
}
@end

@implementation SimFunction
SIM_LABEL

- (id<MTLDevice>)device
{
    return library->device;
}

- (NSString *)name
{
    return [NSString stringWithUTF8String:sim_function_name(function)];
}

- (void)dealloc
{
    [_label release];
    [library release];
    [super dealloc];
}
@end

/* Why the device cannot run it, or NULL. */
static const char *refusal(SimDevice *device, const sim_function *f, char *text,
                           size_t size)
{
    const sim_entry *e = sim_function_entry(f);
    size_t bytes = sim_function_threadgroup_bytes(f);
    if (metalsim_fails(METALSIM_FAIL_PIPELINE, NULL))
        return "a fault was asked for";
    if (device->lost)
        return "the device was removed";
    if (bytes > [device maxThreadgroupMemoryLength]) {
        snprintf(text, size, "%s needs %zu bytes of threadgroup memory, %lu are there",
                 e->name, bytes, [device maxThreadgroupMemoryLength]);
        return text;
    }
    if ((e->collective & 2) != 0 && device->config.family == METALSIM_PARAVIRTUAL) {
        snprintf(text, size, "%s uses simdgroup functions, which this family lacks",
                 e->name);
        return text;
    }
    return NULL;
}

SimPipeline *metalsim_pipeline(SimDevice *device, SimFunction *function,
                               NSError **error)
{
    char text[256];
    if (function->library->device != device) {
        metalsim_report("pipeline", "a function of another device");
        return nil;
    }
    const char *why = refusal(device, function->function, text, sizeof text);
    if (why) {
        metalsim_give_error(error, @"AGXMetal", 3, "%s", why);
        return nil;
    }
    SimPipeline *p = [SimPipeline new];
    p->function = [function retain];
    p->limit = device->config.pipeline_limit;
    unsigned most = sim_function_entry(function->function)->max_threads;
    unsigned told = metalsim_limit_of(sim_function_name(function->function));
    if (most > 0 && most < p->limit)
        p->limit = most;
    if (told < p->limit)
        p->limit = told;
    metalsim_count_pipeline();
    return p;
}

@implementation SimPipeline
- (NSString *)label
{
    return nil;
}

- (id<MTLDevice>)device
{
    return function->library->device;
}

- (NSUInteger)maxTotalThreadsPerThreadgroup
{
    return limit;
}

- (NSUInteger)threadExecutionWidth
{
    unsigned told = metalsim_width_of(sim_function_name(function->function));
    return told > 0 ? told : function->library->device->config.simd_width;
}

- (NSUInteger)staticThreadgroupMemoryLength
{
    return (sim_function_threadgroup_bytes(function->function) + 15) / 16 * 16;
}

- (void)dealloc
{
    [function release];
    [super dealloc];
}
@end
