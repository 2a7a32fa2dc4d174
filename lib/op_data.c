/* SPDX-License-Identifier: MIT */
/*
 * Ops that make, convert or collect data: cast, gather, fill, random, running totals.
 */
#include "core.h"
#include "grad.h"

/* Conversions that exist; `unit` scales u8 to [0, 1]. */
static bool cast_exists(mnt_dtype from, mnt_dtype to, bool unit)
{
    if (unit)
        return from == MNT_U8 && to == MNT_F32;
    if (from == to)
        return from == MNT_F32 || from == MNT_I32 || from == MNT_U8;
    return (to == MNT_F32 && (from == MNT_U8 || from == MNT_I32)) ||
           (from == MNT_F32 && (to == MNT_I32 || to == MNT_U8)) ||
           (from == MNT_U8 && to == MNT_I32);
}

static bool check_cast(mnt_graph *g, mnt_op op, const mnt_tensor *x, mnt_dtype to,
                       bool unit)
{
    if (cast_exists(x->dtype, to, unit))
        return true;
    mnti_graph_fail(g, MNT_DTYPE, "%s: no conversion from %s to %s%s", mnt_op_name(op),
                    mnt_dtype_name(x->dtype), mnt_dtype_name(to),
                    unit ? " in [0,1]" : "");
    return false;
}

mnt_tensor *mnt_cast(mnt_graph *g, mnt_tensor *x, mnt_dtype dtype, bool unit)
{
    const mnt_op op = MNT_OP_ID_cast;
    if (!mnti_graph_accepts(g, op, &x, 1) || !check_cast(g, op, x, dtype, unit))
        return NULL;
    mnt_tensor *y = mnti_graph_tensor(g, dtype, x->shape);
    mnt_args args = { .cast = { unit } };
    if (!y || !mnti_record(g, op, &x, 1, &y, 1, args))
        return NULL;
    if (x->dtype != MNT_F32 || dtype != MNT_F32)
        y->needs_grad = false;
    return y;
}

void mnti_grad_cast(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    if (node->in[0]->dtype == MNT_F32 && node->out[0]->dtype == MNT_F32)
        mnti_add_grad(g, node->in[0], dy);
}

mnt_tensor *mnt_gather(mnt_graph *g, mnt_tensor *table, mnt_tensor *index,
                       mnt_dtype dtype, bool unit)
{
    mnt_tensor *in[] = { table, index, NULL };
    const mnt_op op = MNT_OP_ID_gather;
    if (!mnti_graph_accepts(g, op, in, 2) || !check_cast(g, op, table, dtype, unit) ||
        !mnti_want_dtype(g, op, "index", index, MNT_I32))
        return NULL;
    if (table->shape.ndim < 1 || index->shape.ndim != 1)
        return mnti_graph_fail(
            g, MNT_SHAPE, "gather: table is %s, index %s; [R,...] and [B] are needed",
            mnti_shape_text(table->shape).s, mnti_shape_text(index->shape).s);
    mnt_shape s = table->shape;
    s.dim[0] = index->shape.dim[0];
    mnt_tensor *fault = in[2] = mnti_graph_fault(g);
    mnt_tensor *out[] = { fault ? mnti_graph_tensor(g, dtype, s) : NULL, fault };
    mnt_args args = { .cast = { unit } };
    return out[0] && mnti_record(g, op, in, 3, out, 2, args) ? out[0] : NULL;
}

mnt_tensor *mnt_fill(mnt_graph *g, mnt_shape shape, float value)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_fill, NULL, 0))
        return NULL;
    return mnti_record_1(g, MNT_OP_ID_fill, NULL, 0, shape,
                         (mnt_args){ .scale = { value } });
}

static mnt_tensor *random_tensor(mnt_graph *g, mnt_op op, mnt_shape shape,
                                 mnt_args_random args)
{
    if (!mnti_graph_accepts(g, op, NULL, 0))
        return NULL;
    mnt_tensor *counter = mnti_graph_counter(g);
    if (!counter)
        return NULL;
    return mnti_record_1(g, op, &counter, 1, shape, (mnt_args){ .random = args });
}

mnt_tensor *mnt_uniform(mnt_graph *g, mnt_shape shape, float lo, float hi,
                        uint64_t seed, uint32_t stream)
{
    return random_tensor(g, MNT_OP_ID_uniform, shape,
                         (mnt_args_random){ seed, stream, lo, hi });
}

mnt_tensor *mnt_normal(mnt_graph *g, mnt_shape shape, float mean, float std,
                       uint64_t seed, uint32_t stream)
{
    return random_tensor(g, MNT_OP_ID_normal, shape,
                         (mnt_args_random){ seed, stream, mean, std });
}

mnt_tensor *mnt_accumulate(mnt_graph *g, mnt_tensor *x)
{
    const mnt_op op = MNT_OP_ID_accumulate;
    if (!mnti_graph_accepts(g, op, &x, 1))
        return NULL;
    if (x->dtype != MNT_F32 && x->dtype != MNT_I32)
        return mnti_graph_fail(g, MNT_DTYPE, "accumulate: x is %s, not f32 or i32",
                               mnt_dtype_name(x->dtype));
    mnt_tensor *total = mnti_tensor_persistent(g->dev, g, x->dtype, x->shape);
    if (!total)
        return mnti_graph_fail(g, g->dev->failed, "accumulate: %.400s", g->dev->error);
    mnt_tensor *in[] = { x, total };
    return mnti_record(g, op, in, 2, &total, 1, (mnt_args){ 0 }) ? total : NULL;
}
