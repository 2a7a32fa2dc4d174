/* SPDX-License-Identifier: MIT */
/*
 * The profiler's view: one epoch of training steps with per-op timing on, on a scratch
 * model. The first steps run one by one and give the trace, the others give totals.
 */
#include "common/output.h"
#include "common/recipe.h"
#include "common/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_STEPS  8
#define SECONDS_MOST 5.0

typedef struct profiler {
    session *s;
    mnt_model *model;
    step_graph step;
    int commands;
    int64_t steps;
    double seconds;
    mnt_op_timing *rows; /* by falling device time */
    trace_event *events;
    size_t event_count;
    double device_ns, wall_ns; /* of all commands */
} profiler;

static mnt_status prepare(profiler *p)
{
    session *s = p->s;
    mnt_status st = mnt_device_profile(s->dev, true);
    if (st == MNT_OK)
        st = mnt_model_create(
            &p->model, s->dev,
            &(mnt_model_desc){ .size = sizeof(mnt_model_desc), .seed = s->opt->seed });
    if (st == MNT_OK)
        st = step_graph_create(&p->step, s->dev, p->model, s->train, s->app, s->opt,
                               false);
    if (st == MNT_OK)
        st = mnt_dataset_shuffle(s->train, s->opt->seed, 1);
    if (st != MNT_OK)
        return st;
    p->commands = mnt_graph_command_count(p->step.g);
    p->rows = calloc((size_t)p->commands, sizeof *p->rows);
    p->events = calloc((size_t)(p->commands + 1) * TRACE_STEPS, sizeof *p->events);
    if (p->rows == NULL || p->events == NULL)
        return session_fail(s, MNT_NO_MEMORY, "profile: %s",
                            mnt_status_text(MNT_NO_MEMORY));
    return mnt_graph_run(p->step.g, 1); /* first touch of all memory */
}

static mnt_status read_rows(profiler *p)
{
    mnt_status st = MNT_OK;
    for (int i = 0; i < p->commands && st == MNT_OK; i++) {
        p->rows[i].size = sizeof p->rows[i];
        st = mnt_graph_timing(p->step.g, i, &p->rows[i]);
    }
    return st;
}

static mnt_status trace_steps(profiler *p)
{
    mnt_status st = mnt_device_wait(p->s->dev);
    mnt_graph_timing_reset(p->step.g);
    for (int64_t k = 1; k <= TRACE_STEPS && st == MNT_OK; k++) {
        double start = clock_seconds();
        st = mnt_graph_run(p->step.g, 1);
        if (st == MNT_OK)
            st = mnt_device_wait(p->s->dev);
        double took = clock_seconds() - start;
        if (st == MNT_OK)
            st = read_rows(p);
        if (st != MNT_OK)
            return st;
        p->events[p->event_count++] =
            (trace_event){ .name = "step",
                           .label = "",
                           .step = k,
                           .start_ns = (uint64_t)(start * 1e9),
                           .ns = (uint64_t)(took * 1e9) };
        for (int i = 0; i < p->commands; i++) {
            const mnt_op_timing *r = &p->rows[i];
            p->events[p->event_count++] = (trace_event){ .name = r->op,
                                                         .kernel = r->kernel,
                                                         .label = r->label,
                                                         .step = k,
                                                         .start_ns = r->last_start_ns,
                                                         .ns = r->last_ns };
        }
    }
    return st;
}

static int by_time(const void *a, const void *b)
{
    const mnt_op_timing *x = a, *y = b;
    return (x->total_ns < y->total_ns) - (x->total_ns > y->total_ns);
}

static mnt_status measure(profiler *p)
{
    int64_t epoch = mnt_dataset_batches(p->s->train, p->s->opt->batch);
    int64_t part = (epoch + 19) / 20;
    double start = clock_seconds();
    mnt_graph_timing_reset(p->step.g);
    mnt_status st = MNT_OK;
    while (st == MNT_OK && p->steps < epoch && p->seconds < SECONDS_MOST) {
        int64_t n = p->steps + part < epoch ? part : epoch - p->steps;
        st = mnt_graph_run(p->step.g, n);
        if (st == MNT_OK)
            st = mnt_device_wait(p->s->dev);
        p->steps += n;
        p->seconds = clock_seconds() - start;
    }
    if (st == MNT_OK)
        st = read_rows(p);
    qsort(p->rows, (size_t)p->commands, sizeof *p->rows, by_time);
    for (int i = 0; i < p->commands; i++) {
        p->device_ns += (double)p->rows[i].total_ns;
        p->wall_ns += (double)p->rows[i].wall_ns;
    }
    return st;
}

