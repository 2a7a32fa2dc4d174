/* SPDX-License-Identifier: MIT */
/*
 * Inside the cpu backend: the contract between the driver (cpu.c, pool.c) and the
 * kernels.
 *
 * A kernel works on a job: one prepared command. A job has phases with a barrier
 * between them; a phase has units of work, numbered from 0, whose count depends on the
 * problem alone and never on the number of threads. run() is handed a range of units.
 * Which thread runs which unit never changes a result.
 *
 * Kernels are compiled once an instruction set (generic, avx2, avx512, neon):
 * everything they export is named through CPU_NAME().
 */
#ifndef CPU_H
#define CPU_H

#include <mnt/backend.h>

#define CPU_CAT2(a, b) a##_##b
#define CPU_CAT(a, b)  CPU_CAT2(a, b)
#define CPU_NAME(name) CPU_CAT(name, CPU_ISA)

#define CPU_MAX_PHASES 4
#define CPU_ALIGN      64

typedef struct cpu_job {
    const mnt_cmd *cmd;
    const void *in[MNT_MAX_IN]; /* element 0 of each operand, NULL if absent */
    void *out[MNT_MAX_OUT];

    /* Set by plan(). */
    int phases;
    int64_t units[CPU_MAX_PHASES];
    size_t shared_bytes; /* scratch all threads of the job see; contents are garbage */
    size_t local_bytes;  /* scratch of each thread */
    size_t cache_bytes;  /* memory of the job's own that lives as long as the program */
    int cache_input; /* index of the parameter that the cache is made from; the driver
                        sets cache_stale when that parameter may have changed */

    /* Set by the driver. */
    char *shared;
    char *cache;
    bool cache_stale;
    int64_t i[24]; /* plan()'s own numbers: tile counts and the like */
} cpu_job;

typedef struct cpu_kernel {
    mnt_op op;
    const char *name; /* "ref", "packed", "direct", ... */
    /* Whether this kernel can run the command; NULL: whatever the op allows. */
    bool (*accepts)(const mnt_cmd *cmd);
    /* Fills phases, units and scratch sizes. */
    void (*plan)(cpu_job *job);
    /* Units [begin, end) of a phase. `local` is this thread's scratch. */
    void (*run)(const cpu_job *job, int phase, int64_t begin, int64_t end, char *local);
} cpu_kernel;

/* A list of kernels, ended by one with name NULL; better ones first. */
typedef const cpu_kernel *cpu_kernel_list;

/* One instruction set: its kernel lists, ended by NULL, in order of preference. */
typedef struct cpu_isa {
    const char *name;
    const cpu_kernel_list *lists;
} cpu_isa;

extern const cpu_isa cpu_isa_generic, cpu_isa_avx2, cpu_isa_avx512, cpu_isa_neon;

/* For kernels that need no plan beyond a number of units in one phase. */
static inline void cpu_plan_units(cpu_job *job, int64_t units)
{
    job->phases = 1;
    job->units[0] = units;
}

#endif
