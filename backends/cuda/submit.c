/* SPDX-License-Identifier: MIT */
/*
 * Programs. A CUDA graph (graph.c) holds one replay, another as many replays as make
 * about GRAPH_NODES kernels; submit() launches them. Whatever changes from replay to
 * replay is in device memory, so a graph never changes.
 *
 * At most CUDA_IN_FLIGHT launches are under way, so that an interrupt is heard after a
 * few graphs. With profiling on, each command lies between two events instead.
 */
#include "cuda.h"

#define GRAPH_NODES 1024

static mnt_status launch(cuda_context *c, const cuda_program *p, const gpu_dispatch *d)
{
    cuda_launch l;
    cuda_launch_of(c, p, d, &l);
    return cuda_check_step(c,
                           c->driver.launch(l.function, l.groups, 1, 1, l.threads, 1, 1,
                                            0, c->stream, l.params, NULL),
                           gpu_kernels[d->kernel].name);
}

static mnt_status launch_range(cuda_context *c, const cuda_program *p, int first,
                               int count)
{
    mnt_status st = MNT_OK;
    for (int i = first; i < first + count && st == MNT_OK; i++)
        st = launch(c, p, &p->program->dispatches[i]);
    return st;
}

static mnt_status prepare_entered(cuda_context *c, cuda_program *p,
                                  const mnt_program *program)
{
    mnt_status st =
        gpu_program_create(&p->program, &c->force, c->host, "cuda", program);
    if (st)
        return st;
    int n = p->program->dispatch_count;
    p->steps = n > 0 && GRAPH_NODES / n > 1 ? GRAPH_NODES / n : 1;
    return cuda_allocate(c, p->program->scratch_bytes, &p->scratch);
}

mnt_status cuda_prepare(void *ctx, const mnt_program *program, void **prepared)
{
    cuda_context *c = ctx;
    *prepared = NULL;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    cuda_program *p = c->host->alloc(c->host->self, sizeof *p);
    if (p)
        st = prepare_entered(c, p, program);
    else
        st = c->host->fail(c->host->self, MNT_NO_MEMORY,
                           "cuda: no memory for a program");
    cuda_leave(c);
    if (st)
        cuda_discard(ctx, p);
    else
        *prepared = p;
    return st;
}

void cuda_discard(void *ctx, void *prepared)
{
    cuda_context *c = ctx;
    cuda_program *p = prepared;
    if (!p)
        return;
    if (cuda_enter_to_free(c)) {
        if (p->one || p->many)
            c->driver.stream_wait(c->stream);
        if (p->one)
            c->driver.graph_exec_destroy(p->one);
        if (p->many)
            c->driver.graph_exec_destroy(p->many);
        cuda_release(c, &p->scratch);
        cuda_leave(c);
    }
    gpu_program_destroy(p->program, c->host);
    c->host->free(c->host->self, p);
}

/* ---- submission ---- */

/* Waits for the oldest launch when too many are under way, then notes a new one. */
static mnt_status note_launch(cuda_context *c)
{
    cuda_driver *d = &c->driver;
    if (c->flying_count == CUDA_IN_FLIGHT) {
        mnt_status st =
            cuda_check(c, d->event_wait(c->flying[c->flying_first]), "a graph failed");
        c->flying_first = (c->flying_first + 1) % CUDA_IN_FLIGHT;
        c->flying_count--;
        if (st)
            return st;
    }
    int at = (c->flying_first + c->flying_count) % CUDA_IN_FLIGHT;
    c->flying_count++;
    return cuda_check(c, d->event_record(c->flying[at], c->stream), "cuEventRecord");
}

/* One replay, as a graph if it is not the first: many programs run only once. */
static mnt_status replay_one(cuda_context *c, cuda_program *p)
{
    mnt_status st = MNT_OK;
    if (!p->began) {
        p->began = true;
        return launch_range(c, p, 0, p->program->dispatch_count);
    }
    if (!p->one)
        st = cuda_graph_make(c, p, 1, &p->one);
    return st ? st
              : cuda_check(c, c->driver.graph_launch(p->one, c->stream),
                           "cuGraphLaunch");
}

static mnt_status replay_many(cuda_context *c, cuda_program *p)
{
    mnt_status st = p->many ? MNT_OK : cuda_graph_make(c, p, p->steps, &p->many);
    return st ? st
              : cuda_check(c, c->driver.graph_launch(p->many, c->stream),
                           "cuGraphLaunch");
}

/* Launches as many replays as one graph holds, at most `left`. */
static mnt_status replay_piece(void *ctx, void *prepared, int64_t left, int64_t *done)
{
    cuda_context *c = ctx;
    cuda_program *p = prepared;
    bool many = p->steps > 1 && left >= p->steps;
    mnt_status st = many ? replay_many(c, p) : replay_one(c, p);
    if (st == MNT_OK)
        *done += many ? p->steps : 1;
    return st ? st : note_launch(c);
}

static mnt_status replay_timed(void *ctx, void *prepared, int cmd, gpu_span *span)
{
    cuda_context *c = ctx;
    const cuda_program *p = prepared;
    const gpu_cmd *row = &p->program->cmds[cmd];
    cuda_driver *d = &c->driver;
    float ms = 0;
    mnt_status st =
        cuda_check_step(c, d->event_record(c->event[0], c->stream), "cuEventRecord");
    if (st == MNT_OK)
        st = launch_range(c, p, row->first, row->count);
    if (st == MNT_OK)
        st = cuda_check_step(c, d->event_record(c->event[1], c->stream),
                             "cuEventRecord");
    if (st == MNT_OK)
        st = cuda_check_step(c, d->event_wait(c->event[1]), "cuEventSynchronize");
    if (st == MNT_OK)
        st = cuda_check_step(c, d->event_ms(&ms, c->event[0], c->event[1]),
                             "cuEventElapsedTime");
    span->ns = (uint64_t)((double)ms * 1e6);
    return st;
}

mnt_status cuda_submit(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    cuda_context *c = ctx;
    cuda_program *p = prepared;
    gpu_replay r = { c->host, p->program, c, p, replay_piece, replay_timed };
    *done = 0;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    st = gpu_submit(&r, c->profile, n, done);
    cuda_leave(c);
    return st;
}

mnt_status cuda_timing(void *ctx, void *prepared, mnt_cmd_timing *rows, int count)
{
    (void)ctx;
    cuda_program *p = prepared;
    gpu_timing(p->program, rows, count);
    return MNT_OK;
}
