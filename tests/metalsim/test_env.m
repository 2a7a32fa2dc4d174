/* SPDX-License-Identifier: MIT */
/*
 * What the simulated Metal does by itself, without a test's handler: the environment's
 * words, and the end of a process that broke a rule. Each part is one run of this
 * program; CMakeLists.txt says what it has to print.
 *
 *   test_env PART
 */
#import <Metal/Metal.h>

#include <stdio.h>
#include <string.h>

static void describe(void)
{
    id<MTLDevice> d = MTLCreateSystemDefaultDevice();
    if (!d) {
        printf("no device\n");
        return;
    }
    id<MTLBuffer> b = [d newBufferWithLength:1000 options:MTLResourceStorageModeShared];
    id<MTLBuffer> c = [d newBufferWithLength:1000 options:MTLResourceStorageModeShared];
    printf("%s, family %s, memory %llu, buffers %s %s\n", [[d name] UTF8String],
           [d supportsFamily:MTLGPUFamilyMetal3] ? "Metal3" : "older",
           (unsigned long long)[d recommendedMaxWorkingSetSize], b ? "yes" : "no",
           c ? "yes" : "no");
    [b release];
    [c release];
    [d release];
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";
    @autoreleasepool {
        id<MTLDevice> d = nil;
        if (strcmp(part, "describe") == 0)
            describe();
        if (strcmp(part, "leak") == 0)
            d = MTLCreateSystemDefaultDevice();
        if (strcmp(part, "misuse") == 0) {
            d = MTLCreateSystemDefaultDevice();
            [[d newBufferWithLength:0 options:MTLResourceStorageModeShared] release];
            [d release];
            printf("still here\n");
        }
        if (strcmp(part, "unwaited") == 0) {
            d = MTLCreateSystemDefaultDevice();
            id<MTLCommandQueue> q = [d newCommandQueue];
            [[q commandBuffer] commit];
            [q release];
            [d release];
        }
    }
    return 0;
}
