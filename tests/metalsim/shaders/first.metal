/* SPDX-License-Identifier: MIT */
/*
 * Small kernels that use each thing the simulator offers, correctly.
 */
#include <mnt/scalar.h>

#include <metal_stdlib>
using namespace metal;

#define FIRST_TILE 16

typedef struct first_args {
    int64_t count;
    float scale;
} first_args;

constant uint first_weights[4] = { 1, 10, 100, 1000 };

/* y = scale x. Thread i of all takes element i; the last group is cut at count. */
kernel void first_scale(device const float *x [[buffer(0)]],
                        device float *y [[buffer(1)]],
                        constant first_args &p [[buffer(2)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint thread_ [[thread_index_in_threadgroup]])
{
    const int64_t i = (int64_t)group * 256 + thread_;
    if (i < p.count)
        y[i] = x[i] * p.scale;
}

/* exp of every element, and its bits: a share of the elements a group. */
kernel void first_exp(device const float *x [[buffer(0)]],
                      device uint *bits [[buffer(1)]],
                      constant first_args &p [[buffer(2)]],
                      uint group [[threadgroup_position_in_grid]],
                      uint index [[thread_index_in_threadgroup]],
                      uint groups [[threadgroups_per_grid]])
{
    for (int64_t i = (int64_t)group * 64 + index; i < p.count;
         i += (int64_t)groups * 64)
        bits[i] = mnt_bits(mnt_expf(x[i]));
}

/* y = x transposed, tile by tile; x is [n,n], n a multiple of the tile. */
template <typename T, int Pad>
kernel void first_transpose(device const T *x [[buffer(0)]], device T *y [[buffer(1)]],
                            constant first_args &p [[buffer(2)]],
                            uint group [[threadgroup_position_in_grid]],
                            uint index [[thread_index_in_threadgroup]])
{
    constexpr uint width = FIRST_TILE + Pad;
    threadgroup T tile[FIRST_TILE][width];
    const uint n = (uint)p.count, tiles = n / FIRST_TILE;
    const uint row = index / FIRST_TILE, column = index % FIRST_TILE;
    const uint top = group / tiles * FIRST_TILE, left = group % tiles * FIRST_TILE;
    tile[row][column] = x[(top + row) * n + left + column];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[(left + row) * n + top + column] = tile[column][row];
}
#define FIRST_TRANSPOSE(name, T)                                                       \
    template [[host_name("first_transpose_" name)]] kernel void first_transpose<T, 1>( \
        device const T *, device T *, constant first_args &, uint, uint);
FIRST_TRANSPOSE("f32", float)
FIRST_TRANSPOSE("u8", uchar)

static uint first_tree(uint v, uint width)
{
    for (uint h = width / 2; h > 0; h /= 2)
        v += simd_shuffle_xor(v, (ushort)h);
    return v;
}

/* out[group] = sum of the group's elements of x: simdgroups first, then all. */
kernel void first_sum(
    device const uint *x [[buffer(0)]], device uint *out [[buffer(1)]],
    device atomic_uint *total [[buffer(2)]], constant first_args &p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint index [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint simd [[simdgroup_index_in_threadgroup]], uint width [[threads_per_simdgroup]])
{
    threadgroup uint part[32];
    const int64_t i = (int64_t)group * 256 + index;
    const uint v = first_tree(i < p.count ? x[i] : 0u, width);
    if (lane == 0)
        part[simd] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (index == 0) {
        uint s = 0;
        for (uint k = 0; k < 256 / width; k++)
            s += part[k];
        out[group] = s;
        atomic_fetch_add_explicit(total, s, memory_order_relaxed);
    }
}

/* Vectors: constructors, swizzles, select, as_type. y has 4 uints for each float4. */
kernel void first_vectors(device const float4 *x [[buffer(0)]],
                          device uint4 *y [[buffer(1)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint index [[thread_index_in_threadgroup]])
{
    const uint i = group * 32 + index;
    float4 v = x[i];
    v = float4(v.wz, v.x, v[1]);
    const float4 w = fma(v, float4(2.0f), float4(1.0f));
    const uint4 u = as_type<uint4>(float4(select(w.x, 0.0f, w.x > 3.0f), w.yzw));
    y[i] = max(u, uint4(first_weights[0], first_weights[1], uint2(first_weights[3])));
}