static double percent(double part, double whole)
{
    return whole > 0.0 ? 100.0 * part / whole : 0.0;
}

/* Per-call figures of a row: microseconds, and rates by device time. */
typedef struct rates {
    double calls, mean_us, wall_mean_us, gflops, gbs;
} rates;

static rates rates_of(const mnt_op_timing *r)
{
    double calls = r->calls > 0 ? (double)r->calls : 1.0;
    double ns = (double)r->total_ns / calls;
    return (rates){
        .calls = calls,
        .mean_us = ns / 1e3,
        .wall_mean_us = (double)r->wall_ns / calls / 1e3,
        .gflops = ns > 0.0 ? r->flops / ns : 0.0,
        .gbs = ns > 0.0 ? r->bytes / ns : 0.0,
    };
}

static void print_table(const profiler *p)
{
    printf("\nwhere the time goes, %" PRId64 " steps of one epoch, %.3f s\n"
           "%7s %10s %10s %10s %9s %8s  %s\n",
           p->steps, p->seconds, "device%", "total ms", "mean us", "min us", "GFLOP/s",
           "GB/s", "op, what it makes, kernel");
    for (int i = 0; i < p->commands; i++) {
        const mnt_op_timing *r = &p->rows[i];
        rates x = rates_of(r);
        printf("%6.2f%% %10.3f %10.2f %10.2f %9.2f %8.2f  %s%s%s (%s)\n",
               percent((double)r->total_ns, p->device_ns), (double)r->total_ns / 1e6,
               x.mean_us, (double)r->min_ns / 1e3, x.gflops, x.gbs, r->op,
               *r->label != '\0' ? " " : "", r->label, r->kernel);
    }
    printf("%6.2f%% %10.3f %s, %.1f%% of the wall time\n", 100.0, p->device_ns / 1e6,
           "ms in all", percent(p->device_ns / 1e9, p->seconds));
}

/* A CSV field; quoted where its text needs it. */
static void field(FILE *f, const char *text)
{
    if (strpbrk(text, ",\"\n") == NULL) {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static mnt_status write_csv(const profiler *p)
{
    output o;
    if (!output_open(&o, p->s->opt->out, "op_timings.csv"))
        return session_io(p->s, o.temp);
    fputs("op,label,backend,kernel,calls,device_total_us,device_mean_us,device_min_us,"
          "device_percent,wall_total_us,wall_mean_us,wall_percent,gflop_per_s,"
          "gb_per_s,device\n",
          o.f);
    for (int i = 0; i < p->commands; i++) {
        const mnt_op_timing *r = &p->rows[i];
        rates x = rates_of(r);
        fprintf(o.f, "%s,", r->op);
        field(o.f, r->label);
        fprintf(o.f, ",%s,", p->s->info.backend);
        field(o.f, r->kernel);
        fprintf(o.f, ",%" PRId64 ",%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,",
                r->calls, (double)r->total_ns / 1e3, x.mean_us, (double)r->min_ns / 1e3,
                percent((double)r->total_ns, p->device_ns), (double)r->wall_ns / 1e3,
                x.wall_mean_us, percent((double)r->wall_ns, p->wall_ns), x.gflops,
                x.gbs);
        field(o.f, p->s->info.name); /* "simulated ..." where its time is none */
        fputc('\n', o.f);
    }
    return output_close(&o, true) ? MNT_OK : session_io(p->s, o.path);
}

mnt_status profile_report(session *s)
{
    profiler p = { .s = s };
    mnt_status st = prepare(&p);
    if (st == MNT_OK)
        st = trace_steps(&p);
    if (st == MNT_OK && s->opt->out != NULL)
        st = trace_write(s, p.events, p.event_count);
    if (st == MNT_OK)
        st = measure(&p);
    if (st == MNT_OK && s->opt->out != NULL)
        st = write_csv(&p);
    if (st == MNT_OK && s->opt->profile)
        print_table(&p);
    step_graph_destroy(&p.step);
    mnt_model_destroy(p.model);
    free(p.rows);
    free(p.events);
    if (st == MNT_INTERRUPTED)
        return session_fail(s, st, "interrupted while profiling; training had ended");
    return st;
}
