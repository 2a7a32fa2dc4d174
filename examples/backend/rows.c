/* SPDX-License-Identifier: MIT */
/*
 * Which commands this backend takes: for each row of ops.def the types and shapes of its
 * operands. The library never sends anything else, so a backend could do without; but a
 * command that is looked at before it runs is refused with a sentence, not run into
 * foreign memory. Buffers may not be set yet, so an absent operand and one without dims
 * look the same here.
 */
#include "plain.h"

static bool is(const mnt_operand *o, mnt_dtype dtype, int ndim)
{
    return o->dtype == dtype && o->ndim == ndim;
}

static bool single(const mnt_operand *o, mnt_dtype dtype)
{
    return o->dtype == dtype && plain_count(o) == 1;
}

static bool words(const mnt_operand *o, int64_t n)
{
    return is(o, MNT_U32, 1) && o->dim[0] == n;
}

static bool like(const mnt_operand *o, mnt_dtype dtype, const mnt_operand *shape)
{
    bool same = is(o, dtype, shape->ndim);
    for (int d = 0; same && d < shape->ndim; d++)
        same = o->dim[d] == shape->dim[d];
    return same;
}

static bool product(const mnt_cmd *c)
{
    const mnt_args_matmul *args = &c->args.matmul;
    const mnt_operand *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
    int n = y->ndim;
    if (n < 2 || !is(y, MNT_F32, n) || !is(a, MNT_F32, n) || b->dtype != MNT_F32 ||
        (b->ndim != 2 && b->ndim != n) || args->chunk < 1)
        return false;
    bool fits = a->dim[n - (args->ta ? 1 : 2)] == y->dim[n - 2] &&
                b->dim[b->ndim - (args->tb ? 2 : 1)] == y->dim[n - 1] &&
                a->dim[n - (args->ta ? 2 : 1)] == b->dim[b->ndim - (args->tb ? 1 : 2)];
    for (int d = 0; d < n - 2; d++)
        fits =
            fits && a->dim[d] == y->dim[d] && (b->ndim == 2 || b->dim[d] == y->dim[d]);
    return fits;
}

static bool dense(const mnt_cmd *c)
{
    return product(c) && c->out[0].ndim == 2 && is(&c->in[2], MNT_F32, 1) &&
           c->in[2].dim[0] == c->out[0].dim[1];
}

static bool unary(const mnt_cmd *c)
{
    return like(&c->out[0], MNT_F32, &c->out[0]) &&
           like(&c->in[0], MNT_F32, &c->out[0]);
}

static bool binary(const mnt_cmd *c)
{
    return unary(c) && like(&c->in[1], MNT_F32, &c->out[0]);
}

static bool softmax(const mnt_cmd *c)
{
    return unary(c) && c->out[0].ndim > 0;
}

static bool softmax_grad(const mnt_cmd *c)
{
    return binary(c) && c->out[0].ndim > 0;
}

static bool bias_add(const mnt_cmd *c)
{
    return unary(c) && c->in[0].ndim >= 2 && is(&c->in[1], MNT_F32, 1) &&
           c->in[1].dim[0] == c->in[0].dim[1];
}

static bool bias_grad(const mnt_cmd *c)
{
    return is(&c->in[0], MNT_F32, 2) && is(&c->out[0], MNT_F32, 1) &&
           c->out[0].dim[0] == c->in[0].dim[1];
}

static bool reduce(const mnt_cmd *c)
{
    const mnt_args_reduce *r = &c->args.reduce;
    const mnt_operand *x = &c->in[0], *y = &c->out[0];
    mnt_dtype result = c->op == MNT_OP_ID_argmax ? MNT_I32 : MNT_F32;
    bool fits = x->dtype == MNT_F32 && is(y, result, x->ndim - r->count) &&
                r->axis >= 0 && r->count >= 0 && r->axis + r->count <= x->ndim;
    for (int d = 0; fits && d < y->ndim; d++)
        fits = y->dim[d] == x->dim[d < r->axis ? d : d + r->count];
    return fits;
}

/* The four rows that take logits [N,C] and labels [N]. */
static bool loss(const mnt_cmd *c)
{
    const mnt_operand *z = &c->in[0], *labels = &c->in[1];
    if (!is(z, MNT_F32, 2) || !is(labels, MNT_I32, 1) || labels->dim[0] != z->dim[0] ||
        z->dim[0] < 1 || z->dim[1] < 1)
        return false;
    switch (c->op) {
    case MNT_OP_ID_cross_entropy:
        return words(&c->in[2], 4) && single(&c->out[0], MNT_F32) &&
               words(&c->out[1], 4);
    case MNT_OP_ID_cross_entropy_grad:
        return single(&c->in[2], MNT_F32) && like(&c->out[0], MNT_F32, z);
    case MNT_OP_ID_cross_entropy_both:
        return single(&c->in[2], MNT_F32) && words(&c->in[3], 4) &&
               single(&c->out[0], MNT_F32) && like(&c->out[1], MNT_F32, z) &&
               words(&c->out[2], 4);
    default:
        return single(&c->out[0], MNT_I32);
    }
}

static bool copy(const mnt_cmd *c)
{
    return (unsigned)c->in[0].dtype < MNT_DTYPE_COUNT &&
           like(&c->out[0], c->in[0].dtype, &c->in[0]);
}

static bool fill(const mnt_cmd *c)
{
    return plain_converts(MNT_F32, c->out[0].dtype);
}

