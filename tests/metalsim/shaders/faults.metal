/* SPDX-License-Identifier: MIT */
/*
 * Kernels with one fault each, and some that look like it and are right (their names end
 * in _right). test_faults.c says what the simulator answers; the comments count lines
 * and columns, so it knows where.
 */
#include <metal_stdlib>
using namespace metal;

#define PARAMS                                                                         \
    device uint *x [[buffer(0)]], uint group [[threadgroup_position_in_grid]],         \
        uint i [[thread_index_in_threadgroup]]

/* ---- barriers ---- */
kernel void barrier_lines(PARAMS)
{
    if (i < 8)
        threadgroup_barrier(mem_flags::mem_threadgroup); // fault: barrier_lines
    else
        threadgroup_barrier(mem_flags::mem_threadgroup);
    x[i] = group;
}

kernel void barrier_columns(PARAMS)
{
    // clang-format off
    if (i < 8) threadgroup_barrier(mem_flags::mem_none); else threadgroup_barrier(mem_flags::mem_none); // fault: barrier_columns
    // clang-format on
    x[i] = group;
}

kernel void barrier_early_return(PARAMS)
{
    if (i == 5)
        return;
    threadgroup_barrier(mem_flags::mem_threadgroup); // fault: barrier_early_return
    x[i] = group;
}

kernel void barrier_uneven_loop(PARAMS)
{
    for (uint k = 0; k < 1 + i % 2; k++)
        threadgroup_barrier(mem_flags::mem_threadgroup); // fault: barrier_uneven_loop
    x[i] = group;
}

kernel void simd_some_lanes(PARAMS)
{
    uint v = i;
    if (i < 3)
        v = simd_shuffle(v, ushort(0)); // fault: simd_some_lanes
    x[i] = v;
}

kernel void simd_two_places(PARAMS)
{
    uint v;
    if (i < 3)
        v = simd_shuffle(i, ushort(0));
    else
        v = simd_shuffle(i, ushort(0)); // fault: simd_two_places
    x[i] = v;
}

kernel void simd_past_the_end(PARAMS)
{
    x[i] = simd_shuffle_xor(i, ushort(64)); // fault: simd_past_the_end
}

kernel void simd_against_barrier(PARAMS)
{
    uint v = i;
    if (i == 0)
        v = simd_shuffle(v, ushort(0)); // fault: simd_against_barrier
    else
        threadgroup_barrier(mem_flags::mem_none);
    x[i] = v;
}

kernel void memory_too_large(PARAMS)
{
    threadgroup uint big[8193];
    big[i] = group;
    x[i] = big[i];
}

kernel void half_a_simdgroup_right(PARAMS)
{
    x[group * 40 + i] = simd_broadcast(i, ushort(2));
}

/* ---- races in threadgroup memory ---- */
kernel void no_first_barrier(PARAMS)
{
    threadgroup uint s[64];
    s[i] = i;
    x[i] = s[63 - i]; // fault: no_first_barrier
}

kernel void no_second_barrier(PARAMS)
{
    threadgroup uint s[64];
    for (uint k = 0; k < 2; k++) {
        s[i] = i + k; // fault: no_second_barrier
        threadgroup_barrier(mem_flags::mem_threadgroup);
        x[i] = s[63 - i];
    }
}

kernel void barrier_of_nothing(PARAMS)
{
    threadgroup uint s[64];
    s[i] = i;
    threadgroup_barrier(mem_flags::mem_none);
    x[i] = s[63 - i]; // fault: barrier_of_nothing
}

kernel void barrier_of_device(PARAMS)
{
    threadgroup uint s[64];
    s[i] = i;
    threadgroup_barrier(mem_flags::mem_device);
    x[i] = s[63 - i]; // fault: barrier_of_device
}

kernel void barrier_of_threadgroup(PARAMS)
{
    x[i] = i;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    x[64 + i] = x[63 - i]; // fault: barrier_of_threadgroup
}

kernel void barrier_of_simdgroup(PARAMS)
{
    threadgroup uint s[64];
    s[i] = i;
    simdgroup_barrier(mem_flags::mem_threadgroup);
    x[i] = s[63 - i]; // fault: barrier_of_simdgroup
}

kernel void never_written(PARAMS)
{
    threadgroup uint s[64];
    if (i < 63)
        s[i] = i;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    x[i] = s[i]; // fault: never_written
}

