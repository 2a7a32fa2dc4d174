/* SPDX-License-Identifier: MIT */
/*
 * Reports after training: where the time of a step goes (a profiled epoch on a model
 * of its own, so that neither the trained one nor its times are touched), and charts.
 */
#ifndef REPORT_H
#define REPORT_H

#include "common/metrics.h"

/* Prints the profiler's table with --profile; op_timings.csv and trace.json in --out.
 */
mnt_status profile_report(session *s);

/* One bar of a trace. kernel NULL: the host's time around a whole step. */
typedef struct trace_event {
    const char *name, *kernel, *label;
    uint64_t start_ns, ns; /* monotonic clock */
    int64_t step;
} trace_event;
/* Writes trace.json of Chrome's trace event format into --out. */
mnt_status trace_write(session *s, const trace_event *events, size_t count);

/* loss and throughput as .svg and .png in --out, drawn by gnuplot. Without gnuplot it
 * says so and succeeds. */
mnt_status chart_write(session *s, const metrics *epochs, const metrics *log);

#endif
