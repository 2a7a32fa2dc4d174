/* SPDX-License-Identifier: MIT */
/*
 * Submission as every GPU backend does it: ask for an interrupt, replay a piece, until
 * all replays are queued; or, with profiling on, one command after another, each waited
 * for and its times noted. How a piece runs is the backend's.
 */
#include "gpu.h"

#include <stdio.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(mnt_cmd_timing *t, gpu_span span, uint64_t wall)
{
    t->min_ns = t->calls == 0 || span.ns < t->min_ns ? span.ns : t->min_ns;
    t->max_ns = span.ns > t->max_ns ? span.ns : t->max_ns;
    t->calls++;
    t->total_ns += span.ns;
    t->wall_ns += wall;
    t->last_start_ns = span.start_ns;
    t->last_ns = span.ns;
}

static mnt_status replay_timed(const gpu_replay *r)
{
    for (int i = 0; i < r->program->cmd_count; i++) {
        uint64_t start = now_ns();
        gpu_span span = { start, 0 };
        if (r->program->cmds[i].count > 0) {
            mnt_status st = r->timed(r->ctx, r->prepared, i, &span);
            if (st)
                return st;
        }
        note(&r->program->timing[i], span, now_ns() - start);
    }
    return MNT_OK;
}

static mnt_status interrupted(const mnt_host *host, int64_t done, int64_t n)
{
    char text[96];
    snprintf(text, sizeof text, "interrupted after %lld of %lld replays",
             (long long)done, (long long)n);
    return host->fail(host->self, MNT_INTERRUPTED, text);
}

mnt_status gpu_submit(const gpu_replay *r, bool profile, int64_t n, int64_t *done)
{
    mnt_status st = MNT_OK;
    *done = 0;
    while (*done < n && st == MNT_OK) {
        if (r->host->interrupted(r->host->self))
            return interrupted(r->host, *done, n);
        if (profile) {
            st = replay_timed(r);
            *done += st == MNT_OK;
        } else if (r->program->dispatch_count == 0) {
            *done = n;
        } else {
            st = r->piece(r->ctx, r->prepared, n - *done, done);
        }
    }
    return st;
}

void gpu_timing_forget(gpu_program *p)
{
    for (int i = 0; i < p->cmd_count; i++)
        p->timing[i] = (mnt_cmd_timing){ .kernel = p->cmds[i].name };
}

void gpu_timing(gpu_program *p, mnt_cmd_timing *rows, int count)
{
    if (!rows)
        gpu_timing_forget(p);
    for (int i = 0; rows && i < p->cmd_count && i < count; i++)
        rows[i] = p->timing[i];
}
