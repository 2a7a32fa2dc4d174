/* SPDX-License-Identifier: MIT */
/*
 * The driver interface: memory, copies, streams, events.
 */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_NON_BLOCKING = 1, EVENT_NO_TIMING = 2 };

int bad_handle(const char *call, const char *what)
{
    return misuse(CUDA_ERROR_INVALID_HANDLE, "%s: no %s of this context", call, what);
}

int stream_ok(const char *call, const stream *s)
{
    return object_find(s, STREAM) ? 0 : bad_handle(call, "stream");
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
    if (memory_queued(m) && !current()->broken)
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
        r = stream_ok("cuMemsetD8Async", s);
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
        r = stream_ok("cuMemcpyHtoDAsync", s);
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
        r = stream_ok("cuMemcpyDtoHAsync", s);
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
        r = stream_ok("cuStreamDestroy", s);
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
        r = stream_ok("cuStreamSynchronize", s);
    return leave(r ? r : stream_run(s, NULL));
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
    if (r == 0 && e->queued > 0)
        context_drop(e->head.owner);
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
        r = stream_ok("cuEventRecord", s);
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
