/* SPDX-License-Identifier: MIT */
/*
 * The driver interface: memory, copies, kernels, streams, graphs, events.
 */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

enum { CAPTURE_RELAXED = 2, STREAM_NON_BLOCKING = 1, EVENT_NO_TIMING = 2 };

static int bad_handle(const char *call, const char *what)
{
    return misuse(CUDA_ERROR_INVALID_HANDLE, "%s: no %s of this context", call, what);
}

/* The stream of a call that queues work or waits; `captures`: it may be capturing. */
static int stream_ok(const char *call, const stream *s, bool captures)
{
    if (!object_find(s, STREAM))
        return bad_handle(call, "stream");
    if (s->capture && !captures)
        return misuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                      "%s on a stream that is being captured", call);
    return 0;
}

/* ---- memory ---- */

EXPORT int cuMemAlloc_v2(uint64_t *p, size_t bytes)
{
    memory *m = NULL;
    int r = enter("cuMemAlloc_v2", CURRENT);
    if (r == 0 && (!p || bytes == 0))
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of %zu bytes", bytes);
    if (r == 0)
        r = memory_make(current(), bytes, false, &m);
    if (r == 0)
        *p = m->address;
    return leave(r);
}

/* It may wait for work that uses the memory, it need not. */
static int check_idle(const char *call, const memory *m)
{
    if (memory_queued(m))
        misuse(0, "%s: %s is used by queued work", call, m->name);
    return 0;
}

EXPORT int cuMemFree_v2(uint64_t p)
{
    int r = enter("cuMemFree_v2", CURRENT | RELEASES);
    memory *m = r == 0 ? memory_starting(p) : NULL;
    if (r == 0 && !m)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuMemFree: no allocation starts there");
    if (m) {
        check_idle("cuMemFree", m);
        memory_free(m);
    }
    return leave(r);
}

EXPORT int cuMemAllocHost_v2(void **p, size_t bytes)
{
    memory *m = NULL;
    int r = enter("cuMemAllocHost_v2", CURRENT);
    if (r == 0 && (!p || bytes == 0))
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuMemAllocHost of %zu bytes", bytes);
    if (r == 0)
        r = memory_make(current(), bytes, true, &m);
    if (r == 0)
        *p = m->guard->data;
    return leave(r);
}

EXPORT int cuMemFreeHost(void *p)
{
    int r = enter("cuMemFreeHost", CURRENT | RELEASES);
    memory *m = r == 0 ? pinned_at(p, 0) : NULL;
    if (r == 0 && (!m || m->guard->data != p))
        r = misuse(CUDA_ERROR_INVALID_VALUE,
                   "cuMemFreeHost: no allocation starts there");
    else if (m) {
        check_idle("cuMemFreeHost", m);
        memory_free(m);
    }
    return leave(r);
}

/* ---- copies ---- */

static int range_ok(const char *call, uint64_t at, const void *host, size_t bytes)
{
    if (!memory_at(at, bytes))
        return misuse(CUDA_ERROR_INVALID_VALUE,
                      "%s: %zu bytes are not in one allocation", call, bytes);
    if (host && pinned_near(host, bytes) && !pinned_at(host, bytes))
        return misuse(CUDA_ERROR_INVALID_VALUE, "%s: partly in pinned memory", call);
    return 0;
}

static int queue_copy(stream *s, op *o, uint64_t device, void *host, size_t bytes)
{
    if (!o)
        return CUDA_ERROR_OUT_OF_MEMORY;
    o->device = device;
    o->host = host;
    o->bytes = bytes;
    stream_add(s, o);
    return 0;
}

EXPORT int cuMemsetD8Async(uint64_t p, unsigned char v, size_t bytes, stream *s)
{
    int r = enter("cuMemsetD8Async", CURRENT);
    if (r == 0)
        r = stream_ok("cuMemsetD8Async", s, false);
    if (r == 0)
        r = range_ok("cuMemsetD8Async", p, NULL, bytes);
    op *o = r == 0 ? op_make(OP_SET, 0) : NULL;
    if (o)
        o->value = v;
    return leave(r ? r : queue_copy(s, o, p, NULL, bytes));
}

