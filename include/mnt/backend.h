/* SPDX-License-Identifier: MIT */
/*
 * The interface between libmnt and a backend: what a command is, and the vtable. For
 * backend authors, in the tree or outside; programs that use networks need mnt.h only.
 * docs/backends.md is the guide.
 *
 * A backend receives a program (an array of commands with memory already planned),
 * prepares it once and replays it. It never sees graphs, gradients or models.
 */
#ifndef MNT_BACKEND_H
#define MNT_BACKEND_H

#include <mnt/base.h>
#include <mnt/device.h>
#include <mnt/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MNT_BACKEND_ABI 1

#define MNT_OP_STRIDED 1u /* operands may have any strides */
#define MNT_OP_INPLACE 2u /* some outputs are inputs too */
#define MNT_OP_FUSED   4u /* substituted by the planner where supports() says yes */

typedef enum mnt_op {
#define MNT_OP(name, n_in, n_out, args, flags) MNT_OP_ID_##name,
#include <mnt/ops.def>
#undef MNT_OP
    MNT_OP_COUNT
} mnt_op;

/* "matmul", ...; "?" outside the list. Static. */
MNT_API const char *mnt_op_name(mnt_op op);
/* MNT_OP_STRIDED | ... of an op. */
MNT_API unsigned mnt_op_flags(mnt_op op);
MNT_API int mnt_op_inputs(mnt_op op);
MNT_API int mnt_op_outputs(mnt_op op);

/* ---- arguments: fixed when recorded; nothing here changes from replay to replay ----
 */

typedef struct mnt_args_none {
    int unused;
} mnt_args_none;

/* y = op(a) op(b) in chunks of `chunk` along K (numerics C2, C3); chunk >= 1. */
typedef struct mnt_args_matmul {
    bool ta, tb;
    bool relu; /* dense only */
    int64_t chunk;
} mnt_args_matmul;

typedef struct mnt_args_scale {
    float value;
} mnt_args_scale;

/* Axes [axis, axis + count) of x are reduced, in row-major order. */
typedef struct mnt_args_reduce {
    int axis, count;
} mnt_args_reduce;

typedef struct mnt_args_window {
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
} mnt_args_window;

typedef struct mnt_args_conv {
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
    int64_t chunk; /* conv2d: input channels a chunk; conv2d_dx: output channels */
} mnt_args_conv;

/* conv2d_block and the conv2d_pool_ ops. pool.kernel_h 0: no pooling. */
typedef struct mnt_args_block {
    mnt_args_conv conv;
    mnt_args_window pool;
    bool relu;
} mnt_args_block;

typedef struct mnt_args_cast {
    bool unit; /* u8 -> f32 as x / 255 */
} mnt_args_cast;

typedef struct mnt_args_random {
    uint64_t seed;
    uint32_t stream;
    float a, b; /* uniform: lo, hi; normal: mean, std */
} mnt_args_random;

typedef struct mnt_args_optim {
    bool adam, nesterov, decoupled;
    float lr, momentum, beta1, beta2, eps, weight_decay;
    mnt_schedule schedule;
} mnt_args_optim;

typedef union mnt_args {
    mnt_args_none none;
    mnt_args_matmul matmul;
    mnt_args_scale scale;
    mnt_args_reduce reduce;
    mnt_args_window window;
    mnt_args_conv conv;
    mnt_args_block block;
    mnt_args_cast cast;
    mnt_args_random random;
    mnt_args_optim optim;
} mnt_args;

/* ---- commands ---- */

#define MNT_MAX_IN  6
#define MNT_MAX_OUT 3

/* Where an operand lies and how it is shaped. Strides in elements, >= 0; offsets and
 * strides may exceed 32 bits, and an offset is a multiple of the element's size only. */
typedef struct mnt_operand {
    void *buffer;    /* as the backend's alloc() returned it; NULL: operand absent */
    uint64_t offset; /* bytes from the buffer's start to element 0 */
    mnt_dtype dtype;
    int ndim;
    int64_t dim[MNT_MAX_DIMS];
    int64_t stride[MNT_MAX_DIMS];
    const uint64_t *version; /* of a parameter: changes whenever its values may have
                                changed between submissions; NULL otherwise */
} mnt_operand;

