/* SPDX-License-Identifier: MIT */
/*
 * The beginning of every .metal file. Arithmetic as docs/numerics.md wants it: nothing
 * reassociated, no contraction, and the scalar functions that every machine shares.
 * Below them what several families use: places of elements, sums by rule D, maxima.
 */
#ifndef SHADERS_COMMON_H
#define SHADERS_COMMON_H

#include <metal_stdlib>
using namespace metal;

#if defined(__METAL_VERSION__) && __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#endif
#pragma METAL fp contract(off)

#include <mnt/scalar.h>

#include "args.h"

/* ---- places ---- */

/* a / b of numbers that are not negative. A division of 64 bits is a function call on a
 * GPU, so the common case goes through 32. */
static inline int64_t quotient(int64_t a, int64_t b)
{
    if (a <= 0x7fffffff && b <= 0x7fffffff)
        return int64_t(uint32_t(a) / uint32_t(b));
    return a / b;
}

static inline int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Index is uint32_t where the view's count fits. The outermost dim takes what is left,
 * without a division. */
template <typename Index>
static inline void view_walk(constant mnt_view_args &p, Index i, int operands,
                             thread int64_t *at)
{
    for (int d = p.ndim - 1; d >= 0; d--) {
        Index rest = d > 0 ? i / Index(p.dim[d]) : Index(0);
        int64_t c = int64_t(i - rest * Index(p.dim[d]));
        for (int k = 0; k < operands; k++)
            at[k] += c * p.stride[k][d];
        i = rest;
    }
}

/* Offsets of element i, 0 <= i < p.count, in the first operands. */
static inline void view_at(constant mnt_view_args &p, int64_t i, int operands,
                           thread int64_t *at)
{
    for (int k = 0; k < operands; k++)
        at[k] = 0;
    if (p.count <= 0x7fffffff)
        view_walk(p, uint32_t(i), operands, at);
    else
        view_walk(p, uint64_t(i), operands, at);
}

/* The same over a plain list of dims: sum of coordinate times stride. */
static inline int64_t dims_at(constant int64_t *dim, constant int64_t *stride, int ndim,
                              int64_t i)
{
    int64_t at = 0;
    for (int d = ndim - 1; d >= 0; d--) {
        int64_t rest = d > 0 ? quotient(i, dim[d]) : 0;
        at += (i - rest * dim[d]) * stride[d];
        i = rest;
    }
    return at;
}

/* ---- rule D: MNT_ROW_LANES threads make one sum ---- */

/*
 * A sum of n terms; n is the same for all who meet.
 * Term::add(s, j) returns s with term j in it. Blocks of 4096 are the elements of the
 * level above, 4096 of those the elements of the last.
 */
template <typename Meeting, typename Term>
static inline float lanes_sum(Term term, int64_t n, threadgroup float *share, uint lane)
{
    float above = 0.0f, last = 0.0f;
    uint blocks = 0, groups = 0;
    for (int64_t first = 0; first < n; first += MNT_SUM_BLOCK) {
        int64_t end = lesser(n, first + MNT_SUM_BLOCK);
        float s = 0.0f;
        for (int64_t j = first + lane; j < end; j += MNT_ROW_LANES)
            s = term.add(s, j);
        s = Meeting::tree(share, lane, s);
        if (n <= MNT_SUM_BLOCK)
            return s;
        if (blocks == MNT_SUM_BLOCK) {
            float group = Meeting::tree(share, lane, above);
            if (lane == groups % MNT_ROW_LANES)
                last = last + group;
            groups++;
            blocks = 0;
            above = 0.0f;
        }
        if (lane == blocks % MNT_ROW_LANES)
            above = above + s;
        blocks++;
    }
    float total = Meeting::tree(share, lane, above);
    if (groups == 0)
        return total;
    if (lane == groups % MNT_ROW_LANES)
        last = last + total;
    return Meeting::tree(share, lane, last);
}

