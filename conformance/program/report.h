/* SPDX-License-Identifier: MIT */
/*
 * What a worker says about one case, and the slot of shared memory through which it
 * says it. Plain data: the worker may die while it writes.
 */
#ifndef REPORT_H
#define REPORT_H

#include "subject.h"

#include <stdatomic.h>

#define REPORT_FAILURES 4
#define REPORT_KERNELS  768
#define REPORT_SENTENCE (KIT_SENTENCE + KIT_TEXT)

typedef struct report_failure {
    char sentence[REPORT_SENTENCE];
    char text[KIT_TEXT]; /* of a smaller case that fails too; "": the case itself */
    int config;          /* -1: none, the case alone */
} report_failure;

typedef struct report {
    bool skipped; /* --row: no command of that op */
    mnt_dtype dtype;
    int runs;              /* on the backend under test */
    int forward, backward; /* tuples: distinct sets of kernels that were compared */
    int refused;           /* forced variants that cannot take the geometry */
    double ulp, share;
    int mismatches; /* configurations; the first few are in `failure` */
    int failures;
    report_failure failure[REPORT_FAILURES];
    bool unsupported;
    char unsupported_text[KIT_SENTENCE];
    kit_kernel kernel[REPORT_KERNELS]; /* what ran, each once */
    int kernels;
    unsigned char ran[SUBJECT_MAX_VARIANTS]; /* 1: ran, 2: refused (bits) */
    int contract;                            /* contract_outcome */
    char contract_text[KIT_SENTENCE];
} report;

typedef struct slot {
    _Atomic unsigned beat;      /* counts signs of life */
    _Atomic int config;         /* what runs now; -1: the reference or none */
    char note[REPORT_SENTENCE]; /* a failure found, but not yet reported */
    report report;
} slot;

#endif