typedef struct mnt_cmd {
    mnt_op op;
    uint32_t id;    /* position in the program; goes into the fault word */
    uint32_t level; /* commands of one level do not depend on each other */
    mnt_operand in[MNT_MAX_IN];
    mnt_operand out[MNT_MAX_OUT];
    mnt_args args;
    const char *label; /* the output's name or "" */
} mnt_cmd;

/*
 * The fault word, u32[4]: all zero, or { kind, command id, row, value }. A command that
 * meets an invalid row writes it if it is still zero, naming the lowest such row. sgd,
 * adam and optimizer_step change nothing while it is not zero.
 */
typedef enum mnt_fault {
    MNT_FAULT_NONE = 0,
    MNT_FAULT_LABEL = 1, /* cross_entropy: label outside [0, C) */
    MNT_FAULT_INDEX = 2  /* gather: index outside [0, rows) */
} mnt_fault;

/*
 * Words of the optimizer state, u32[16]; F: the bits of an f32. optimizer_step advances
 * STEP and sets the others for the commands after it:
 *   lr = args.lr * factor(step), step before the increment; P1 *= beta1; P2 *= beta2;
 *   A = lr / (1 - P1); R = 1 / sqrt(1 - P2).
 * factor between points i and i+1: fma(f[i+1] - f[i], t, f[i]),
 *   t = (float)(step - s[i]) / (float)(s[i+1] - s[i]).
 */
enum {
    MNT_STATE_STEP_LO = 0,
    MNT_STATE_STEP_HI = 1,
    MNT_STATE_P1 = 2,
    MNT_STATE_P2 = 3,
    MNT_STATE_LR = 4,
    MNT_STATE_A = 5,
    MNT_STATE_R = 6,
    MNT_STATE_WORDS = 16
};

/* Commands in an order that respects every dependency. Belongs to the caller and stays
 * until discard(). */
typedef struct mnt_program {
    size_t size;
    const mnt_cmd *cmds;
    int count;
} mnt_program;

/* What the library offers to a backend. Valid from open() to close(). */
typedef struct mnt_host {
    size_t size;
    void *self;
    void *(*alloc)(void *self, size_t bytes); /* zeroed; NULL on failure, which the call
                                                 answers with NO_MEMORY */
    void (*free)(void *self, void *p);
    void (*log)(void *self, mnt_log_level level, const char *text);
    /* Stores the sentence for mnt_last_error() and returns `status`. */
    mnt_status (*fail)(void *self, mnt_status status, const char *sentence);
    /* True once after mnt_device_interrupt(): stop at this step boundary. submit() asks
     * before its first step and then as often as it likes. */
    bool (*interrupted)(void *self);
} mnt_host;

typedef struct mnt_backend_config {
    size_t size;
    int index;
    int threads;
    const char *force; /* "op=variant,..." or "" */
    const mnt_host *host;
} mnt_backend_config;

typedef struct mnt_backend_info {
    size_t size;
    const char *name; /* of the device; belongs to the context */
    const char *detail;
    int threads;
    uint64_t memory_bytes;
} mnt_backend_info;

/* All zero but kernel until profile() is turned on. */
typedef struct mnt_cmd_timing {
    const char *kernel; /* the variant chosen by prepare(); belongs to the program */
    int64_t calls;
    uint64_t total_ns, min_ns, max_ns; /* device time */
    uint64_t wall_ns;
    uint64_t last_start_ns, last_ns;
} mnt_cmd_timing;

/*
 * The vtable. All pointers are required. Version rule: fields are only appended; `abi`
 * changes when one changes meaning. Calls on one context come from one thread at a
 * time, except that host->interrupted may turn true at any moment. A call that fails
 * tells host->fail() one sentence and leaves nothing behind. The caller's floating-point
 * environment is the same after each call, and whatever it is, bits are the same.
 */
