/* SPDX-License-Identifier: MIT */
/*
 * Programs: what prepare() takes and refuses, how often submit() replays, interruption,
 * the life of a program and of its commands.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 1000

static void expect_vector(rig *r, void *buffer, const char *what, float want)
{
    float got[N] = { 0 };
    rig_read(r, buffer, 0, got, sizeof got);
    rig_all(r, what, want, got, N);
}

CHECK(empty_program)
{
    mnt_cmd none = { 0 };
    void *p = rig_prepare(r, &none, 0);
    rig_submit(r, p, 0);
    rig_submit(r, p, 1);
    rig_submit(r, p, 1000);
    rig_timing(r, p, NULL, 0);
    rig_wait(r);
    rig_discard(r, p);
}

CHECK(submit_counts)
{
    void *x = rig_floats(r, N, 1), *total = rig_floats(r, N, 0);
    mnt_cmd cmd = rig_accumulate(rig_vector(x, N), rig_vector(total, N));
    void *p = rig_prepare(r, &cmd, 1);
    static const int64_t counts[] = { 0, 1, 2, 7, 0, 1000, 1 };
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char what[64];
        rig_submit(r, p, counts[i]);
        sum += counts[i];
        snprintf(what, sizeof what, "%lld replays so far, each + 1", (long long)sum);
        expect_vector(r, total, what, (float)sum);
    }
}

/* A: total += 1. B: total += a copy of total. */
CHECK(two_programs_interleaved)
{
    void *x = rig_floats(r, N, 1), *total = rig_floats(r, N, 0);
    void *copy = rig_floats(r, N, 0);
    mnt_operand t = rig_vector(total, N), c = rig_vector(copy, N);
    mnt_cmd add = rig_accumulate(rig_vector(x, N), t);
    mnt_cmd twice[2] = { rig_elementwise(MNT_OP_ID_copy, &t, NULL, c, 0),
                         rig_accumulate(c, t) };
    rig_number(twice, 2);
    void *a = rig_prepare(r, &add, 1), *b = rig_prepare(r, twice, 2);
    float want = 0;
    for (int i = 0; i < 12; i++) {
        rig_submit(r, a, 1 + i % 3);
        rig_submit(r, b, 1);
        want = 2 * (want + (float)(1 + i % 3));
    }
    expect_vector(r, total, "+ 1 and doubling in turns", want);
    rig_discard(r, a);
    rig_submit(r, b, 1);
    expect_vector(r, total, "doubling after the other program was discarded", 2 * want);
}

CHECK(discard_unsubmitted)
{
    void *x = rig_floats(r, N, 1), *total = rig_floats(r, N, 0);
    mnt_cmd cmd = rig_accumulate(rig_vector(x, N), rig_vector(total, N));
    for (int i = 0; i < 50; i++)
        rig_discard(r, rig_prepare(r, &cmd, 1));
    expect_vector(r, total, "programs that were never submitted", 0);
}

/* The commands belong to the caller until discard(); then they are overwritten. */
CHECK(discard_at_once)
{
    enum { WIDE = 1 << 17, MANY = 200 };
    void *x = rig_floats(r, WIDE, 1), *total = rig_floats(r, WIDE, 0);
    mnt_cmd *cmd = kit_alloc(sizeof *cmd);
    *cmd = rig_accumulate(rig_vector(x, WIDE), rig_vector(total, WIDE));
    void *p = rig_prepare(r, cmd, 1);
    rig_submit(r, p, MANY);
    rig_discard(r, p);
    memset(cmd, 0xff, sizeof *cmd);
    free(cmd);
    float *got = kit_alloc(WIDE * sizeof *got);
    rig_read(r, total, 0, got, WIDE * sizeof *got);
    rig_all(r, "200 replays, the program discarded right behind submit()", MANY, got,
            WIDE);
    free(got);
}

/* The same array and buffers, other commands: nothing may be remembered by address. */
CHECK(commands_in_the_same_place)
{
    void *x = rig_floats(r, N, 1), *y = rig_floats(r, N, 0);
    mnt_operand a = rig_vector(x, N), b = rig_vector(y, N);
    mnt_cmd cmd;
    for (int i = 1; i <= 6; i++) {
        char what[80];
        cmd = rig_elementwise(MNT_OP_ID_scale, &a, NULL, b, (float)i);
        rig_once(r, &cmd, 1);
        snprintf(what, sizeof what, "scale by %d in the place of earlier commands", i);
        expect_vector(r, y, what, (float)i);
    }
    cmd = rig_elementwise(MNT_OP_ID_sub, &a, &a, b, 0);
    rig_once(r, &cmd, 1);
    expect_vector(r, y, "sub in the place of scale", 0);
    cmd = rig_elementwise(MNT_OP_ID_fill, NULL, NULL, b, 9);
    rig_once(r, &cmd, 1);
    expect_vector(r, y, "fill in the place of sub", 9);
}

