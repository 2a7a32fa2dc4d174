/* SPDX-License-Identifier: MIT */
/*
 * The sums over all reports. A tuple is a case, a direction (forward, backward) and a
 * set of kernels that had not yet been compared on that case: force strings that lead
 * to the same kernels count once.
 */
#ifndef TALLY_H
#define TALLY_H

#include "worker.h"

#define TALLY_KEPT_OP   25  /* of one op */
#define TALLY_KEPT      200 /* failures with their sentences; further ones are counted */
#define TALLY_CHECKS    1024
#define TALLY_LEAST     150 /* tuples of an op in a complete run */
#define TALLY_LEAST_FEW 40  /* of a KIT_FEW op */

typedef enum tally_kind {
    TALLY_MISMATCH, /* bits, bounds, or a call that failed */
    TALLY_CRASH,    /* the process died or hung */
    TALLY_CONTRACT,
    TALLY_THIN, /* too little ran */
    TALLY_KINDS
} tally_kind;

typedef struct tally_failure {
    tally_kind kind;
    int op; /* -1: none */
    char text[KIT_TEXT];
    char sentence[REPORT_SENTENCE];
    char command[2048];
} tally_failure;

typedef struct tally_type {
    int64_t cases, tuples, unsupported;
    double ulp, share;
    bool differs;
} tally_type;

typedef struct tally_op {
    int64_t cases, forward, backward, runs, refused, unsupported, failed;
    tally_type type[MNT_DTYPE_COUNT];
} tally_op;

typedef struct tally_kernel {
    kit_kernel k;
    int64_t cases;
} tally_kernel;

typedef struct tally_unsupported {
    int op;
    char text[KIT_TEXT], sentence[KIT_SENTENCE];
} tally_unsupported;

typedef struct tally_check {
    const char *name;
    int outcome; /* contract_outcome; -1: not reported */
    char text[KIT_SENTENCE];
} tally_check;

typedef struct tally {
    const worker_job *job;
    tally_op op[PLAN_MAX_OPS];
    int64_t row[MNT_OP_COUNT]; /* cases whose program held the op */
    tally_kernel *kernel;
    int kernels, kernel_room;
    int64_t ran[SUBJECT_MAX_VARIANTS], refused[SUBJECT_MAX_VARIANTS];
    tally_failure *failure;
    int failures, failure_room;
    int64_t count[TALLY_KINDS];                /* of failures */
    tally_unsupported unsupported[TALLY_KEPT]; /* the first of each op and sentence */
    int unsupported_kept;
    tally_check check[TALLY_CHECKS];
    int checks;
    int64_t cases, skipped, tuples, unsupported_cases;
    int ops; /* kit ops with a case */
} tally;

void tally_init(tally *t, const worker_job *job);
void tally_free(tally *t);
/* Failures are printed as they come, with the command that shows them again. */
void tally_report(tally *t, int number, const report *r, bool fresh);
/* A worker that died or hung over a case; `how`: "died of SIGSEGV". */
void tally_crash(tally *t, int number, const slot *s, const char *how);
void tally_fail(tally *t, tally_kind kind, const config *c, int op, const char *text,
                const char *sentence);
/* After a complete run: what ran too seldom becomes a failure. */
void tally_thin(tally *t);
bool tally_conforms(const tally *t);

#endif
