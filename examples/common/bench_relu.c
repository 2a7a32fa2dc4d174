/* SPDX-License-Identifier: MIT */
/*
 * What one dispatch costs: a graph of a single relu, run and waited for one replay at a
 * time with the profiler on.
 */
#include "common/bench.h"

#include "common/output.h"

#include <inttypes.h>
#include <stdio.h>

#define REPEATS 50

/* Seconds, the least and the mean of REPEATS. */
typedef struct span {
    double least, mean;
} span;

static mnt_status record(session *s, int64_t count, mnt_graph **g)
{
    mnt_status st = mnt_graph_create(g, s->dev, NULL, &MNT_GRAPH_DESC(.name = "relu"));
    if (st != MNT_OK)
        return st;
    mnt_tensor *x = mnt_input(*g, MNT_F32, MNT_SHAPE(count));
    mnt_tensor_keep(mnt_relu(*g, x));
    return mnt_graph_compile(*g);
}

static mnt_status time_wall(session *s, mnt_graph *g, span *wall)
{
    mnt_status st = MNT_OK;
    *wall = (span){ .least = 1e9 };
    for (int i = 0; i < REPEATS && st == MNT_OK; i++) {
        double start = clock_seconds();
        st = mnt_graph_run(g, 1);
        if (st == MNT_OK)
            st = mnt_device_wait(s->dev);
        double took = clock_seconds() - start;
        wall->mean += took / REPEATS;
        if (took < wall->least)
            wall->least = took;
    }
    return st;
}

static mnt_status measure(session *s, int64_t count)
{
    mnt_graph *g = NULL;
    span wall;
    mnt_op_timing t = { .size = sizeof t };
    mnt_status st = record(s, count, &g);
    if (st == MNT_OK)
        st = time_wall(s, g, &wall); /* first touch, clocks, pipelines */
    if (st == MNT_OK) {
        mnt_graph_timing_reset(g);
        st = time_wall(s, g, &wall);
    }
    if (st == MNT_OK)
        st = mnt_graph_timing(g, 0, &t);
    if (st == MNT_OK) {
        double mean = t.calls > 0 ? (double)t.total_ns / (double)t.calls : 0.0;
        printf("%10" PRId64 " %12.2f %12.2f %12.2f %12.2f %9.2f  %s\n", count,
               (double)t.min_ns / 1e3, mean / 1e3, wall.least * 1e6, wall.mean * 1e6,
               mean > 0.0 ? t.bytes / mean : 0.0, t.kernel);
        fflush(stdout);
    }
    mnt_graph_destroy(g);
    return st;
}

mnt_status bench_relu(session *s)
{
    char where[256];
    mnt_status st = mnt_device_profile(s->dev, true);
    if (st != MNT_OK)
        return st;
    session_describe(&s->info, where, sizeof where);
    printf("one relu dispatch on %s; microseconds of %d runs\n%10s %12s %12s %12s %12s "
           "%9s  kernel\n",
           where, REPEATS, "elements", "device least", "device mean", "wall least",
           "wall mean", "GB/s");
    for (int64_t count = 1 << 10; count <= 1 << 24 && st == MNT_OK; count <<= 2)
        st = measure(s, count);
    return st;
}
