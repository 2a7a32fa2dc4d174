/* SPDX-License-Identifier: MIT */
/*
 * The cpu backend as a plugin under another name, so that a mutated copy of it can be
 * judged beside the library's own, untouched one.
 */
#include "../../backends/cpu/backend_cpu.h"

__attribute__((visibility("default"))) const mnt_backend *mnt_backend_entry(void);

const mnt_backend *mnt_backend_entry(void)
{
    static mnt_backend table;
    table = cpu_backend;
    table.name = "mutant";
    return &table;
}
