/* SPDX-License-Identifier: MIT */
/*
 * One training, 100 steps, in many ways that must not matter: in pieces, interleaved
 * with other work, watched, guarded, unfused, in another order, interrupted.
 */
#include "api.h"
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 100

static const contract_subject reference = { .backend = "cpu",
                                            .force = "all=ref",
                                            .threads = 1 };

/* The training in one go, then `other` must be the same. */
static void same_as_whole(api *a, const char *what, train_state other)
{
    train_state whole = train_whole(a, a->subject, NULL, STEPS);
    train_same(a, what, &whole, &other);
    train_free(&whole);
    train_free(&other);
}

API_CHECK(train_as_reference)
{
    train_state ref = train_whole(a, &reference, NULL, STEPS);
    train_state own = train_whole(a, a->subject, NULL, STEPS);
    train_same(a, "100 steps, against the reference kernels", &ref, &own);
    train_free(&ref);
    train_free(&own);
}

API_CHECK(train_again)
{
    for (int i = 0; i < 4 && !api_stopped(a); i++)
        same_as_whole(a, "the same training again",
                      train_whole(a, a->subject, NULL, STEPS));
}

API_CHECK(train_in_pieces)
{
    static const int pieces[][4] = { { 1, 99 }, { 50, 50 }, { 33, 1, 66 }, { 99, 1 } };
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces && !api_stopped(a); k++) {
        train t;
        char what[96];
        mnt_device *dev = api_device(a);
        train_open(a, &t, dev, NULL);
        for (int i = 0; i < 4 && pieces[k][i]; i++)
            train_run(&t, pieces[k][i]);
        train_state s = train_read(&t);
        train_close(&t);
        mnt_device_close(dev);
        snprintf(what, sizeof what, "100 replays as %d + %d + %d, against 100",
                 pieces[k][0], pieces[k][1], pieces[k][2]);
        same_as_whole(a, what, s);
    }
}

API_CHECK(train_one_by_one)
{
    train t;
    mnt_device *dev = api_device(a);
    train_open(a, &t, dev, NULL);
    for (int i = 0; i < STEPS; i++)
        train_run(&t, 1);
    train_state s = train_read(&t);
    train_close(&t);
    mnt_device_close(dev);
    same_as_whole(a, "100 times one replay, against 100", s);
}

API_CHECK(train_watched)
{
    train t;
    mnt_device *dev = api_device(a);
    train_open(a, &t, dev, NULL);
    for (int i = 0; i < STEPS / 10; i++) {
        train_run(&t, 10);
        train_state s = train_read(&t);
        train_free(&s);
        if (i % 2 && !api_stopped(a))
            api_ok(a, dev, mnt_device_wait(dev), "mnt_device_wait");
    }
    train_state s = train_read(&t);
    train_close(&t);
    mnt_device_close(dev);
    same_as_whole(a, "everything read after each 10 replays, against 100 unwatched", s);
}

API_CHECK(train_on_two_devices)
{
    train t[2];
    mnt_device *dev[2] = { api_device(a), api_device(a) };
    for (int k = 0; k < 2; k++)
        train_open(a, &t[k], dev[k], NULL);
    for (int i = 0; i < STEPS / 5; i++)
        for (int k = 0; k < 2; k++)
            train_run(&t[(k + i) % 2], 5);
    for (int k = 0; k < 2; k++) {
        train_state s = train_read(&t[k]);
        same_as_whole(a,
                      k ? "the second of two devices in turns, against one alone"
                        : "the first of two devices in turns, against one alone",
                      s);
    }
    for (int k = 0; k < 2; k++) {
        train_close(&t[k]);
        mnt_device_close(dev[k]);
    }
}

API_CHECK(train_two_models)
{
    train t[2];
    mnt_device *dev = api_device(a);
    const train_way small = { .graph = MNT_GRAPH_DESC(.name = "other"), .batch = 3 };
    train_open(a, &t[0], dev, NULL);
    train_open(a, &t[1], dev, &small);
    for (int i = 0; i < STEPS / 4; i++) {
        train_run(&t[0], 4);
        train_run(&t[1], 1 + i % 3);
    }
    train_state s = train_read(&t[0]);
    same_as_whole(a, "beside another model's training on the device, against alone", s);
    train_close(&t[1]);
    train_close(&t[0]);
    mnt_device_close(dev);
}

static void one_way(api *a, const char *what, train_way way)
{
    same_as_whole(a, what, train_whole(a, a->subject, &way, STEPS));
}

API_CHECK(train_profiled)
{
    one_way(a, "profiled, against not", (train_way){ .profile = true });
}

API_CHECK(train_keeping_all)
{
    one_way(a, "with keep_all, against without",
            (train_way){ .graph = MNT_GRAPH_DESC(.keep_all = true) });
}

API_CHECK(train_unfused)
{
    one_way(a, "with no_fusion, against fused",
            (train_way){ .graph = MNT_GRAPH_DESC(.no_fusion = true) });
}

API_CHECK(train_in_another_order)
{
    one_way(a, "parameters created in another order, against as recorded",
            (train_way){ .other_order = true });
}

