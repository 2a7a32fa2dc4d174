/* SPDX-License-Identifier: MIT */
/*
 * What the GPU backends share: from a command to dispatches of the kernels in shaders/.
 * Plain C that knows no GPU interface; metal and cuda turn a dispatch into their calls.
 *
 * A launcher says how one op is launched by one variant. prepare() asks the first that
 * accepts a command (fast ones stand first, "ref" last), and whose kernels the device
 * runs, to emit its dispatches; they run in that order, each seeing all that the ones
 * before wrote. Everything here is decided by shapes and arguments, once: a submission
 * only repeats the list.
 *
 * Grids have one dimension, in threadgroups, and so have threadgroups, in threads: no
 * axis of a tensor ever meets the limit of a grid axis.
 */
#ifndef GPU_H
#define GPU_H

#include <mnt/backend.h>

/* The entry points of shaders/, as GPU_KERNEL_relu, ... */
typedef enum gpu_kernel {
#define GPU_KERNEL(name, buffers, threads) GPU_KERNEL_##name,
#include "../../shaders/kernels.def"
#undef GPU_KERNEL
    GPU_KERNEL_COUNT
} gpu_kernel;

typedef struct gpu_kernel_row {
    const char *name; /* of the function in the library */
    int buffers;      /* bindings 0 .. buffers-1; the arguments are binding `buffers` */
    int threads;      /* a threadgroup; a kernel is written for exactly this many */
} gpu_kernel_row;
extern const gpu_kernel_row gpu_kernels[GPU_KERNEL_COUNT];

#define GPU_MAX_BUFFERS 10
#define GPU_ARGS_BYTES  384
#define GPU_MAX_GROUPS  0x7fffffffu

/* buffer NULL: the program's scratch memory. */
typedef struct gpu_binding {
    void *buffer;
    uint64_t offset; /* bytes */
} gpu_binding;

typedef struct gpu_dispatch {
    gpu_kernel kernel;
    uint32_t groups; /* threadgroups */
    int bound;       /* bindings set so far */
    gpu_binding buffer[GPU_MAX_BUFFERS];
    uint32_t args_bytes;
    _Alignas(8) unsigned char args[GPU_ARGS_BYTES];
} gpu_dispatch;

/* Collects the dispatches of a program. A failure (memory, too many groups) stays in it
 * and makes later calls do nothing. */
typedef struct gpu_emit gpu_emit;

/* A dispatch of `groups` threadgroups; 0 groups: nothing is emitted. NULL then and
 * after a failure; the functions below take NULL. */
gpu_dispatch *gpu_dispatch_add(gpu_emit *e, gpu_kernel kernel, uint64_t groups);
/* The next binding: an operand, at its offset. An operand that is absent (buffer NULL)
 * or has no elements binds scratch memory: the kernel must not look at it. */
void gpu_bind(gpu_dispatch *d, const mnt_operand *o);
/* The next binding: scratch memory from gpu_scratch(). */
void gpu_bind_scratch(gpu_dispatch *d, uint64_t offset);
/* The arguments, a struct of shaders/args.h. */
void gpu_args(gpu_dispatch *d, const void *args, size_t bytes);
/* Bytes of scratch memory, 256-byte aligned, for the command being emitted; what is in
 * it is garbage at first. Returns its offset. */
uint64_t gpu_scratch(gpu_emit *e, uint64_t bytes);

/* What some launchers need of a device beside threads. */
typedef enum gpu_need {
    GPU_ANY = 0,
    GPU_NEEDS_SIMD = 1,  /* simdgroup functions, simdgroups of GPU_SIMD_WIDTH threads */
    GPU_NEEDS_MATRIX = 2 /* matrices of a simdgroup, of as many threads */
} gpu_need;
#define GPU_SIMD_WIDTH 32

typedef struct gpu_launcher {
    mnt_op op;
    const char *name; /* the variant: "ref", "tile", ...; one that begins with "relaxed"
                         has other bits and runs only where force names it */
    /* Whether it can run the command, by shapes, strides and types alone (buffers and
     * offsets may not be set yet); NULL: any. */
    bool (*accepts)(const mnt_cmd *cmd);
    void (*launch)(gpu_emit *e, const mnt_cmd *cmd);
    /* Whether it is worth its name for a command that it accepts; NULL: always. Where
     * no launcher prefers a command, or it is forced, accepting is enough. */
    bool (*prefers)(const mnt_cmd *cmd);
    gpu_need need; /* a device without it has no such variant */
} gpu_launcher;