/* Pinned memory is read when the copy runs, other memory now. */
EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, stream *s)
{
    int r = enter("cuMemcpyHtoDAsync_v2", CURRENT);
    if (r == 0)
        r = stream_ok("cuMemcpyHtoDAsync", s, false);
    if (r == 0)
        r = range_ok("cuMemcpyHtoDAsync", to, from, bytes);
    if (r != 0)
        return leave(r);
    memory *pinned = pinned_at(from, bytes);
    op *o = op_make(OP_UPLOAD, pinned ? 0 : bytes);
    void *host = NULL;
    if (o && pinned)
        host = pinned->guard->data + ((const char *)from - pinned->guard->data);
    else if (o)
        memcpy(o->own, from, bytes);
    counts.uploads++;
    return leave(queue_copy(s, o, to, host, bytes));
}

/* Into memory that is not pinned the copy has happened when the call returns. */
EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, stream *s)
{
    int r = enter("cuMemcpyDtoHAsync_v2", CURRENT);
    if (r == 0)
        r = stream_ok("cuMemcpyDtoHAsync", s, false);
    if (r == 0)
        r = range_ok("cuMemcpyDtoHAsync", from, to, bytes);
    if (r != 0)
        return leave(r);
    counts.downloads++;
    if (pinned_at(to, bytes))
        return leave(queue_copy(s, op_make(OP_DOWNLOAD, 0), from, to, bytes));
    r = stream_run(s, NULL);
    if (r == 0) {
        const memory *m = memory_at(from, bytes);
        memcpy(to, m->guard->data + (from - m->address), bytes);
    }
    return leave(r);
}

/* ---- kernels ---- */

static int shape_ok(const function *f, unsigned gx, unsigned gy, unsigned gz,
                    unsigned tx, unsigned ty, unsigned tz, unsigned shared)
{
    unsigned long long threads = (unsigned long long)tx * ty * tz;
    if (gx == 0 || gy == 0 || gz == 0 || threads == 0 || gx > 0x7fffffffu ||
        threads > 1024 || shared > 48u << 10)
        return misuse(CUDA_ERROR_INVALID_VALUE,
                      "%s: a launch of %u x %u x %u blocks of %llu threads", f->name,
                      gx, gy, gz, threads);
    if (gy != 1 || gz != 1 || ty != 1 || tz != 1 || shared != 0)
        return misuse(CUDA_ERROR_INVALID_VALUE,
                      "%s: more than one dimension, or dynamic shared memory: not "
                      "simulated",
                      f->name);
    return 0;
}

/* The parameters are copied at once, as many bytes as the kernel declares. */
static int fill_launch(launch *l, const function *f, void **params)
{
    const sim_entry *e = sim_function_entry(f->code);
    l->function = f;
    for (unsigned i = 0; i < e->params; i++) {
        const sim_param *p = sim_function_param(f->code, i);
        if (!p || !params[i])
            return misuse(CUDA_ERROR_INVALID_VALUE, "%s: parameter %u is missing",
                          f->name, i);
        if (!p->reference)
            memcpy(&l->pointer[l->pointers++], params[i], sizeof *l->pointer);
        else if (p->bytes <= sizeof l->args && i + 1 == e->params)
            memcpy(l->args, params[i], l->args_bytes = p->bytes);
        else
            return misuse(CUDA_ERROR_INVALID_VALUE,
                          "%s: parameter %u: %u bytes, not simulated", f->name, i,
                          p->bytes);
    }
    return 0;
}