API_CHECK(train_guarded)
{
    train t;
    train_way way = { .graph = MNT_GRAPH_DESC(.guard = true) };
    mnt_device *dev = api_device(a);
    for (int fused = 0; fused < 2 && !api_stopped(a); fused++) {
        way.graph.no_fusion = !fused;
        train_open(a, &t, dev, &way);
        train_run(&t, STEPS);
        if (!api_stopped(a))
            api_ok(a, dev, mnt_graph_check_guards(t.g), "mnt_graph_check_guards");
        train_state s = train_read(&t);
        train_close(&t);
        same_as_whole(a, "memory poisoned before each replay, against not", s);
    }
    mnt_device_close(dev);
}

API_CHECK(train_interrupted)
{
    train t;
    mnt_device *dev = api_device(a);
    train_open(a, &t, dev, NULL);
    train_run(&t, 40);
    if (!api_stopped(a)) {
        mnt_device_interrupt(dev);
        mnt_status st = mnt_graph_run(t.g, 30);
        api_expect(a, st == MNT_INTERRUPTED,
                   "mnt_graph_run after mnt_device_interrupt: expected INTERRUPTED, "
                   "got %s",
                   mnt_status_name(st));
        int64_t n = mnt_graph_replays(t.g);
        api_expect(a, n == 40,
                   "interrupted before the first of 30 replays: %lld "
                   "replays, expected 40",
                   (long long)n);
    }
    train_run(&t, 60);
    train_state s = train_read(&t);
    train_close(&t);
    mnt_device_close(dev);
    same_as_whole(a, "interrupted after 40 of 100 steps and gone on, against not", s);
}

/* The device has done other things: NaN in freed memory, other shapes, a failure. */
static void used(api *a, mnt_device *dev)
{
    for (int i = 1; i < 6 && !api_stopped(a); i++) {
        int64_t n = 700 * i;
        mnt_graph *g = api_graph(a, dev, NULL, NULL);
        mnt_tensor *x = mnt_fill(g, MNT_SHAPE(n, 7), 0.0f);
        mnt_tensor *nan = mnt_div(g, x, x);
        mnt_tensor *y = mnt_matmul_ex(g, nan, nan, true, false);
        mnt_tensor_keep(mnt_softmax(g, y));
        mnt_tensor_keep(mnt_sum(g, nan, 0));
        api_compile(a, dev, g);
        api_run_graph(a, dev, g, 3);
        mnt_graph_destroy(g);
        g = api_graph(a, dev, NULL, NULL);
        mnt_matmul(g, mnt_input(g, MNT_F32, MNT_SHAPE(2, 3)),
                   mnt_input(g, MNT_F32, MNT_SHAPE(2, 3)));
        api_expect(a, mnt_graph_compile(g) != MNT_OK, "a graph that fails compiled");
        mnt_graph_destroy(g);
    }
}

API_CHECK(train_on_a_used_device)
{
    train t;
    mnt_device *dev = api_device(a);
    used(a, dev);
    train_open(a, &t, dev, NULL);
    train_run(&t, STEPS / 2);
    used(a, dev);
    train_run(&t, STEPS / 2);
    train_state s = train_read(&t);
    train_close(&t);
    mnt_device_close(dev);
    same_as_whole(a,
                  "on a device that did other work before and between, against a "
                  "fresh one",
                  s);
}

/* Another graph is destroyed right behind its run, while this one's replays queue. */
API_CHECK(train_beside_destroyed_graphs)
{
    train t;
    mnt_device *dev = api_device(a);
    train_open(a, &t, dev, NULL);
    for (int i = 0; i < STEPS / 10; i++) {
        mnt_graph *g = api_graph(a, dev, NULL, NULL);
        mnt_tensor *x = api_random(a, g, MNT_SHAPE(90, 80), (uint64_t)i);
        mnt_tensor_keep(mnt_matmul_ex(g, x, x, true, false));
        api_compile(a, dev, g);
        train_run(&t, 5);
        api_run_graph(a, dev, g, 20);
        mnt_graph_destroy(g);
        train_run(&t, 5);
    }
    train_state s = train_read(&t);
    train_close(&t);
    mnt_device_close(dev);
    same_as_whole(a, "graphs run and destroyed at once beside it, against alone", s);
}

/* The training graph itself is destroyed behind its run; the model has the result. */
API_CHECK(train_destroyed_at_once)
{
    train t;
    mnt_device *dev = api_device(a);
    train_state whole = train_whole(a, a->subject, NULL, STEPS);
    train_open(a, &t, dev, NULL);
    train_run(&t, STEPS);
    mnt_graph_destroy(t.g);
    t.g = NULL;
    used(a, dev);
    for (int i = 0; !api_stopped(a) && i < mnt_model_param_count(t.m); i++) {
        mnt_tensor *w = mnt_model_param(t.m, i);
        float *v = api_read(a, dev, w);
        int p = 0;
        char what[128];
        while (p < whole.parts && strcmp(whole.part[p].name, mnt_tensor_name(w)))
            p++;
        snprintf(what, sizeof what, "%s after its graph was destroyed behind run(100)",
                 mnt_tensor_name(w));
        if (api_expect(a, p < whole.parts, "%s: no such parameter", what))
            api_same(a, what, MNT_F32, whole.v + whole.part[p].first, v,
                     mnt_tensor_count(w));
        free(v);
    }
    train_free(&whole);
    train_close(&t);
    mnt_device_close(dev);
}
