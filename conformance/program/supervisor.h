/* SPDX-License-Identifier: MIT */
/*
 * Spreads the cases over worker processes. A worker that dies or hangs costs its case
 * and is replaced; the run goes on. This process opens no device.
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "tally.h"

typedef enum supervised {
    SUPERVISED_ALL,
    SUPERVISED_BUDGET,  /* --budget was over before the last case */
    SUPERVISED_GAVE_UP, /* too many workers died or hung */
    SUPERVISED_INTERRUPTED
} supervised;

/* First one case of each op as the only one of its process, then all cases. *done: how
 * many of them ended. */
supervised supervise(const worker_job *job, tally *t, int *done);
/* Worker processes for this backend. */
int supervisor_jobs(const options *o, const subject *s);

#endif
