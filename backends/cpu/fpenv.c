/* SPDX-License-Identifier: MIT */
/*
 * The floating-point environment of kernels. The compiler does not know that these
 * registers matter to arithmetic, so they are changed only here, in functions that are
 * never inlined into code that computes.
 */
#include "fpenv.h"

#if defined(__SSE2_MATH__)

#include <xmmintrin.h>

/* Flush to zero, all exceptions masked, denormals are zero, round to nearest. */
#define CPU_MXCSR 0x9fc0u

__attribute__((noinline)) void cpu_fpenv_enter(cpu_fpenv *saved)
{
    saved->control = _mm_getcsr();
    saved->status = 0; /* the flags are bits of the same register */
    _mm_setcsr(CPU_MXCSR);
}

__attribute__((noinline)) void cpu_fpenv_leave(const cpu_fpenv *saved)
{
    _mm_setcsr((unsigned)saved->control);
}

#elif defined(__aarch64__)

/* FZ: flush inputs and outputs; round to nearest, NaNs propagate, no traps. */
#define CPU_FPCR (UINT64_C(1) << 24)

__attribute__((noinline)) void cpu_fpenv_enter(cpu_fpenv *saved)
{
    uint64_t control, status;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control)::"memory");
    __asm__ volatile("mrs %0, fpsr" : "=r"(status)::"memory");
    saved->control = control;
    saved->status = status;
    __asm__ volatile("msr fpcr, %0" ::"r"(CPU_FPCR) : "memory");
}

__attribute__((noinline)) void cpu_fpenv_leave(const cpu_fpenv *saved)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(saved->control) : "memory");
    __asm__ volatile("msr fpsr, %0" ::"r"(saved->status) : "memory");
}

#else
#error "the cpu backend does not know how to flush subnormals on this processor"
#endif