kernel void all_write_one(PARAMS)
{
    threadgroup uint s[64];
    s[0] = group; // fault: all_write_one
    threadgroup_barrier(mem_flags::mem_threadgroup);
    x[i] = s[0];
}

kernel void past_the_array(PARAMS)
{
    threadgroup uint s[64], t[64];
    t[i] = i;
    s[i] = t[i];
    threadgroup uint *p = s;
    x[i] = p[i + 1]; // fault: past_the_array
}

kernel void barriers_right(PARAMS)
{
    threadgroup uint s[64];
    threadgroup uchar small[64];
    s[i] = i;
    small[i] = uchar(i);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const uint v = s[i ^ 1] + small[i ^ 1];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    s[63 - i] = v;
    x[i] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
    x[64 + i] = x[63 - i] + s[i];
}

/* ---- races in device memory ---- */
kernel void groups_write_one(PARAMS)
{
    if (i == 0)
        x[0] = group; // fault: groups_write_one
}

kernel void group_reads_other(PARAMS)
{
    if (i == 0) {
        x[group] = 1;
        x[64] = x[group ^ 1]; // fault: group_reads_other
    }
}

kernel void group_overwrites_read(PARAMS)
{
    if (i == 0 && group < 3)
        x[64 + group] = x[0];
    if (i == 0 && group == 3)
        x[0] = 1; // fault: group_overwrites_read
}

kernel void plain_counter(PARAMS)
{
    x[0] += 1; // fault: plain_counter
}

kernel void half_atomic(device atomic_uint *x [[buffer(0)]],
                        uint i [[thread_index_in_threadgroup]])
{
    if (i < 2)
        atomic_fetch_add_explicit(x, 1u, memory_order_relaxed);
    else
        *(device uint *)x = 0; // fault: half_atomic
}

kernel void atomic_right(device atomic_uint *x [[buffer(0)]],
                         uint i [[thread_index_in_threadgroup]])
{
    atomic_fetch_add_explicit(x, i, memory_order_relaxed);
    atomic_fetch_max_explicit(x + 1, i, memory_order_relaxed);
    atomic_fetch_min_explicit(x + 2, i, memory_order_relaxed);
    atomic_fetch_or_explicit(x + 3, i, memory_order_relaxed);
    if (i == 0)
        atomic_store_explicit(x + 4, 7u, memory_order_relaxed);
    uint seen = atomic_load_explicit(x + 4, memory_order_relaxed);
    atomic_compare_exchange_weak_explicit(x + 5, &seen, 9u, memory_order_relaxed,
                                          memory_order_relaxed);
}

/* Bytes next to each other belong to different threads. */
kernel void bytes_right(device uchar *x [[buffer(0)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint i [[thread_index_in_threadgroup]])
{
    x[group * 64 + i] = uchar(i);
}

/* ---- out of bounds ---- */
kernel void reads_past(PARAMS)
{
    x[i] = x[i + 65]; // fault: reads_past
}

kernel void writes_past(PARAMS)
{
    x[i + 65] = 1; // fault: writes_past
}

kernel void writes_before(PARAMS)
{
    device uint *y = x - 1;
    y[i] = 1; // fault: writes_before
}

kernel void writes_constant(device const uint *x [[buffer(0)]],
                            uint i [[thread_index_in_threadgroup]])
{
    if (i == 0)
        *(device uint *)x = 1; // fault: writes_constant
}

kernel void reads_far(PARAMS)
{
    x[i] = x[1u << 28]; // fault: reads_far
}

/* ---- what UndefinedBehaviorSanitizer sees ---- */
kernel void bounds_of_row(PARAMS)
{
    threadgroup uint s[8][8];
    s[i / 8][i % 8] = i;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    x[i] = s[i / 8][i % 8 + 1]; // fault: bounds_of_row
}

kernel void misaligned_vector(PARAMS)
{
    threadgroup uint s[68];
    s[i] = i;
    if (i < 4)
        s[64 + i] = 0;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint4 v = *(threadgroup const uint4 *)&s[i]; // fault: misaligned_vector
    x[i] = v.x;
}

kernel void signed_overflow(PARAMS)
{
    const int big = int(x[0]);
    x[64 + i] = uint(big + int(i)); // fault: signed_overflow
}

kernel void shift_too_far(PARAMS)
{
    x[i] = 1u << (i + 1); // fault: shift_too_far
}
