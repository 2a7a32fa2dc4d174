/* SPDX-License-Identifier: MIT */
/*
 * Inside the backend "plain": what its files share. A kernel is a function over one
 * command whose operands have become pointers; plain_kernels[] finds it by op, and a
 * NULL there is an op that the backend lacks. Numbers in comments (C2, D1) are rules of
 * docs/numerics.md.
 */
#ifndef PLAIN_H
#define PLAIN_H

#include <mnt/backend.h>

typedef struct plain_job {
    const mnt_cmd *cmd;
    const void *in[MNT_MAX_IN]; /* element 0 of each operand, NULL if absent */
    void *out[MNT_MAX_OUT];
    mnt_cmd_timing timing;
} plain_job;

typedef void (*plain_kernel)(const plain_job *job);

/* kernels_data.c, kernels_math.c and kernels_train.c: what is not in one is NULL. */
extern const plain_kernel plain_data[MNT_OP_COUNT];
extern const plain_kernel plain_math[MNT_OP_COUNT];
extern const plain_kernel plain_train[MNT_OP_COUNT];

/* rows.c: why a command of an op that has a kernel cannot run; NULL if it can. */
const char *plain_obstacle(const mnt_cmd *cmd, unsigned flags);

/* Whether there is a conversion between two types (cast, gather, fill). */
bool plain_converts(mnt_dtype from, mnt_dtype to);

/* Floating point as kernels need it (flush.c), and the caller's again. */
typedef struct plain_mode {
    uint64_t control, status;
} plain_mode;
void plain_mode_enter(plain_mode *saved);
void plain_mode_leave(const plain_mode *saved);

/* Product of dims [first, end) of an operand. */
static inline int64_t plain_dims(const mnt_operand *o, int first, int end)
{
    int64_t n = 1;
    for (int d = first; d < end; d++)
        n *= o->dim[d];
    return n;
}

static inline int64_t plain_count(const mnt_operand *o)
{
    return plain_dims(o, 0, o->ndim);
}

/* Offset of the i-th element, counted row-major over `ndim` dims, in elements. */
static inline int64_t plain_walk(const int64_t *dim, const int64_t *stride, int ndim,
                                 int64_t i)
{
    int64_t at = 0;
    for (int d = ndim - 1; d >= 0; d--) {
        at += i % dim[d] * stride[d];
        i /= dim[d];
    }
    return at;
}

static inline int64_t plain_at(const mnt_operand *o, int64_t i)
{
    return plain_walk(o->dim, o->stride, o->ndim, i);
}

/* The last dim is a row of the losses and of softmax. */
static inline int64_t plain_width(const mnt_operand *o)
{
    return o->ndim > 0 ? o->dim[o->ndim - 1] : 1;
}

static inline int64_t plain_rows(const mnt_operand *o)
{
    return plain_dims(o, 0, o->ndim - 1);
}

/* The fault word: the lowest bad row, and only if nobody came before. */
static inline void plain_fault(const plain_job *job, uint32_t *fault, mnt_fault kind,
                               int64_t row, int32_t value)
{
    if (!fault || fault[0] != MNT_FAULT_NONE)
        return;
    fault[1] = job->cmd->id;
    fault[2] = (uint32_t)row;
    fault[3] = (uint32_t)value;
    fault[0] = (uint32_t)kind;
}

#endif
