/* SPDX-License-Identifier: MIT */
/*
 * Kit ops whose result changes from replay to replay: what is baked in at record time
 * gives the first replay's answer for ever.
 *   uniform normal   x (a shape), a, b, seed, stream; also=1: plus one of the other kind,
 *                    on the next stream of the same graph
 *   accumulate       x (a shape), from (f32 i32)
 *   batch            n samples of shape x, batch, out (x y), seek; seed, epoch: shuffled
 */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ---- */

static int random_inputs(const kit_case *c, kit_in in[])
{
    (void)c;
    (void)in;
    return 0;
}

static uint64_t seed_of(const kit_case *c)
{
    char word[24];
    return strtoull(kit_word(c, "seed", "1", word), NULL, 10);
}

static uint32_t stream_of(const kit_case *c)
{
    return (uint32_t)kit_int(c, "stream", 0);
}

static mnt_tensor *draw(mnt_graph *g, const kit_case *c, bool normal, uint32_t stream)
{
    float a = (float)kit_num(c, "a", 0), b = (float)kit_num(c, "b", 1);
    mnt_shape s = kit_shape(c, "x");
    return normal ? mnt_normal(g, s, a, b, seed_of(c), stream)
                  : mnt_uniform(g, s, a, b, seed_of(c), stream);
}

static mnt_tensor *random_record(mnt_graph *g, const kit_case *c, bool normal)
{
    mnt_tensor *y = draw(g, c, normal, stream_of(c));
    if (!kit_int(c, "also", 0))
        return y;
    return mnt_add(g, y, draw(g, c, !normal, stream_of(c) + 1));
}

static mnt_tensor *uniform_record(mnt_graph *g, mnt_tensor *const in[],
                                  const kit_case *c)
{
    (void)in;
    return random_record(g, c, false);
}

static mnt_tensor *normal_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    (void)in;
    return random_record(g, c, true);
}

static ora drawn(const kit_case *c, bool normal, uint32_t stream, int replay)
{
    float a = (float)kit_num(c, "a", 0), b = (float)kit_num(c, "b", 1);
    mnt_shape s = kit_shape(c, "x");
    return normal ? ora_normal(s, a, b, seed_of(c), stream, (uint32_t)replay)
                  : ora_uniform(s, a, b, seed_of(c), stream, (uint32_t)replay);
}

/* Puts one replay's y into its place and frees it. */
static void stack(ora *all, ora *y, int replay)
{
    size_t n = (size_t)y->count;
    memcpy(all->v + (size_t)replay * n, y->v, n * sizeof *y->v);
    memcpy(all->e + (size_t)replay * n, y->e, n * sizeof *y->e);
    ora_free(y);
}

static ora random_forward(const kit_case *c, bool normal)
{
    ora all = ora_new(kit_stacked(c, kit_shape(c, "x")));
    for (int i = 0; i < c->replays; i++) {
        ora y = drawn(c, normal, stream_of(c), i);
        if (kit_int(c, "also", 0)) {
            ora one = y, two = drawn(c, !normal, stream_of(c) + 1, i);
            y = ora_binary('+', &one, &two);
            ora_free(&one);
            ora_free(&two);
        }
        stack(&all, &y, i);
    }
    return all;
}

static ora uniform_forward(const kit_case *c, const ora in[])
{
    (void)in;
    return random_forward(c, false);
}

static ora normal_forward(const kit_case *c, const ora in[])
{
    (void)in;
    return random_forward(c, true);
}

static void add_replays(kit_text *t, kit_rng *r)
{
    if (kit_one_in(r, 3))
        kit_append(t, " replays=%d", 1 + (int)kit_below(r, 12));
    if (kit_one_in(r, 3))
        kit_append(t, " queued=1");
}

static void random_generate(kit_text *t, kit_rng *r)
{
    static const char *const range[] = { "a=0 b=1",  "a=-0.3 b=0.3", "a=1 b=2",
                                         "a=-2 b=5", "a=100 b=0.01", "a=5 b=-5" };
    kit_append_shape(t, "x", kit_edge_shape(r, 0, 4, 0, t->work / 64 + 4));
    kit_append(t, " %s seed=%llu stream=%u", range[kit_below(r, 6)],
               (unsigned long long)(kit_next(r) >> (kit_one_in(r, 2) ? 0 : 56)),
               (unsigned)(kit_next(r) >> (kit_one_in(r, 2) ? 32 : 62)));
    if (kit_one_in(r, 3))
        kit_append(t, " also=1");
    add_replays(t, r);
}

const kit_op kit_uniform = {
    .name = "uniform",
    .flags = KIT_STATE,
    .inputs = random_inputs,
    .record = uniform_record,
    .forward = uniform_forward,
    .generate = random_generate,
};
const kit_op kit_normal = {
    .name = "normal",
    .flags = KIT_STATE,
    .inputs = random_inputs,
    .record = normal_record,
    .forward = normal_forward,
    .generate = random_generate,
};

/* ---- running totals ---- */

static int accumulate_inputs(const kit_case *c, kit_in in[])
{
    mnt_dtype type = kit_type(c, "from");
    in[0] = (kit_in){ .dtype = type, .fed = true, .shape = kit_shape(c, "x") };
    if (type == MNT_I32)
        in[0].limit = 1000000;
    return 1;
}

static mnt_tensor *accumulate_record(mnt_graph *g, mnt_tensor *const in[],
                                     const kit_case *c)
{
    (void)c;
    return mnt_accumulate(g, in[0]);
}

