/* SPDX-License-Identifier: MIT */
/*
 * Inside the cpu driver: contexts and prepared programs.
 *
 * A program is a list of jobs (one a command) and a list of stages. A stage is a set of
 * (job, phase) pairs, its tasks, that do not depend on each other: one parallel loop of
 * the pool. Stages run in order.
 */
#ifndef CPU_DRIVER_H
#define CPU_DRIVER_H

#include "cpu.h"
#include "pool.h"

#define CPU_TEXT 480 /* of a failure's sentence */

/* The parsed `force` string. Names point into `text`. */
typedef struct cpu_force {
    char *text;
    const char *isa;              /* NULL: the best */
    const char *all;              /* variant preferred where an op has it, or NULL */
    const char *op[MNT_OP_COUNT]; /* the op's only allowed variant, or NULL */
} cpu_force;

typedef struct cpu_context {
    const mnt_host *host;
    const cpu_isa *isa;
    cpu_pool *pool;
    cpu_force force;
    bool profile;
    /* Scratch of all programs; grows in prepare(). */
    char *shared, *local;
    size_t shared_bytes, local_bytes; /* local: of each thread */
    char name[96], detail[64];
    char variant[96]; /* the last answer of variant() */
    uint64_t memory_bytes;
} cpu_context;

/* A command with its kernel. */
typedef struct cpu_unit {
    cpu_job job;
    const cpu_kernel *kernel;
    size_t shared_at;        /* offset of the job's shared scratch */
    const uint64_t *version; /* of the parameter its cache is made from */
    uint64_t cached_version;
    bool cached;       /* the cache was built from cached_version */
    bool self_written; /* the program itself writes that parameter */
    char name[40];
    mnt_cmd_timing timing;
} cpu_unit;

typedef struct cpu_task {
    int unit, phase, chunks;
} cpu_task;

typedef struct cpu_stage {
    int first, last; /* tasks [first, last) */
    int chunks;      /* of all of them */
} cpu_stage;

typedef struct cpu_program {
    cpu_context *ctx;
    cpu_unit *units;
    int count;
    cpu_task *tasks;
    int task_count;
    cpu_stage *stages;
    int stage_count;
    char *shared; /* ctx->shared when the jobs' pointers were set */
    uint64_t step_ns;
} cpu_program;

/* force.c: parses config->force into ctx->force and sets ctx->isa. */
mnt_status cpu_force_read(cpu_context *ctx, const char *text);
/* The vtable's variant(). */
const char *cpu_variant(void *ctx, int i);

/* prepare.c */

/* The kernel for a command: the first that accepts it, or the forced one. NULL if none;
 * *forced then names the variant that was asked for, if one was. */
const cpu_kernel *cpu_choose(const cpu_context *ctx, const mnt_cmd *cmd,
                             const char **forced);
mnt_status cpu_prepare(void *ctx, const mnt_program *program, void **prepared);
void cpu_discard(void *ctx, void *prepared);

/* submit.c */
mnt_status cpu_submit(void *ctx, void *prepared, int64_t n, int64_t *done);

#endif
