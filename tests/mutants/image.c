/* SPDX-License-Identifier: MIT */
/*
 * The library of an image of mutated shaders: the kernels of the mutated families, and
 * before the simulator looks, behind them those of the whole unmutated image. The first
 * of a name is found first.
 */
#include "sim_abi.h"

#define MOST 512

extern const sim_library mnt_sim_mutated, mnt_sim_base;
extern sim_library mnt_sim_library;

__attribute__((visibility("default"))) sim_library mnt_sim_library;
static sim_entry entries[MOST];

__attribute__((constructor)) static void join(void)
{
    const sim_library *const parts[] = { &mnt_sim_mutated, &mnt_sim_base };
    mnt_sim_library = mnt_sim_base;
    mnt_sim_library.entry = entries;
    mnt_sim_library.entries = 0;
    for (int part = 0; part < 2; part++)
        for (unsigned i = 0; i < parts[part]->entries; i++)
            if (mnt_sim_library.entries < MOST)
                entries[mnt_sim_library.entries++] = parts[part]->entry[i];
}
