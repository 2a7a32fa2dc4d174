/* SPDX-License-Identifier: MIT */
/*
 * Elementwise ops with broadcasting, relu and bias add: shape rules and gradients.
 */
#include "core.h"
#include "grad.h"

mnt_tensor *mnti_record_1(mnt_graph *g, mnt_op op, mnt_tensor *const in[], int n_in,
                          mnt_shape shape, mnt_args args)
{
    mnt_tensor *y = mnti_graph_tensor(g, MNT_F32, shape);
    return y && mnti_record(g, op, in, n_in, &y, 1, args) ? y : NULL;
}

bool mnti_same_shape(const mnt_tensor *a, const mnt_tensor *b)
{
    if (a->shape.ndim != b->shape.ndim)
        return false;
    for (int i = 0; i < a->shape.ndim; i++)
        if (a->shape.dim[i] != b->shape.dim[i])
            return false;
    return true;
}

bool mnti_want_dtype(mnt_graph *g, mnt_op op, const char *what, const mnt_tensor *t,
                     mnt_dtype dtype)
{
    if (t->dtype == dtype)
        return true;
    mnti_graph_fail(g, MNT_DTYPE, "%s: %s is %s %s, not %s", mnt_op_name(op), what,
                    mnt_dtype_name(t->dtype), mnti_shape_text(t->shape).s,
                    mnt_dtype_name(dtype));
    return false;
}

static bool broadcast_shape(const mnt_shape *a, const mnt_shape *b, mnt_shape *out)
{
    out->ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int i = 1; i <= out->ndim; i++) {
        int64_t da = i <= a->ndim ? a->dim[a->ndim - i] : 1;
        int64_t db = i <= b->ndim ? b->dim[b->ndim - i] : 1;
        if (da != db && da != 1 && db != 1)
            return false;
        out->dim[out->ndim - i] = da == 1 ? db : da;
    }
    return true;
}

static mnt_tensor *binary(mnt_graph *g, mnt_op op, mnt_tensor *a, mnt_tensor *b)
{
    mnt_tensor *in[] = { a, b };
    if (!mnti_graph_accepts(g, op, in, 2) || !mnti_want_dtype(g, op, "a", a, MNT_F32) ||
        !mnti_want_dtype(g, op, "b", b, MNT_F32))
        return NULL;
    mnt_shape shape = { 0 };
    if (!broadcast_shape(&a->shape, &b->shape, &shape))
        return mnti_graph_fail(
            g, MNT_SHAPE, "%s: a is %s, b is %s; they do not stretch to one shape",
            mnt_op_name(op), mnti_shape_text(a->shape).s, mnti_shape_text(b->shape).s);
    if (!mnti_same_shape(a, b)) {
        in[0] = mnt_broadcast(g, a, shape);
        in[1] = mnt_broadcast(g, b, shape);
        if (!in[0] || !in[1])
            return NULL;
    }
    return mnti_record_1(g, op, in, 2, shape, (mnt_args){ 0 });
}

mnt_tensor *mnt_add(mnt_graph *g, mnt_tensor *a, mnt_tensor *b)
{
    return binary(g, MNT_OP_ID_add, a, b);
}

void mnti_add_grad(mnt_graph *g, mnt_tensor *x, mnt_tensor *dx)
{
    if (!dx || !x->needs_grad)
        return;
    x->grad = x->grad ? mnt_add(g, x->grad, dx) : dx;
}

mnt_tensor *mnt_sub(mnt_graph *g, mnt_tensor *a, mnt_tensor *b)
{
    return binary(g, MNT_OP_ID_sub, a, b);
}

mnt_tensor *mnt_mul(mnt_graph *g, mnt_tensor *a, mnt_tensor *b)
{
    return binary(g, MNT_OP_ID_mul, a, b);
}

mnt_tensor *mnt_div(mnt_graph *g, mnt_tensor *a, mnt_tensor *b)
{
    return binary(g, MNT_OP_ID_div, a, b);
}

mnt_tensor *mnt_scale(mnt_graph *g, mnt_tensor *x, float s)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_scale, &x, 1) ||
        !mnti_want_dtype(g, MNT_OP_ID_scale, "x", x, MNT_F32))
        return NULL;
    return mnti_record_1(g, MNT_OP_ID_scale, &x, 1, x->shape,
                         (mnt_args){ .scale = { s } });
}

mnt_tensor *mnt_relu(mnt_graph *g, mnt_tensor *x)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_relu, &x, 1) ||
        !mnti_want_dtype(g, MNT_OP_ID_relu, "x", x, MNT_F32))
        return NULL;
    return mnti_record_1(g, MNT_OP_ID_relu, &x, 1, x->shape, (mnt_args){ 0 });
}

mnt_tensor *mnt_bias_add(mnt_graph *g, mnt_tensor *x, mnt_tensor *b)
{
    mnt_tensor *in[] = { x, b };
    const mnt_op op = MNT_OP_ID_bias_add;
    if (!mnti_graph_accepts(g, op, in, 2) || !mnti_want_dtype(g, op, "x", x, MNT_F32) ||
        !mnti_want_dtype(g, op, "b", b, MNT_F32))
        return NULL;
    if (x->shape.ndim < 2 || b->shape.ndim != 1 || b->shape.dim[0] != x->shape.dim[1])
        return mnti_graph_fail(g, MNT_SHAPE,
                               "bias_add: x is %s, b is %s; b needs one value a "
                               "channel, axis 1 of x",
                               mnti_shape_text(x->shape).s,
                               mnti_shape_text(b->shape).s);
    return mnti_record_1(g, op, in, 2, x->shape, (mnt_args){ 0 });
}

void mnti_grad_add(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(g, node->in[0], dy);
    mnti_add_grad(g, node->in[1], dy);
}

void mnti_grad_sub(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(g, node->in[0], dy);
    if (node->in[1]->needs_grad)
        mnti_add_grad(g, node->in[1], mnt_scale(g, dy, -1.0f));
}

void mnti_grad_mul(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *a = node->in[0], *b = node->in[1];
    if (a->needs_grad)
        mnti_add_grad(g, a, mnt_mul(g, dy, b));
    if (b->needs_grad)
        mnti_add_grad(g, b, mnt_mul(g, dy, a));
}

void mnti_grad_div(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *a = node->in[0], *b = node->in[1];
    if (a->needs_grad)
        mnti_add_grad(g, a, mnt_div(g, dy, b));
    if (b->needs_grad) {
        mnt_tensor *q = mnt_div(g, mnt_mul(g, dy, node->out[0]), b);
        mnti_add_grad(g, b, mnt_scale(g, q, -1.0f));
    }
}

void mnti_grad_scale(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(g, node->in[0], mnt_scale(g, dy, node->args.scale.value));
}

void mnti_grad_relu(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *in[] = { dy, node->out[0] };
    mnti_add_grad(
        g, node->in[0],
        mnti_record_1(g, MNT_OP_ID_relu_grad, in, 2, dy->shape, (mnt_args){ 0 }));
}

void mnti_grad_bias_add(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *b = node->in[1];
    mnti_add_grad(g, node->in[0], dy);
    if (b->needs_grad)
        mnti_add_grad(
            g, b,
            mnti_record_1(g, MNT_OP_ID_bias_grad, &dy, 1, b->shape, (mnt_args){ 0 }));
}
