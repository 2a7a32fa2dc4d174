/* SPDX-License-Identifier: MIT */
/*
 * Kit ops: matrix products and the dense layer.
 *   matmul  m n k, b (leading dims, "2x3"), shared=1 (b operand without them), ta, tb
 *   dense   m (rows), k (in), n (out), relu
 */
#include "ops.h"

static int matmul_inputs(const kit_case *c, kit_in in[])
{
    int64_t m = kit_int(c, "m", 2), n = kit_int(c, "n", 2), k = kit_int(c, "k", 2);
    bool ta = kit_int(c, "ta", 0), tb = kit_int(c, "tb", 0);
    mnt_shape lead = { 0 };
    if (kit_has(c, "b"))
        lead = kit_shape(c, "b");
    for (int i = 0; i < 2; i++) {
        in[i] = (kit_in){ .dtype = MNT_F32, .grad = true };
        mnt_shape *s = &in[i].shape;
        if (i == 0 || !kit_int(c, "shared", 0))
            *s = lead;
        int64_t rows = i == 0 ? m : k, cols = i == 0 ? k : n;
        bool t = i == 0 ? ta : tb;
        s->dim[s->ndim++] = t ? cols : rows;
        s->dim[s->ndim++] = t ? rows : cols;
    }
    return 2;
}

static mnt_tensor *matmul_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    bool ta = kit_int(c, "ta", 0), tb = kit_int(c, "tb", 0);
    return ta || tb ? mnt_matmul_ex(g, in[0], in[1], ta, tb)
                    : mnt_matmul(g, in[0], in[1]);
}

static ora matmul_forward(const kit_case *c, const ora in[])
{
    return ora_matmul(&in[0], &in[1], kit_int(c, "ta", 0), kit_int(c, "tb", 0));
}

/* x with its last two axes exchanged. */
static ora transposed(const ora *x)
{
    int d = x->shape.ndim;
    int64_t r = x->shape.dim[d - 2], q = x->shape.dim[d - 1];
    ora y = ora_copy(x);
    y.shape.dim[d - 2] = q;
    y.shape.dim[d - 1] = r;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = i / (r * q) * (r * q) + i % q * r + i / q % r;
        y.v[at] = x->v[i];
        y.e[at] = x->e[i];
    }
    return y;
}

/* The same memory as one matrix: [.., r, q] -> [.. r, q]. */
static ora flattened(const ora *x)
{
    ora y = *x;
    int d = x->shape.ndim;
    int64_t q = x->shape.dim[d - 1], rows = 1;
    for (int i = 0; i < d - 1; i++)
        rows *= x->shape.dim[i];
    y.shape = (mnt_shape){ .ndim = 2, .dim = { rows, q } };
    return y;
}

static void swap_if(bool t, ora *x)
{
    if (!t)
        return;
    ora y = transposed(x);
    ora_free(x);
    *x = y;
}

/* With A = op(a), B = op(b): dA = dy B^T, dB = A^T dy, the batch flattened into the
 * sum where b is shared. */
static void matmul_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    bool ta = kit_int(c, "ta", 0), tb = kit_int(c, "tb", 0);
    ora a = ora_copy(&in[0]);
    swap_if(ta, &a);
    dx[0] = ora_matmul(dy, &in[1], false, !tb);
    swap_if(ta, &dx[0]);
    bool flat = in[1].shape.ndim == 2;
    ora fa = flat ? flattened(&a) : a, fy = flat ? flattened(dy) : *dy;
    dx[1] = ora_matmul(&fa, &fy, true, false);
    swap_if(tb, &dx[1]);
    ora_free(&a);
}

static void matmul_generate(kit_text *t, kit_rng *r)
{
    int64_t d[5] = { 1, 1, 1, 1, 1 };
    int lead = kit_one_in(r, 4) ? 1 + (int)kit_below(r, 2) : 0;
    kit_edges(r, d, 3, 0, t->work / (lead ? 4 : 1) + 1);
    kit_append(t, " m=%d n=%d k=%d", (int)d[0], (int)d[1], (int)d[2]);
    if (lead) {
        mnt_shape b = { .ndim = lead };
        for (int i = 0; i < lead; i++)
            b.dim[i] = kit_one_in(r, 24) ? 0 : 1 + kit_below(r, 3);
        kit_append_shape(t, "b", b);
        kit_append(t, " shared=%d", (int)kit_below(r, 2));
    }
    if (kit_one_in(r, 2))
        kit_append(t, " ta=%d tb=%d", (int)kit_below(r, 2), (int)kit_below(r, 2));
    if (kit_one_in(r, 4))
        kit_append(t, " param=1");
}

const kit_op kit_matmul = {
    .name = "matmul",
    .inputs = matmul_inputs,
    .record = matmul_record,
    .forward = matmul_forward,
    .backward = matmul_backward,
    .generate = matmul_generate,
};

static int dense_inputs(const kit_case *c, kit_in in[])
{
    int64_t m = kit_int(c, "m", 2), n = kit_int(c, "n", 2), k = kit_int(c, "k", 2);
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = { 2, { m, k } } };
    in[1] = (kit_in){
        .dtype = MNT_F32, .grad = true, .param = "fc.weight", .shape = { 2, { k, n } }
    };
    in[2] = (kit_in){
        .dtype = MNT_F32, .grad = true, .param = "fc.bias", .shape = { 1, { n } }
    };
    return 3;
}

static mnt_tensor *dense_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    mnt_tensor *y = mnt_dense(g, in[0], kit_int(c, "n", 2), "fc");
    return kit_int(c, "relu", 0) ? mnt_relu(g, y) : y;
}

static ora dense_sum(const ora in[])
{
    ora s = ora_matmul(&in[0], &in[1], false, false);
    ora y = ora_bias_add(&s, &in[2]);
    ora_free(&s);
    return y;
}

static ora dense_forward(const kit_case *c, const ora in[])
{
    ora s = dense_sum(in);
    if (!kit_int(c, "relu", 0))
        return s;
    ora y = ora_relu(&s);
    ora_free(&s);
    return y;
}

static void dense_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    ora s = dense_sum(in);
    ora d = kit_int(c, "relu", 0) ? ora_relu_grad(dy, &s) : ora_copy(dy);
    dx[0] = ora_matmul(&d, &in[1], false, true);
    dx[1] = ora_matmul(&in[0], &d, true, false);
    dx[2] = ora_bias_grad(&d);
    ora_free(&s);
    ora_free(&d);
}

static void dense_generate(kit_text *t, kit_rng *r)
{
    int64_t d[3];
    kit_edges(r, d, 3, 0, t->work + 1);
    d[1] += d[1] == 0; /* a layer has outputs */
    kit_append(t, " m=%d n=%d k=%d relu=%d", (int)d[0], (int)d[1], (int)d[2],
               (int)kit_below(r, 2));
}

const kit_op kit_dense = {
    .name = "dense",
    .inputs = dense_inputs,
    .record = dense_record,
    .forward = dense_forward,
    .backward = dense_backward,
    .generate = dense_generate,
};
