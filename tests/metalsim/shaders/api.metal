/* SPDX-License-Identifier: MIT */
/*
 * Kernels for the tests of the Objective-C layer.
 */
#include <metal_stdlib>
using namespace metal;

typedef struct api_args {
    uint count;
    uint add;
} api_args;

/* y = x + add, one element a thread, 64 threads a threadgroup. */
kernel void api_add(device const uint *x [[buffer(0)]], device uint *y [[buffer(1)]],
                    constant api_args &p [[buffer(2)]],
                    uint group [[threadgroup_position_in_grid]],
                    uint i [[thread_index_in_threadgroup]])
{
    const uint at = group * 64 + i;
    if (at < p.count)
        y[at] = x[at] + p.add;
}

/* The same, a threadgroup array on the way. */
[[max_total_threads_per_threadgroup(128)]] kernel void
api_reverse(device const uint *x [[buffer(0)]], device uint *y [[buffer(1)]],
            uint i [[thread_index_in_threadgroup]])
{
    threadgroup uint s[128];
    s[i] = x[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[127 - i] = s[i];
}

kernel void api_simd(device uint *y [[buffer(0)]],
                     uint i [[thread_index_in_threadgroup]],
                     uint width [[threads_per_simdgroup]])
{
    y[i] = simd_shuffle_xor(i, ushort(1)) + 1000 * width;
}

kernel void api_too_large(device uint *y [[buffer(0)]],
                          uint i [[thread_index_in_threadgroup]])
{
    threadgroup uint s[8200];
    s[i] = i;
    y[i] = s[i];
}

/* Writes one element past y. */
kernel void api_past_end(device uint *y [[buffer(0)]],
                         constant api_args &p [[buffer(1)]],
                         uint i [[thread_index_in_threadgroup]])
{
    y[p.count + i] = p.add;
}

kernel void api_divergent(device uint *y [[buffer(0)]],
                          uint i [[thread_index_in_threadgroup]])
{
    if (i < 2)
        threadgroup_barrier(mem_flags::mem_none);
    y[i] = i;
}

/* An array of its own that no GPU would keep in registers. */
kernel void api_deep(device uint *y [[buffer(0)]], constant api_args &p [[buffer(1)]],
                     uint i [[thread_index_in_threadgroup]])
{
    uint deep[150000];
    for (uint k = 0; k < 150000; k++)
        deep[k] = k * p.count + i;
    uint at = i;
    for (uint k = 0; k < 1000; k++)
        at = deep[at % 150000] + k;
    y[i] = at;
}
