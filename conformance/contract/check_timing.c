/* SPDX-License-Identifier: MIT */
/*
 * Timing: one row a command, the kernel named whether profiling is on or not, calls that
 * add up, and nothing counted while it is off.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N     20000
#define COUNT 3

typedef struct timed {
    void *program;
    mnt_cmd cmds[COUNT];
    mnt_cmd_timing rows[COUNT];
} timed;

static void timed_open(rig *r, timed *t)
{
    mnt_operand a = rig_vector(rig_floats(r, N, 1), N);
    mnt_operand b = rig_vector(rig_floats(r, N, 0), N);
    mnt_operand c = rig_vector(rig_floats(r, N, 0), N);
    t->cmds[0] = rig_elementwise(MNT_OP_ID_relu, &a, NULL, b, 0);
    t->cmds[1] = rig_elementwise(MNT_OP_ID_add, &a, &b, c, 0);
    t->cmds[2] = rig_accumulate(c, a);
    rig_number(t->cmds, COUNT);
    t->program = rig_prepare(r, t->cmds, COUNT);
}

/* The rows, poisoned before. */
static void timed_rows(rig *r, timed *t)
{
    for (int i = 0; i < COUNT; i++)
        t->rows[i] = (mnt_cmd_timing){ NULL, -7, 7, 7, 7, 7, 7, 7 };
    rig_wait(r);
    rig_timing(r, t->program, t->rows, COUNT);
    for (int i = 0; i < COUNT; i++)
        rig_expect(r, t->rows[i].kernel && t->rows[i].kernel[0],
                   "timing: row %d names no kernel", i);
}

static void expect_zero(rig *r, const timed *t, const char *when)
{
    for (int i = 0; i < COUNT; i++) {
        const mnt_cmd_timing *w = &t->rows[i];
        rig_expect(r, w->calls == 0 && w->total_ns == 0 && w->wall_ns == 0,
                   "%s: row %d has %lld calls, %llu ns; expected none", when, i,
                   (long long)w->calls, (unsigned long long)w->total_ns);
    }
}

static void expect_calls(rig *r, const timed *t, const char *when, int64_t calls)
{
    for (int i = 0; i < COUNT && !rig_stopped(r); i++) {
        const mnt_cmd_timing *w = &t->rows[i];
        unsigned long long n = (unsigned long long)calls;
        rig_expect(r, w->calls == calls, "%s: row %d has %lld calls, expected %lld",
                   when, i, (long long)w->calls, (long long)calls);
        rig_expect(r,
                   w->min_ns <= w->max_ns && w->min_ns * n <= w->total_ns &&
                       w->total_ns <= w->max_ns * n,
                   "%s: row %d: min %llu, max %llu, total %llu ns of %llu calls do not "
                   "fit",
                   when, i, (unsigned long long)w->min_ns,
                   (unsigned long long)w->max_ns, (unsigned long long)w->total_ns, n);
        rig_expect(r, w->last_ns <= w->max_ns && w->last_ns >= w->min_ns,
                   "%s: row %d: the last call took %llu ns, outside %llu to %llu", when,
                   i, (unsigned long long)w->last_ns, (unsigned long long)w->min_ns,
                   (unsigned long long)w->max_ns);
    }
}

CHECK(timing_off)
{
    timed t;
    timed_open(r, &t);
    timed_rows(r, &t);
    expect_zero(r, &t, "timing before any submit");
    rig_submit(r, t.program, 5);
    timed_rows(r, &t);
    expect_zero(r, &t, "timing with profiling never turned on");
}

CHECK(timing_adds_up)
{
    timed t;
    timed_open(r, &t);
    rig_profile(r, true);
    rig_submit(r, t.program, 5);
    timed_rows(r, &t);
    expect_calls(r, &t, "profiling on, 5 replays", 5);
    rig_submit(r, t.program, 1);
    rig_submit(r, t.program, 0);
    rig_submit(r, t.program, 10);
    timed_rows(r, &t);
    expect_calls(r, &t, "profiling on, 5 + 1 + 0 + 10 replays", 16);
    uint64_t sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += t.rows[i].total_ns;
    rig_expect(r, sum > 0, "48 commands over 20,000 elements took 0 ns");
    rig_profile(r, false);
    rig_submit(r, t.program, 3);
    timed_rows(r, &t);
    expect_calls(r, &t, "profiling turned off, 3 replays more", 16);
    rig_profile(r, true);
    rig_submit(r, t.program, 2);
    timed_rows(r, &t);
    expect_calls(r, &t, "profiling turned on again, 2 replays more", 18);
}

