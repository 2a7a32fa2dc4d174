/* SPDX-License-Identifier: MIT */
/*
 * Makers of views, copies, conversions and gathered rows.
 */
#include "program.h"

static bool any(const graph_value *v)
{
    (void)v;
    return true;
}

static bool has_dims(const graph_value *v)
{
    return v->shape.ndim > 0;
}

/* A view step's result: limits and bounds pass through. */
static int view_result(graph_program *p, int x, mnt_shape shape)
{
    int y = graph_result_of(p, p->values[x].dtype, shape, p->values[x].bound);
    p->values[y].limit = p->values[x].limit;
    return y;
}

static int contiguous(graph_program *p, int x)
{
    graph_append(p, GRAPH_contiguous, x, -1, -1);
    int y = view_result(p, x, p->values[x].shape);
    p->values[y].plain = true;
    return y;
}

int graph_reshaped(graph_program *p, int x, mnt_shape shape)
{
    if (!p->values[x].plain) {
        x = contiguous(p, x);
        p->values[x].hidden = graph_chance(p, 50);
    }
    graph_append(p, GRAPH_reshape, x, -1, -1);
    int y = view_result(p, x, shape);
    p->values[y].plain = true;
    return y;
}

/* The count as a product of some factors, in random order. */
static mnt_shape factored(graph_program *p, int64_t count)
{
    mnt_shape s = { .ndim = (int)graph_draw(p, 1, 4) };
    for (int i = 0; i < s.ndim; i++)
        s.dim[i] = 1;
    for (int64_t f = 2; count > 1; f++)
        while (count % f == 0) {
            s.dim[graph_draw(p, 0, s.ndim - 1)] *= f;
            count /= f;
        }
    if (count == 0)
        s.dim[graph_draw(p, 0, s.ndim - 1)] = 0;
    return s;
}

static bool make_reshape(graph_program *p)
{
    int x = graph_pick(p, any);
    if (x < 0)
        return false;
    const graph_value *v = &p->values[x];
    int64_t n = mnt_shape_count(v->shape);
    if (v->shape.ndim > 0 && graph_chance(p, 30)) {
        int64_t rest = 1;
        for (int i = 1; i < v->shape.ndim; i++)
            rest *= v->shape.dim[i];
        mnt_shape s = MNT_SHAPE(v->shape.dim[0], rest);
        if (!v->plain)
            x = contiguous(p, x);
        graph_append(p, GRAPH_flatten, x, -1, -1);
        p->values[view_result(p, x, s)].plain = true;
        return true;
    }
    mnt_shape s = n == 1 && graph_chance(p, 30) ? (mnt_shape){ 0 } : factored(p, n);
    bool infer = n > 0 && s.ndim > 0 && graph_chance(p, 30);
    int64_t open = infer ? graph_draw(p, 0, s.ndim - 1) : -1;
    graph_reshaped(p, x, s);
    p->steps[p->count - 1].p[0] = open + 1;
    return true;
}

