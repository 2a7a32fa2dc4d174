/* SPDX-License-Identifier: MIT */
/*
 * Replaying a prepared program: stage after stage on the pool, step after step, all
 * inside the call. Only the caller's thread walks the program; workers see one stage at
 * a time.
 */
#include "driver.h"

#include "fpenv.h"

#include <stdio.h>

/* Below this, waking a thread costs more than it brings. */
#define WAKE_NS 20000u

typedef struct loop {
    const cpu_program *program;
    const cpu_task *tasks;
} loop;

static void run_chunk(void *arg, int chunk, int thread)
{
    const loop *l = arg;
    const cpu_task *task = l->tasks;
    while (chunk >= task->chunks)
        chunk -= task++->chunks;
    const cpu_unit *u = &l->program->units[task->unit];
    const cpu_context *ctx = l->program->ctx;
    int64_t units = u->job.units[task->phase];
    int64_t each = units / task->chunks, more = units % task->chunks;
    int64_t begin = each * chunk + (chunk < more ? chunk : more);
    int64_t end = begin + each + (chunk < more ? 1 : 0);
    u->kernel->run(&u->job, task->phase, begin, end,
                   ctx->local + (size_t)thread * ctx->local_bytes);
}

static void run_stages(const cpu_program *p, bool wake)
{
    for (int s = 0; s < p->stage_count; s++) {
        const cpu_stage *stage = &p->stages[s];
        loop l = { p, &p->tasks[stage->first] };
        cpu_pool_run(p->ctx->pool, stage->chunks, wake, run_chunk, &l);
    }
}

static void record(mnt_cmd_timing *t, uint64_t start, uint64_t ns)
{
    t->min_ns = t->calls == 0 || ns < t->min_ns ? ns : t->min_ns;
    t->max_ns = ns > t->max_ns ? ns : t->max_ns;
    t->calls++;
    t->total_ns += ns;
    t->wall_ns += ns;
    t->last_start_ns = start;
    t->last_ns = ns;
}

/* One job at a time, so that each has a time of its own. */
static void run_timed(cpu_program *p, bool wake)
{
    int t = 0;
    for (int i = 0; i < p->count; i++) {
        uint64_t start = cpu_now_ns();
        for (; t < p->task_count && p->tasks[t].unit == i; t++) {
            loop l = { p, &p->tasks[t] };
            cpu_pool_run(p->ctx->pool, p->tasks[t].chunks, wake, run_chunk, &l);
        }
        record(&p->units[i].timing, start, cpu_now_ns() - start);
    }
}

/* Another program or the host may have changed a parameter since the last step. */
static void refresh_caches(cpu_program *p)
{
    for (int i = 0; i < p->count; i++) {
        cpu_unit *u = &p->units[i];
        if (u->job.cache_bytes == 0)
            continue;
        uint64_t version = u->version ? *u->version : 0;
        u->job.cache_stale = !u->cached || u->self_written || !u->version ||
                             version != u->cached_version;
        u->cached = true;
        u->cached_version = version;
    }
}

static void set_scratch(cpu_program *p)
{
    if (p->shared == p->ctx->shared)
        return;
    p->shared = p->ctx->shared;
    for (int i = 0; i < p->count; i++)
        if (p->units[i].job.shared_bytes > 0)
            p->units[i].job.shared = p->shared + p->units[i].shared_at;
}

mnt_status cpu_submit(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    const cpu_context *c = ctx;
    cpu_program *p = prepared;
    set_scratch(p);
    bool wake = p->step_ns == 0 || p->step_ns * (uint64_t)n > WAKE_NS;
    uint64_t start = cpu_now_ns();
    bool stopped = false;
    int64_t step = 0;
    cpu_fpenv saved;
    cpu_fpenv_enter(&saved);
    for (; step < n && !(stopped = c->host->interrupted(c->host->self)); step++) {
        refresh_caches(p);
        if (c->profile)
            run_timed(p, wake);
        else
            run_stages(p, wake);
    }
    cpu_fpenv_leave(&saved);
    *done = step;
    if (step > 0)
        p->step_ns = (cpu_now_ns() - start) / (uint64_t)step + 1;
    if (!stopped)
        return MNT_OK;
    char text[96];
    snprintf(text, sizeof text, "interrupted after %lld of %lld replays",
             (long long)step, (long long)n);
    return c->host->fail(c->host->self, MNT_INTERRUPTED, text);
}
