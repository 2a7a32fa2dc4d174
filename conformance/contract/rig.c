/* SPDX-License-Identifier: MIT */
/*
 * The rig: its verdicts, its life, memory and programs. See rig.h; its host is in host.c.
 */
#include "rig.h"

#include "env.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- verdicts ---- */

bool rig_stopped(const rig *r)
{
    return r->outcome != CONTRACT_PASS;
}

static void conclude(rig *r, contract_outcome outcome, const char *format, va_list ap)
{
    if (rig_stopped(r))
        return;
    r->outcome = outcome;
    vsnprintf(r->text, r->size, format, ap);
}

bool rig_fail(rig *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    conclude(r, CONTRACT_FAIL, format, ap);
    va_end(ap);
    return false;
}

bool rig_skip(rig *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    conclude(r, CONTRACT_SKIP, format, ap);
    va_end(ap);
    return false;
}

bool rig_expect(rig *r, bool ok, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (!ok)
        conclude(r, CONTRACT_FAIL, format, ap);
    va_end(ap);
    return ok && !rig_stopped(r);
}

bool rig_ok(rig *r, mnt_status status, const char *call)
{
    return rig_expect(r, status == MNT_OK, "%s: expected OK, got %s \"%.300s\"", call,
                      mnt_status_name(status), r->host.sentence);
}

bool rig_refused(rig *r, mnt_status status, mnt_status want, int fails,
                 const char *call)
{
    if (status == MNT_OK)
        return rig_fail(r, "%s: expected %s, got OK", call,
                        want ? mnt_status_name(want) : "a failure");
    if (want && status != want)
        return rig_fail(r, "%s: expected %s, got %s \"%.300s\"", call,
                        mnt_status_name(want), mnt_status_name(status),
                        r->host.sentence);
    if (r->host.fails == fails || !r->host.sentence[0])
        return rig_fail(r, "%s: it returned %s but gave host->fail no sentence", call,
                        mnt_status_name(status));
    return rig_expect(r, r->host.status == status,
                      "%s: it returned %s but host->fail was told %s", call,
                      mnt_status_name(status), mnt_status_name(r->host.status));
}

bool rig_same(rig *r, const char *what, mnt_dtype dtype, const void *want,
              const void *got, int64_t count)
{
    if (rig_stopped(r))
        return false;
    int64_t i = kit_difference(dtype, want, got, count);
    char text[128];
    return i < 0 || rig_fail(r, "%s: element %lld of %lld: %s", what, (long long)i,
                             (long long)count,
                             kit_element_text(text, sizeof text, dtype, want, got, i));
}

bool rig_all(rig *r, const char *what, float want, const float *got, int64_t count)
{
    for (int64_t i = 0; i < count && !rig_stopped(r); i++)
        if (kit_difference(MNT_F32, &want, got + i, 1) >= 0)
            return rig_fail(r, "%s: element %lld of %lld: expected %.9g, got %.9g",
                            what, (long long)i, (long long)count, (double)want,
                            (double)got[i]);
    return !rig_stopped(r);
}

/* Every call of the vtable is made between these two: the caller's floating-point
 * environment must come back as it was. */
static uint64_t enter(void)
{
    return env_control();
}

static void leave(rig *r, uint64_t before, const char *call)
{
    uint64_t after = env_control();
    if (after == before)
        return;
    env_set(before);
    rig_fail(r,
             "%s: it changed the caller's floating-point control word from %llx to "
             "%llx",
             call, (unsigned long long)before, (unsigned long long)after);
}

/* ---- life ---- */

void rig_begin(rig *r, const contract_subject *s, char *text, size_t size)
{
    memset(r, 0, sizeof *r);
    rig_host_init(&r->host);
    r->subject = s;
    r->text = text;
    r->size = size;
    if (size > 0)
        text[0] = '\0';
    r->b = mnt_backend_find(s->backend);
    if (!r->b) {
        rig_fail(r, "no backend \"%s\" is registered", s->backend ? s->backend : "");
        return;
    }
    int devices = r->b->devices();
    rig_expect(r, s->index >= 0 && s->index < devices,
               "devices() is %d; device %d does not exist", devices, s->index);
}

