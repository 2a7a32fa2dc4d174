/* SPDX-License-Identifier: MIT */
/*
 * The floating-point environment of kernels: round to nearest even, subnormals flushed
 * on input and output, no traps (numerics A and B).
 */
#ifndef CPU_FPENV_H
#define CPU_FPENV_H

#include <stdint.h>

typedef struct cpu_fpenv {
    uint64_t control, status;
} cpu_fpenv;

/* Stores the caller's environment and sets the kernels'. */
void cpu_fpenv_enter(cpu_fpenv *saved);
/* Restores it, sticky flags included. */
void cpu_fpenv_leave(const cpu_fpenv *saved);

#endif
