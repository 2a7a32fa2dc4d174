/* SPDX-License-Identifier: MIT */
/*
 * Order inside a program and between programs: levels, memory that is written after it
 * was read, programs that are old when they run, and scratch memory that they share.
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

/* Level 0: four sums; level 1: two; level 2: one. */
static int tree(rig *r, mnt_cmd cmds[7], void *y[7])
{
    void *x[8];
    for (int i = 0; i < 8; i++)
        x[i] = rig_floats(r, N, (float)(1 << i));
    for (int i = 0; i < 7; i++)
        y[i] = rig_floats(r, N, -1);
    for (int i = 0; i < 7; i++) {
        mnt_operand a = rig_vector(i < 4 ? x[2 * i] : y[2 * (i - 4)], N);
        mnt_operand b = rig_vector(i < 4 ? x[2 * i + 1] : y[2 * (i - 4) + 1], N);
        cmds[i] = rig_elementwise(MNT_OP_ID_add, &a, &b, rig_vector(y[i], N), 0);
    }
    rig_number(cmds, 7);
    for (int i = 0; i < 7; i++)
        cmds[i].level = i < 4 ? 0 : i < 6 ? 1 : 2;
    return 7;
}

CHECK(levels)
{
    mnt_cmd cmds[7];
    void *y[7];
    int n = tree(r, cmds, y);
    void *p = rig_prepare(r, cmds, n);
    for (int i = 0; i < 100 && !rig_stopped(r); i++) {
        char what[64];
        rig_set(r, y[i % 7], N, -1);
        rig_submit(r, p, 1);
        snprintf(what, sizeof what, "a tree of sums in three levels, replay %d", i);
        expect_vector(r, y[6], what, 255);
    }
}

/* The same with levels that only rise: allowed, and no other bits. */
CHECK(levels_in_other_orders)
{
    mnt_cmd cmds[7], other[7];
    void *y[7];
    static const int order[] = { 2, 3, 5, 1, 0, 4, 6 };
    int n = tree(r, cmds, y);
    for (int i = 0; i < n; i++)
        other[i] = cmds[order[i]];
    void *p = rig_prepare(r, other, n);
    rig_submit(r, p, 20);
    expect_vector(r, y[6], "commands in another order that respects dependencies", 255);
    rig_number(other, n);
    p = rig_prepare(r, other, n);
    rig_set(r, y[6], N, -1);
    rig_submit(r, p, 20);
    expect_vector(r, y[6], "the same with a level for each command", 255);
}

/* Two buffers serve a long chain: each command reads what the one before wrote and
 * writes over what the one before read. */
CHECK(memory_reused_in_a_chain)
{
    enum { STEPS = 24, WIDE = 30000 };
    void *ping = rig_floats(r, WIDE, 0), *pong = rig_floats(r, WIDE, 0);
    void *start = rig_floats(r, WIDE, 1), *one = rig_floats(r, WIDE, 1);
    mnt_operand o[2] = { rig_vector(ping, WIDE), rig_vector(pong, WIDE) };
    mnt_operand s = rig_vector(start, WIDE), b = rig_vector(one, WIDE);
    mnt_cmd cmds[STEPS];
    for (int i = 0; i < STEPS; i++)
        cmds[i] =
            rig_elementwise(MNT_OP_ID_add, i ? &o[(i + 1) % 2] : &s, &b, o[i % 2], 0);
    rig_number(cmds, STEPS);
    void *p = rig_prepare(r, cmds, STEPS);
    float *got = kit_alloc(WIDE * sizeof *got);
    for (int i = 0; i < 50 && !rig_stopped(r); i++) {
        rig_submit(r, p, 1 + i % 3);
        rig_read(r, pong, 0, got, WIDE * sizeof *got);
        rig_all(r, "24 additions of 1 to 1 through two buffers", STEPS + 1, got, WIDE);
    }
    free(got);
}

/* A shift register: each command writes what the one before read, and reads nothing
 * that another wrote. */
CHECK(write_waits_for_reads)
{
    enum { BUFFERS = 12, WIDE = 1 << 16 };
    void *b[BUFFERS];
    mnt_cmd cmds[BUFFERS - 1];
    for (int i = 0; i < BUFFERS; i++)
        b[i] = rig_floats(r, WIDE, (float)i);
    for (int i = 0; i + 1 < BUFFERS; i++) {
        mnt_operand from = rig_vector(b[i + 1], WIDE);
        cmds[i] =
            rig_elementwise(MNT_OP_ID_copy, &from, NULL, rig_vector(b[i], WIDE), 0);
    }
    rig_number(cmds, BUFFERS - 1);
    void *p = rig_prepare(r, cmds, BUFFERS - 1);
    float *got = kit_alloc(WIDE * sizeof *got);
    for (int turn = 0; turn < 12 && !rig_stopped(r); turn++) {
        for (int i = 0; i < BUFFERS; i++)
            rig_set(r, b[i], WIDE, (float)i);
        rig_submit(r, p, 2);
        for (int i = 0; i < BUFFERS && !rig_stopped(r); i++) {
            char what[96];
            snprintf(what, sizeof what,
                     "a shift register of %d buffers, shifted twice, buffer %d",
                     BUFFERS, i);
            rig_read(r, b[i], 0, got, WIDE * sizeof *got);
            rig_all(r, what, (float)(i + 2 < BUFFERS ? i + 2 : BUFFERS - 1), got, WIDE);
        }
    }
    free(got);
}