mnt_status rig_try_open(rig *r, int index, int threads, const char *force, void **ctx)
{
    *ctx = NULL;
    mnt_backend_config config = { .size = sizeof config,
                                  .index = index,
                                  .threads = threads,
                                  .force = force ? force : "",
                                  .host = &r->host.host };
    uint64_t env = enter();
    mnt_status st = r->b->open(&config, ctx);
    leave(r, env, "open");
    return st;
}

void rig_open(rig *r, const char *force)
{
    if (rig_stopped(r))
        return;
    const contract_subject *s = r->subject;
    r->force = force ? force : s->force;
    void *ctx;
    if (rig_ok(r, rig_try_open(r, s->index, s->threads, r->force, &ctx), "open") &&
        rig_expect(r, ctx != NULL, "open: OK, but the context is NULL"))
        r->ctx = ctx;
}

void rig_close(rig *r)
{
    if (!r->ctx)
        return;
    uint64_t env = enter();
    for (int i = 0; i < r->program_count; i++)
        if (r->programs[i])
            r->b->discard(r->ctx, r->programs[i]);
    leave(r, env, "discard");
    for (int i = 0; i < r->buffer_count; i++)
        if (r->buffers[i])
            r->b->release(r->ctx, r->buffers[i]);
    leave(r, env, "release");
    r->program_count = r->buffer_count = 0;
    r->b->close(r->ctx);
    leave(r, env, "close");
    r->ctx = NULL;
}

contract_outcome rig_end(rig *r)
{
    rig_close(r);
    long alive = atomic_load(&r->host.alive);
    rig_expect(r, alive == 0,
               "after close() %ld of %ld host allocations were not freed", alive,
               atomic_load(&r->host.calls));
    rig_host_flush(&r->host);
    rig_expect(r, r->host.written_after_free == 0,
               "host memory of %zu bytes was written after it was freed",
               r->host.written_after_free);
    return r->outcome;
}

contract_outcome rig_run(const contract_subject *s, char *text, size_t size,
                         void (*body)(rig *r))
{
    rig r;
    rig_begin(&r, s, text, size);
    rig_open(&r, NULL);
    if (!rig_stopped(&r))
        body(&r);
    return rig_end(&r);
}

contract_outcome rig_run_closed(const contract_subject *s, char *text, size_t size,
                                void (*body)(rig *r))
{
    rig r;
    rig_begin(&r, s, text, size);
    if (!rig_stopped(&r))
        body(&r);
    return rig_end(&r);
}

void rig_reference(rig *ref, rig *r)
{
    static const contract_subject reference = { .backend = "cpu",
                                                .force = "all=ref",
                                                .threads = 1 };
    if (rig_stopped(r)) {
        memset(ref, 0, sizeof *ref);
        ref->outcome = r->outcome;
        return;
    }
    rig_begin(ref, &reference, r->text, r->size);
    rig_open(ref, NULL);
}

void rig_twin(rig *twin, rig *r)
{
    if (rig_stopped(r)) {
        memset(twin, 0, sizeof *twin);
        twin->outcome = r->outcome;
        return;
    }
    rig_begin(twin, r->subject, r->text, r->size);
    rig_open(twin, r->force);
}

void rig_join(rig *r, rig *other)
{
    if (!other->b)
        return;
    if (rig_stopped(r))
        other->outcome = r->outcome; /* it shares the text, which is written */
    rig_end(other);
    r->outcome = other->outcome;
}

/* ---- memory ---- */

/* Remembers a thing in the first free place. */
static bool keep(rig *r, void **things, int *count, void *thing)
{
    for (int i = 0; i < *count; i++)
        if (!things[i]) {
            things[i] = thing;
            return true;
        }
    if (*count == RIG_THINGS)
        return rig_fail(r, "the check holds more than %d things", RIG_THINGS);
    things[(*count)++] = thing;
    return true;
}

static void forget(void **things, int count, const void *thing)
{
    for (int i = 0; i < count; i++)
        if (things[i] == thing) {
            things[i] = NULL;
            return;
        }
}

