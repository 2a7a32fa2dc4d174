/* SPDX-License-Identifier: MIT */
/*
 * Views: reshape, permute, slice, broadcast. They record no command, only that one
 * tensor looks at another's memory; their gradients are views or copies too.
 */
#include "core.h"
#include "grad.h"

mnt_tensor *mnt_contiguous(mnt_graph *g, mnt_tensor *x)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_copy, &x, 1))
        return NULL;
    if (mnti_contiguous(x))
        return x;
    mnt_tensor *y = mnti_graph_tensor(g, x->dtype, x->shape);
    return mnti_record(g, MNT_OP_ID_copy, &x, 1, &y, 1, (mnt_args){ 0 }) ? y : NULL;
}

void mnti_grad_copy(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(g, node->in[0], dy);
}

/* A tensor over x's storage, still to be given strides and start. */
static mnt_tensor *view_of(mnt_graph *g, mnt_tensor *x, mnt_shape shape)
{
    mnt_tensor *y = mnti_tensor_over(g->dev, g, x->storage, x->dtype, shape, x->start);
    return y ? y : mnti_graph_fail(g, g->dev->failed, "%s", g->dev->error);
}

mnt_tensor *mnt_reshape(mnt_graph *g, mnt_tensor *x, mnt_shape shape)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, &x, 1))
        return NULL;
    int64_t count = mnt_shape_count(x->shape);
    int open = -1;
    mnt_shape s = shape, rest = { 0 };
    for (int i = 0; i < s.ndim && i < MNT_MAX_DIMS; i++) {
        if (s.dim[i] == -1 && open < 0)
            open = i;
        else
            rest.dim[rest.ndim++] = s.dim[i];
    }
    int64_t known = mnt_shape_count(rest);
    if (open >= 0 && known < 0)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "reshape: %s: one dim may be -1, the others not below 0",
                               mnti_shape_text(shape).s);
    if (open >= 0)
        s.dim[open] = known > 0 && count % known == 0 ? count / known : -1;
    if (mnt_shape_count(s) != count)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "reshape: x is %s, %s has another number of elements",
                               mnti_shape_text(x->shape).s, mnti_shape_text(shape).s);
    if (!mnti_contiguous(x))
        return mnti_graph_fail(g, MNT_SHAPE,
                               "reshape: x %s is a strided view; copy it first",
                               mnti_shape_text(x->shape).s);
    mnt_tensor *y = view_of(g, x, s);
    return y && mnti_record_view(g, x, y, &(mnti_view){ .kind = MNTI_RESHAPE }) ? y
                                                                                : NULL;
}

mnt_tensor *mnt_flatten(mnt_graph *g, mnt_tensor *x)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, &x, 1))
        return NULL;
    if (x->shape.ndim < 1)
        return mnti_graph_fail(g, MNT_SHAPE, "flatten: x has no dims");
    int64_t rest = 1;
    for (int i = 1; i < x->shape.ndim; i++)
        rest *= x->shape.dim[i];
    return mnt_reshape(g, x, MNT_SHAPE(x->shape.dim[0], rest));
}

mnt_tensor *mnt_permute(mnt_graph *g, mnt_tensor *x, const int *order)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, &x, 1))
        return NULL;
    if (!order)
        return mnti_graph_fail(g, MNT_INVALID, "permute: order is NULL");
    mnti_view view = { .kind = MNTI_PERMUTE };
    mnt_shape s = { .ndim = x->shape.ndim };
    unsigned seen = 0;
    for (int i = 0; i < s.ndim; i++) {
        if (order[i] < 0 || order[i] >= s.ndim || (seen & 1u << order[i]))
            return mnti_graph_fail(
                g, MNT_INVALID,
                "permute: order[%d] is %d; each of 0 to %d must stand once", i,
                order[i], s.ndim - 1);
        seen |= 1u << order[i];
        s.dim[i] = x->shape.dim[order[i]];
        view.order[i] = order[i];
    }
    mnt_tensor *y = view_of(g, x, s);
    if (!y)
        return NULL;
    for (int i = 0; i < s.ndim; i++)
        y->stride[i] = x->stride[order[i]];
    return mnti_record_view(g, x, y, &view) ? y : NULL;
}

