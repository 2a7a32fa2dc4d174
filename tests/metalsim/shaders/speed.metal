/* SPDX-License-Identifier: MIT */
/*
 * What speed.c times: threads that do next to nothing, barriers, a tiled product.
 */
#include <metal_stdlib>
using namespace metal;

typedef struct speed_args {
    uint count, columns, inner;
} speed_args;

/* One element a thread. */
kernel void speed_relu(device const float *x [[buffer(0)]],
                       device float *y [[buffer(1)]],
                       constant speed_args &p [[buffer(2)]],
                       uint group [[threadgroup_position_in_grid]],
                       uint i [[thread_index_in_threadgroup]])
{
    const uint at = group * 256 + i;
    if (at < p.count)
        y[at] = !(x[at] <= 0.0f) ? x[at] : 0.0f;
}

/* `inner` barriers. */
kernel void speed_barrier(device float *y [[buffer(0)]],
                          constant speed_args &p [[buffer(1)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint i [[thread_index_in_threadgroup]])
{
    threadgroup float s[256];
    s[i] = 1.0f;
    for (uint k = 0; k < p.inner; k++)
        threadgroup_barrier(mem_flags::mem_threadgroup);
    y[group * 256 + i] = s[255 - i];
}

/* y = a b, tiles of 64x64, 4x4 outputs a thread; all sizes are multiples of the tile's. */
kernel void speed_product(device const float *a [[buffer(0)]],
                          device const float *b [[buffer(1)]],
                          device float *y [[buffer(2)]],
                          constant speed_args &p [[buffer(3)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint i [[thread_index_in_threadgroup]])
{
    alignas(16) threadgroup float as[16][64];
    alignas(16) threadgroup float bs[16][64];
    const uint tiles = p.columns / 64;
    const uint top = group / tiles * 64, left = group % tiles * 64;
    const uint row = i / 16 * 4, column = i % 16 * 4;
    float4 acc[4] = { float4(0.0f), float4(0.0f), float4(0.0f), float4(0.0f) };
    for (uint k0 = 0; k0 < p.inner; k0 += 16) {
        const uint r = i / 4, c = i % 4 * 4;
        for (uint k = 0; k < 4; k++)
            as[c + k][r] = a[(top + r) * p.inner + k0 + c + k];
        for (uint k = 0; k < 4; k++)
            bs[i / 16][column + k] = b[(k0 + i / 16) * p.columns + left + column + k];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint k = 0; k < 16; k++) {
            const float4 av = *(threadgroup const float4 *)&as[k][row];
            const float4 bv = *(threadgroup const float4 *)&bs[k][column];
            acc[0] = fma(float4(av.x), bv, acc[0]);
            acc[1] = fma(float4(av.y), bv, acc[1]);
            acc[2] = fma(float4(av.z), bv, acc[2]);
            acc[3] = fma(float4(av.w), bv, acc[3]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (uint r = 0; r < 4; r++)
        for (uint c = 0; c < 4; c++)
            y[(top + row + r) * p.columns + left + column + c] = acc[r][c];
}