/* The same sum by one thread, n <= 4096: it holds all lanes, in registers once the loop
 * over them is unrolled. */
template <typename Term> static inline float thread_sum(Term term, int64_t n)
{
    float v[MNT_ROW_LANES];
    for (int l = 0; l < MNT_ROW_LANES; l++)
        v[l] = 0.0f;
    for (int64_t first = 0; first < n; first += MNT_ROW_LANES) {
#pragma unroll
        for (int l = 0; l < MNT_ROW_LANES; l++)
            if (first + l < n)
                v[l] = term.add(v[l], first + l);
    }
    for (int l = 0; l < 16; l++)
        v[l] = v[l] + v[l + 16];
    for (int l = 0; l < 8; l++)
        v[l] = v[l] + v[l + 8];
    for (int l = 0; l < 4; l++)
        v[l] = v[l] + v[l + 4];
    for (int l = 0; l < 2; l++)
        v[l] = v[l] + v[l + 2];
    return v[0] + v[1];
}

/* ---- maxima: the first of equals, the first NaN over every number ---- */

/* A value is offered flushed, so that no comparison sees a subnormal. */
struct best {
    float value;
    int64_t index; /* -1: nothing offered yet */
};

static inline best best_none()
{
    best b;
    b.value = 0.0f;
    b.index = -1;
    return b;
}

/* Indices are offered in rising order. */
static inline void best_offer(thread best &b, float v, int64_t index)
{
    v = mnt_flushf(v);
    if (b.index < 0 || v > b.value || (v != v && b.value == b.value)) {
        b.value = v;
        b.index = index;
    }
}

/* The better of two that saw different indices, in any order. Chosen by members, since a
 * compiler keeps whole structs that are chosen in memory. */
static inline best best_of(best a, best b)
{
    bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    bool equal = a_nan || b_nan ? a_nan && b_nan : a.value == b.value;
    bool b_wins = b_nan ? !a_nan : b.value > a.value;
    bool take_b = equal ? b.index < a.index : b_wins;
    if (a.index < 0 || b.index < 0)
        take_b = a.index < 0;
    best r;
    r.value = take_b ? b.value : a.value;
    r.index = take_b ? b.index : a.index;
    return r;
}

/* ---- how the threads of a row meet ---- */

/* Row kernels are templates over one of these three. Threads of a row have a part of
 * threadgroup memory, `share` and `indices`, of MNT_ROW_LANES values. */

/* Variants "narrow": one thread makes the row, at most 4096 terms, and meets nobody. */
struct alone {
    enum { lanes = 1 };
    template <typename Term>
    static float sum(Term term, int64_t n, threadgroup float *, uint)
    {
        return thread_sum(term, n);
    }
    static best most(threadgroup float *, threadgroup int64_t *, uint, best b)
    {
        return b;
    }
};

