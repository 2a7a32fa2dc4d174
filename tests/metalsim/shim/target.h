/* SPDX-License-Identifier: MIT */
/*
 * The machine-dependent part of shaders/shim/metal_stdlib for the simulator: fibers of a
 * CPU, reached through the services that the simulator hands to an image. The rewriter
 * (shaders/tools/rewrite.py --target host) emits calls of the macros at the end.
 */
#ifndef METALSIM_TARGET_H
#define METALSIM_TARGET_H

#include "sim_abi.h"

#if !defined(__FMA__) && !defined(__aarch64__)
#error "fma has to be one instruction: build with -march=x86-64-v3"
#endif

#if __has_feature(address_sanitizer)
#define SIM_IMAGE_KIND SIM_ASAN
#elif __has_feature(thread_sanitizer)
#define SIM_IMAGE_KIND SIM_RACE
#else
#define SIM_IMAGE_KIND SIM_PLAIN
#endif
/* METALSIM_COVER_IMAGE: plain, but its runtime wants to know of dispatches. */
#ifdef METALSIM_COVER_IMAGE
#define SIM_IMAGE_HOOKS 1
#else
#define SIM_IMAGE_HOOKS (SIM_IMAGE_KIND != SIM_PLAIN)
#endif

#define MTL_SITE                                                                       \
    , const char *mtl_file = __builtin_FILE(), unsigned mtl_line = __builtin_LINE(),   \
                 unsigned mtl_column = __builtin_COLUMN()
#define MTL_SITE_PASS , mtl_file, mtl_line, mtl_column

extern "C" {
extern const sim_services *metalsim_services; /* of image_runtime.c */
void metalsim_bind(const sim_services *services);
void metalsim_memory(sim_view *view, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned arrays);
void metalsim_dispatch(const sim_call *call, const sim_entry *entry, int begins);
}