/* Lists of launchers by family, each ended by name NULL; fast families first, the
 * reference families, which together take any command of any op, last. */
extern const gpu_launcher *const gpu_launchers[];

/* ---- a prepared program ---- */
typedef struct gpu_cmd {
    int first, count; /* dispatches */
    char name[40];    /* the variant */
    int level;        /* 0, 1, ...: what waits for all commands of lower ones */
} gpu_cmd;

typedef struct gpu_program {
    gpu_dispatch *dispatches;
    int dispatch_count;
    gpu_cmd *cmds;
    mnt_cmd_timing *timing; /* a row a command */
    int *order;             /* the commands by rising level */
    int cmd_count, level_count;
    uint64_t scratch_bytes; /* at least 256 */
} gpu_program;

typedef struct gpu_fit {
    int threads;    /* the most of a threadgroup, 0 if none */
    int simd_width; /* threads of a simdgroup */
} gpu_fit;

typedef struct gpu_force {
    const char *all;              /* variant preferred where an op has it, or NULL */
    const char *op[MNT_OP_COUNT]; /* the op's only allowed variant, or NULL */
    char *text;                   /* what the names point into */
    /* Set by the backend once the device is open. */
    unsigned has; /* gpu_need */
    /* And where devices differ: what the device runs of a kernel; a failure was told to
     * host->fail(). A variant whose kernels do not fit is passed over. */
    void *device; /* NULL: every kernel runs */
    mnt_status (*fit)(void *device, gpu_kernel kernel, gpu_fit *out);
} gpu_force;

/* Parses "all=ref,matmul=tile". INVALID with a sentence that lists what is known;
 * `backend` begins it. */
mnt_status gpu_force_read(gpu_force *f, const mnt_host *host, const char *backend,
                          const char *text);
void gpu_force_free(gpu_force *f, const mnt_host *host);
/* The vtable's variant(): "all=ref", "matmul=tile", ... of what the device has; in buf. */
const char *gpu_variant(const gpu_force *f, int i, char *buf, size_t size);

/* The launchers that may run the command, the best first; NULL past the last. */
const gpu_launcher *gpu_candidate(const gpu_force *f, const mnt_cmd *cmd, int i);
/* Whether some launcher takes the command; if not because of the device's limits, host
 * was told. */
bool gpu_supports(const gpu_force *f, const mnt_host *host, const mnt_cmd *cmd);
/* Fills order, level_count and the commands' levels. False without memory. */
bool gpu_levels(gpu_program *p, const mnt_host *host, const mnt_program *program);
/* UNSUPPORTED, NO_MEMORY or LIMIT with a sentence. */
mnt_status gpu_program_create(gpu_program **out, const gpu_force *f,
                              const mnt_host *host, const char *backend,
                              const mnt_program *program);
void gpu_program_destroy(gpu_program *p, const mnt_host *host);

/* ---- submission ---- */
typedef struct gpu_span {
    uint64_t start_ns, ns;
} gpu_span;

/* What a backend adds to gpu_submit(); both may wait. */
typedef struct gpu_replay {
    const mnt_host *host;
    gpu_program *program;
    void *ctx, *prepared; /* handed on */
    /* Queues some replays, at most `left`, and adds their number to *done. */
    mnt_status (*piece)(void *ctx, void *prepared, int64_t left, int64_t *done);
    /* Runs one command, which has dispatches, alone and to its end. span->ns becomes
     * device time; start_ns is the host's clock unless the device's is known. */
    mnt_status (*timed)(void *ctx, void *prepared, int cmd, gpu_span *span);
} gpu_replay;

/* The vtable's submit(). */
mnt_status gpu_submit(const gpu_replay *r, bool profile, int64_t n, int64_t *done);
/* The vtable's timing(). */
void gpu_timing(gpu_program *p, mnt_cmd_timing *rows, int count);
void gpu_timing_forget(gpu_program *p);

#endif
