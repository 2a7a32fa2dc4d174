/* SPDX-License-Identifier: MIT */
/* summary.json: one run in one object. */
#ifndef SUMMARY_H
#define SUMMARY_H

#include "common/metrics.h"

/* rows: this run's epochs alone. images: trained on in one epoch. */
mnt_status summary_write(session *s, const metrics_row *rows, size_t count,
                         int64_t images, double test_accuracy);

#endif