typedef struct mnt_backend {
    size_t size;
    uint32_t abi;     /* MNT_BACKEND_ABI */
    const char *name; /* lower case, no spaces */

    /* How many devices there are; 0 when the backend cannot run here. */
    int (*devices)(void);
    /* NOT_FOUND for an index outside [0, devices()); INVALID, naming the word, for a
     * `force` that is malformed or has an unknown op or variant. */
    mnt_status (*open)(const mnt_backend_config *config, void **ctx);
    void (*close)(void *ctx);
    void (*info)(void *ctx, mnt_backend_info *out);

    /* Memory. alloc gives zeroed memory; 0 bytes are allowed. write and read are ordered
     * after what was submitted, at any byte offset; read waits. release may come while
     * work is queued: it takes effect after. */
    mnt_status (*alloc)(void *ctx, uint64_t bytes, void **buffer);
    void (*release)(void *ctx, void *buffer);
    mnt_status (*write)(void *ctx, void *buffer, uint64_t offset, const void *data,
                        uint64_t bytes);
    mnt_status (*read)(void *ctx, void *buffer, uint64_t offset, void *data,
                       uint64_t bytes);

    /* Whether prepare() would take this command (buffers and offsets are not yet set).
     * No for whatever mnt_cmd_valid() denies: an op of a newer library, say. Where the
     * answer is no, host->fail() may be told why. */
    bool (*supports)(void *ctx, const mnt_cmd *cmd);
    /* UNSUPPORTED, with a sentence, for a command it lacks or a forced variant that
     * cannot run it. */
    mnt_status (*prepare)(void *ctx, const mnt_program *program, void **prepared);
    /* Queues n replays. *done: replays finished or queued; less than n only with
     * MNT_INTERRUPTED or a failure. */
    mnt_status (*submit)(void *ctx, void *prepared, int64_t n, int64_t *done);
    /* May come while replays are queued: they are finished. */
    void (*discard)(void *ctx, void *prepared);
    mnt_status (*wait)(void *ctx);

    /* Timing on or off for what is submitted from here on; one row a command.
     * timing(NULL rows) forgets. */
    void (*profile)(void *ctx, bool on);
    mnt_status (*timing)(void *ctx, void *prepared, mnt_cmd_timing *rows, int count);

    /* The i-th choice that `force` admits on this context, or NULL past the last:
     * "matmul=packed" for each variant of an op, where mnt_cmd_timing.kernel is that
     * variant or begins with it and a dot ("packed.avx2"); other names ("isa=avx2")
     * choose for the whole device. A variant whose name begins with "relaxed" gives up the
     * bits that others share (numerics G) and runs only where it is forced by name. Valid
     * until the next call on the context. */
    const char *(*variant)(void *ctx, int i);
} mnt_backend;

/*
 * Adds a backend to the process's registry, behind those already there. Thread-safe.
 * Errors (sentence in mnt_last_error(NULL)): ABI for another version or a smaller
 * table; INVALID for a NULL slot (named), a bad or a taken name; LIMIT when the
 * registry is full. Ownership: the table must stay valid for the life of the process.
 */
MNT_API MNT_CHECK mnt_status mnt_backend_register(const mnt_backend *backend);
/* Loads a shared object and registers the table that its function
 * `const mnt_backend *mnt_backend_entry(void)` returns. Errors: also NOT_FOUND, IO. */
MNT_API MNT_CHECK mnt_status mnt_backend_load(const char *path);

/* The table registered under a name, for programs that judge backends; NULL if none. */
MNT_API const mnt_backend *mnt_backend_find(const char *name);

/* Elements of an operand; bytes of the memory it spans. */
MNT_API int64_t mnt_operand_count(const mnt_operand *o);
/* True if the operand is row-major without gaps. */
MNT_API bool mnt_operand_contiguous(const mnt_operand *o);
/* Whether op, data types and ranks are those of a row of ops.def, no dim or stride is
 * negative, and each operand's elements and bytes can be counted in an int64_t. Whether
 * the dims fit together is not looked at. Commands of this library are valid; supports()
 * begins by asking. */
MNT_API bool mnt_cmd_valid(const mnt_cmd *cmd);

#ifdef __cplusplus
}
#endif
#endif