static ora accumulate_forward(const kit_case *c, const ora in[])
{
    ora y = ora_copy(&in[0]);
    mnt_dtype type = kit_type(c, "from");
    int64_t one = y.count / c->replays;
    for (int64_t i = 0; i < one; i++) {
        double mag = 0, total = 0;
        for (int64_t k = i; k < y.count; k += one) {
            total += y.v[k];
            mag += isfinite(y.v[k]) ? fabs(y.v[k]) : 0;
            y.v[k] = total;
            if (type != MNT_F32 || !isfinite(total))
                continue;
            double n = (double)c->replays;
            y.e[k] = ora_gamma(n) * mag + (mag > 0 ? n * ORA_MIN : 0);
            y.e[k] = mag > ORA_MAX / 2 ? INFINITY : y.e[k];
        }
    }
    return y;
}

static void accumulate_generate(kit_text *t, kit_rng *r)
{
    kit_append_shape(t, "x", kit_edge_shape(r, 0, 4, 0, t->work / 32 + 4));
    kit_append(t, " from=%s", kit_one_in(r, 3) ? "i32" : "f32");
    add_replays(t, r);
}

const kit_op kit_accumulate = {
    .name = "accumulate",
    .flags = KIT_STATE,
    .inputs = accumulate_inputs,
    .record = accumulate_record,
    .forward = accumulate_forward,
    .generate = accumulate_generate,
};

/* ---- batches ---- */

/* Byte k of the images, and the label of a sample. */
static uint8_t pixel(int64_t k)
{
    return (uint8_t)(k * 7 + k / 251);
}

static uint8_t label(int64_t sample)
{
    return (uint8_t)(sample * 5 % 251);
}

static mnt_status batch_open(mnt_device *dev, kit_case *c)
{
    mnt_shape sample = kit_shape(c, "x");
    int64_t n = kit_int(c, "n", 13), pixels = n * mnt_shape_count(sample);
    uint8_t *images = kit_alloc((size_t)pixels), *labels = kit_alloc((size_t)n);
    for (int64_t i = 0; i < pixels; i++)
        images[i] = pixel(i);
    for (int64_t i = 0; i < n; i++)
        labels[i] = label(i);
    mnt_dataset *d = NULL;
    mnt_status st = mnt_dataset_create(&d, dev, images, sample, labels, n, 251);
    c->held = d;
    if (st == MNT_OK && kit_has(c, "seed"))
        st = mnt_dataset_shuffle(d, seed_of(c), kit_int(c, "epoch", 0));
    if (st == MNT_OK && kit_has(c, "seek"))
        st = mnt_dataset_seek(d, kit_int(c, "seek", 0));
    free(images);
    free(labels);
    return st;
}

static void batch_close(kit_case *c)
{
    mnt_dataset_close(c->held);
}

static bool wants_labels(const kit_case *c)
{
    char word[24];
    return !strcmp(kit_word(c, "out", "x", word), "y");
}

static mnt_tensor *batch_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)in;
    mnt_batch b = mnt_batch_input(g, c->held, kit_int(c, "batch", 4));
    return wants_labels(c) ? b.y : b.x;
}

static ora batch_forward(const kit_case *c, const ora in[])
{
    (void)in;
    mnt_shape sample = kit_shape(c, "x");
    int64_t n = kit_int(c, "n", 13), batch = kit_int(c, "batch", 4);
    int64_t row = wants_labels(c) ? 1 : mnt_shape_count(sample);
    int64_t *order = kit_alloc((size_t)n * sizeof *order);
    ora_order(order, n, kit_has(c, "seed"), seed_of(c), kit_int(c, "epoch", 0));
    mnt_shape s = { 2, { c->replays, batch } };
    for (int d = 0; d < sample.ndim && !wants_labels(c); d++)
        s.dim[s.ndim++] = sample.dim[d];
    ora y = ora_new(s);
    bool labels = wants_labels(c);
    int64_t start = kit_int(c, "seek", 0);
    for (int64_t i = 0; i < y.count; i++) {
        int64_t from = order[(start + i / row) % n];
        y.v[i] = labels ? (double)label(from)
                        : (double)(float)(pixel(from * row + i % row) / 255.0);
    }
    free(order);
    return y;
}

static void batch_generate(kit_text *t, kit_rng *r)
{
    mnt_shape x = kit_edge_shape(r, 1, 3, 1, t->work / 512 + 4);
    int64_t most = t->work / (4 * mnt_shape_count(x)) + 2;
    int64_t n = kit_edge(r, 1, most < 600 ? most : 600);
    kit_append_shape(t, "x", x);
    kit_append(t, " n=%d batch=%d out=%s", (int)n, (int)(1 + kit_below(r, n)),
               kit_one_in(r, 2) ? "y" : "x");
    if (!kit_one_in(r, 3))
        kit_append(t, " seed=%llu epoch=%llu",
                   (unsigned long long)(kit_next(r) >> (kit_one_in(r, 2) ? 0 : 60)),
                   (unsigned long long)(kit_next(r) >> (kit_one_in(r, 4) ? 1 : 61)));
    if (kit_one_in(r, 3))
        kit_append(t, " seek=%d", (int)kit_below(r, n + 1));
    add_replays(t, r);
}

const kit_op kit_batch = {
    .name = "batch",
    .flags = KIT_STATE | KIT_MOVES,
    .inputs = random_inputs,
    .record = batch_record,
    .forward = batch_forward,
    .generate = batch_generate,
    .open = batch_open,
    .close = batch_close,
};
