/* SPDX-License-Identifier: MIT */
/*
 * Matrix products: shape rule, chunk rule (numerics C3), gradients.
 */
#include "core.h"
#include "grad.h"

#define GRADIENT_CHUNK 64 /* rows a chunk in the sum over a batch */

int64_t mnti_matmul_chunk(int64_t k)
{
    int64_t chunks = (k + 255) / 256;
    if (chunks < 1)
        return 16;
    int64_t each = (k + chunks - 1) / chunks;
    return (each + 15) / 16 * 16;
}

static mnt_tensor *product(mnt_graph *g, mnt_tensor *a, mnt_tensor *b, bool ta, bool tb,
                           int64_t chunk)
{
    mnt_tensor *in[] = { a, b };
    const mnt_op op = MNT_OP_ID_matmul;
    if (!mnti_graph_accepts(g, op, in, 2) || !mnti_want_dtype(g, op, "x", a, MNT_F32) ||
        !mnti_want_dtype(g, op, "w", b, MNT_F32))
        return NULL;
    int na = a->shape.ndim, nb = b->shape.ndim;
    const mnt_shape *sa = &a->shape, *sb = &b->shape;
    if (na < 2 || nb < 2)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "matmul: x is %s, w is %s; both need two dims",
                               mnti_shape_text(*sa).s, mnti_shape_text(*sb).s);
    int64_t m = sa->dim[na - 2 + ta], k = sa->dim[na - 1 - ta];
    int64_t kb = sb->dim[nb - 2 + tb], n = sb->dim[nb - 1 - tb];
    if (k != kb)
        return mnti_graph_fail(
            g, MNT_SHAPE,
            "matmul: x is %s%s, w is %s%s; inner sizes %lld and %lld differ",
            mnti_shape_text(*sa).s, ta ? " transposed" : "", mnti_shape_text(*sb).s,
            tb ? " transposed" : "", (long long)k, (long long)kb);
    bool batch_fits = nb == 2 || nb == na;
    for (int i = 0; batch_fits && nb > 2 && i < na - 2; i++)
        batch_fits = sa->dim[i] == sb->dim[i];
    if (!batch_fits)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "matmul: x is %s, w is %s; leading dims differ",
                               mnti_shape_text(*sa).s, mnti_shape_text(*sb).s);
    mnt_shape s = *sa;
    s.dim[na - 2] = m;
    s.dim[na - 1] = n;
    mnt_args args = { .matmul = { .ta = ta, .tb = tb, .chunk = chunk } };
    if (chunk == 0)
        args.matmul.chunk = mnti_matmul_chunk(k);
    return mnti_record_1(g, op, in, 2, s, args);
}

mnt_tensor *mnt_matmul(mnt_graph *g, mnt_tensor *a, mnt_tensor *b)
{
    return product(g, a, b, false, false, 0);
}

mnt_tensor *mnt_matmul_ex(mnt_graph *g, mnt_tensor *a, mnt_tensor *b, bool ta, bool tb)
{
    return product(g, a, b, ta, tb, 0);
}

/* x with its last two axes exchanged, as a view. */
static mnt_tensor *transposed(mnt_graph *g, mnt_tensor *x)
{
    if (!x)
        return NULL;
    int order[MNT_MAX_DIMS], n = x->shape.ndim;
    for (int i = 0; i < n; i++)
        order[i] = i;
    order[n - 2] = n - 1;
    order[n - 1] = n - 2;
    return mnt_permute(g, x, order);
}

/* [..., M, N] -> [prod, N] */
static mnt_tensor *rows(mnt_graph *g, mnt_tensor *x)
{
    x = x ? mnt_contiguous(g, x) : NULL;
    if (!x)
        return NULL;
    int64_t count = 1, last = x->shape.dim[x->shape.ndim - 1];
    for (int i = 0; i < x->shape.ndim - 1; i++)
        count *= x->shape.dim[i];
    return mnt_reshape(g, x, MNT_SHAPE(count, last));
}

static mnt_tensor *grad_a(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *a = node->in[0], *b = node->in[1];
    bool ta = node->args.matmul.ta, tb = node->args.matmul.tb;
    if (!ta)
        return product(g, dy, b, false, !tb, 0);
    if (a->shape.ndim == 2 || b->shape.ndim > 2)
        return product(g, b, dy, tb, true, 0);
    return transposed(g, product(g, dy, b, false, !tb, 0));
}

static mnt_tensor *grad_b(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *a = node->in[0], *b = node->in[1];
    bool ta = node->args.matmul.ta, tb = node->args.matmul.tb;
    if (a->shape.ndim > 2 && b->shape.ndim == 2) { /* the batch joins the inner sum */
        a = rows(g, ta ? transposed(g, a) : a);
        dy = rows(g, dy);
        ta = false;
    }
    if (tb)
        return product(g, dy, a, true, ta, GRADIENT_CHUNK);
    return product(g, a, dy, !ta, false, GRADIENT_CHUNK);
}

void mnti_grad_matmul(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    if (node->in[0]->needs_grad)
        mnti_add_grad(g, node->in[0], grad_a(g, node, dy));
    if (node->in[1]->needs_grad)
        mnti_add_grad(g, node->in[1], grad_b(g, node, dy));
}