mnt_tensor *mnt_slice(mnt_graph *g, mnt_tensor *x, int axis, int64_t start,
                      int64_t length)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, &x, 1))
        return NULL;
    int ndim = x->shape.ndim;
    int a = axis < 0 ? axis + ndim : axis;
    if (a < 0 || a >= ndim)
        return mnti_graph_fail(g, MNT_INVALID, "slice: x %s has no axis %d",
                               mnti_shape_text(x->shape).s, axis);
    if (start < 0 || length < 0 || length > x->shape.dim[a] - start)
        return mnti_graph_fail(
            g, MNT_SHAPE, "slice: %lld elements from %lld do not lie in axis %d of %s",
            (long long)length, (long long)start, a, mnti_shape_text(x->shape).s);
    mnt_shape s = x->shape;
    s.dim[a] = length;
    mnt_tensor *y = view_of(g, x, s);
    if (!y)
        return NULL;
    memcpy(y->stride, x->stride, sizeof y->stride);
    y->start = x->start + start * x->stride[a];
    mnti_view view = { .kind = MNTI_SLICE, .axis = a, .begin = start };
    return mnti_record_view(g, x, y, &view) ? y : NULL;
}

mnt_tensor *mnt_broadcast(mnt_graph *g, mnt_tensor *x, mnt_shape shape)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, &x, 1))
        return NULL;
    int lead = shape.ndim - x->shape.ndim;
    bool fits = mnt_shape_count(shape) >= 0 && lead >= 0;
    for (int i = 0; fits && i < x->shape.ndim; i++)
        fits = x->shape.dim[i] == shape.dim[lead + i] || x->shape.dim[i] == 1;
    if (!fits)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "broadcast: x is %s, which does not stretch to %s",
                               mnti_shape_text(x->shape).s, mnti_shape_text(shape).s);
    mnt_tensor *y = view_of(g, x, shape);
    if (!y)
        return NULL;
    for (int i = 0; i < shape.ndim; i++) {
        bool stretched = i < lead || x->shape.dim[i - lead] != shape.dim[i];
        y->stride[i] = stretched ? 0 : x->stride[i - lead];
    }
    return mnti_record_view(g, x, y, &(mnti_view){ .kind = MNTI_BROADCAST }) ? y : NULL;
}

/* Zeros with dy copied into the place the slice was taken from. */
static mnt_tensor *unslice(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    const mnti_view *v = &node->view;
    mnt_tensor *dx = mnti_graph_tensor(g, MNT_F32, node->in[0]->shape);
    if (!dx || !mnti_record(g, MNT_OP_ID_fill, NULL, 0, &dx, 1, (mnt_args){ 0 }))
        return NULL;
    mnt_tensor *part = mnt_slice(g, dx, v->axis, v->begin, dy->shape.dim[v->axis]);
    return part && mnti_record(g, MNT_OP_ID_copy, &dy, 1, &part, 1, (mnt_args){ 0 })
               ? dx
               : NULL;
}

/* Sums dy over the axes that were stretched, runs of neighbouring axes from the last.
 */
static mnt_tensor *unbroadcast(mnt_graph *g, const mnt_tensor *x, mnt_tensor *dy)
{
    int lead = dy->shape.ndim - x->shape.ndim;
    for (int end = dy->shape.ndim; end > 0 && dy;) {
        int i = end - 1;
        bool stretched = i < lead || x->shape.dim[i - lead] != dy->shape.dim[i];
        if (!stretched) {
            end--;
            continue;
        }
        int first = i;
        while (first > 0 && (first - 1 < lead || x->shape.dim[first - 1 - lead] !=
                                                     dy->shape.dim[first - 1]))
            first--;
        dy = mnti_reduce(g, MNT_OP_ID_sum, dy, first, end - first, true);
        end = first;
    }
    if (!dy || mnti_same_shape(x, dy))
        return dy; /* nothing was stretched: dy may be a strided view */
    return mnt_reshape(g, dy, x->shape);
}

void mnti_grad_view(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *x = node->in[0], *dx = NULL;
    if (!x->needs_grad)
        return;
    int inverse[MNT_MAX_DIMS];
    switch (node->view.kind) {
    case MNTI_RESHAPE:
        dx = mnt_reshape(g, mnt_contiguous(g, dy), x->shape);
        break;
    case MNTI_PERMUTE:
        for (int i = 0; i < x->shape.ndim; i++)
            inverse[node->view.order[i]] = i;
        dx = mnt_permute(g, dy, inverse);
        break;
    case MNTI_SLICE:
        dx = unslice(g, node, dy);
        break;
    case MNTI_BROADCAST:
        dx = unbroadcast(g, x, dy);
        break;
    }
    mnti_add_grad(g, x, dx);
}
