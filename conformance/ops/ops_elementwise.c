/* SPDX-License-Identifier: MIT */
/*
 * Kit ops: elementwise arithmetic, and chains where one tensor is used many times.
 *   add sub mul div   a, b: shapes, broadcast by numpy's rules
 *   scale         x, s
 *   relu          x
 *   bias_add      x, b from its axis 1
 *   reuse         x: y = x x + 0.5 x - relu(x); the gradient adds up over four uses
 */
#include "ops.h"

static int binary_inputs(const kit_case *c, kit_in in[])
{
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = kit_shape(c, "a") };
    in[1] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = kit_shape(c, "b") };
    return 2;
}

static mnt_tensor *add_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_add(g, in[0], in[1]);
}

static mnt_tensor *sub_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_sub(g, in[0], in[1]);
}

static mnt_tensor *mul_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_mul(g, in[0], in[1]);
}

static mnt_tensor *div_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_div(g, in[0], in[1]);
}

static ora add_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_binary('+', &in[0], &in[1]);
}

static ora sub_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_binary('-', &in[0], &in[1]);
}

static ora mul_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_binary('*', &in[0], &in[1]);
}

static ora div_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_binary('/', &in[0], &in[1]);
}

static void add_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    dx[0] = ora_unstretch(dy, in[0].shape);
    dx[1] = ora_unstretch(dy, in[1].shape);
}

static void sub_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    ora neg = ora_scale(dy, -1);
    for (int64_t i = 0; i < neg.count; i++)
        neg.e[i] = 0;
    dx[0] = ora_unstretch(dy, in[0].shape);
    dx[1] = ora_unstretch(&neg, in[1].shape);
    ora_free(&neg);
}

static void mul_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    for (int i = 0; i < 2; i++) {
        ora p = ora_binary('*', dy, &in[1 - i]);
        dx[i] = ora_unstretch(&p, in[i].shape);
        ora_free(&p);
    }
}

/* da = dy / b, db = -(dy y) / b. */
static void div_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    ora da = ora_binary('/', dy, &in[1]), y = ora_binary('/', &in[0], &in[1]);
    ora p = ora_binary('*', dy, &y), q = ora_binary('/', &p, &in[1]);
    ora db = ora_scale(&q, -1);
    dx[0] = ora_unstretch(&da, in[0].shape);
    dx[1] = ora_unstretch(&db, in[1].shape);
    ora_free(&da);
    ora_free(&y);
    ora_free(&p);
    ora_free(&q);
    ora_free(&db);
}

/* Two shapes that stretch to one: dims of 1 and missing leading dims. */
static void binary_generate(kit_text *t, kit_rng *r)
{
    mnt_shape y = kit_edge_shape(r, 0, kit_one_in(r, 8) ? 6 : 4, 0, t->work / 8 + 8);
    bool stretch = !kit_one_in(r, 3);
    for (int i = 0; i < 2; i++) {
        mnt_shape s = y;
        int skip =
            stretch && y.ndim && kit_one_in(r, 3) ? (int)kit_below(r, y.ndim) : 0;
        for (int d = skip; d < y.ndim; d++)
            s.dim[d - skip] = stretch && kit_one_in(r, 3) ? 1 : y.dim[d];
        s.ndim = y.ndim - skip;
        kit_append_shape(t, i ? "b" : "a", s);
    }
    if (kit_one_in(r, 6))
        kit_append(t, " param=1");
}

const kit_op kit_add = {
    .name = "add",
    .inputs = binary_inputs,
    .record = add_record,
    .forward = add_forward,
    .backward = add_backward,
    .generate = binary_generate,
};
const kit_op kit_sub = {
    .name = "sub",
    .inputs = binary_inputs,
    .record = sub_record,
    .forward = sub_forward,
    .backward = sub_backward,
    .generate = binary_generate,
};
const kit_op kit_mul = {
    .name = "mul",
    .inputs = binary_inputs,
    .record = mul_record,
    .forward = mul_forward,
    .backward = mul_backward,
    .generate = binary_generate,
};
const kit_op kit_div = {
    .name = "div",
    .inputs = binary_inputs,
    .record = div_record,
    .forward = div_forward,
    .backward = div_backward,
    .generate = binary_generate,
};

static int unary_inputs(const kit_case *c, kit_in in[])
{
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = kit_shape(c, "x") };
    return 1;
}

