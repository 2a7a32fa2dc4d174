/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing: what open() must refuse, information, several contexts, the list
 * of variants, and host memory that ends.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CHECK(info)
{
    mnt_backend_info a = { .size = sizeof a }, b = { .size = sizeof b };
    r->b->info(r->ctx, &a);
    if (!rig_expect(r, a.size == sizeof a, "info: it changed size to %zu", a.size) ||
        !rig_expect(r, a.name && a.name[0], "info: the device has no name") ||
        !rig_expect(r, a.detail != NULL, "info: detail is NULL") ||
        !rig_expect(r, a.threads >= 0, "info: %d threads", a.threads))
        return;
    int want = r->subject->threads;
    rig_expect(r, want <= 0 || a.threads == 0 || a.threads == want,
               "info: opened with %d threads, it tells %d", want, a.threads);
    char *name = kit_alloc(strlen(a.name) + 1),
         *detail = kit_alloc(strlen(a.detail) + 1);
    memcpy(name, a.name, strlen(a.name));
    memcpy(detail, a.detail, strlen(a.detail));
    void *x = rig_floats(r, 100, 1), *y = rig_floats(r, 100, 0);
    mnt_cmd cmd = rig_accumulate(rig_vector(x, 100), rig_vector(y, 100));
    rig_once(r, &cmd, 1);
    r->b->info(r->ctx, &b);
    rig_expect(r, a.name == b.name && !strcmp(b.name, name),
               "info: the name does not stay: \"%s\", then \"%s\"", name, b.name);
    rig_expect(r, a.detail == b.detail && !strcmp(b.detail, detail),
               "info: detail does not stay: \"%s\", then \"%s\"", detail, b.detail);
    rig_expect(r, a.threads == b.threads && a.memory_bytes == b.memory_bytes,
               "info: threads %d or memory changed", b.threads);
    free(name);
    free(detail);
}

/* open() must say no; a word of the force string must be in the sentence. */
static void open_refused(rig *r, int index, const char *force, mnt_status want,
                         const char *word)
{
    if (rig_stopped(r))
        return;
    void *ctx;
    char call[96];
    int fails = r->host.fails;
    mnt_status st = rig_try_open(r, index, r->subject->threads, force, &ctx);
    snprintf(call, sizeof call, "open of device %d with force \"%s\"", index, force);
    if (st == MNT_OK)
        r->b->close(ctx);
    if (rig_refused(r, st, want, fails, call))
        rig_expect(r, !word || strstr(r->host.sentence, word),
                   "%s: the sentence does not name \"%s\": \"%.300s\"", call, word,
                   r->host.sentence);
    long alive = atomic_load(&r->host.alive);
    rig_expect(r, alive == 0, "%s: it failed and left %ld host allocations", call,
               alive);
}

CHECK_CLOSED(index)
{
    int n = r->b->devices();
    rig_expect(r, n == r->b->devices(), "devices() changes from call to call");
    open_refused(r, n, "", MNT_NOT_FOUND, NULL);
    open_refused(r, n + 100, "", MNT_NOT_FOUND, NULL);
    open_refused(r, -1, "", MNT_NOT_FOUND, NULL);
    rig_open(r, NULL);
}