mnt_status rig_try_alloc(rig *r, uint64_t bytes, void **buffer)
{
    *buffer = NULL;
    uint64_t env = enter();
    mnt_status st = r->b->alloc(r->ctx, bytes, buffer);
    leave(r, env, "alloc");
    if (st == MNT_OK)
        keep(r, r->buffers, &r->buffer_count, *buffer);
    return st;
}

void *rig_alloc(rig *r, uint64_t bytes)
{
    void *buffer = NULL;
    if (rig_stopped(r))
        return NULL;
    char call[64];
    snprintf(call, sizeof call, "alloc of %llu bytes", (unsigned long long)bytes);
    if (rig_ok(r, rig_try_alloc(r, bytes, &buffer), call))
        rig_expect(r, buffer != NULL, "%s: OK, but the buffer is NULL", call);
    return buffer;
}

void rig_release(rig *r, void *buffer)
{
    if (rig_stopped(r) || !buffer)
        return;
    forget(r->buffers, r->buffer_count, buffer);
    uint64_t env = enter();
    r->b->release(r->ctx, buffer);
    leave(r, env, "release");
}

void rig_write(rig *r, void *buffer, uint64_t offset, const void *data, uint64_t n)
{
    if (rig_stopped(r))
        return;
    uint64_t env = enter();
    mnt_status st = r->b->write(r->ctx, buffer, offset, data, n);
    leave(r, env, "write");
    rig_ok(r, st, "write");
}

void rig_read(rig *r, void *buffer, uint64_t offset, void *data, uint64_t n)
{
    if (rig_stopped(r))
        return;
    uint64_t env = enter();
    mnt_status st = r->b->read(r->ctx, buffer, offset, data, n);
    leave(r, env, "read");
    rig_ok(r, st, "read");
}

void rig_set(rig *r, void *buffer, int64_t n, float value)
{
    float *v = kit_alloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = value;
    rig_write(r, buffer, 0, v, (uint64_t)n * sizeof *v);
    free(v);
}

void *rig_floats(rig *r, int64_t n, float value)
{
    void *buffer = rig_alloc(r, (uint64_t)n * sizeof(float));
    rig_set(r, buffer, n, value);
    return buffer;
}

void *rig_bytes(rig *r, const void *data, uint64_t n)
{
    void *buffer = rig_alloc(r, n);
    rig_write(r, buffer, 0, data, n);
    return buffer;
}

/* ---- programs ---- */

mnt_status rig_try_prepare(rig *r, const mnt_cmd *cmds, int count, void **prepared)
{
    *prepared = NULL;
    const mnt_program program = { .size = sizeof program,
                                  .cmds = cmds,
                                  .count = count };
    uint64_t env = enter();
    mnt_status st = r->b->prepare(r->ctx, &program, prepared);
    leave(r, env, "prepare");
    if (st == MNT_OK)
        keep(r, r->programs, &r->program_count, *prepared);
    return st;
}

void *rig_prepare(rig *r, const mnt_cmd *cmds, int count)
{
    void *prepared = NULL;
    if (rig_stopped(r))
        return NULL;
    char call[96] = "prepare of an empty program";
    if (count > 0)
        snprintf(call, sizeof call, "prepare of %d command%s, the first %s", count,
                 count == 1 ? "" : "s", mnt_op_name(cmds[0].op));
    for (int i = 0; i < count; i++)
        if (!rig_supports(r, &cmds[i])) {
            rig_skip(r, "%s: supports() denies %s", call, mnt_op_name(cmds[i].op));
            return NULL;
        }
    if (rig_ok(r, rig_try_prepare(r, cmds, count, &prepared), call))
        rig_expect(r, prepared != NULL, "%s: OK, but the program is NULL", call);
    return prepared;
}

mnt_status rig_try_submit(rig *r, void *prepared, int64_t n, int64_t *done)
{
    *done = -1;
    uint64_t env = enter();
    mnt_status st = r->b->submit(r->ctx, prepared, n, done);
    leave(r, env, "submit");
    return st;
}

