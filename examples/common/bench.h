/* SPDX-License-Identifier: MIT */
/* The bench command: images a second, and the cost of one dispatch. */
#ifndef BENCH_H
#define BENCH_H

#include "common/session.h"

/*
 * Inference and training over batch sizes 1 to 8192 (--batch: one of them), on one CPU
 * thread, all CPU threads and every other backend that opens (--backend: that one),
 * with ratios to one CPU thread. Measurements of one batch size alternate between
 * devices.
 */
mnt_status bench_run(session *s);

/* One relu at several sizes: device time, and wall time from run to wait. */
mnt_status bench_relu(session *s);

#endif