static bool permute_of(graph_program *p, int x)
{
    if (x < 0 || p->values[x].shape.ndim == 0)
        return false;
    mnt_shape from = p->values[x].shape, s = from;
    int order[MNT_MAX_DIMS];
    for (int i = 0; i < s.ndim; i++)
        order[i] = i;
    for (int i = s.ndim - 1; i > 0; i--) {
        int j = (int)graph_draw(p, 0, i), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    graph_step *step = graph_append(p, GRAPH_permute, x, -1, -1);
    for (int i = 0; i < s.ndim; i++) {
        step->p[i] = order[i];
        s.dim[i] = from.dim[order[i]];
    }
    view_result(p, x, s);
    return true;
}

static bool make_permute(graph_program *p)
{
    return permute_of(p, graph_pick(p, has_dims));
}

static bool slice_of(graph_program *p, int x)
{
    if (x < 0 || p->values[x].shape.ndim == 0)
        return false;
    mnt_shape s = p->values[x].shape;
    int axis = (int)graph_draw(p, 0, s.ndim - 1);
    int64_t n = s.dim[axis], start = graph_draw(p, 0, n > 2 ? n / 2 : 0);
    int64_t length = graph_chance(p, 3) ? 0
                     : n > start        ? graph_draw(p, 1, n - start)
                                        : 0;
    graph_step *step = graph_append(p, GRAPH_slice, x, -1, -1);
    step->p[0] = graph_chance(p, 20) ? axis - s.ndim : axis;
    step->p[1] = start;
    step->p[2] = length;
    s.dim[axis] = length;
    view_result(p, x, s);
    return true;
}

static bool make_slice(graph_program *p)
{
    return slice_of(p, graph_pick(p, has_dims));
}

static bool make_broadcast(graph_program *p)
{
    int x = graph_pick(p, any);
    if (x < 0)
        return false;
    mnt_shape from = p->values[x].shape, s = { 0 };
    int lead = from.ndim < MNT_MAX_DIMS ? (int)graph_draw(p, 0, 1) : 0;
    for (int i = 0; i < lead; i++)
        s.dim[s.ndim++] = graph_draw(p, 1, 3);
    for (int i = 0; i < from.ndim; i++)
        s.dim[s.ndim++] = from.dim[i] == 1 ? graph_draw(p, 1, 4) : from.dim[i];
    if (mnt_shape_count(s) > p->most)
        return false;
    graph_append(p, GRAPH_broadcast, x, -1, -1);
    view_result(p, x, s);
    return true;
}

static bool make_contiguous(graph_program *p)
{
    int x = graph_pick(p, any);
    if (x >= 0)
        contiguous(p, x);
    return x >= 0;
}

static bool make_cast(graph_program *p)
{
    int x = graph_pick(p, any);
    if (x < 0)
        return false;
    const graph_value *v = &p->values[x];
    mnt_dtype from = v->dtype, to = MNT_F32;
    if (from == MNT_F32)
        to = graph_chance(p, 40) ? MNT_I32 : graph_chance(p, 50) ? MNT_U8 : MNT_F32;
    else if (graph_chance(p, 25))
        to = graph_chance(p, 50) || from == MNT_I32 ? from : MNT_I32;
    bool unit = from == MNT_U8 && to == MNT_F32 && graph_chance(p, 60);
    int bound = from == MNT_F32                                  ? v->bound
                : unit                                           ? 0
                : from == MNT_U8 || (v->limit && v->limit < 256) ? 8
                                                                 : 31;
    if (to == MNT_F32 && !v->tainted && bound > GRAPH_MAX_BOUND)
        return false;
    graph_append(p, GRAPH_cast, x, -1, -1)->p[0] = unit;
    int y = graph_result_of(p, to, p->values[x].shape, bound);
    graph_value *w = &p->values[y];
    if (from != MNT_F32 || to != MNT_F32)
        w->needs = w->tainted = false;
    if (from == MNT_I32 && to == MNT_I32)
        w->limit = p->values[x].limit;
    if (from == MNT_U8 && to == MNT_I32)
        w->limit = 256;
    return true;
}

static bool is_index(const graph_value *v)
{
    return v->dtype == MNT_I32 && v->shape.ndim == 1 && v->limit > 0;
}

static bool make_gather(graph_program *p)
{
    int table = graph_pick(p, has_dims), index = graph_pick(p, is_index);
    if (table < 0)
        return false;
    mnt_shape s = p->values[table].shape;
    int64_t rows = s.dim[0];
    if (index < 0 || p->values[index].limit > rows ||
        (rows == 0 && p->values[index].shape.dim[0] > 0)) {
        if (rows == 0)
            return false;
        index = graph_input(p, MNT_I32, MNT_SHAPE(graph_draw(p, 0, 7)), rows);
    }
    s.dim[0] = p->values[index].shape.dim[0];
    if (mnt_shape_count(s) > p->most)
        return false;
    const graph_value *t = &p->values[table];
    mnt_dtype to = t->dtype == MNT_U8 && graph_chance(p, 70) ? MNT_F32 : t->dtype;
    bool unit = t->dtype == MNT_U8 && to == MNT_F32 && graph_chance(p, 60);
    int bound = t->dtype == MNT_U8 && !unit ? 8 : t->bound;
    graph_append(p, GRAPH_gather, table, index, -1)->p[0] = unit;
    int y = graph_result_of(p, to, s, bound);
    p->values[y].limit = p->values[table].limit;
    return true;
}

/* A slice with an offset, and views of it. */
static bool make_view_of_view(graph_program *p)
{
    if (!make_slice(p))
        return false;
    int64_t more = graph_draw(p, 1, 3);
    for (int64_t i = 0; i < more; i++) {
        int x = p->value_count - 1;
        bool hidden = graph_chance(p, 50);
        int64_t n = mnt_shape_count(p->values[x].shape);
        int64_t way = graph_draw(p, 0, 3);
        if (way == 0)
            graph_reshaped(p, x, factored(p, n));
        else if (!(way == 1 ? permute_of(p, x) : slice_of(p, x)))
            return true;
        p->values[x].hidden = hidden;
    }
    return true;
}

const graph_maker graph_view_makers[] = {
    { "reshape", 6, make_reshape },
    { "permute", 6, make_permute },
    { "slice", 6, make_slice },
    { "view_of_view", 5, make_view_of_view },
    { "broadcast", 3, make_broadcast },
    { "contiguous", 3, make_contiguous },
    { "cast", 3, make_cast },
    { "gather", 4, make_gather },
    { 0 },
};