static bool cast(const mnt_cmd *c)
{
    return plain_converts(c->in[0].dtype, c->out[0].dtype) &&
           like(&c->out[0], c->out[0].dtype, &c->in[0]);
}

static bool gather(const mnt_cmd *c)
{
    const mnt_operand *table = &c->in[0], *index = &c->in[1], *y = &c->out[0];
    bool fits = plain_converts(table->dtype, y->dtype) && table->ndim > 0 &&
                is(index, MNT_I32, 1) && is(y, y->dtype, table->ndim) &&
                y->dim[0] == index->dim[0] && words(&c->in[2], 4) &&
                words(&c->out[1], 4);
    for (int d = 1; fits && d < y->ndim; d++)
        fits = y->dim[d] == table->dim[d];
    return fits;
}

static bool batch_index(const mnt_cmd *c)
{
    return is(&c->in[0], MNT_I32, 1) && single(&c->in[1], MNT_I32) &&
           is(&c->out[0], MNT_I32, 1) && single(&c->out[1], MNT_I32);
}

static bool accumulate(const mnt_cmd *c)
{
    mnt_dtype t = c->in[0].dtype;
    return (t == MNT_F32 || t == MNT_I32) && like(&c->in[1], t, &c->in[0]) &&
           like(&c->out[0], t, &c->in[0]);
}

static bool draw(const mnt_cmd *c)
{
    return words(&c->in[0], 2) && c->out[0].dtype == MNT_F32;
}

static bool advance(const mnt_cmd *c)
{
    return words(&c->in[0], 2) && words(&c->out[0], 2);
}

static bool optimizer_step(const mnt_cmd *c)
{
    return words(&c->in[0], MNT_STATE_WORDS) && words(&c->in[1], 4) &&
           words(&c->out[0], MNT_STATE_WORDS);
}

/* w, dw, then `state` vectors of w's shape (sgd's one may be absent), state, fault. */
static bool update(const mnt_cmd *c)
{
    const mnt_operand *w = &c->in[0];
    int vectors = c->op == MNT_OP_ID_adam ? 2 : 1;
    bool fits = w->dtype == MNT_F32 && like(&c->in[1], MNT_F32, w) &&
                like(&c->out[0], MNT_F32, w) &&
                words(&c->in[2 + vectors], MNT_STATE_WORDS) &&
                words(&c->in[3 + vectors], 4);
    for (int i = 0; i < vectors; i++) {
        const mnt_operand *before = &c->in[2 + i], *after = &c->out[1 + i];
        bool absent = vectors == 1 && is(before, MNT_F32, 0) && is(after, MNT_F32, 0);
        fits =
            fits && (absent || (like(before, MNT_F32, w) && like(after, MNT_F32, w)));
    }
    return fits;
}

static bool (*const forms[MNT_OP_COUNT])(const mnt_cmd *c) = {
    [MNT_OP_ID_matmul] = product,
    [MNT_OP_ID_dense] = dense,
    [MNT_OP_ID_add] = binary,
    [MNT_OP_ID_sub] = binary,
    [MNT_OP_ID_mul] = binary,
    [MNT_OP_ID_div] = binary,
    [MNT_OP_ID_scale] = unary,
    [MNT_OP_ID_relu] = unary,
    [MNT_OP_ID_relu_grad] = binary,
    [MNT_OP_ID_bias_add] = bias_add,
    [MNT_OP_ID_bias_grad] = bias_grad,
    [MNT_OP_ID_sum] = reduce,
    [MNT_OP_ID_mean] = reduce,
    [MNT_OP_ID_argmax] = reduce,
    [MNT_OP_ID_softmax] = softmax,
    [MNT_OP_ID_softmax_grad] = softmax_grad,
    [MNT_OP_ID_cross_entropy] = loss,
    [MNT_OP_ID_cross_entropy_grad] = loss,
    [MNT_OP_ID_cross_entropy_both] = loss,
    [MNT_OP_ID_accuracy_count] = loss,
    [MNT_OP_ID_copy] = copy,
    [MNT_OP_ID_cast] = cast,
    [MNT_OP_ID_gather] = gather,
    [MNT_OP_ID_batch_index] = batch_index,
    [MNT_OP_ID_fill] = fill,
    [MNT_OP_ID_accumulate] = accumulate,
    [MNT_OP_ID_uniform] = draw,
    [MNT_OP_ID_normal] = draw,
    [MNT_OP_ID_advance] = advance,
    [MNT_OP_ID_optimizer_step] = optimizer_step,
    [MNT_OP_ID_sgd] = update,
    [MNT_OP_ID_adam] = update,
};

static bool row_major(const mnt_operand *o)
{
    int64_t step = 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
        if (o->dim[d] > 1 && o->stride[d] != step)
            return false;
        step *= o->dim[d];
    }
    return true;
}

const char *plain_obstacle(const mnt_cmd *cmd, unsigned flags)
{
    for (int i = 0; i < MNT_MAX_IN + MNT_MAX_OUT; i++) {
        const mnt_operand *o = i < MNT_MAX_IN ? &cmd->in[i] : &cmd->out[i - MNT_MAX_IN];
        if (o->ndim < 0 || o->ndim > MNT_MAX_DIMS)
            return "an operand has no possible number of dims";
        if ((flags & MNT_OP_STRIDED) == 0 && plain_count(o) > 0 && !row_major(o))
            return "an operand is strided";
    }
    return forms[cmd->op](cmd) ? NULL : "plain has no kernel for such operands";
}
