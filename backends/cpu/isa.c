/* SPDX-License-Identifier: MIT */
/*
 * Which instruction sets can be used: the build says which are compiled in
 * (CPU_X86, CPU_ARM), the processor and the system say which can run.
 */
#include "isa.h"

#if defined(CPU_X86)
#include <cpuid.h>

static bool has_avx2(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C))
        return false;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

static bool always(void)
{
    return true;
}

static const struct {
    const cpu_isa *isa;
    bool (*runs)(void);
} compiled[] = {
#if defined(CPU_X86)
    { &cpu_isa_avx512, has_avx512 },
    { &cpu_isa_avx2, has_avx2 },
#elif defined(CPU_ARM)
    { &cpu_isa_neon, always },
#endif
    { &cpu_isa_generic, always },
};

const cpu_isa *cpu_isa_at(int i)
{
    for (size_t k = 0; k < sizeof compiled / sizeof compiled[0]; k++)
        if (compiled[k].runs() && i-- == 0)
            return compiled[k].isa;
    return NULL;
}
