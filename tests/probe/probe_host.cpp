/* SPDX-License-Identifier: MIT */
/*
 * The probe on a CPU: the kernels of probe.metal compiled as C++ and run thread by
 * thread, with subnormals flushed as the library does.
 */
#ifndef PROBE_AS_C
#define __METAL_VERSION__ 0
#else
#define kernel
#define device
#define constant const
#define thread
typedef unsigned int uint;
#endif
#include "probe.metal"

#include "probe.h"

#if defined(__x86_64__)
static void flush_subnormals()
{
    unsigned csr;
    __asm__ volatile("stmxcsr %0" : "=m"(csr));
    csr |= 0x8040u;
    __asm__ volatile("ldmxcsr %0" : : "m"(csr));
}
#elif defined(__aarch64__)
static void flush_subnormals()
{
    unsigned long fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    fpcr |= 1ul << 24;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#endif

extern "C" const char *probe_open(const char **)
{
    flush_subnormals();
#if defined(__aarch64__)
    return "aarch64";
#elif defined(__FMA__)
    return "x86-64, fma";
#else
    return "x86-64, no fma";
#endif
}

typedef void (*kernel_function)(const uint32_t *, uint32_t *, const uint32_t &, uint);

extern "C" int probe_run(enum probe_kernel id, const uint32_t *in, size_t,
                         uint32_t *out, size_t, uint32_t n, uint32_t threads)
{
    static const kernel_function functions[] = {
#define FUNCTION(name) name,
        PROBE_KERNELS(FUNCTION)
#undef FUNCTION
    };
    for (uint32_t i = 0; i < threads; i++)
        functions[id](in, out, n, i);
    return 0;
}