/* On and off hold for what is submitted from there on, not for what is queued. */
CHECK(timing_switched_behind_the_queue)
{
    timed t;
    timed_open(r, &t);
    rig_submit(r, t.program, 300);
    rig_profile(r, true);
    rig_submit(r, t.program, 4);
    rig_profile(r, false);
    rig_submit(r, t.program, 300);
    timed_rows(r, &t);
    expect_calls(r, &t, "300 replays, profiling on, 4 replays, off, 300 replays", 4);
}

CHECK(timing_forgets)
{
    timed t, other;
    timed_open(r, &t);
    timed_open(r, &other);
    rig_profile(r, true);
    rig_submit(r, t.program, 4);
    rig_submit(r, other.program, 6);
    rig_timing(r, t.program, NULL, 0);
    timed_rows(r, &t);
    expect_zero(r, &t, "after timing(NULL)");
    timed_rows(r, &other);
    expect_calls(r, &other, "another program, after timing(NULL) of the first", 6);
    rig_submit(r, t.program, 2);
    timed_rows(r, &t);
    expect_calls(r, &t, "2 replays after timing(NULL)", 2);
}

CHECK(timing_kernel_names_stay)
{
    timed t;
    char names[COUNT][64];
    const char *at[COUNT];
    timed_open(r, &t);
    timed_rows(r, &t);
    if (rig_stopped(r))
        return;
    for (int i = 0; i < COUNT; i++) {
        at[i] = t.rows[i].kernel;
        snprintf(names[i], sizeof names[i], "%s", at[i]);
        rig_expect(r, strpbrk(names[i], " ,=") == NULL,
                   "timing: the kernel's name \"%s\" is not one word", names[i]);
    }
    timed other;
    timed_open(r, &other);
    rig_profile(r, true);
    rig_submit(r, other.program, 3);
    rig_submit(r, t.program, 3);
    rig_timing(r, t.program, NULL, 0);
    rig_discard(r, other.program);
    timed_rows(r, &t);
    for (int i = 0; i < COUNT && !rig_stopped(r); i++)
        rig_expect(r, !strcmp(at[i], names[i]) && !strcmp(t.rows[i].kernel, names[i]),
                   "timing: the kernel of row %d was \"%s\", it became \"%s\"", i,
                   names[i], t.rows[i].kernel);
}

/* Fewer rows than commands: only they are written. */
CHECK(timing_of_some_rows)
{
    timed t;
    timed_open(r, &t);
    rig_profile(r, true);
    rig_submit(r, t.program, 2);
    rig_wait(r);
    for (int i = 0; i < COUNT; i++)
        t.rows[i] = (mnt_cmd_timing){ .calls = -7 };
    rig_timing(r, t.program, t.rows, 1);
    rig_expect(r, t.rows[0].calls == 2, "timing of one row: %lld calls, expected 2",
               (long long)t.rows[0].calls);
    rig_expect(r, t.rows[1].calls == -7, "timing of one row wrote a second");
}

/* What is measured is no other computation. */
CHECK(timing_same_bits)
{
    timed t;
    float *off = kit_alloc(N * sizeof *off), *on = kit_alloc(N * sizeof *on);
    timed_open(r, &t);
    rig_submit(r, t.program, 7);
    rig_read(r, t.cmds[2].out[0].buffer, 0, off, N * sizeof *off);
    rig_set(r, t.cmds[2].out[0].buffer, N, 1);
    rig_profile(r, true);
    rig_submit(r, t.program, 7);
    rig_read(r, t.cmds[2].out[0].buffer, 0, on, N * sizeof *on);
    rig_same(r, "7 replays with profiling on, against off", MNT_F32, off, on, N);
    free(off);
    free(on);
}
