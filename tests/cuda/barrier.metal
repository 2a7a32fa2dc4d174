/* SPDX-License-Identifier: MIT */
/*
 * For the test cuda.barriers: what a compiler is tempted to do wrong. Both halves hang on
 * one condition, and a barrier copied into either branch would be two instructions that
 * threads of a group meet at different places.
 */
#include <metal_stdlib>
using namespace metal;

static inline void stage(threadgroup float *share, device const float *x, uint tid)
{
    share[tid] = x[tid] + 1.0f;
}

static inline void part(device const float *x, device float *y,
                        threadgroup float *share, bool in, uint tid)
{
    if (in)
        stage(share, x, tid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (in)
        y[tid] = share[tid ^ 1];
}

kernel void probe(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                  constant uint &limit [[buffer(2)]],
                  uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[256];
    part(x, y, share, tid < limit, tid);
}