CHECK(supports_and_prepare_agree)
{
    for (int op = 0; op < MNT_OP_COUNT && !rig_stopped(r); op++) {
        sample s;
        for (int i = 0; !rig_stopped(r) && sample_make(&s, (mnt_op)op, i); i++) {
            uint64_t at = 256;
            bool bare = rig_supports(r, &s.cmd);
            void *place = rig_alloc(r, 1 << 20);
            sample_pack(&s, place, &at, 64, 0);
            bool yes = sample_taken(r, &s);
            rig_expect(r, yes == bare,
                       "%s, sample %d: supports() says %s before buffers are set and "
                       "%s after",
                       mnt_op_name(s.cmd.op), i, bare ? "yes" : "no",
                       yes ? "yes" : "no");
            if (yes)
                rig_discard(r, rig_prepare(r, &s.cmd, 1));
            rig_release(r, place);
            sample_free(&s);
        }
    }
}

/* supports() says no, prepare() UNSUPPORTED with a sentence. */
static void expect_unsupported(rig *r, const mnt_cmd *cmd, const char *what)
{
    if (rig_stopped(r))
        return;
    char call[160];
    int fails = r->host.fails;
    void *p;
    snprintf(call, sizeof call, "supports of %s", what);
    rig_expect(r, !rig_supports(r, cmd), "%s: expected no, got yes", call);
    if (rig_stopped(r))
        return;
    snprintf(call, sizeof call, "prepare of %s", what);
    rig_refused(r, rig_try_prepare(r, cmd, 1, &p), MNT_UNSUPPORTED, fails, call);
}

CHECK(op_outside_the_list)
{
    static const int ops[] = { MNT_OP_COUNT, MNT_OP_COUNT + 1, 1000, 0x7fffffff };
    void *x = rig_floats(r, N, 1);
    mnt_operand v = rig_vector(x, N);
    mnt_cmd cmd = rig_elementwise(MNT_OP_ID_relu, &v, NULL, v, 0);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        char what[32];
        cmd.op = (mnt_op)ops[i];
        snprintf(what, sizeof what, "op %d", ops[i]);
        expect_unsupported(r, &cmd, what);
    }
}

CHECK(wrong_dtype_refused)
{
    for (int op = 0; op < MNT_OP_COUNT && !rig_stopped(r); op++) {
        sample s;
        char what[96], name[8];
        void *place = rig_alloc(r, 1 << 20);
        uint64_t at = 256;
        if (!sample_make(&s, (mnt_op)op, 0))
            continue;
        sample_pack(&s, place, &at, 0, 0);
        bool taken = sample_taken(r, &s);
        for (int i = 0; taken && i < SAMPLE_OPERANDS; i++) {
            mnt_cmd bad = s.cmd;
            mnt_operand *o = sample_operand(&bad, i);
            if (!s.there[i])
                continue;
            o->dtype = o->dtype == MNT_F16 ? MNT_U32 : MNT_F16;
            snprintf(what, sizeof what, "%s with %s of %s", mnt_op_name(s.cmd.op),
                     sample_name(name, i), mnt_dtype_name(o->dtype));
            expect_unsupported(r, &bad, what);
            o->dtype = (mnt_dtype)77;
            snprintf(what, sizeof what, "%s with %s of dtype 77", mnt_op_name(s.cmd.op),
                     sample_name(name, i));
            expect_unsupported(r, &bad, what);
        }
        rig_release(r, place);
        sample_free(&s);
    }
}

static bool any_rank(mnt_op op)
{
    return op == MNT_OP_ID_fill || op == MNT_OP_ID_uniform || op == MNT_OP_ID_normal;
}

/* One dim less than the op needs, more than there can be, or below none. */
CHECK(wrong_rank_refused)
{
    for (int op = 0; op < MNT_OP_COUNT && !rig_stopped(r); op++) {
        sample s;
        char what[96], name[8];
        void *place = rig_alloc(r, 1 << 20);
        uint64_t at = 256;
        if (!sample_make(&s, (mnt_op)op, 0))
            continue;
        sample_pack(&s, place, &at, 0, 0);
        bool taken = sample_taken(r, &s);
        for (int i = 0; taken && i < SAMPLE_OPERANDS; i++)
            for (int k = 0; k < 3 && s.there[i]; k++) {
                mnt_cmd bad = s.cmd;
                mnt_operand *o = sample_operand(&bad, i);
                const int ranks[] = { o->ndim - 1, MNT_MAX_DIMS + 1, -1 };
                o->ndim = ranks[k];
                /* Those that only write take any rank; a vector less its axis is still
                 * an element. */
                if (k == 0 && (o->ndim < 1 || (i >= MNT_MAX_IN && any_rank(bad.op))))
                    continue;
                snprintf(what, sizeof what, "%s with %s of %d dims",
                         mnt_op_name(bad.op), sample_name(name, i), o->ndim);
                expect_unsupported(r, &bad, what);
            }
        rig_release(r, place);
        sample_free(&s);
    }
}