static void unary_generate(kit_text *t, kit_rng *r)
{
    kit_append_shape(t, "x", kit_edge_shape(r, 0, 4, 0, t->work / 8 + 8));
}

static void scale_generate(kit_text *t, kit_rng *r)
{
    static const char *const s[] = { "0.3",  "-2", "0.5",   "0",   "-0.0",
                                     "1e30", "1",  "1e-30", "inf", "1e-40" };
    unary_generate(t, r);
    kit_append(t, " s=%s", s[kit_below(r, (int64_t)(sizeof s / sizeof *s))]);
}

static mnt_tensor *scale_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return mnt_scale(g, in[0], (float)kit_num(c, "s", 1));
}

/* The factor; a subnormal one is read as zero. */
static double factor(const kit_case *c)
{
    return ora_flush((double)(float)kit_num(c, "s", 1));
}

static ora scale_forward(const kit_case *c, const ora in[])
{
    return ora_scale(&in[0], factor(c));
}

static void scale_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)in;
    dx[0] = ora_scale(dy, factor(c));
}

const kit_op kit_scale = {
    .name = "scale",
    .inputs = unary_inputs,
    .record = scale_record,
    .forward = scale_forward,
    .backward = scale_backward,
    .generate = scale_generate,
};

static mnt_tensor *relu_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_relu(g, in[0]);
}

static ora relu_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_relu(&in[0]);
}

static void relu_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    dx[0] = ora_relu_grad(dy, &in[0]);
}

const kit_op kit_relu = {
    .name = "relu",
    .inputs = unary_inputs,
    .record = relu_record,
    .forward = relu_forward,
    .backward = relu_backward,
    .generate = unary_generate,
};

static int bias_inputs(const kit_case *c, kit_in in[])
{
    unary_inputs(c, in);
    in[1] = (kit_in){ .dtype = MNT_F32,
                      .grad = true,
                      .shape = { 1, { in[0].shape.dim[1] } } };
    return 2;
}

static void bias_generate(kit_text *t, kit_rng *r)
{
    mnt_shape x = kit_edge_shape(r, 2, 5, 0, t->work / 8 + 8);
    kit_append_shape(t, "x", x);
    if (kit_one_in(r, 3))
        kit_append(t, " param=1");
}

static mnt_tensor *bias_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_bias_add(g, in[0], in[1]);
}

static ora bias_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_bias_add(&in[0], &in[1]);
}

static void bias_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    (void)in;
    dx[0] = ora_copy(dy);
    dx[1] = ora_bias_grad(dy);
}

const kit_op kit_bias_add = {
    .name = "bias_add",
    .inputs = bias_inputs,
    .record = bias_record,
    .forward = bias_forward,
    .backward = bias_backward,
    .generate = bias_generate,
};

static mnt_tensor *reuse_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    mnt_tensor *x = in[0];
    mnt_tensor *s = mnt_add(g, mnt_mul(g, x, x), mnt_scale(g, x, 0.5f));
    return mnt_sub(g, s, mnt_relu(g, x));
}

static ora reuse_forward(const kit_case *c, const ora in[])
{
    (void)c;
    ora q = ora_binary('*', &in[0], &in[0]), h = ora_scale(&in[0], 0.5);
    ora s = ora_binary('+', &q, &h), r = ora_relu(&in[0]);
    ora y = ora_binary('-', &s, &r);
    ora_free(&q);
    ora_free(&h);
    ora_free(&s);
    ora_free(&r);
    return y;
}

/* d = 2 x dy + dy / 2 - [x > 0] dy, five roundings at most of the largest parts; where
 * it is zero, its sign is a matter of order. */
static void reuse_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    dx[0] = ora_new(in[0].shape);
    for (int64_t i = 0; i < dy->count; i++) {
        double x = in[0].v[i], d = dy->v[i], size = x < 0 ? -x : x;
        dx[0].v[i] = 2 * x * d + 0.5 * d - (x > 0 ? d : 0);
        double mag = (2 * size + 1.5) * (d < 0 ? -d : d);
        dx[0].e[i] = ora_gamma(6) * mag + 6 * ORA_MIN;
    }
}

const kit_op kit_reuse = {
    .name = "reuse",
    .inputs = unary_inputs,
    .record = reuse_record,
    .forward = reuse_forward,
    .backward = reuse_backward,
    .generate = unary_generate,
};
