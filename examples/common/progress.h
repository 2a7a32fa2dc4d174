/* SPDX-License-Identifier: MIT */
/*
 * What the user sees while training: a line an epoch, and on a terminal a line that is
 * rewritten inside the epoch. Anywhere else nothing is ever rewritten.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include "common/metrics.h"

typedef struct progress {
    bool live; /* standard output is a terminal */
    int64_t epochs;
    bool dirty; /* a live line stands there */
} progress;

progress progress_begin(int64_t epochs);
/* `part` of the epoch is done; rates so far in `row`; `left` seconds, < 0 unknown. */
void progress_live(progress *p, const metrics_row *row, double part, double left);
void progress_epoch(progress *p, const metrics_row *row, double left);
/* Clears a live line before something else is printed. */
void progress_clear(progress *p);

#endif
