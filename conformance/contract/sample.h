/* SPDX-License-Identifier: MIT */
/*
 * A plausible command of every row of ops.def, with data: for checks that need commands
 * that any backend should take. And patches: the pieces of a buffer around a command's
 * operands, so that a result is compared together with the memory that must not change,
 * even where operands lie gigabytes apart.
 */
#ifndef CONTRACT_SAMPLE_H
#define CONTRACT_SAMPLE_H

#include "rig.h"

#define SAMPLE_OPERANDS (MNT_MAX_IN + MNT_MAX_OUT)

/* Operands 0 .. MNT_MAX_IN - 1 are inputs, the others outputs. */
typedef struct sample {
    mnt_cmd cmd; /* operands row-major, buffers not set */
    bool there[SAMPLE_OPERANDS];
    int same[SAMPLE_OPERANDS]; /* of an output: the input it updates, or -1 */
    void *data[MNT_MAX_IN];    /* of the inputs, row-major */
    void *want[MNT_MAX_OUT];   /* what the reference kernels make of them */
} sample;

/* The i-th sample of an op; false past the last. */
bool sample_make(sample *s, mnt_op op, int i);
/* Another command with the same dtypes and its args, the operands of these shapes: for
 * strided rows. */
void sample_reshape(sample *s, const mnt_shape shape[SAMPLE_OPERANDS]);
/* Fills s->want by the reference kernels of the cpu backend. */
void sample_expect(rig *r, sample *s);
void sample_free(sample *s);
mnt_operand *sample_operand(mnt_cmd *cmd, int i);
/* "in 0" or "out 1" */
const char *sample_name(char buf[8], int i);

/* Sets buffer and offset of every operand, side by side from *at on with `gap` bytes
 * between them, `shift` elements behind a multiple of 64 bytes; *at moves on. */
void sample_pack(sample *s, void *buffer, uint64_t *at, uint64_t gap, int shift);
/* Submits `program`, which is the sample's command as placed, `replays` times (1 where it
 * updates in place) on memory full of the byte `poison`, and compares outputs and all
 * memory around. */
void sample_run(rig *r, const sample *s, void *program, const char *where,
                unsigned char poison, int replays);
/* The same with a program of its own. */
void sample_check(rig *r, const sample *s, const char *where, unsigned char poison,
                  int replays);
/* Whether the backend takes the sample as placed; a refusal without a sentence, or one
 * that prepare() does not share, is a failure. */
bool sample_taken(rig *r, const sample *s);

/* ---- patches ---- */

typedef struct patch_window {
    uint64_t offset, bytes;
    unsigned char *image;
} patch_window;

typedef struct patch {
    patch_window *windows; /* sorted, apart from each other after patch_close() */
    int count, capacity;
    uint64_t limit; /* the buffer's size */
} patch;

void patch_add(patch *p, uint64_t offset, uint64_t bytes);
/* Every element of an operand with `margin` bytes on both sides. */
void patch_add_operand(patch *p, const mnt_operand *o, uint64_t margin);
/* The places where indices of 32 bits would have landed instead. */
void patch_add_wrapped(patch *p, const mnt_operand *o);
/* Sorts and joins; images are full of `poison`. */
void patch_close(patch *p, unsigned char poison);
/* Where a byte of the buffer has its image; the window must hold n bytes. */
unsigned char *patch_at(const patch *p, uint64_t offset, uint64_t n);
/* Row-major data into, or out of, the images of a strided operand. */
void patch_put(patch *p, const mnt_operand *o, const void *data);
void patch_get(const patch *p, const mnt_operand *o, void *data);
void patch_write(rig *r, const patch *p, void *buffer);
/* Reads into the images. */
void patch_read(rig *r, patch *p, void *buffer);
patch patch_copy(const patch *p);
void patch_free(patch *p);

#endif
