/* SPDX-License-Identifier: MIT */
/*
 * Real jobs of more than 2^30 elements, 4 GiB an operand, where the subject welcomes
 * them: the only way to see that grids, counters and loops reach the end.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT (((int64_t)1 << 30) + 1000003)
#define BLOCK ((int64_t)1 << 22) /* elements read or written at a time */

/* The value of element i: distinct in every block, half of them negative. */
static float value_at(int64_t i)
{
    uint32_t h = (uint32_t)i * 2654435761u ^ (uint32_t)(i >> 22) * 40503u;
    return (float)(int32_t)h;
}

static void *big_alloc(rig *r)
{
    void *buffer = NULL;
    if (rig_stopped(r))
        return NULL;
    if (!r->subject->big) {
        rig_skip(r, "a job of 4 GiB and more; it runs with --big");
        return NULL;
    }
    mnt_status st = rig_try_alloc(r, (uint64_t)COUNT * 4, &buffer);
    if (st == MNT_NO_MEMORY)
        rig_skip(r, "no memory for %lld bytes: \"%.200s\"", (long long)COUNT * 4,
                 r->host.sentence);
    else
        rig_ok(r, st, "alloc of 4 GiB");
    return buffer;
}

static void big_fill(rig *r, void *buffer)
{
    float *v = kit_alloc(BLOCK * sizeof *v);
    for (int64_t at = 0; at < COUNT && !rig_stopped(r); at += BLOCK) {
        int64_t n = COUNT - at < BLOCK ? COUNT - at : BLOCK;
        for (int64_t i = 0; i < n; i++)
            v[i] = value_at(at + i);
        rig_write(r, buffer, (uint64_t)at * 4, v, (uint64_t)n * 4);
    }
    free(v);
}

/* Element i of the result must be want(i). */
static void big_expect(rig *r, void *buffer, const char *what, float (*want)(int64_t))
{
    float *v = kit_alloc(BLOCK * sizeof *v);
    for (int64_t at = 0; at < COUNT && !rig_stopped(r); at += BLOCK) {
        int64_t n = COUNT - at < BLOCK ? COUNT - at : BLOCK;
        rig_read(r, buffer, (uint64_t)at * 4, v, (uint64_t)n * 4);
        for (int64_t i = 0; i < n; i++) {
            float w = want(at + i);
            if (v[i] != w) {
                rig_fail(r, "%s of %lld elements: element %lld is %.9g, expected %.9g",
                         what, (long long)COUNT, (long long)(at + i), (double)v[i],
                         (double)w);
                break;
            }
        }
    }
    free(v);
}

static float relu_at(int64_t i)
{
    float v = value_at(i);
    return v > 0 ? v : 0;
}

CHECK(big_relu)
{
    void *x = big_alloc(r), *y = big_alloc(r);
    big_fill(r, x);
    mnt_operand a = rig_vector(x, COUNT);
    mnt_cmd cmd = rig_elementwise(MNT_OP_ID_relu, &a, NULL, rig_vector(y, COUNT), 0);
    rig_once(r, &cmd, 1);
    big_expect(r, y, "relu", relu_at);
}

/* Ones among zeros, the last element among them: exact in any order. */
CHECK(big_sum)
{
    void *x = big_alloc(r), *y = rig_floats(r, 1, -1);
    float one = 1, total = 0;
    int ones = 0;
    for (int64_t at = 0; at < COUNT - 1; at += (COUNT - 1) / 1000, ones++)
        rig_write(r, x, (uint64_t)at * 4, &one, 4);
    rig_write(r, x, (uint64_t)(COUNT - 1) * 4, &one, 4);
    ones++;
    mnt_operand a = rig_vector(x, COUNT);
    mnt_cmd cmd = rig_elementwise(MNT_OP_ID_sum, &a, NULL,
                                  rig_operand(y, 0, MNT_F32, (mnt_shape){ 0 }), 0);
    cmd.args.reduce = (mnt_args_reduce){ 0, 1 };
    rig_once(r, &cmd, 1);
    rig_read(r, y, 0, &total, 4);
    rig_expect(r, total == (float)ones, "sum of %lld elements, %d of them 1: %.9g",
               (long long)COUNT, ones, (double)total);
}

/* [n, 3] read with exchanged axes: COUNT is a multiple of 3? The rest stays behind. */
#define ROWS (COUNT / 3)

static float transposed_at(int64_t i)
{
    return i < 3 * ROWS ? value_at(i % ROWS * 3 + i / ROWS) : 0;
}

CHECK(big_copy)
{
    void *x = big_alloc(r), *y = big_alloc(r);
    big_fill(r, x);
    mnt_operand a = rig_operand(x, 0, MNT_F32, MNT_SHAPE(3, ROWS));
    a.stride[0] = 1;
    a.stride[1] = 3;
    mnt_operand b = rig_operand(y, 0, MNT_F32, MNT_SHAPE(3, ROWS));
    mnt_cmd cmd = rig_elementwise(MNT_OP_ID_copy, &a, NULL, b, 0);
    rig_once(r, &cmd, 1);
    big_expect(r, y, "transposing copy", transposed_at);
}
