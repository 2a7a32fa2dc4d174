/* SPDX-License-Identifier: MIT */
/*
 * Per-command timing of a compiled graph. Off by default: it costs two clock reads a
 * command. The example programs make op_timings.csv and trace.json from it.
 */
#ifndef MNT_PROFILE_H
#define MNT_PROFILE_H

#include <mnt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Turns timing on or off for graphs run from now on. */
MNT_API MNT_CHECK mnt_status mnt_device_profile(mnt_device *dev, bool on);

typedef struct mnt_op_timing {
    size_t size;        /* in: sizeof(mnt_op_timing) */
    const char *op;     /* "matmul" */
    const char *kernel; /* the variant that ran: "packed.avx512", "ref" */
    const char *label;  /* the output's name or "" */
    int64_t calls;
    uint64_t total_ns, min_ns,
        max_ns;       /* device time; on a CPU backend the same as wall */
    uint64_t wall_ns; /* host time around the command, total */
    uint64_t last_start_ns, last_ns; /* of the last replay, monotonic clock */
    double flops; /* arithmetic operations a call, 2 per multiply-add */
    double bytes; /* bytes a call: every operand moved once */
} mnt_op_timing;

/* Commands of the compiled graph (after fusion). */
MNT_API int mnt_graph_command_count(const mnt_graph *g);
/* Timing of the i-th. Waits. Errors: INVALID; STATE before compile. */
MNT_API MNT_CHECK mnt_status mnt_graph_timing(mnt_graph *g, int i, mnt_op_timing *out);
/* Forgets what was measured. */
MNT_API void mnt_graph_timing_reset(mnt_graph *g);

#ifdef __cplusplus
}
#endif
#endif