CHECK(refused_program_leaves_nothing)
{
    void *x = rig_floats(r, N, 1), *total = rig_floats(r, N, 0);
    mnt_cmd cmds[3];
    cmds[0] = cmds[2] = rig_accumulate(rig_vector(x, N), rig_vector(total, N));
    cmds[1] = cmds[0];
    cmds[1].op = MNT_OP_COUNT;
    rig_number(cmds, 3);
    long alive = 0;
    for (int i = 0; i < 40 && !rig_stopped(r); i++) {
        void *p;
        int fails = r->host.fails;
        mnt_status st = rig_try_prepare(r, cmds, 3, &p);
        rig_refused(r, st, MNT_UNSUPPORTED, fails,
                    "prepare of three commands, the second unknown");
        if (i == 0)
            alive = atomic_load(&r->host.alive);
    }
    rig_expect(r, atomic_load(&r->host.alive) <= alive,
               "40 refused programs leave %ld host allocations, one left %ld",
               atomic_load(&r->host.alive), alive);
    expect_vector(r, total, "a refused program", 0);
    rig_once(r, cmds, 1);
    expect_vector(r, total, "a program after refused ones, + 1", 1);
}

/* ---- interruption ---- */

typedef struct pair {
    void *x, *first, *second, *program;
    mnt_cmd cmds[2];
} pair;

/* Two totals, one in the first command of a step, one in the last. */
static void pair_open(rig *r, pair *p)
{
    p->x = rig_floats(r, N, 1);
    p->first = rig_floats(r, N, 0);
    p->second = rig_floats(r, N, 0);
    p->cmds[0] = rig_accumulate(rig_vector(p->x, N), rig_vector(p->first, N));
    p->cmds[1] = rig_accumulate(rig_vector(p->x, N), rig_vector(p->second, N));
    rig_number(p->cmds, 2);
    p->program = rig_prepare(r, p->cmds, 2);
}

static void pair_expect(rig *r, const pair *p, const char *what, int64_t steps)
{
    expect_vector(r, p->first, what, (float)steps);
    expect_vector(r, p->second, what, (float)steps);
}

CHECK(interrupted_before_the_first_step)
{
    pair p;
    int64_t done;
    pair_open(r, &p);
    if (rig_stopped(r))
        return;
    atomic_store(&r->host.stop_at, atomic_load(&r->host.polls) + 1);
    int fails = r->host.fails;
    mnt_status st = rig_try_submit(r, p.program, 10, &done);
    rig_refused(r, st, MNT_INTERRUPTED, fails,
                "submit of 10 replays, host->interrupted() true at once");
    rig_expect(r, done == 0, "interrupted before the first step: *done is %lld",
               (long long)done);
    pair_expect(r, &p, "interrupted before the first step", 0);
    rig_submit(r, p.program, 4);
    pair_expect(r, &p, "4 replays after an interruption", 4);
}

CHECK(interrupted_between_steps)
{
    pair p;
    int64_t done, total = 0;
    char what[128];
    pair_open(r, &p);
    for (long poll = 2; poll < 9 && !rig_stopped(r); poll++) {
        long before = atomic_load(&r->host.polls);
        atomic_store(&r->host.stop_at, before + poll);
        mnt_status st = rig_try_submit(r, p.program, 1000, &done);
        bool told = atomic_load(&r->host.polls) >= before + poll;
        rig_expect(r, st == (told ? MNT_INTERRUPTED : MNT_OK),
                   "submit of 1000 replays, %s: got %s",
                   told ? "host->interrupted() was true" : "not interrupted",
                   mnt_status_name(st));
        rig_expect(r, done >= 0 && (told ? done < 1000 : done == 1000),
                   "submit of 1000 replays returned %s with *done %lld",
                   mnt_status_name(st), (long long)done);
        total += done;
        snprintf(what, sizeof what,
                 "interrupted at poll %ld, *done %lld: totals of the first and of the "
                 "last command",
                 poll, (long long)done);
        pair_expect(r, &p, what, total);
    }
}

CHECK(replays_keep_no_memory)
{
    sample s;
    for (int op = 0; op < MNT_OP_COUNT && !rig_stopped(r); op++) {
        uint64_t at = 256;
        if (!sample_make(&s, (mnt_op)op, 0))
            continue;
        void *place = rig_alloc(r, 1 << 20);
        sample_pack(&s, place, &at, 64, 0);
        void *p = sample_taken(r, &s) ? rig_prepare(r, &s.cmd, 1) : NULL;
        if (p) {
            rig_submit(r, p, 2);
            rig_wait(r);
            long alive = atomic_load(&r->host.alive);
            rig_submit(r, p, 200);
            rig_wait(r);
            rig_expect(r, atomic_load(&r->host.alive) <= alive + 8,
                       "%s: 200 replays took %ld host allocations and kept them",
                       mnt_op_name(s.cmd.op), atomic_load(&r->host.alive) - alive);
        }
        rig_discard(r, p);
        rig_release(r, place);
        sample_free(&s);
    }
}
