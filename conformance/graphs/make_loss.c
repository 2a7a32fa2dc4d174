/* SPDX-License-Identifier: MIT */
/*
 * Losses: in the middle of a graph, and at its end for mnt_backward().
 */
#include "program.h"

#include <string.h>

static bool has_columns(const graph_value *v)
{
    return graph_is_matrix(v) && v->shape.dim[0] > 0 && v->shape.dim[1] > 1;
}

/* Cross entropy of logits [N,C], perhaps with the count of hits; with labels of its
 * own or any that are there. */
static int cross_entropy(graph_program *p, int z, bool own)
{
    mnt_shape s = p->values[z].shape;
    int labels = own ? graph_input(p, MNT_I32, MNT_SHAPE(s.dim[0]), s.dim[1])
                     : graph_labels(p, s.dim[0], s.dim[1]);
    if (graph_chance(p, 30)) {
        graph_append(p, GRAPH_accuracy_count, z, labels, -1);
        int n = graph_result_of(p, MNT_I32, (mnt_shape){ 0 }, 10);
        p->values[n].tainted = false;
    }
    int bound = p->values[z].bound + 2 > 8 ? p->values[z].bound + 2 : 8;
    return graph_op(p, GRAPH_cross_entropy, z, labels, (mnt_shape){ 0 }, bound,
                    8.0 * (double)mnt_shape_count(s));
}

static bool make_cross_entropy(graph_program *p)
{
    int z = graph_pick(p, has_columns);
    return z >= 0 && cross_entropy(p, z, false) >= 0;
}

/* softmax, and the entropy of the same logits: both read them. */
static bool make_both(graph_program *p)
{
    int z = graph_pick(p, has_columns);
    if (z < 0)
        return false;
    int q = graph_op(p, GRAPH_softmax, z, -1, p->values[z].shape, 0, 0);
    if (q >= 0 && graph_chance(p, 30) && cross_entropy(p, z, false) < 0)
        return false;
    return q >= 0 && cross_entropy(p, graph_chance(p, 60) ? z : q, true) >= 0;
}

static bool differentiable(const graph_value *v)
{
    return v->dtype == MNT_F32 && v->needs;
}

static bool scorable(const graph_value *v)
{
    int64_t n = mnt_shape_count(v->shape);
    return differentiable(v) && v->shape.ndim >= 2 && v->shape.dim[0] > 0 &&
           n / v->shape.dim[0] > 1;
}

static int reduced(graph_program *p, graph_kind kind, int x)
{
    mnt_shape s = p->values[x].shape;
    int64_t n = mnt_shape_count(s);
    int y = graph_op(p, kind, x, -1, (mnt_shape){ 0 },
                     p->values[x].bound + (kind == GRAPH_sum ? graph_log2(n) : 0), 0);
    if (y >= 0)
        p->steps[p->count - 1].p[0] = MNT_ALL_AXES;
    return y;
}

static int entropy_end(graph_program *p)
{
    int z = graph_pick(p, scorable);
    if (z < 0)
        return -1;
    mnt_shape s = p->values[z].shape;
    if (s.ndim > 2)
        z = graph_reshaped(p, z, MNT_SHAPE(s.dim[0], mnt_shape_count(s) / s.dim[0]));
    return cross_entropy(p, z, false);
}

/* The entropy of logits that another one reads already, with labels of its own. */
static int other_entropy(graph_program *p, int y)
{
    const graph_step *t = &p->steps[p->values[y].step];
    if (t->kind == GRAPH_cross_entropy && graph_chance(p, 80))
        return cross_entropy(p, t->in[0], graph_chance(p, 80));
    return entropy_end(p);
}

static int quartered(graph_program *p, int y)
{
    int z = graph_op(p, GRAPH_scale, y, -1, (mnt_shape){ 0 }, p->values[y].bound, 0);
    if (z >= 0)
        p->steps[p->count - 1].f[0] = 0.25f;
    return z;
}

/* y + other, or one of the two a quarter: with equal shares, gradients that went to the
 * wrong loss would have the same sum. */
static int two_losses(graph_program *p, int y)
{
    int first = y, other = graph_chance(p, 75) ? other_entropy(p, y) : -1;
    if (other < 0)
        other = reduced(p, GRAPH_sum, graph_pick(p, differentiable));
    if (other < 0)
        return y;
    int bound = p->values[other].bound;
    if (graph_chance(p, 67)) {
        int *share = graph_chance(p, 50) ? &first : &other;
        *share = quartered(p, *share);
        if (*share < 0)
            return y;
    }
    int total = graph_op(p, GRAPH_add, first, other, (mnt_shape){ 0 }, bound + 1, 0);
    return total < 0 ? y : total;
}

int graph_loss(graph_program *p, const char *kind)
{
    bool two = !strcmp(kind, "two");
    if (!strcmp(kind, "ce") || (two && graph_chance(p, 50))) {
        int y = entropy_end(p);
        if (y >= 0)
            return two ? two_losses(p, y) : y;
    }
    int x = graph_pick(p, differentiable);
    if (x < 0 || !strcmp(kind, "dy"))
        return x;
    int y = reduced(p, strcmp(kind, "sum") ? GRAPH_mean : GRAPH_sum, x);
    return two && y >= 0 ? two_losses(p, y) : y;
}

const graph_maker graph_loss_makers[] = {
    { "cross_entropy", 4, make_cross_entropy },
    { "both", 2, make_both },
    { 0 },
};
