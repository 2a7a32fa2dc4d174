/* SPDX-License-Identifier: MIT */
/*
 * The machine-dependent part of shaders/shim/metal_stdlib for NVIDIA GPUs: clang's NVPTX
 * target, no CUDA headers. A simdgroup is a warp, threadgroup memory is shared memory, a
 * threadgroup is a block. The rewriter (shaders/tools/rewrite.py --target nvptx) emits
 * calls of the macros at the end.
 */
#ifndef CUDA_TARGET_H
#define CUDA_TARGET_H

#define MTL_SITE
#define MTL_SITE_PASS

/* Every one of these is one instruction: fma.rn.ftz, sqrt.rn.ftz, mul.hi. */
namespace metal
{
namespace target
{
MTL_FN float fma(float a, float b, float c)
{
    return __nvvm_fma_rn_ftz_f(a, b, c);
}
MTL_FN float sqrt(float x)
{
    return __nvvm_sqrt_rn_ftz_f(x);
}
MTL_FN uint mul_high(uint a, uint b)
{
    return (uint)((ulong)a * b >> 32);
}
MTL_FN void barrier(uint)
{
    __syncthreads();
}
MTL_FN void simd_barrier(uint)
{
    __nvvm_bar_warp_sync(~0u);
}
MTL_FN uint lane()
{
    return __nvvm_read_ptx_sreg_laneid();
}
MTL_FN uint simd_width()
{
    return 32;
}
template <class T> MTL_FN T shuffle(T value, uint from)
{
    static_assert(sizeof(T) == 4, "simdgroup functions take 32-bit values");
    return __builtin_bit_cast(
        T,
        __nvvm_shfl_sync_idx_i32(~0u, __builtin_bit_cast(int, value), (int)from, 31));
}

template <class Pair> MTL_FN void products_8x8(Pair a, Pair b, Pair sum[2])
{
    sum[0] = sum[1] = 0.0f;
    for (uint k = 0; k < 8; k++) {
        float x = shuffle(a[k % 2], k / 2 * 8 + lane() % 8);
        for (uint q = 0; q < 2; q++)
            sum[k % 2][q] = fma(x, shuffle(b[q], lane() / 8 * 8 + k), sum[k % 2][q]);
    }
}

template <class T> MTL_FN T fetch_min(volatile T *p, T x)
{
    return __atomic_fetch_min(p, x, __ATOMIC_RELAXED);
}
template <class T> MTL_FN T fetch_max(volatile T *p, T x)
{
    return __atomic_fetch_max(p, x, __ATOMIC_RELAXED);
}
} // namespace target
} // namespace metal
#include "atomic.h"

/* ---- what the rewriter emits ---- */
#define MTL_KERNEL static inline __attribute__((always_inline))

template <class A, class B> constexpr bool mtl_same = false;
template <class A> constexpr bool mtl_same<A, A> = true;

template <int N, class F> struct mtl_parameter;
template <class P, class... Rest> struct mtl_parameter<0, void(P, Rest...)> {
    using type = P;
};
template <int N, class P, class... Rest>
struct mtl_parameter<N, void(P, Rest...)> : mtl_parameter<N - 1, void(Rest...)> {
};

/* A bound pointer stays one; the arguments come by value. */
template <class T> struct mtl_by_value {
    using type = T;
};
template <class T> struct mtl_by_value<const T &> {
    using type = const T;
};
template <class T> using mtl_entry_parameter = typename mtl_by_value<T>::type;

/* An entry point has the kernel's name behind "mnt_": a kernel that is no template has
 * the name already. */
#define MTL_ENTRY(name, max_threads)                                                   \
    extern "C" __attribute__((nvptx_kernel)) void mnt_##name

#endif
