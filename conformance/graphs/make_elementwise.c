/* SPDX-License-Identifier: MIT */
/*
 * Makers of elementwise ops, with broadcasting, and of reductions and softmax.
 */
#include "program.h"

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

/* The other operand of a binary op: a again, or of a shape that stretches to a's, or
 * that a stretches to. */
static int partner(graph_program *p, int a)
{
    if (graph_chance(p, 10))
        return a;
    mnt_shape s = p->values[a].shape;
    for (int i = 0; i < s.ndim; i++)
        if (graph_chance(p, 20))
            s.dim[i] = s.dim[i] == 1 && graph_chance(p, 60) ? graph_draw(p, 2, 3) : 1;
    if (s.ndim > 0 && graph_chance(p, 25)) {
        int drop = (int)graph_draw(p, 1, s.ndim);
        s.ndim -= drop;
        for (int i = 0; i < s.ndim; i++)
            s.dim[i] = s.dim[i + drop];
        for (int i = s.ndim; i < MNT_MAX_DIMS; i++)
            s.dim[i] = 0;
    }
    return graph_operand(p, s);
}

static mnt_shape stretched(mnt_shape a, mnt_shape b)
{
    mnt_shape s = { .ndim = max_int(a.ndim, b.ndim) };
    for (int i = 1; i <= s.ndim; i++) {
        int64_t x = i <= a.ndim ? a.dim[a.ndim - i] : 1;
        int64_t y = i <= b.ndim ? b.dim[b.ndim - i] : 1;
        s.dim[s.ndim - i] = x == 1 ? y : x;
    }
    return s;
}

static bool make_binary(graph_program *p)
{
    int a = graph_pick(p, graph_is_f32), b = a < 0 ? -1 : partner(p, a);
    if (b < 0)
        return false;
    const graph_value *va = &p->values[a], *vb = &p->values[b];
    int64_t way = graph_draw(p, 0, 11);
    graph_kind kind = way < 5    ? GRAPH_add
                      : way < 8  ? GRAPH_sub
                      : way < 11 ? GRAPH_mul
                                 : GRAPH_div;
    int bound =
        kind == GRAPH_mul ? va->bound + vb->bound : max_int(va->bound, vb->bound) + 1;
    mnt_shape s = stretched(va->shape, vb->shape);
    if (graph_chance(p, 25)) {
        int t = a;
        a = b;
        b = t;
    }
    int y = graph_op(p, kind, a, b, s, bound, 0);
    if (y >= 0 && kind == GRAPH_div) {
        p->values[y].tainted = true;
        p->values[y].bound = GRAPH_MAX_BOUND;
    }
    return y >= 0;
}

/* a / (1 + relu(b)): a quotient that stays finite. */
static bool make_quotient(graph_program *p)
{
    int a = graph_pick(p, graph_is_f32), b = a < 0 ? -1 : partner(p, a);
    if (b < 0)
        return false;
    int r = graph_op(p, GRAPH_relu, b, -1, p->values[b].shape, p->values[b].bound, 0);
    if (r < 0)
        return false;
    graph_append(p, GRAPH_fill, -1, -1, -1)->f[0] = 1.0f;
    int one = graph_result_of(p, MNT_F32, (mnt_shape){ 0 }, 0);
    int d =
        graph_op(p, GRAPH_add, r, one, p->values[r].shape, p->values[r].bound + 1, 0);
    if (d < 0)
        return false;
    p->values[r].hidden = graph_chance(p, 70);
    const graph_value *va = &p->values[a];
    return graph_op(p, GRAPH_div, a, d, stretched(va->shape, p->values[d].shape),
                    va->bound, 0) >= 0;
}

static bool make_scale(graph_program *p)
{
    static const float factors[] = { 0.5f, -1.0f, 2.0f, 0.0f, -0.0f, 1.0f, 0.3f };
    int x = graph_pick(p, graph_is_f32);
    if (x < 0)
        return false;
    float f = factors[graph_draw(p, 0, 6)];
    int y =
        graph_op(p, GRAPH_scale, x, -1, p->values[x].shape, p->values[x].bound + 1, 0);
    if (y >= 0)
        p->steps[p->count - 1].f[0] = f;
    return y >= 0;
}

