/* SPDX-License-Identifier: MIT */
/*
 * The part of images built with AddressSanitizer that is not made from shaders: it
 * poisons the gaps between a kernel's threadgroup arrays, which lie in one piece of the
 * simulator's memory.
 */
#include "sim_abi.h"

const sim_services *metalsim_services;

void metalsim_bind(const sim_services *services);
void metalsim_memory(sim_view *v, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned count);
void metalsim_dispatch(const sim_call *call, const sim_entry *entry, int begins);
void __asan_poison_memory_region(void const volatile *p, unsigned long bytes);
void __asan_unpoison_memory_region(void const volatile *p, unsigned long bytes);

void metalsim_bind(const sim_services *services)
{
    metalsim_services = services;
}

void metalsim_memory(sim_view *view, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned count)
{
    (void)view;
    char *p = memory;
    __asan_unpoison_memory_region(p, bytes);
    __builtin_memset(p, 0xff, bytes);
    __asan_poison_memory_region(p, bytes + 64);
    for (unsigned i = 0; i < count; i++)
        __asan_unpoison_memory_region(p + array[i].offset, array[i].bytes);
}

void metalsim_dispatch(const sim_call *call, const sim_entry *entry, int begins)
{
    (void)call, (void)entry, (void)begins;
}