namespace metal
{
namespace target
{
MTL_FN float fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
MTL_FN float sqrt(float x)
{
    return __builtin_elementwise_sqrt(x);
}
MTL_FN uint mul_high(uint a, uint b)
{
    return (uint)((ulong)a * b >> 32);
}
MTL_FN void barrier(uint flags MTL_SITE)
{
    sim_site site = { mtl_file, mtl_line, mtl_column };
    metalsim_services->barrier(flags, &site);
}
MTL_FN void simd_barrier(uint flags MTL_SITE)
{
    sim_site site = { mtl_file, mtl_line, mtl_column };
    metalsim_services->simd_barrier(flags, &site);
}
MTL_FN uint lane()
{
    return metalsim_services->lane();
}
MTL_FN uint simd_width()
{
    return metalsim_services->view()->call->simd_width;
}
template <class T> MTL_FN T shuffle(T value, uint from MTL_SITE)
{
    static_assert(sizeof(T) <= SIM_SLOT_BYTES, "too large for a simdgroup function");
    sim_site site = { mtl_file, mtl_line, mtl_column };
    sim_lanes lanes;
    metalsim_services->exchange(&lanes, &value, sizeof value, 1, &site);
    if (from >= SIM_MAX_SIMD_WIDTH || (lanes.active >> from & 1) == 0)
        metalsim_services->fail("reads a lane that does not exist", &site);
    T result;
    __builtin_memcpy(&result, lanes.slot[from], sizeof result);
    return result;
}

/* One exchange: each lane shows what it has of both matrices. */
template <class Pair> MTL_FN void products_8x8(Pair a, Pair b, Pair sum[2] MTL_SITE)
{
    struct both {
        float a[2], b[2];
    } mine = { { a[0], a[1] }, { b[0], b[1] } }, of;
    static_assert(sizeof mine <= SIM_SLOT_BYTES, "a slot holds both");
    sim_site site = { mtl_file, mtl_line, mtl_column };
    sim_lanes lanes;
    metalsim_services->exchange(&lanes, &mine, sizeof mine, 2, &site);
    if (lanes.active != 0xffffffffu)
        metalsim_services->fail("a simdgroup matrix without 32 lanes", &site);
    sum[0] = sum[1] = 0.0f;
    for (uint k = 0; k < 8; k++) {
        __builtin_memcpy(&of, lanes.slot[k / 2 * 8 + lanes.lane % 8], sizeof of);
        float x = of.a[k % 2];
        __builtin_memcpy(&of, lanes.slot[lanes.lane / 8 * 8 + k], sizeof of);
        for (uint q = 0; q < 2; q++)
            sum[k % 2][q] = fma(x, of.b[q], sum[k % 2][q]);
    }
}

/* A watched image sees loads and exchanges, not the compiler's minimum. */
template <class T> MTL_FN T fetch_min(volatile T *p, T x)
{
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(p, &old, old < x ? old : x, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return old;
}
template <class T> MTL_FN T fetch_max(volatile T *p, T x)
{
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(p, &old, old > x ? old : x, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return old;
}
} // namespace target
} // namespace metal
#include "atomic.h"

/* ---- what the rewriter emits ---- */
/* The hidden first parameter of a kernel. */
struct mtl_context {
    char *memory; /* threadgroup memory */
};
#define MTL_KERNEL static inline __attribute__((always_inline))

/* A function of the tools, not of a shader. */
#define MTL_UNWATCHED __attribute__((no_sanitize("thread", "address", "undefined")))

template <class A, class B> constexpr bool mtl_same = false;
template <class A> constexpr bool mtl_same<A, A> = true;

/* Watched images keep a gap after each array, and give it no more alignment than its
 * type has. */
constexpr unsigned long mtl_gap = SIM_IMAGE_KIND == SIM_PLAIN ? 0 : 64;
constexpr unsigned long mtl_place(unsigned long end, unsigned long type_alignment,
                                  unsigned long wanted)
{
    unsigned long a = type_alignment > wanted ? type_alignment : wanted;
    if (SIM_IMAGE_KIND == SIM_PLAIN) {
        a = a < 16 ? 16 : a;
        return (end + a - 1) / a * a;
    }
    unsigned long from = (end == 0 ? 0 : end + mtl_gap) + 2 * a - 1;
    from = from / (2 * a) * (2 * a);
    return from + a; /* an odd multiple */
}

/* The types of a kernel's parameters; 0 is the hidden one. */
template <int N, class F> struct mtl_parameter;
template <class P, class... Rest> struct mtl_parameter<0, void(P, Rest...)> {
    using type = P;
};
template <int N, class P, class... Rest>
struct mtl_parameter<N, void(P, Rest...)> : mtl_parameter<N - 1, void(Rest...)> {
};
template <class T> struct mtl_bound;
template <class T> struct mtl_bound<T *> {
    using pointer = T *;
    static constexpr unsigned bytes = sizeof(T), alignment = alignof(T);
    static MTL_FN T *get(void *p)
    {
        return (T *)p;
    }
};
template <class T> struct mtl_bound<T &> {
    static constexpr unsigned bytes = sizeof(T), alignment = alignof(T);
    static MTL_FN T &get(void *p)
    {
        return *(T *)p;
    }
};

/* Watched images say which thread runs. */
#define MTL_RUNS(number)                                                               \
    (SIM_IMAGE_KIND != SIM_PLAIN ? (void)(view->index = (number)) : (void)0)
#ifdef METALSIM_COVER_IMAGE /* one copy of the kernel, so that its edges are one */
#define MTL_EACH_THREAD(call_one)                                                      \
    (void)order;                                                                       \
    __builtin_assume(count > 0 && first + count > first);                              \
    for (unsigned mtl_i = first; mtl_i < first + count; mtl_i++) {                     \
        const unsigned mtl_thread = mtl_i;                                             \
        (void)mtl_thread;                                                              \
        call_one;                                                                      \
    }
#else
#define MTL_EACH_THREAD(call_one)                                                      \
    if (!order)                                                                        \
        for (unsigned mtl_i = first; mtl_i < first + count; mtl_i++) {                 \
            const unsigned mtl_thread = mtl_i;                                         \
            MTL_RUNS(mtl_thread);                                                      \
            call_one;                                                                  \
        }                                                                              \
    else                                                                               \
        for (unsigned mtl_i = first; mtl_i < first + count; mtl_i++) {                 \
            const unsigned mtl_thread = order[mtl_i];                                  \
            MTL_RUNS(mtl_thread);                                                      \
            call_one;                                                                  \
        }
#endif
#define MTL_ONE_THREAD(call_one)                                                       \
    const unsigned mtl_thread = first;                                                 \
    (void)count, (void)order;                                                          \
    call_one

#endif