static int queue_launch(stream *s, const launch *l)
{
    if (s->capture)
        return exec_add(s->capture, l) ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
    op *o = op_make(OP_KERNEL, 0);
    launch *own = malloc(sizeof *own);
    if (!o || !own) {
        free(o);
        free(own);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *own = *l;
    o->launch = own;
    stream_add(s, o);
    return 0;
}

EXPORT int cuLaunchKernel(const function *f, unsigned gx, unsigned gy, unsigned gz,
                          unsigned tx, unsigned ty, unsigned tz, unsigned shared,
                          stream *s, void **params, void **extra)
{
    launch l = { .groups = gx, .threads = tx };
    int r = enter("cuLaunchKernel", CURRENT);
    if (r == 0 && !function_find(f, current()))
        r = bad_handle("cuLaunchKernel", "function");
    if (r == 0)
        r = stream_ok("cuLaunchKernel", s, true);
    if (r == 0 && (!params || extra))
        r = misuse(CUDA_ERROR_INVALID_VALUE, "%s: parameters without a list", f->name);
    if (r == 0)
        r = shape_ok(f, gx, gy, gz, tx, ty, tz, shared);
    if (r == 0)
        r = fill_launch(&l, f, params);
    return leave(r ? r : queue_launch(s, &l));
}

/* ---- streams ---- */

EXPORT int cuStreamCreate(stream **out, unsigned flags)
{
    int r = enter("cuStreamCreate", CURRENT);
    if (r == 0 && flags != STREAM_NON_BLOCKING)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "streams of flags %u are not simulated",
                   flags);
    stream *s = r == 0 ? calloc(1, sizeof *s) : NULL;
    if (r == 0 && !s)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (s) {
        s->last = &s->first;
        object_add(&s->head, STREAM, current());
        *out = s;
    }
    return leave(r);
}

EXPORT int cuStreamDestroy_v2(stream *s)
{
    int r = enter("cuStreamDestroy_v2", CURRENT | RELEASES);
    if (r == 0)
        r = stream_ok("cuStreamDestroy", s, false);
    if (r != 0)
        return leave(r);
    stream_run(s, NULL);
    object_remove(&s->head);
    free(s);
    return leave(0);
}

EXPORT int cuStreamSynchronize(stream *s)
{
    int r = enter("cuStreamSynchronize", CURRENT);
    if (r == 0)
        r = stream_ok("cuStreamSynchronize", s, false);
    return leave(r ? r : stream_run(s, NULL));
}

EXPORT int cuStreamBeginCapture_v2(stream *s, int mode)
{
    int r = enter("cuStreamBeginCapture_v2", CURRENT);
    if (r == 0)
        r = stream_ok("cuStreamBeginCapture", s, false);
    if (r == 0 && mode != CAPTURE_RELAXED)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "capture mode %d is not simulated", mode);
    if (r == 0 && !(s->capture = calloc(1, sizeof *s->capture)))
        r = CUDA_ERROR_OUT_OF_MEMORY;
    return leave(r);
}

EXPORT int cuStreamEndCapture(stream *s, exec **graph)
{
    int r = enter("cuStreamEndCapture", CURRENT | RELEASES);
    *graph = NULL;
    exec *g = NULL;
    if (object_find(s, STREAM)) { /* also after a fault, the stream captures no more */
        g = s->capture;
        s->capture = NULL;
    }
    if (r == 0 && !g)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuStreamEndCapture: nothing is captured");
    if (r != 0 && g) {
        free(g->node);
        free(g);
    } else if (g) {
        object_add(&g->head, GRAPH, current());
        *graph = g;
    }
    return leave(r);
}

/* ---- graphs ---- */

EXPORT int cuGraphInstantiateWithFlags(exec **out, exec *graph,
                                       unsigned long long flags)
{
    int r = enter("cuGraphInstantiateWithFlags", CURRENT);
    if (r == 0 && (flags != 0 || !object_find(graph, GRAPH)))
        r = bad_handle("cuGraphInstantiateWithFlags", "graph");
    exec *e = r == 0 ? calloc(1, sizeof *e) : NULL;
    if (r == 0 && !e)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; r == 0 && i < graph->count; i++)
        r = exec_add(e, &graph->node[i]) ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
    if (r == 0) {
        object_add(&e->head, EXEC, current());
        *out = e;
    } else if (e) {
        free(e->node);
        free(e);
    }
    return leave(r);
}

