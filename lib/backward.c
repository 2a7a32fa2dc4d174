/* SPDX-License-Identifier: MIT */
/*
 * Reverse mode: walk the recorded nodes from the last to the first and let each op's
 * rule record the gradients of its inputs. Gradients of a tensor used more than once
 * are added in the order in which its uses are met, that is from the last use to the
 * first.
 */
#include "core.h"
#include "grad.h"

const mnti_grad_fn mnti_grad[MNT_OP_COUNT] = {
#define ROW(op) [MNT_OP_ID_##op] = mnti_grad_##op,
    MNTI_GRADS(ROW)
#undef ROW
};

static mnt_tensor *upstream_of_one(mnt_graph *g, mnt_tensor *y)
{
    if (mnt_shape_count(y->shape) != 1)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "backward: y is %s; without dy it must have one element",
                               mnti_shape_text(y->shape).s);
    if (!g->one) {
        const float one = 1.0f;
        g->one = mnt_constant(g, MNT_F32, (mnt_shape){ 0 }, &one);
    }
    return y->shape.ndim ? mnt_reshape(g, g->one, y->shape) : g->one;
}

static bool check(mnt_graph *g, mnt_tensor *y, mnt_tensor *dy)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, &y, 1))
        return false;
    if (g->backward_done)
        mnti_graph_fail(g, MNT_STATE, "backward: it was called before on this graph");
    else if (!y->needs_grad)
        mnti_graph_fail(g, MNT_STATE,
                        "backward: y depends on no parameter and on no tensor "
                        "marked by require_grad");
    else if (dy && !mnti_graph_accepts(g, MNTI_VIEW, &dy, 1))
        return false;
    else if (dy && (!mnti_same_shape(y, dy) || dy->dtype != MNT_F32))
        mnti_graph_fail(g, MNT_SHAPE, "backward: y is %s, dy is %s %s",
                        mnti_shape_text(y->shape).s, mnt_dtype_name(dy->dtype),
                        mnti_shape_text(dy->shape).s);
    return g->status == MNT_OK;
}

/* Leaves' gradients stay readable; the model's own tensors point to the last ones. */
static void publish(mnt_graph *g)
{
    for (mnt_tensor *t = g->tensors; t; t = t->next) {
        if (!t->leaf || !t->grad)
            continue;
        mnt_tensor_keep(t->grad);
        if (t->param)
            t->param->w->grad = t->grad;
    }
}

void mnt_backward(mnt_graph *g, mnt_tensor *y, mnt_tensor *dy)
{
    if (!check(g, y, dy))
        return;
    g->backward_done = true;
    if (!dy && (dy = upstream_of_one(g, y)) == NULL)
        return;
    mnt_tensor_keep(y);
    y->grad = dy;
    for (int i = g->count; i-- > 0 && g->status == MNT_OK;) {
        const mnti_node node =
            g->nodes[i]; /* a copy: rules append and may move nodes */
        mnt_tensor *out = node.out[0];
        if (!out->grad || !out->needs_grad)
            continue;
        if (node.op == MNTI_VIEW)
            mnti_grad_view(g, &node, out->grad);
        else if (mnti_grad[node.op])
            mnti_grad[node.op](g, &node, out->grad);
    }
    publish(g);
}
