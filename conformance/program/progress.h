/* SPDX-License-Identifier: MIT */
/* How far the run is: one line that renews itself on a terminal, else a line now and
 * then. On standard error, so that the results can be taken from standard output. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

void progress_begin(bool quiet, int total);
void progress_show(int done, int64_t tuples, int64_t failures);
/* Before anything else is printed. */
void progress_clear(void);
/* Seconds since progress_begin(). */
double progress_seconds(void);

#endif