EXPORT int cuGraphLaunch(exec *e, stream *s)
{
    int r = enter("cuGraphLaunch", CURRENT);
    if (r == 0)
        r = stream_ok("cuGraphLaunch", s, false);
    if (r == 0 && !object_find(e, EXEC))
        r = bad_handle("cuGraphLaunch", "executable graph");
    op *o = r == 0 ? op_make(OP_GRAPH, 0) : NULL;
    if (r == 0 && !o)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (o) {
        o->exec = e;
        stream_add(s, o);
        counts.graph_launches++;
    }
    return leave(r);
}

static int destroy_graph(const char *call, exec *e, object_kind kind)
{
    int r = enter(call, CURRENT | RELEASES);
    if (r == 0 && !object_find(e, kind))
        r = bad_handle(call, "graph");
    if (r == 0 && e->queued > 0 && !current()->broken)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "%s: it is queued %d times", call,
                   e->queued);
    if (r == 0)
        exec_free(e);
    return leave(r);
}

EXPORT int cuGraphExecDestroy(exec *e)
{
    return destroy_graph("cuGraphExecDestroy", e, EXEC);
}

EXPORT int cuGraphDestroy(exec *g)
{
    return destroy_graph("cuGraphDestroy", g, GRAPH);
}

/* ---- events ---- */

EXPORT int cuEventCreate(event **out, unsigned flags)
{
    int r = enter("cuEventCreate", CURRENT);
    if (r == 0 && flags != 0 && flags != EVENT_NO_TIMING)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "events of flags %u are not simulated",
                   flags);
    event *e = r == 0 ? calloc(1, sizeof *e) : NULL;
    if (r == 0 && !e)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (e) {
        e->timed = flags == 0;
        object_add(&e->head, EVENT, current());
        *out = e;
    }
    return leave(r);
}

EXPORT int cuEventDestroy_v2(event *e)
{
    int r = enter("cuEventDestroy_v2", CURRENT | RELEASES);
    if (r == 0 && !object_find(e, EVENT))
        r = bad_handle("cuEventDestroy", "event");
    if (r == 0 && e->queued > 0 && !current()->broken)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuEventDestroy: a record is queued");
    if (r == 0) {
        object_remove(&e->head);
        free(e);
    }
    return leave(r);
}

EXPORT int cuEventRecord(event *e, stream *s)
{
    int r = enter("cuEventRecord", CURRENT);
    if (r == 0)
        r = stream_ok("cuEventRecord", s, false);
    if (r == 0 && !object_find(e, EVENT))
        r = bad_handle("cuEventRecord", "event");
    op *o = r == 0 ? op_make(OP_EVENT, 0) : NULL;
    if (r == 0 && !o)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (o) {
        o->event = e;
        o->serial = ++e->recorded;
        stream_add(s, o);
    }
    return leave(r);
}

EXPORT int cuEventSynchronize(event *e)
{
    int r = enter("cuEventSynchronize", CURRENT);
    if (r == 0 && !object_find(e, EVENT))
        r = bad_handle("cuEventSynchronize", "event");
    stream *s = r == 0 && e->done != e->recorded ? event_stream(e) : NULL;
    return leave(s ? stream_run(s, e) : r);
}

EXPORT int cuEventElapsedTime(float *ms, event *from, event *to)
{
    int r = enter("cuEventElapsedTime", CURRENT);
    if (r == 0 && (!object_find(from, EVENT) || !object_find(to, EVENT)))
        r = bad_handle("cuEventElapsedTime", "event");
    if (r == 0 && (!from->timed || !to->timed || !from->recorded || !to->recorded))
        r = misuse(CUDA_ERROR_INVALID_HANDLE,
                   "cuEventElapsedTime: without timing, or never recorded");
    if (r == 0 && (from->done != from->recorded || to->done != to->recorded))
        r = misuse(CUDA_ERROR_NOT_READY, "cuEventElapsedTime: not waited for");
    if (r == 0)
        *ms = (float)((double)(to->ns - from->ns) / 1e6);
    return leave(r);
}
