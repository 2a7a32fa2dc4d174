/* SPDX-License-Identifier: MIT */
/*
 * Commands of one level do not depend on each other: a backend that runs each level's
 * commands in the wrong order, the last first, must give the same bits. It is the cpu
 * backend behind a table of its own, which hands the commands on in that order.
 */
#include "../../conformance/graphs/graphs.h"
#include "../support/support.h"

#include <mnt/backend.h>

#include <stdio.h>
#include <stdlib.h>

#define GRAPHS 1500

typedef struct backwards {
    void *inner;
    mnt_cmd *cmds;
    int *place; /* of each, in the program as it came */
} backwards;

static const mnt_backend *cpu;

static void forget(backwards *b)
{
    free(b->cmds);
    free(b->place);
    free(b);
}

static mnt_status prepare(void *ctx, const mnt_program *p, void **prepared)
{
    backwards *b = kit_alloc(sizeof *b);
    b->cmds = kit_alloc((size_t)p->count * sizeof *b->cmds);
    b->place = kit_alloc((size_t)p->count * sizeof *b->place);
    int n = 0;
    for (uint32_t level = 0; n < p->count; level++)
        for (int i = p->count; i-- > 0;)
            if (p->cmds[i].level == level) {
                b->place[n] = i;
                b->cmds[n++] = p->cmds[i];
            }
    mnt_program turned = *p;
    turned.cmds = b->cmds;
    mnt_status st = cpu->prepare(ctx, &turned, &b->inner);
    *prepared = st == MNT_OK ? b : NULL;
    if (st)
        forget(b);
    return st;
}

static mnt_status submit(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    const backwards *b = prepared;
    return cpu->submit(ctx, b->inner, n, done);
}

static void discard(void *ctx, void *prepared)
{
    backwards *b = prepared;
    if (!b)
        return;
    cpu->discard(ctx, b->inner);
    forget(b);
}

static mnt_status timing(void *ctx, void *prepared, mnt_cmd_timing *rows, int count)
{
    const backwards *b = prepared;
    if (!rows)
        return cpu->timing(ctx, b->inner, NULL, 0);
    mnt_cmd_timing *turned = kit_alloc((size_t)count * sizeof *turned);
    mnt_status st = cpu->timing(ctx, b->inner, turned, count);
    for (int i = 0; i < count; i++)
        rows[b->place[i]] = turned[i];
    free(turned);
    return st;
}

static mnt_device *open_device(const char *backend)
{
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = backend, .threads = 1);
    if (mnt_device_open(&dev, &desc) != MNT_OK)
        fail_msg("%s", mnt_last_error(NULL));
    return dev;
}

static graph_result *run(mnt_device *dev, const char *text, bool no_fusion)
{
    char error[KIT_SENTENCE];
    graph_result *r = NULL;
    kit_mode mode = { .no_fusion = no_fusion, .backward = true };
    if (!graph_run(dev, text, mode, &r, error, sizeof error, NULL, NULL))
        fail_msg("%s: %s", text, error);
    return r;
}

static void test_backwards_in_levels(void **state)
{
    (void)state;
    static mnt_backend table;
    cpu = mnt_backend_find("cpu");
    assert_non_null(cpu);
    table = *cpu;
    table.name = "backwards";
    table.prepare = prepare;
    table.submit = submit;
    table.discard = discard;
    table.timing = timing;
    assert_int_equal(mnt_backend_register(&table), MNT_OK);
    mnt_device *dev = open_device("cpu"), *turned = open_device("backwards");
    kit_rng r = { 20 };
    for (int i = 0; i < GRAPHS; i++) {
        char text[KIT_TEXT];
        kit_verdict v;
        graph_generate(text, &r);
        graph_result *want = run(dev, text, true), *got = run(turned, text, i % 2);
        if (!graph_same(text, "levels turned round", want, got, &v))
            fail_msg("%s", v.text);
        graph_free(want);
        graph_free(got);
    }
    mnt_device_close(turned);
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backwards_in_levels),
    };
    return cmocka_run_group_tests_name("levels", tests, NULL, NULL);
}
