/* SPDX-License-Identifier: MIT */
/*
 * A table of training metrics: in memory for the charts, and as a CSV file that grows
 * by a line at a time. metrics_train.csv has a row an epoch, metrics_log.csv the same
 * columns more often, with an empty test accuracy.
 */
#ifndef METRICS_H
#define METRICS_H

#include "common/session.h"

#include <stdio.h>

typedef struct metrics_row {
    int64_t epoch, step; /* epoch counts from 1; step: the last one of the row */
    double loss;
    double train_accuracy, test_accuracy; /* 0..1; NAN: not measured */
    double images_per_second, seconds;    /* training alone, without evaluation */
} metrics_row;

typedef struct metrics {
    metrics_row *rows;
    size_t count, capacity;
    const char *dir, *name; /* dir NULL: no file */
    FILE *f;
} metrics;

/*
 * A table for dir/name. With resume_step >= 0 it starts with the rows of an earlier run
 * up to that step, without a last row that stopped short of a multiple of `period`.
 * Changes no file. FORMAT names a line that is not a row.
 */
mnt_status metrics_load(session *s, metrics *m, const char *dir, const char *name,
                        int64_t resume_step, int64_t period);
/* Writes header and loaded rows, and keeps the file open. */
mnt_status metrics_begin(session *s, metrics *m);
mnt_status metrics_add(session *s, metrics *m, const metrics_row *row);
void metrics_free(metrics *m);

#endif
