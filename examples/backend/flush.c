/* SPDX-License-Identifier: MIT */
/*
 * Subnormals are zeros in every kernel (docs/numerics.md, B1), so the processor is told
 * so around them. The compiler does not know that this register matters to arithmetic:
 * it is changed in functions of a file of their own, which are never inlined. A backend
 * has to see to it itself; the library does not touch the register.
 */
#include "plain.h"

#if defined(__SSE2_MATH__)

#include <xmmintrin.h>

/* Flush to zero, denormals are zero, exceptions masked, round to nearest. */
#define KERNEL_MXCSR 0x9fc0u

void plain_mode_enter(plain_mode *saved)
{
    saved->control = _mm_getcsr();
    saved->status = 0; /* the flags are bits of the same register */
    _mm_setcsr(KERNEL_MXCSR);
}

void plain_mode_leave(const plain_mode *saved)
{
    _mm_setcsr((unsigned)saved->control);
}

#elif defined(__aarch64__)

#define KERNEL_FPCR (UINT64_C(1) << 24) /* FZ; round to nearest, no traps */

void plain_mode_enter(plain_mode *saved)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved->control)::"memory");
    __asm__ volatile("mrs %0, fpsr" : "=r"(saved->status)::"memory");
    __asm__ volatile("msr fpcr, %0" ::"r"(KERNEL_FPCR) : "memory");
}

void plain_mode_leave(const plain_mode *saved)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(saved->control) : "memory");
    __asm__ volatile("msr fpsr, %0" ::"r"(saved->status) : "memory");
}

#else
#error "tell this file how the processor flushes subnormals"
#endif
