/* SPDX-License-Identifier: MIT */
/*
 * The control word of x86 (MXCSR) and of 64-bit ARM (FPCR); elsewhere what <fenv.h>
 * can tell, the rounding direction.
 */
#include "env.h"

#if defined(__SSE2_MATH__)

#include <xmmintrin.h>

#define CONTROL 0xffc0u /* the bits below are sticky flags */

uint64_t env_control(void)
{
    return _mm_getcsr() & CONTROL;
}

void env_set(uint64_t control)
{
    _mm_setcsr((unsigned)control);
}

const env_setting env_settings[] = { { "rounding to nearest", 0x1f80 },
                                     { "rounding down", 0x3f80 },
                                     { "rounding up", 0x5f80 },
                                     { "subnormals flushed", 0x9fc0 },
                                     { 0 } };

#elif defined(__aarch64__)

uint64_t env_control(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
}

void env_set(uint64_t control)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(control));
}

const env_setting env_settings[] = { { "rounding to nearest", 0 },
                                     { "rounding up", UINT64_C(1) << 22 },
                                     { "rounding down", UINT64_C(2) << 22 },
                                     { "subnormals flushed", UINT64_C(1) << 24 },
                                     { 0 } };

#else

#include <fenv.h>

uint64_t env_control(void)
{
    return (uint64_t)fegetround();
}

void env_set(uint64_t control)
{
    fesetround((int)control);
}

const env_setting env_settings[] = { { "rounding to nearest", FE_TONEAREST },
                                     { "rounding down", FE_DOWNWARD },
                                     { 0 } };

#endif