/* On any device: at barriers, so all threads of the group call these. */
struct in_memory {
    enum { lanes = MNT_ROW_LANES };
    /* The tree over the lanes' values, for each of them. */
    static float tree(threadgroup float *share, uint lane, float v)
    {
        share[lane] = v;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint h = lanes / 2; h > 0; h /= 2) {
            if (lane < h)
                share[lane] = share[lane] + share[lane + h];
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        float total = share[0];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        return total;
    }
    template <typename Term>
    static float sum(Term term, int64_t n, threadgroup float *share, uint lane)
    {
        return lanes_sum<in_memory>(term, n, share, lane);
    }
    /* The best of the lanes', for each of them. */
    static best most(threadgroup float *share, threadgroup int64_t *indices, uint lane,
                     best b)
    {
        share[lane] = b.value;
        indices[lane] = b.index;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint h = lanes / 2; h > 0; h /= 2) {
            if (lane < h) {
                best other;
                other.value = share[lane + h];
                other.index = indices[lane + h];
                b = best_of(b, other);
                share[lane] = b.value;
                indices[lane] = b.index;
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        b.value = share[0];
        b.index = indices[0];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        return b;
    }
};

/* Variants "simd": as one simdgroup, whose width must be MNT_ROW_LANES; without memory
 * and barriers. Lanes past those that still add hold what nobody reads. */
struct in_simdgroup {
    enum { lanes = MNT_ROW_LANES };
    static float tree(threadgroup float *, uint, float v)
    {
#pragma unroll
        for (ushort h = lanes / 2; h > 0; h /= 2)
            v = v + simd_shuffle_down(v, h);
        return simd_broadcast(v, 0);
    }
    template <typename Term>
    static float sum(Term term, int64_t n, threadgroup float *share, uint lane)
    {
        return lanes_sum<in_simdgroup>(term, n, share, lane);
    }
    /* Simdgroup functions take 32 bits. */
    static best most(threadgroup float *, threadgroup int64_t *, uint, best b)
    {
#pragma unroll
        for (ushort h = lanes / 2; h > 0; h /= 2) {
            uint low = simd_shuffle_down(uint(b.index), h);
            uint high = simd_shuffle_down(uint(uint64_t(b.index) >> 32), h);
            best other;
            other.value = simd_shuffle_down(b.value, h);
            other.index = int64_t(uint64_t(high) << 32 | low);
            b = best_of(b, other);
        }
        uint low = simd_broadcast(uint(b.index), 0);
        uint high = simd_broadcast(uint(uint64_t(b.index) >> 32), 0);
        b.value = simd_broadcast(b.value, 0);
        b.index = int64_t(uint64_t(high) << 32 | low);
        return b;
    }
};

/* ---- labels and indices out of range ---- */

/* The lowest i of those MNT_GROUP apart, from tid on, with index[i] outside [0, limit);
 * n if there is none. */
static inline int64_t first_outside(device const int32_t *index, int64_t n,
                                    int64_t limit, uint tid)
{
    for (int64_t i = tid; i < n; i += MNT_GROUP)
        if (index[i] < 0 || index[i] >= limit)
            return i;
    return n;
}

/* The lowest of all threads' values; share has MNT_GROUP elements. */
static inline int64_t group_lowest(threadgroup int64_t *share, uint tid, int64_t v)
{
    share[tid] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint h = MNT_GROUP / 2; h > 0; h /= 2) {
        if (tid < h)
            share[tid] = lesser(share[tid], share[tid + h]);
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    return share[0];
}

/* ---- sums over samples (C6) ---- */

/* The position after (y, x) in block order (C5): 2x2 blocks, cut at the edges. */
template <typename Index>
static inline void block_next(Index h, Index w, thread Index &y, thread Index &x)
{
    if (x % 2 == 0 && x + 1 < w) {
        x += 1;
        return;
    }
    x -= x % 2;
    if (y % 2 == 0 && y + 1 < h) {
        y += 1;
        return;
    }
    y -= y % 2;
    x += 2;
    if (x >= w) {
        x = 0;
        y += 2;
    }
}

/* The tree over at most 64 values in the order of their coming: level[l] holds the sum
 * of 2^l neighbours that still waits for as many to its right. */
struct tree_sum {
    float level[7];
    uint count;
};

static inline void tree_push(thread tree_sum &t, float v)
{
    int l = 0;
    for (uint c = t.count; (c & 1) != 0; c >>= 1)
        v = t.level[l++] + v;
    t.level[l] = v;
    t.count++;
}

/* The sum of all that came, at least one; the tree is empty afterwards. */
static inline float tree_take(thread tree_sum &t)
{
    float v = 0.0f;
    bool any = false;
    for (int l = 0; l < 7; l++) {
        if ((t.count >> l & 1) != 0) {
            v = any ? t.level[l] + v : t.level[l];
            any = true;
        }
    }
    t.count = 0;
    return v;
}

#endif
