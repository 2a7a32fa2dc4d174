/* SPDX-License-Identifier: MIT */
/*
 * Makers of values from nothing: inputs, constants, parameters, batches of a data set,
 * random numbers; running totals too.
 */
#include "program.h"

#include <string.h>

/* What kit_fill() makes of a pattern. */
static int bound_of(const char *v)
{
    if (!strcmp(v, "large"))
        return 14;
    return !strcmp(v, "huge") || !strcmp(v, "wide") ? 128 : 0;
}

static bool taints(const char *v)
{
    return !strcmp(v, "special") || !strcmp(v, "nan") || !strcmp(v, "inf") ||
           !strcmp(v, "ninf") || bound_of(v) > GRAPH_MAX_BOUND;
}

int graph_input(graph_program *p, mnt_dtype dtype, mnt_shape shape, int64_t limit)
{
    bool own = dtype == MNT_F32 && graph_chance(p, 50);
    graph_step *s = graph_append(p, GRAPH_input, -1, -1, -1);
    s->p[0] = dtype == MNT_F32 && graph_chance(p, 60);
    s->p[1] = own; /* values by the text's pattern */
    bool needs = s->p[0];
    int v = graph_result_of(p, dtype, shape, dtype == MNT_U8 ? 8 : 0);
    p->values[v].needs = needs;
    p->values[v].limit = limit;
    if (own) {
        p->values[v].bound = bound_of(p->v);
        p->values[v].tainted = taints(p->v);
    }
    return v;
}

static int constant(graph_program *p, mnt_shape shape)
{
    graph_append(p, GRAPH_constant, -1, -1, -1);
    return graph_result_of(p, MNT_F32, shape, 0);
}

int graph_param(graph_program *p, mnt_shape shape)
{
    if (graph_chance(p, 40))
        for (int i = p->value_count; i-- > 0;)
            if (p->steps[p->values[i].step].kind == GRAPH_param &&
                graph_equal(p->values[i].shape, shape))
                return i;
    graph_step *s = graph_append(p, GRAPH_param, -1, -1, -1);
    s->p[0] = graph_chance(p, 75) ? MNT_INIT_UNIFORM : graph_draw(p, 0, 3);
    int v = graph_result_of(p, MNT_F32, shape, s->p[0] == MNT_INIT_NORMAL ? 1 : -1);
    p->values[v].needs = true;
    return v;
}

int graph_operand(graph_program *p, mnt_shape shape)
{
    if (graph_chance(p, 55))
        for (int i = p->value_count; i-- > 0;)
            if (p->values[i].dtype == MNT_F32 && !p->values[i].hidden &&
                graph_equal(p->values[i].shape, shape) && graph_chance(p, 70))
                return i;
    int64_t way = graph_draw(p, 0, 9);
    if (way < 6)
        return graph_param(p, shape);
    return way < 9 ? graph_input(p, MNT_F32, shape, 0) : constant(p, shape);
}

static bool is_index(const graph_value *v)
{
    return v->dtype == MNT_I32 && v->shape.ndim == 1 && v->limit > 0;
}

int graph_labels(graph_program *p, int64_t count, int64_t classes)
{
    for (int tries = 0; tries < 3; tries++) {
        int i = graph_pick(p, is_index);
        if (i >= 0 && p->values[i].shape.dim[0] == count &&
            p->values[i].limit <= classes)
            return i;
    }
    return graph_input(p, MNT_I32, MNT_SHAPE(count), classes);
}

/* Now and then a dim is 0 or 1. */
static int64_t size(graph_program *p, int64_t lo, int64_t hi)
{
    int64_t way = graph_draw(p, 0, 59);
    return way == 0 ? 0 : way < 4 ? 1 : graph_draw(p, lo, hi);
}

static bool make_matrix(graph_program *p)
{
    int64_t rows = size(p, 2, graph_size(p, 9, 9, 70));
    int64_t columns = size(p, 2, graph_size(p, 20, 20, 280));
    return rows * columns <= p->most && graph_operand(p, MNT_SHAPE(rows, columns)) >= 0;
}

static bool make_image(graph_program *p)
{
    int64_t n = size(p, 1, 3), c = graph_size(p, 1, 3, 8), h = graph_size(p, 4, 10, 28),
            w = graph_chance(p, 70) ? h : graph_draw(p, 3, 10);
    bool fits = n * c * h * w <= p->most;
    if (fits)
        graph_input(p, MNT_F32, MNT_SHAPE(n, c, h, w), 0);
    return fits;
}

static bool make_any(graph_program *p)
{
    mnt_shape s = { .ndim = (int)graph_draw(p, 0, MNT_MAX_DIMS) };
    for (int i = 0; i < s.ndim; i++)
        s.dim[i] = size(p, 1, s.ndim > 3 ? 3 : 6);
    return graph_operand(p, s) >= 0;
}

static bool make_long(graph_program *p)
{
    return graph_operand(p, MNT_SHAPE(graph_size(p, 1, 600, 9000))) >= 0;
}

static bool make_bytes(graph_program *p)
{
    mnt_shape s = { .ndim = (int)graph_draw(p, 1, 3) };
    for (int i = 0; i < s.ndim; i++)
        s.dim[i] = size(p, 1, 6);
    bool u8 = graph_chance(p, 50);
    graph_input(p, u8 ? MNT_U8 : MNT_I32, s, u8 ? 0 : 50);
    return true;
}

static bool make_random(graph_program *p)
{
    mnt_shape s = { .ndim = (int)graph_draw(p, 0, 3) };
    for (int i = 0; i < s.ndim; i++)
        s.dim[i] = size(p, 1, 8);
    int64_t way = graph_draw(p, 0, 2);
    graph_step *t = graph_append(p,
                                 way == 0   ? GRAPH_fill
                                 : way == 1 ? GRAPH_uniform
                                            : GRAPH_normal,
                                 -1, -1, -1);
    t->p[0] = graph_draw(p, 0, 5);
    t->f[0] = kit_float(&p->rng);
    t->f[1] = t->f[0] + 1.5f;
    graph_result_of(p, MNT_F32, s, 3);
    return true;
}

static bool make_batch(graph_program *p)
{
    int64_t n = graph_draw(p, 1, p->samples);
    graph_step *t = graph_append(p, GRAPH_batch, -1, -1, -1);
    t->p[0] = n;
    mnt_shape s = { p->sample.ndim + 1, { n } };
    memcpy(s.dim + 1, p->sample.dim, (size_t)p->sample.ndim * sizeof *s.dim);
    graph_result_of(p, MNT_F32, s, 0);
    p->values[graph_result_of(p, MNT_I32, MNT_SHAPE(n), 0)].limit = p->classes;
    return true;
}

static bool may_total(const graph_value *v)
{
    return v->dtype == MNT_F32 || v->dtype == MNT_I32;
}

static bool make_total(graph_program *p)
{
    int x = graph_pick(p, may_total);
    if (x < 0 || p->values[x].bound > GRAPH_MAX_BOUND - 4)
        return false;
    graph_append(p, GRAPH_accumulate, x, -1, -1);
    const graph_value *v = &p->values[x];
    graph_result_of(p, v->dtype, v->shape, v->bound + graph_log2(p->replays));
    return true;
}

const graph_maker graph_leaf_makers[] = {
    { "matrix", 8, make_matrix },
    { "image", 7, make_image },
    { "any", 4, make_any },
    { "long", 2, make_long },
    { "bytes", 3, make_bytes },
    { "random", 4, make_random },
    { "batch", 4, make_batch },
    { "total", 3, make_total },
    { 0 },
};
