/* SPDX-License-Identifier: MIT */
/*
 * Kit ops: reductions, softmax, the loss, counting.
 *   sum mean argmax   x, axis (absent: all axes)
 *   softmax           x
 *   cross_entropy accuracy_count   n rows, c classes
 */
#include "ops.h"

#include <stdio.h>

static int unary_inputs(const kit_case *c, kit_in in[])
{
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = kit_shape(c, "x") };
    return 1;
}

static int axis_arg(const kit_case *c)
{
    return (int)kit_int(c, "axis", MNT_ALL_AXES);
}

/* First reduced axis, and how many in *count. */
static int axes_of(const kit_case *c, const ora *x, int *count)
{
    int axis = axis_arg(c);
    *count = axis == MNT_ALL_AXES ? x->shape.ndim : 1;
    if (axis == MNT_ALL_AXES)
        return 0;
    return axis < 0 ? axis + x->shape.ndim : axis;
}

static mnt_tensor *sum_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return mnt_sum(g, in[0], axis_arg(c));
}

static mnt_tensor *mean_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return mnt_mean(g, in[0], axis_arg(c));
}

static mnt_tensor *argmax_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    return mnt_argmax(g, in[0], axis_arg(c));
}

static ora sum_forward(const kit_case *c, const ora in[])
{
    int count, axis = axes_of(c, &in[0], &count);
    return ora_sum(&in[0], axis, count);
}

static ora mean_forward(const kit_case *c, const ora in[])
{
    int count, axis = axes_of(c, &in[0], &count);
    return ora_mean(&in[0], axis, count);
}

static ora argmax_forward(const kit_case *c, const ora in[])
{
    int count, axis = axes_of(c, &in[0], &count);
    return ora_argmax(&in[0], axis, count);
}

static void sum_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    int count, axis = axes_of(c, &in[0], &count);
    dx[0] = ora_sum_grad(dy, in[0].shape, axis, count, false);
}

static void mean_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    int count, axis = axes_of(c, &in[0], &count);
    dx[0] = ora_sum_grad(dy, in[0].shape, axis, count, true);
}

static void add_axis(kit_text *t, const mnt_shape *x, kit_rng *r)
{
    if (x->ndim && !kit_one_in(r, 4))
        kit_append(t, " axis=%d", (int)kit_below(r, 2 * x->ndim) - x->ndim);
}

static void reduce_generate(kit_text *t, kit_rng *r)
{
    mnt_shape x = kit_edge_shape(r, 0, 4, 0, t->work / 8 + 8);
    kit_append_shape(t, "x", x);
    add_axis(t, &x, r);
}

/* The largest of nothing does not exist. */
static void argmax_generate(kit_text *t, kit_rng *r)
{
    mnt_shape x = kit_edge_shape(r, 0, 4, 1, t->work / 8 + 8);
    kit_append_shape(t, "x", x);
    add_axis(t, &x, r);
}

const kit_op kit_sum = {
    .name = "sum",
    .inputs = unary_inputs,
    .record = sum_record,
    .forward = sum_forward,
    .backward = sum_backward,
    .generate = reduce_generate,
};
const kit_op kit_mean = {
    .name = "mean",
    .inputs = unary_inputs,
    .record = mean_record,
    .forward = mean_forward,
    .backward = mean_backward,
    .generate = reduce_generate,
};
const kit_op kit_argmax = {
    .name = "argmax",
    .inputs = unary_inputs,
    .record = argmax_record,
    .forward = argmax_forward,
    .generate = argmax_generate,
};

static mnt_tensor *softmax_record(mnt_graph *g, mnt_tensor *const in[],
                                  const kit_case *c)
{
    (void)c;
    return mnt_softmax(g, in[0]);
}

static ora softmax_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_softmax(&in[0]);
}

static void softmax_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    ora y = ora_softmax(&in[0]);
    dx[0] = ora_softmax_grad(dy, &y);
    ora_free(&y);
}

static void softmax_generate(kit_text *t, kit_rng *r)
{
    kit_append_shape(t, "x", kit_edge_shape(r, 1, 3, 0, t->work / 16 + 8));
}

const kit_op kit_softmax = {
    .name = "softmax",
    .inputs = unary_inputs,
    .record = softmax_record,
    .forward = softmax_forward,
    .backward = softmax_backward,
    .generate = softmax_generate,
};

static int loss_inputs(const kit_case *c, kit_in in[])
{
    int64_t n = kit_int(c, "n", 4), k = kit_int(c, "c", 10);
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = { 2, { n, k } } };
    in[1] = (kit_in){ .dtype = MNT_I32, .limit = k, .shape = { 1, { n } } };
    return 2;
}

static void loss_generate(kit_text *t, kit_rng *r)
{
    int64_t d[2];
    kit_edges(r, d, 2, 1, t->work / 16 + 8);
    kit_append(t, " n=%d c=%d", (int)d[0], (int)d[1]);
    if (kit_one_in(r, 6))
        kit_append_bad(t, d[0], r);
}

static mnt_tensor *loss_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_cross_entropy(g, in[0], in[1]);
}

mnt_status kit_label_fault(const kit_case *c, char *part, size_t size)
{
    int32_t value;
    int64_t row = kit_bad_row(c, 1, &value);
    if (row < 0)
        return MNT_OK;
    snprintf(part, size, "cross_entropy: label %d of row %lld is not", (int)value,
             (long long)row);
    return MNT_LABEL;
}

void kit_append_bad(kit_text *t, int64_t rows, kit_rng *r)
{
    static const char *const value[] = { "-1", "limit", "min", "max" };
    kit_append(t, " bad=%d:%s", (int)kit_below(r, rows), value[kit_below(r, 4)]);
    if (kit_one_in(r, 2))
        kit_append(t, " bad2=%d:%s", (int)kit_below(r, rows), value[kit_below(r, 4)]);
}

static ora loss_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_cross_entropy(&in[0], &in[1]);
}

static void loss_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    dx[0] = ora_cross_entropy_grad(&in[0], &in[1], dy);
}

const kit_op kit_cross_entropy = {
    .name = "cross_entropy",
    .inputs = loss_inputs,
    .record = loss_record,
    .forward = loss_forward,
    .backward = loss_backward,
    .fault = kit_label_fault,
    .generate = loss_generate,
};

static mnt_tensor *count_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_accuracy_count(g, in[0], in[1]);
}

static ora count_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_accuracy(&in[0], &in[1]);
}

const kit_op kit_accuracy_count = {
    .name = "accuracy_count",
    .inputs = loss_inputs,
    .record = count_record,
    .forward = count_forward,
    .generate = loss_generate,
};
