/* SPDX-License-Identifier: MIT */
/*
 * A worker process: cases come by number through one pipe, a byte goes back through
 * another when the slot holds the report.
 */
#ifndef WORKER_H
#define WORKER_H

#include "configs.h"
#include "plan.h"
#include "report.h"

typedef struct worker_job {
    const options *o;
    const subject *s;
    const config_list *configs;
    const plan *p;
} worker_job;

/* Until `in` ends. fresh: the backend under test runs before anything else in the
 * process, and only by its own choice of kernels. */
void worker_main(const worker_job *job, slot *s, int in, int out, bool fresh);

#endif
