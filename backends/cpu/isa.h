/* SPDX-License-Identifier: MIT */
/*
 * The instruction sets that kernels were compiled for, and which of them this processor
 * has.
 */
#ifndef CPU_ISA_H
#define CPU_ISA_H

#include "cpu.h"

/* Compiled in and able to run here, best first; NULL past the end. */
const cpu_isa *cpu_isa_at(int i);

#endif
