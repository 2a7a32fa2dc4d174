/* SPDX-License-Identifier: MIT */
/*
 * Softmax, cross entropy, accuracy.
 */
#include "core.h"
#include "grad.h"

mnt_tensor *mnt_softmax(mnt_graph *g, mnt_tensor *z)
{
    const mnt_op op = MNT_OP_ID_softmax;
    if (!mnti_graph_accepts(g, op, &z, 1) || !mnti_want_dtype(g, op, "z", z, MNT_F32))
        return NULL;
    if (z->shape.ndim < 1)
        return mnti_graph_fail(g, MNT_SHAPE, "softmax: z has no dims");
    return mnti_record_1(g, op, &z, 1, z->shape, (mnt_args){ 0 });
}

void mnti_grad_softmax(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *in[] = { dy, node->out[0] };
    mnti_add_grad(
        g, node->in[0],
        mnti_record_1(g, MNT_OP_ID_softmax_grad, in, 2, dy->shape, (mnt_args){ 0 }));
}

/* logits f32 [N, C] and labels i32 [N], neither empty */
static bool check(mnt_graph *g, mnt_op op, mnt_tensor *logits, mnt_tensor *labels)
{
    mnt_tensor *in[] = { logits, labels };
    if (!mnti_graph_accepts(g, op, in, 2) ||
        !mnti_want_dtype(g, op, "logits", logits, MNT_F32) ||
        !mnti_want_dtype(g, op, "labels", labels, MNT_I32))
        return false;
    const mnt_shape *z = &logits->shape, *y = &labels->shape;
    if (z->ndim != 2 || y->ndim != 1 || z->dim[0] != y->dim[0] || z->dim[0] == 0 ||
        z->dim[1] == 0) {
        mnti_graph_fail(
            g, MNT_SHAPE,
            "%s: logits are %s, labels %s; [N,C] and [N] are needed, N and C "
            "above 0",
            mnt_op_name(op), mnti_shape_text(*z).s, mnti_shape_text(*y).s);
        return false;
    }
    return true;
}

mnt_tensor *mnt_cross_entropy(mnt_graph *g, mnt_tensor *logits, mnt_tensor *labels)
{
    const mnt_op op = MNT_OP_ID_cross_entropy;
    if (!check(g, op, logits, labels))
        return NULL;
    mnt_tensor *fault = mnti_graph_fault(g);
    mnt_tensor *loss = mnti_graph_tensor(g, MNT_F32, (mnt_shape){ 0 });
    if (!fault || !loss)
        return NULL;
    mnt_tensor *in[] = { logits, labels, fault }, *out[] = { loss, fault };
    return mnti_record(g, op, in, 3, out, 2, (mnt_args){ 0 }) ? loss : NULL;
}

void mnti_grad_cross_entropy(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *in[] = { node->in[0], node->in[1], dy };
    mnti_add_grad(g, node->in[0],
                  mnti_record_1(g, MNT_OP_ID_cross_entropy_grad, in, 3,
                                node->in[0]->shape, (mnt_args){ 0 }));
}

mnt_tensor *mnt_accuracy_count(mnt_graph *g, mnt_tensor *logits, mnt_tensor *labels)
{
    const mnt_op op = MNT_OP_ID_accuracy_count;
    if (!check(g, op, logits, labels))
        return NULL;
    mnt_tensor *in[] = { logits, labels };
    mnt_tensor *count = mnti_graph_tensor(g, MNT_I32, (mnt_shape){ 0 });
    return count && mnti_record(g, op, in, 2, &count, 1, (mnt_args){ 0 }) ? count
                                                                          : NULL;
}