CHECK_CLOSED(force_malformed)
{
    static const char *const texts[] = { "nonsense", "=ref", "matmul=", "matmul",
                                         ",",        "isa",  "=" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        open_refused(r, r->subject->index, texts[i], MNT_INVALID, NULL);
}

CHECK_CLOSED(force_unknown_op)
{
    open_refused(r, r->subject->index, "no_such_op=ref", MNT_INVALID, "no_such_op");
}

CHECK_CLOSED(force_unknown_variant)
{
    open_refused(r, r->subject->index, "matmul=no_such_variant", MNT_INVALID,
                 "no_such_variant");
}

CHECK_CLOSED(open_close_50)
{
    long first = 0;
    for (int i = 0; i < 50 && !rig_stopped(r); i++) {
        long before = atomic_load(&r->host.calls);
        rig_open(r, NULL);
        void *x = rig_floats(r, 10, 1), *y = rig_floats(r, 10, 0);
        mnt_cmd cmd = rig_accumulate(rig_vector(x, 10), rig_vector(y, 10));
        rig_once(r, &cmd, 1);
        rig_close(r);
        long alive = atomic_load(&r->host.alive);
        rig_expect(r, alive == 0, "open and close, turn %d: %ld host allocations stay",
                   i, alive);
        long calls = atomic_load(&r->host.calls) - before;
        if (i == 0)
            first = calls;
        rig_expect(r, calls <= first + 8,
                   "open and close: the first turn made %ld host allocations, turn %d "
                   "made %ld",
                   first, i, calls);
    }
}

/* total += x on a rig, n times, read back. */
typedef struct counter {
    void *x, *total, *program;
    mnt_cmd cmd;
} counter;

static void counter_open(rig *r, counter *c, float x)
{
    c->x = rig_floats(r, 1000, x);
    c->total = rig_floats(r, 1000, 0);
    c->cmd = rig_accumulate(rig_vector(c->x, 1000), rig_vector(c->total, 1000));
    c->program = rig_prepare(r, &c->cmd, 1);
}

static void counter_expect(rig *r, const counter *c, const char *what, float want)
{
    float got[1000] = { 0 };
    rig_read(r, c->total, 0, got, sizeof got);
    rig_all(r, what, want, got, 1000);
}

CHECK(two_contexts)
{
    rig other;
    counter a, b;
    rig_twin(&other, r);
    counter_open(r, &a, 1);
    counter_open(&other, &b, 3);
    for (int i = 0; i < 10; i++) {
        rig_submit(r, a.program, 2);
        rig_submit(&other, b.program, 3);
    }
    counter_expect(r, &a, "first of two contexts, 20 times + 1", 20);
    counter_expect(&other, &b, "second of two contexts, 30 times + 3", 90);
    rig_join(r, &other);
    rig_submit(r, a.program, 5);
    counter_expect(r, &a, "the first context after the second was closed", 25);
}

static void variant_word(rig *r, const char *v)
{
    const char *equals = strchr(v, '=');
    rig_expect(r,
               equals && equals != v && equals[1] && !strchr(equals + 1, '=') &&
                   !strpbrk(v, " ,"),
               "variant: \"%.60s\" is not one word name=value", v);
}

/* The i-th entry, copied; false past the last. */
static bool variant_at(rig *r, int i, char copy[96])
{
    const char *v = rig_stopped(r) ? NULL : r->b->variant(r->ctx, i);
    if (!v)
        return false;
    snprintf(copy, 96, "%s", v);
    variant_word(r, copy);
    return !rig_stopped(r);
}

CHECK(variant_list)
{
    enum { MOST = 1000 };
    char(*list)[96] = kit_alloc(MOST * sizeof *list), v[96];
    int n = 0;
    while (n < MOST && variant_at(r, n, list[n]))
        n++;
    rig_expect(r, n < MOST, "variant: the list does not end after %d entries", n);
    for (int i = 0; i < n && variant_at(r, i, v); i++) {
        rig_expect(r, !strcmp(list[i], v), "variant: entry %d is \"%s\", then \"%s\"",
                   i, list[i], v);
        for (int k = 0; k < i; k++)
            rig_expect(r, strcmp(list[i], list[k]) != 0,
                       "variant: \"%s\" is there twice", list[i]);
    }
    rig_expect(r, !variant_at(r, n, v) && !variant_at(r, n + 1000, v),
               "variant: an entry past the last is not NULL");
    free(list);
}

static mnt_op op_named(const char *name, size_t length)
{
    for (int op = 0; op < MNT_OP_COUNT; op++) {
        const char *s = mnt_op_name((mnt_op)op);
        if (strlen(s) == length && !strncmp(s, name, length))
            return (mnt_op)op;
    }
    return MNT_OP_COUNT;
}

/* On a context that was opened with op=variant: each sample of the op gets that kernel
 * or is refused. */
static void variant_chosen(rig *r, mnt_op op, const char *variant, const char *force)
{
    sample s;
    for (int i = 0; !rig_stopped(r) && sample_make(&s, op, i); i++) {
        uint64_t at = 256;
        void *place = rig_alloc(r, 1 << 20);
        sample_pack(&s, place, &at, 0, 0);
        if (sample_taken(r, &s)) {
            mnt_cmd_timing t = { 0 };
            void *p = rig_prepare(r, &s.cmd, 1);
            rig_timing(r, p, &t, 1);
            size_t n = strlen(variant);
            rig_expect(r,
                       t.kernel && !strncmp(t.kernel, variant, n) &&
                           (t.kernel[n] == '\0' || t.kernel[n] == '.'),
                       "opened with \"%s\", prepare of sample %d chose the kernel "
                       "\"%s\"",
                       force, i, t.kernel ? t.kernel : "(null)");
            rig_discard(r, p);
        }
        rig_release(r, place);
        sample_free(&s);
    }
}

CHECK_CLOSED(variants_chosen)
{
    rig_open(r, NULL);
    const char *own = r->subject->force ? r->subject->force : "";
    char v[96], force[256];
    for (int i = 0; variant_at(r, i, v); i++) {
        const char *equals = strchr(v, '=');
        mnt_op op = op_named(v, (size_t)(equals - v));
        rig other;
        rig_begin(&other, r->subject, r->text, r->size);
        /* A choice for the whole device stands alone, one for an op joins the
         * subject's, which decided what the list holds. */
        snprintf(force, sizeof force, "%s%s%s", op < MNT_OP_COUNT ? own : "",
                 op < MNT_OP_COUNT && own[0] ? "," : "", v);
        rig_open(&other, force);
        if (op < MNT_OP_COUNT)
            variant_chosen(&other, op, equals + 1, force);
        rig_join(r, &other);
    }
}

CHECK_CLOSED(open_no_memory)
{
    for (long k = 1; k < 10000 && !rig_stopped(r); k++) {
        char call[96];
        int fails = r->host.fails;
        void *ctx;
        atomic_store(&r->host.fail_at, atomic_load(&r->host.calls) + k);
        mnt_status st = rig_try_open(r, r->subject->index, r->subject->threads,
                                     r->subject->force, &ctx);
        bool reached = atomic_load(&r->host.calls) >= atomic_load(&r->host.fail_at);
        atomic_store(&r->host.fail_at, 0);
        snprintf(call, sizeof call, "open, host allocation %ld returns NULL", k);
        if (st == MNT_OK)
            r->b->close(ctx);
        if (reached)
            rig_refused(r, st, MNT_NO_MEMORY, fails, call);
        long alive = atomic_load(&r->host.alive);
        rig_expect(r, alive == 0, "%s: %ld host allocations stay", call, alive);
        if (!reached)
            break;
    }
    rig_open(r, NULL);
}

/* One supported sample of every row, and of some all. */
static int sample_program(rig *r, sample *s, mnt_cmd *cmds, int room)
{
    int n = 0;
    for (int op = 0; op < MNT_OP_COUNT && n < room; op++) {
        uint64_t at = 256;
        if (!sample_make(&s[n], (mnt_op)op, 0))
            continue;
        sample_pack(&s[n], NULL, &at, 64, 0);
        void *place = rig_alloc(r, at);
        at = 256;
        sample_pack(&s[n], place, &at, 64, 0);
        if (!rig_stopped(r) && sample_taken(r, &s[n])) {
            cmds[n] = s[n].cmd;
            n++;
        } else {
            rig_release(r, place);
            sample_free(&s[n]);
        }
    }
    rig_number(cmds, n);
    return n;
}

/* After all failures: total += 1 works, whatever was left behind. */
static void still_works(rig *r)
{
    counter c;
    counter_open(r, &c, 1);
    rig_submit(r, c.program, 3);
    counter_expect(r, &c, "a program after failures of prepare, 3 times + 1", 3);
}

CHECK(prepare_no_memory)
{
    sample s[MNT_OP_COUNT];
    mnt_cmd cmds[MNT_OP_COUNT];
    int n = sample_program(r, s, cmds, MNT_OP_COUNT);
    long most = 0;
    for (long k = 1; k < 100000 && !rig_stopped(r); k++) {
        char call[128];
        int fails = r->host.fails;
        void *p;
        atomic_store(&r->host.fail_at, atomic_load(&r->host.calls) + k);
        mnt_status st = rig_try_prepare(r, cmds, n, &p);
        bool reached = atomic_load(&r->host.calls) >= atomic_load(&r->host.fail_at);
        atomic_store(&r->host.fail_at, 0);
        snprintf(call, sizeof call,
                 "prepare of %d commands, host allocation %ld "
                 "returns NULL",
                 n, k);
        if (reached)
            rig_refused(r, st, MNT_NO_MEMORY, fails, call);
        else
            rig_ok(r, st, "prepare of the same commands, after failures");
        if (!reached)
            break;
        long alive = atomic_load(&r->host.alive);
        most = k == 1 ? alive + 16 : most;
        rig_expect(r, alive <= most,
                   "%s: %ld host allocations stay, after the first "
                   "failure it were %ld",
                   call, alive, most - 16);
    }
    still_works(r);
    for (int i = 0; i < n; i++)
        sample_free(&s[i]);
}

/* The next host allocation returns NULL; whether it came is seen by disarm(). */
static void arm(rig *r)
{
    atomic_store(&r->host.fail_at, atomic_load(&r->host.calls) + 1);
}

static bool disarm(rig *r)
{
    long at = atomic_exchange(&r->host.fail_at, 0);
    return atomic_load(&r->host.calls) >= at;
}

/* alloc, write, read and submit: NO_MEMORY if they wanted memory, else as always. */
CHECK(calls_no_memory)
{
    counter c;
    float v[1000] = { 0 }, total = 0;
    counter_open(r, &c, 1);
    for (int i = 0; i < 8 && !rig_stopped(r); i++) {
        static const char *const calls[] = { "alloc", "write", "read", "submit" };
        char call[64];
        int64_t done = 1;
        void *buffer = NULL;
        int fails = r->host.fails;
        mnt_status st = MNT_OK;
        snprintf(call, sizeof call, "%s, the next host allocation returns NULL",
                 calls[i % 4]);
        arm(r);
        if (i % 4 == 0)
            st = rig_try_alloc(r, 4000, &buffer);
        else if (i % 4 == 1)
            st = r->b->write(r->ctx, c.x, 0, &(float){ 1 }, 4);
        else if (i % 4 == 2)
            st = r->b->read(r->ctx, c.total, 0, v, sizeof v);
        else
            st = rig_try_submit(r, c.program, 3, &done);
        if (disarm(r) && st != MNT_OK)
            rig_refused(r, st, MNT_NO_MEMORY, fails, call);
        else
            rig_ok(r, st, call);
        if (i % 4 == 3)
            total += (float)done;
        rig_release(r, buffer);
        counter_expect(r, &c, "replays counted by *done while host memory ended",
                       total);
    }
}
