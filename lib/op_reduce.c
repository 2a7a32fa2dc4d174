/* SPDX-License-Identifier: MIT */
/*
 * Reductions over axes: sum, mean, argmax.
 */
#include "core.h"
#include "grad.h"

mnt_tensor *mnti_reduce(mnt_graph *g, mnt_op op, mnt_tensor *x, int axis, int count,
                        bool keep)
{
    mnt_shape bare = { 0 }, kept = x->shape;
    for (int i = 0; i < x->shape.ndim; i++) {
        if (i < axis || i >= axis + count)
            bare.dim[bare.ndim++] = x->shape.dim[i];
        else
            kept.dim[i] = 1;
    }
    mnt_args args = { .reduce = { axis, count } };
    mnt_tensor *y =
        mnti_graph_tensor(g, op == MNT_OP_ID_argmax ? MNT_I32 : MNT_F32, bare);
    if (!y || !mnti_record(g, op, &x, 1, &y, 1, args))
        return NULL;
    return keep ? mnt_reshape(g, y, kept) : y;
}

static mnt_tensor *reduce(mnt_graph *g, mnt_op op, mnt_tensor *x, int axis)
{
    if (!mnti_graph_accepts(g, op, &x, 1) || !mnti_want_dtype(g, op, "x", x, MNT_F32))
        return NULL;
    int ndim = x->shape.ndim;
    if (axis == MNT_ALL_AXES)
        return mnti_reduce(g, op, x, 0, ndim, false);
    int a = axis < 0 ? axis + ndim : axis;
    if (a < 0 || a >= ndim)
        return mnti_graph_fail(g, MNT_INVALID, "%s: x %s has no axis %d",
                               mnt_op_name(op), mnti_shape_text(x->shape).s, axis);
    return mnti_reduce(g, op, x, a, 1, false);
}

mnt_tensor *mnt_sum(mnt_graph *g, mnt_tensor *x, int axis)
{
    return reduce(g, MNT_OP_ID_sum, x, axis);
}

mnt_tensor *mnt_mean(mnt_graph *g, mnt_tensor *x, int axis)
{
    return reduce(g, MNT_OP_ID_mean, x, axis);
}

static int64_t reduced_count(const mnt_shape *shape, const mnt_args_reduce *r)
{
    int64_t n = 1;
    for (int i = r->axis; i < r->axis + r->count; i++)
        n *= shape->dim[i];
    return n;
}

mnt_tensor *mnt_argmax(mnt_graph *g, mnt_tensor *x, int axis)
{
    if (x && g && !g->status) {
        int ndim = x->shape.ndim;
        int a = axis == MNT_ALL_AXES ? 0 : axis < 0 ? axis + ndim : axis;
        int n = axis == MNT_ALL_AXES ? ndim : 1;
        if (a >= 0 && n <= ndim - a &&
            reduced_count(&x->shape, &(mnt_args_reduce){ a, n }) == 0)
            return mnti_graph_fail(g, MNT_SHAPE, "argmax: the axis of %s is empty",
                                   mnti_shape_text(x->shape).s);
    }
    return reduce(g, MNT_OP_ID_argmax, x, axis);
}

/* dy with the reduced axes put back and stretched. */
static mnt_tensor *expand(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    const mnt_args_reduce *r = &node->args.reduce;
    mnt_shape s = node->in[0]->shape;
    for (int i = r->axis; i < r->axis + r->count; i++)
        s.dim[i] = 1;
    mnt_tensor *kept = mnt_reshape(g, mnt_contiguous(g, dy), s);
    return mnt_broadcast(g, kept, node->in[0]->shape);
}

void mnti_grad_sum(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(g, node->in[0], expand(g, node, dy));
}

void mnti_grad_mean(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    const float n = (float)reduced_count(&node->in[0]->shape, &node->args.reduce);
    mnt_tensor *count = mnt_constant(g, MNT_F32, (mnt_shape){ 0 }, &n);
    mnti_add_grad(g, node->in[0], expand(g, node, mnt_div(g, dy, count)));
}