void rig_submit(rig *r, void *prepared, int64_t n)
{
    int64_t done;
    if (rig_stopped(r))
        return;
    char call[64];
    snprintf(call, sizeof call, "submit of %lld replays", (long long)n);
    if (rig_ok(r, rig_try_submit(r, prepared, n, &done), call))
        rig_expect(r, done == n, "%s: OK, but *done is %lld", call, (long long)done);
}

void rig_discard(rig *r, void *prepared)
{
    if (rig_stopped(r) || !prepared)
        return;
    forget(r->programs, r->program_count, prepared);
    uint64_t env = enter();
    r->b->discard(r->ctx, prepared);
    leave(r, env, "discard");
}

void rig_wait(rig *r)
{
    if (rig_stopped(r))
        return;
    uint64_t env = enter();
    mnt_status st = r->b->wait(r->ctx);
    leave(r, env, "wait");
    rig_ok(r, st, "wait");
}

void rig_profile(rig *r, bool on)
{
    if (rig_stopped(r))
        return;
    uint64_t env = enter();
    r->b->profile(r->ctx, on);
    leave(r, env, "profile");
}

void rig_timing(rig *r, void *prepared, mnt_cmd_timing *rows, int count)
{
    if (rig_stopped(r))
        return;
    uint64_t env = enter();
    mnt_status st = r->b->timing(r->ctx, prepared, rows, count);
    leave(r, env, "timing");
    rig_ok(r, st, "timing");
}

bool rig_supports(rig *r, const mnt_cmd *cmd)
{
    if (rig_stopped(r))
        return false;
    uint64_t env = enter();
    bool yes = r->b->supports(r->ctx, cmd);
    leave(r, env, "supports");
    return yes;
}

void rig_once(rig *r, const mnt_cmd *cmds, int count)
{
    void *p = rig_prepare(r, cmds, count);
    rig_submit(r, p, 1);
    rig_discard(r, p);
}

/* ---- commands by hand ---- */

mnt_operand rig_operand(void *buffer, uint64_t offset, mnt_dtype dtype, mnt_shape shape)
{
    mnt_operand o = {
        .buffer = buffer, .offset = offset, .dtype = dtype, .ndim = shape.ndim
    };
    int64_t stride = 1;
    for (int d = shape.ndim - 1; d >= 0; d--) {
        o.dim[d] = shape.dim[d];
        o.stride[d] = stride;
        stride *= shape.dim[d];
    }
    return o;
}

mnt_operand rig_vector(void *buffer, int64_t n)
{
    return rig_operand(buffer, 0, MNT_F32, MNT_SHAPE(n));
}

void rig_number(mnt_cmd *cmds, int count)
{
    for (int i = 0; i < count; i++) {
        cmds[i].id = cmds[i].level = (uint32_t)i;
        cmds[i].label = "";
    }
}

mnt_cmd rig_accumulate(mnt_operand x, mnt_operand total)
{
    return (mnt_cmd){
        .op = MNT_OP_ID_accumulate, .in = { x, total }, .out = { total }, .label = ""
    };
}

mnt_cmd rig_elementwise(mnt_op op, const mnt_operand *a, const mnt_operand *b,
                        mnt_operand y, float value)
{
    mnt_cmd c = { .op = op, .out = { y }, .label = "" };
    if (a)
        c.in[0] = *a;
    if (b)
        c.in[1] = *b;
    if (op == MNT_OP_ID_scale || op == MNT_OP_ID_fill)
        c.args.scale.value = value;
    return c;
}

mnt_cmd rig_matmul(mnt_operand a, mnt_operand b, mnt_operand y)
{
    /* Numerics C3: chunks of equal length, a multiple of 16, at most 256. */
    int64_t k = a.dim[a.ndim - 1], chunks = k > 0 ? (k + 255) / 256 : 1;
    int64_t length = ((k + chunks - 1) / chunks + 15) / 16 * 16;
    mnt_cmd c = { .op = MNT_OP_ID_matmul,
                  .in = { a, b },
                  .out = { y },
                  .label = "",
                  .args.matmul.chunk = length > 0 ? length : 1 };
    return c;
}