/* Nobody reads what lies between two writes; the last one stays. */
CHECK(write_waits_for_writes)
{
    enum { WRITES = 16, WIDE = 1 << 16 };
    void *y = rig_floats(r, WIDE, 0);
    mnt_cmd cmds[WRITES];
    for (int i = 0; i < WRITES; i++)
        cmds[i] = rig_elementwise(MNT_OP_ID_fill, NULL, NULL, rig_vector(y, WIDE),
                                  (float)(i + 1));
    rig_number(cmds, WRITES);
    void *p = rig_prepare(r, cmds, WRITES);
    float *got = kit_alloc(WIDE * sizeof *got);
    for (int turn = 0; turn < 12 && !rig_stopped(r); turn++) {
        rig_submit(r, p, 1 + turn % 3);
        rig_read(r, y, 0, got, WIDE * sizeof *got);
        rig_all(r, "16 fills of one buffer, the last with 16", WRITES, got, WIDE);
    }
    free(got);
}

/* ---- programs that are old when they run ---- */

#define OLD      96
#define LATER    24 /* buffers made after the programs */
#define POISONED 0xee

typedef struct old {
    sample s;
    void *buffer, *program;
} old;

static int prepare_all(rig *r, old *o)
{
    int n = 0;
    for (int op = 0; op < MNT_OP_COUNT; op++)
        for (int i = 0; !rig_stopped(r) && n < OLD; i++) {
            uint64_t at = 256;
            if (!sample_make(&o[n].s, (mnt_op)op, i))
                break;
            sample_pack(&o[n].s, NULL, &at, 256, 0);
            o[n].buffer = rig_alloc(r, at + 256);
            at = 256;
            sample_pack(&o[n].s, o[n].buffer, &at, 256, 0);
            if (!sample_taken(r, &o[n].s)) {
                rig_release(r, o[n].buffer);
                sample_free(&o[n].s);
                continue;
            }
            sample_expect(r, &o[n].s);
            o[n].program = rig_prepare(r, &o[n].s.cmd, 1);
            sample_run(r, &o[n].s, o[n].program, "its first run", 0xa5, 1);
            n++;
        }
    return n;
}

/* A program that needs more scratch memory than those before it. */
static void prepare_large(rig *r)
{
    enum { ROWS = 200000, COLUMNS = 4, LONG = 3000000 };
    mnt_operand z = rig_operand(rig_floats(r, ROWS * COLUMNS, 1), 0, MNT_F32,
                                MNT_SHAPE(ROWS, COLUMNS));
    mnt_operand labels =
        rig_operand(rig_floats(r, ROWS, 0), 0, MNT_I32, MNT_SHAPE(ROWS));
    mnt_operand fault = rig_operand(rig_floats(r, 4, 0), 0, MNT_U32, MNT_SHAPE(4));
    mnt_operand loss = rig_operand(rig_floats(r, 1, 0), 0, MNT_F32, (mnt_shape){ 0 });
    mnt_operand x = rig_vector(rig_floats(r, LONG, 1), LONG);
    mnt_cmd cmds[2] = { { .op = MNT_OP_ID_cross_entropy,
                          .in = { z, labels, fault },
                          .out = { loss, fault } },
                        rig_elementwise(MNT_OP_ID_sum, &x, NULL, loss, 0) };
    cmds[1].args.reduce = (mnt_args_reduce){ 0, 1 };
    rig_number(cmds, 2);
    if (!rig_stopped(r) && rig_supports(r, &cmds[0]) && rig_supports(r, &cmds[1]))
        rig_submit(r, rig_prepare(r, cmds, 2), 1);
}

/* Programs run again long after they were prepared: behind larger ones, which may have
 * moved what all share, and beside new memory, which may lie where that was. */
CHECK(old_programs_still_run)
{
    old *o = kit_alloc(OLD * sizeof *o);
    void *later[LATER];
    unsigned char *bytes = kit_alloc(64u << 12);
    int n = prepare_all(r, o);
    prepare_large(r);
    memset(bytes, POISONED, 64u << 12);
    for (int i = 0; i < LATER; i++)
        later[i] = rig_bytes(r, bytes, 64u << (i % 12));
    for (int i = 0; i < n && !rig_stopped(r); i++)
        sample_run(r, &o[i].s, o[i].program,
                   "its program run again, behind larger ones", 0xa5, 1);
    for (int i = 0; i < LATER && !rig_stopped(r); i++) {
        uint64_t size = 64u << (i % 12);
        unsigned char *got = kit_alloc(size);
        rig_read(r, later[i], 0, got, size);
        rig_expect(r, !memcmp(got, bytes, size),
                   "programs prepared before a larger one wrote into a buffer of %llu "
                   "bytes that is not theirs",
                   (unsigned long long)size);
        free(got);
    }
    for (int i = 0; i < n; i++)
        sample_free(&o[i].s);
    free(bytes);
    free(o);
}
