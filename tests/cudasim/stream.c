/* SPDX-License-Identifier: MIT */
/*
 * Queued work: kernels, graphs, copies and records of events, in the order of their
 * stream, run when somebody waits for them. The first failure ends the context; what was
 * queued behind it is dropped.
 */
#define _GNU_SOURCE
#include "objects.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

op *op_make(op_kind kind, size_t own_bytes)
{
    op *o = calloc(1, sizeof *o + own_bytes);
    if (o)
        o->kind = kind;
    return o;
}

void stream_add(stream *s, op *o)
{
    if (o->kind == OP_GRAPH)
        o->graph->queued++;
    if (o->kind == OP_EVENT)
        o->event->queued++;
    *s->last = o;
    s->last = &o->next;
}

static void op_free(op *o)
{
    if (o->kind == OP_GRAPH)
        o->graph->queued--;
    if (o->kind == OP_EVENT)
        o->event->queued--;
    free(o->launch);
    free(o);
}

static op *take(stream *s)
{
    op *o = s->first;
    s->first = o->next;
    if (!s->first)
        s->last = &s->first;
    return o;
}

void stream_drop(stream *s)
{
    while (s->first)
        op_free(take(s));
}

/* ---- kernels ---- */

/* What the device says to a kernel that the simulator stopped. */
static int error_of(const char *report)
{
    if (strstr(report, "is not a multiple of"))
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    if (strstr(report, "touches memory") || strstr(report, "are bound") ||
        strstr(report, "is bound"))
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    return CUDA_ERROR_LAUNCH_FAILED;
}

int kernel_run(context *c, const launch *l)
{
    sim_binding bound[MAX_PARAMS];
    memory *used[MAX_PARAMS];
    char error[512];
    int result = planned("kernel");
    if (result != 0)
        return result;
    for (int i = 0; i < l->pointers; i++) {
        memory *m = used[i] = memory_at(l->pointer[i], 1);
        if (!m)
            return misuse(CUDA_ERROR_ILLEGAL_ADDRESS,
                          "%s: parameter %d points to no memory of the device",
                          l->function->name, i);
        m->fresh = false;
        bound[i] = (sim_binding){ m->guard->data, m->guard->bytes,
                                  l->pointer[i] - m->address };
    }
    sim_dispatch d = { .function = l->function->code,
                       .groups = l->groups,
                       .threads = l->threads,
                       .bindings = l->pointers,
                       .binding = bound,
                       .args = l->args_bytes ? l->args : NULL,
                       .args_bytes = l->args_bytes };
    counts.kernels++;
    if (!sim_run(c->engine, &d, error, sizeof error))
        return misuse(error_of(error), "%s", error);
    for (int i = 0; i < l->pointers; i++)
        if (!guard_intact(used[i]->guard))
            return misuse(CUDA_ERROR_ILLEGAL_ADDRESS, "%s writes around %s",
                          l->function->name, used[i]->name);
    return 0;
}

/* ---- the rest ---- */

static int copy_run(const op *o)
{
    memory *m = memory_at(o->device, o->bytes);
    bool host = o->kind == OP_SET || !o->host || pinned_at(o->host, o->bytes);
    if (!m || !host)
        return misuse(CUDA_ERROR_ILLEGAL_ADDRESS,
                      "a copy's memory was freed before the copy ran");
    char *device = m->guard->data + (o->device - m->address);
    if (o->kind == OP_SET && o->value == 0 && m->fresh)
        return 0;
    if (o->kind == OP_SET)
        memset(device, o->value, o->bytes);
    else if (o->kind == OP_UPLOAD)
        memcpy(device, o->host ? o->host : o->own, o->bytes);
    else
        memcpy(o->host, device, o->bytes);
    m->fresh = m->fresh && o->kind == OP_DOWNLOAD;
    return 0;
}

static void event_run(event *e, uint64_t serial)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    e->done = serial;
    e->ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int op_run(context *c, op *o)
{
    switch (o->kind) {
    case OP_KERNEL:
        return kernel_run(c, o->launch);
    case OP_GRAPH:
        return graph_run(c, o->graph);
    case OP_EVENT:
        event_run(o->event, o->serial);
        return 0;
    default:
        return copy_run(o);
    }
}

int stream_run(stream *s, const event *until)
{
    context *c = s->head.owner;
    while (s->first && !c->broken && !(until && until->done == until->recorded)) {
        op *o = take(s);
        c->broken = op_run(c, o);
        op_free(o);
    }
    if (c->broken)
        stream_drop(s);
    return c->broken;
}

void context_drop(context *c)
{
    object *o = NULL;
    while ((o = object_next(o, STREAM, c)) != NULL)
        stream_drop((stream *)o);
}

stream *event_stream(const event *e)
{
    object *o = NULL;
    while ((o = object_next(o, STREAM, e->head.owner)) != NULL)
        for (const op *p = ((stream *)o)->first; p; p = p->next)
            if (p->kind == OP_EVENT && p->event == e)
                return (stream *)o;
    return NULL;
}

static bool in_memory(const memory *m, uint64_t address)
{
    return address >= m->address && address - m->address < m->guard->bytes;
}

static bool launch_uses(const launch *l, const memory *m)
{
    for (int i = 0; i < l->pointers; i++)
        if (in_memory(m, l->pointer[i]))
            return true;
    return false;
}

static bool op_uses(const op *o, const memory *m)
{
    if (o->kind == OP_KERNEL)
        return launch_uses(o->launch, m);
    if (o->kind == OP_GRAPH) {
        for (int i = 0; i < o->graph->count; i++)
            if (launch_uses(&o->graph->node[i].launch, m))
                return true;
        return false;
    }
    if (o->kind == OP_EVENT)
        return false;
    return m->address ? in_memory(m, o->device) : o->host && pinned_at(o->host, 0) == m;
}

bool memory_queued(const memory *m)
{
    object *o = NULL;
    while ((o = object_next(o, STREAM, m->owner)) != NULL)
        for (const op *p = ((stream *)o)->first; p; p = p->next)
            if (op_uses(p, m))
                return true;
    return false;
}