static bool make_relu(graph_program *p)
{
    int x = graph_pick(p, graph_is_f32);
    if (x < 0)
        return false;
    int y = graph_op(p, GRAPH_relu, x, -1, p->values[x].shape, p->values[x].bound, 0);
    if (y >= 0 && graph_chance(p, 15)) /* relu of relu */
        y = graph_op(p, GRAPH_relu, y, -1, p->values[y].shape, p->values[y].bound, 0);
    return y >= 0;
}

static bool has_channels(const graph_value *v)
{
    return v->dtype == MNT_F32 && v->shape.ndim >= 2;
}

/* A bias from a parameter, an input, or a sum of the very tensor it is added to. */
static bool make_bias(graph_program *p)
{
    int x = graph_pick(p, has_channels);
    if (x < 0)
        return false;
    mnt_shape s = p->values[x].shape, c = MNT_SHAPE(s.dim[1]);
    int b = -1;
    if (s.ndim == 2 && graph_chance(p, 25)) {
        b = graph_op(p, GRAPH_sum, x, -1, c, p->values[x].bound + graph_log2(s.dim[0]),
                     0);
        if (b < 0)
            return false;
        p->steps[p->count - 1].p[0] = 0;
    } else {
        b = graph_operand(p, c);
    }
    int bound = max_int(p->values[x].bound, p->values[b].bound) + 1;
    int y = graph_op(p, GRAPH_bias_add, x, b, s, bound, 0);
    if (y >= 0 && graph_chance(p, 40))
        y = graph_op(p, GRAPH_relu, y, -1, s, bound, 0);
    return y >= 0;
}

static bool make_reduction(graph_program *p)
{
    int x = graph_pick(p, graph_is_f32);
    if (x < 0)
        return false;
    const graph_value *v = &p->values[x];
    int64_t way = graph_draw(p, 0, 9);
    graph_kind kind = way < 4 ? GRAPH_sum : way < 8 ? GRAPH_mean : GRAPH_argmax;
    bool all = v->shape.ndim == 0 || graph_chance(p, 25);
    int axis = all ? 0 : (int)graph_draw(p, 0, v->shape.ndim - 1);
    mnt_shape s = { 0 };
    for (int i = 0; i < v->shape.ndim && !all; i++)
        if (i != axis)
            s.dim[s.ndim++] = v->shape.dim[i];
    int64_t n = all ? mnt_shape_count(v->shape) : v->shape.dim[axis];
    if (kind == GRAPH_argmax && n == 0)
        return false;
    bool negative = !all && graph_chance(p, 20);
    int bound = v->bound + (kind == GRAPH_sum ? graph_log2(n) : 0);
    int y;
    if (kind == GRAPH_argmax) {
        graph_append(p, kind, x, -1, -1);
        y = graph_result_of(p, MNT_I32, s, 0);
        p->values[y].limit = n;
        p->values[y].tainted = false;
    } else {
        y = graph_op(p, kind, x, -1, s, bound, (double)mnt_shape_count(v->shape));
    }
    if (y < 0)
        return false;
    if (kind == GRAPH_mean && n == 0) {
        p->values[y].tainted = true;
        p->values[y].bound = GRAPH_MAX_BOUND;
    }
    int ndim = p->values[x].shape.ndim;
    p->steps[p->count - 1].p[0] = all ? MNT_ALL_AXES : negative ? axis - ndim : axis;
    return true;
}

static bool has_rows(const graph_value *v)
{
    return v->dtype == MNT_F32 && v->shape.ndim >= 1;
}

static bool make_softmax(graph_program *p)
{
    int x = graph_pick(p, has_rows);
    if (x < 0)
        return false;
    mnt_shape s = p->values[x].shape;
    return graph_op(p, GRAPH_softmax, x, -1, s, 0, 8.0 * (double)mnt_shape_count(s)) >=
           0;
}

const graph_maker graph_elementwise_makers[] = {
    { "binary", 15, make_binary },  { "quotient", 2, make_quotient },
    { "scale", 3, make_scale },     { "relu", 8, make_relu },
    { "bias", 6, make_bias },       { "reduction", 8, make_reduction },
    { "softmax", 4, make_softmax }, { 0 },
};
