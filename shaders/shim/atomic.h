/* SPDX-License-Identifier: MIT */
/*
 * Atomic operations for the target.h of either machine: of int and uint in device and
 * threadgroup memory, in relaxed order, by the compiler's own. The machine brings
 * fetch_min() and fetch_max(), which not every compiler's tools know.
 */
#ifndef SHADERS_SHIM_ATOMIC_H
#define SHADERS_SHIM_ATOMIC_H

namespace metal
{
namespace target
{
#define MTL_ATOMIC_OPERATIONS(S, T)                                                    \
    MTL_FN T atomic_load(const volatile S T *p)                                        \
    {                                                                                  \
        return __atomic_load_n((const volatile T *)p, __ATOMIC_RELAXED);               \
    }                                                                                  \
    MTL_FN void atomic_store(volatile S T *p, T x)                                     \
    {                                                                                  \
        __atomic_store_n((volatile T *)p, x, __ATOMIC_RELAXED);                        \
    }                                                                                  \
    MTL_FN T atomic_exchange(volatile S T *p, T x)                                     \
    {                                                                                  \
        return __atomic_exchange_n((volatile T *)p, x, __ATOMIC_RELAXED);              \
    }                                                                                  \
    MTL_FN bool atomic_compare_exchange(volatile S T *p, T *expected, T x)             \
    {                                                                                  \
        return __atomic_compare_exchange_n((volatile T *)p, expected, x, false,        \
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);        \
    }                                                                                  \
    MTL_FN T atomic_add(volatile S T *p, T x)                                          \
    {                                                                                  \
        return __atomic_fetch_add((volatile T *)p, x, __ATOMIC_RELAXED);               \
    }                                                                                  \
    MTL_FN T atomic_and(volatile S T *p, T x)                                          \
    {                                                                                  \
        return __atomic_fetch_and((volatile T *)p, x, __ATOMIC_RELAXED);               \
    }                                                                                  \
    MTL_FN T atomic_or(volatile S T *p, T x)                                           \
    {                                                                                  \
        return __atomic_fetch_or((volatile T *)p, x, __ATOMIC_RELAXED);                \
    }                                                                                  \
    MTL_FN T atomic_min(volatile S T *p, T x)                                          \
    {                                                                                  \
        return fetch_min((volatile T *)p, x);                                          \
    }                                                                                  \
    MTL_FN T atomic_max(volatile S T *p, T x)                                          \
    {                                                                                  \
        return fetch_max((volatile T *)p, x);                                          \
    }
MTL_ATOMIC_OPERATIONS(device, int)
MTL_ATOMIC_OPERATIONS(device, uint)
MTL_ATOMIC_OPERATIONS(threadgroup, int)
MTL_ATOMIC_OPERATIONS(threadgroup, uint)
#undef MTL_ATOMIC_OPERATIONS
} // namespace target
} // namespace metal

#endif
