/* SPDX-License-Identifier: MIT */
/*
 * The rig: a backend's context driven by hand, below libmnt. It owns a host that counts
 * memory and watches it for a while after it was freed, keeps the last sentence, and can
 * be told to run out of memory or to interrupt.
 *
 * One idea to read the checks: a rig is sticky. The first failure is written into the
 * check's text; every later call on the rig does nothing. So a check is a straight line
 * of calls, and rig_end() gives the outcome after looking for leaks.
 */
#ifndef CONTRACT_RIG_H
#define CONTRACT_RIG_H

#include "../kit/base.h"
#include "contract.h"

#include <mnt/backend.h>

#include <stdatomic.h>

#define RIG_THINGS 256 /* buffers, and programs, of one rig */

#define RIG_HELD 128 /* freed blocks that are watched */

typedef struct rig_host {
    mnt_host host;
    atomic_flag lock; /* of held */
    struct {
        unsigned char *p;
        size_t bytes;
    } held[RIG_HELD];
    unsigned frees;
    size_t written_after_free; /* the size of such a block; 0: none */
    atomic_long alive;         /* allocations not yet freed */
    atomic_long calls;         /* of alloc */
    atomic_long fail_at;       /* the call that gets NULL; 0: none */
    atomic_long polls;         /* of interrupted */
    atomic_long stop_at;       /* the poll that says true; 0: none */
    int fails;                 /* sentences stored */
    mnt_status status;         /* with the last one */
    char sentence[512];
} rig_host;

typedef struct rig {
    const contract_subject *subject;
    const mnt_backend *b;
    void *ctx; /* NULL: not open */
    rig_host host;
    contract_outcome outcome;
    char *text;
    size_t size;
    const char *force; /* what the context was opened with */
    void *buffers[RIG_THINGS], *programs[RIG_THINGS];
    int buffer_count, program_count;
} rig;

/* ---- the host: host.c ---- */

void rig_host_init(rig_host *h);
/* Lets go of all that is watched. */
void rig_host_flush(rig_host *h);

/* ---- life ---- */

/* A rig without a context. */
void rig_begin(rig *r, const contract_subject *s, char *text, size_t size);
/* Opens its context; force NULL: the subject's. */
void rig_open(rig *r, const char *force);
/* The same through a config of the caller's own; *ctx as open() left it. */
mnt_status rig_try_open(rig *r, int index, int threads, const char *force, void **ctx);
/* Gives everything back, closes, and looks for host memory that was not freed. */
contract_outcome rig_end(rig *r);
/* begin, open, body, end. */
contract_outcome rig_run(const contract_subject *s, char *text, size_t size,
                         void (*body)(rig *r));
/* begin, body, end: the body opens by itself. */
contract_outcome rig_run_closed(const contract_subject *s, char *text, size_t size,
                                void (*body)(rig *r));
/* Closes the context but not the rig, so that it can be opened again. */
void rig_close(rig *r);

/* A second rig beside r, on the reference kernels of the cpu backend. What fails in it
 * fails in r: end it with rig_join(). */
void rig_reference(rig *ref, rig *r);
/* A second rig beside r on the same device. */
void rig_twin(rig *twin, rig *r);
void rig_join(rig *r, rig *other);

/* ---- verdicts ---- */

bool rig_stopped(const rig *r);
/* Records the first failure; false. */
bool rig_fail(rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool rig_skip(rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A failure unless `ok`. */
bool rig_expect(rig *r, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A failure unless the call succeeded. */
bool rig_ok(rig *r, mnt_status status, const char *call);
/* A failure unless the call failed and stored a sentence since host.fails was `fails`;
 * want MNT_OK: any failure will do. */
bool rig_refused(rig *r, mnt_status status, mnt_status want, int fails,
                 const char *call);
/* A failure unless the bits are equal; `what` is named. */
bool rig_same(rig *r, const char *what, mnt_dtype dtype, const void *want,
              const void *got, int64_t count);
/* A failure unless every element of `got` is `want`. */
bool rig_all(rig *r, const char *what, float want, const float *got, int64_t count);

/* ---- memory ---- */

void *rig_alloc(rig *r, uint64_t bytes);
mnt_status rig_try_alloc(rig *r, uint64_t bytes, void **buffer);
void rig_release(rig *r, void *buffer);
void rig_write(rig *r, void *buffer, uint64_t offset, const void *data, uint64_t n);
void rig_read(rig *r, void *buffer, uint64_t offset, void *data, uint64_t n);
/* A buffer of n floats, all `value`; and writing them again. */
void *rig_floats(rig *r, int64_t n, float value);
void rig_set(rig *r, void *buffer, int64_t n, float value);
/* A buffer with a copy of these bytes. */
void *rig_bytes(rig *r, const void *data, uint64_t n);

/* ---- programs ---- */

/* A command that supports() denies leaves the check out. */
void *rig_prepare(rig *r, const mnt_cmd *cmds, int count);
mnt_status rig_try_prepare(rig *r, const mnt_cmd *cmds, int count, void **prepared);
/* n replays that must all be accepted. */
void rig_submit(rig *r, void *prepared, int64_t n);
mnt_status rig_try_submit(rig *r, void *prepared, int64_t n, int64_t *done);
void rig_discard(rig *r, void *prepared);
void rig_wait(rig *r);
void rig_profile(rig *r, bool on);
void rig_timing(rig *r, void *prepared, mnt_cmd_timing *rows, int count);
bool rig_supports(rig *r, const mnt_cmd *cmd);
/* prepare, one submit, discard. */
void rig_once(rig *r, const mnt_cmd *cmds, int count);

/* ---- commands by hand ---- */

/* A row-major operand. */
mnt_operand rig_operand(void *buffer, uint64_t offset, mnt_dtype dtype,
                        mnt_shape shape);
mnt_operand rig_vector(void *buffer, int64_t n);
/* Numbers them; each gets a level of its own. */
void rig_number(mnt_cmd *cmds, int count);
/* total += x */
mnt_cmd rig_accumulate(mnt_operand x, mnt_operand total);
/* An elementwise op of two inputs, or of one (b NULL); args.scale for scale, fill. */
mnt_cmd rig_elementwise(mnt_op op, const mnt_operand *a, const mnt_operand *b,
                        mnt_operand y, float value);
mnt_cmd rig_matmul(mnt_operand a, mnt_operand b, mnt_operand y);

#endif
