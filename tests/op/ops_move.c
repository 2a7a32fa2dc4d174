/* SPDX-License-Identifier: MIT */
/*
 * Kit ops: moves, views and conversions; and the table of all kit ops.
 *   copy      x: mnt_contiguous of a view (view=...)
 *   view      x: the view itself is the result (view=...)
 *   reshape   x, to;  flatten  x
 *   cast      x, from, to (f32 i32 u8), unit
 *   gather    x (the table), count, from, to, unit
 *   fill      x (a shape), s
 */
#include "../support/kit.h"

#include <string.h>

static mnt_dtype type_of(const kit_case *c, const char *key)
{
    char word[24];
    kit_word(c, key, "f32", word);
    for (int t = 0; t < MNT_DTYPE_COUNT; t++)
        if (!strcmp(word, mnt_dtype_name((mnt_dtype)t)))
            return (mnt_dtype)t;
    fail_msg("%s: case '%s': data type '%s'", c->op->name, c->text, word);
    return MNT_F32;
}

static int move_inputs(const kit_case *c, kit_in in[])
{
    mnt_dtype t = type_of(c, "from");
    in[0] = (kit_in){ .dtype = t, .grad = t == MNT_F32, .shape = kit_shape(c, "x") };
    return 1;
}

static mnt_tensor *copy_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)c;
    return mnt_contiguous(g, in[0]);
}

static mnt_tensor *view_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)g;
    (void)c;
    return in[0];
}

static ora same_forward(const kit_case *c, const ora in[])
{
    (void)c;
    return ora_copy(&in[0]);
}

static void same_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)c;
    dx[0] = ora_copy(dy);
    dx[0].shape = in[0].shape;
}

const kit_op kit_copy = { "copy",       move_inputs,   copy_record,
                          same_forward, same_backward, true };
const kit_op kit_view = { "view",       move_inputs,   view_record,
                          same_forward, same_backward, true };

static mnt_tensor *reshape_record(mnt_graph *g, mnt_tensor *const in[],
                                  const kit_case *c)
{
    mnt_shape to = kit_shape(c, "to");
    if (kit_has(c, "infer"))
        to.dim[kit_int(c, "infer", 0)] = -1;
    return mnt_reshape(g, in[0], to);
}

static ora reshape_forward(const kit_case *c, const ora in[])
{
    ora y = ora_copy(&in[0]);
    y.shape = kit_shape(c, "to");
    return y;
}

const kit_op kit_reshape = { "reshape",       move_inputs,   reshape_record,
                             reshape_forward, same_backward, true };

static mnt_tensor *flatten_record(mnt_graph *g, mnt_tensor *const in[],
                                  const kit_case *c)
{
    (void)c;
    return mnt_flatten(g, in[0]);
}

static ora flatten_forward(const kit_case *c, const ora in[])
{
    (void)c;
    ora y = ora_copy(&in[0]);
    int64_t rest = 1;
    for (int d = 1; d < y.shape.ndim; d++)
        rest *= y.shape.dim[d];
    y.shape = (mnt_shape){ 2, { y.shape.dim[0], rest } };
    return y;
}

const kit_op kit_flatten = { "flatten",       move_inputs,   flatten_record,
                             flatten_forward, same_backward, true };

static int cast_inputs(const kit_case *c, kit_in in[])
{
    move_inputs(c, in);
    in[0].grad = false;
    return 1;
}

static mnt_tensor *cast_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return mnt_cast(g, in[0], type_of(c, "to"), kit_int(c, "unit", 0));
}

static ora cast_forward(const kit_case *c, const ora in[])
{
    return ora_cast(&in[0], type_of(c, "from"), type_of(c, "to"),
                    kit_int(c, "unit", 0));
}

const kit_op kit_cast = { "cast", cast_inputs, cast_record, cast_forward, NULL, true };

static int gather_inputs(const kit_case *c, kit_in in[])
{
    cast_inputs(c, in);
    in[1] = (kit_in){ .dtype = MNT_I32,
                      .limit = in[0].shape.dim[0],
                      .shape = { 1, { kit_int(c, "count", 3) } } };
    return 2;
}

static mnt_tensor *gather_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    return mnt_gather(g, in[0], in[1], type_of(c, "to"), kit_int(c, "unit", 0));
}

static ora gather_forward(const kit_case *c, const ora in[])
{
    return ora_gather(&in[0], &in[1], type_of(c, "from"), type_of(c, "to"),
                      kit_int(c, "unit", 0));
}

const kit_op kit_gather = { "gather",       gather_inputs, gather_record,
                            gather_forward, NULL,          true };

static int no_inputs(const kit_case *c, kit_in in[])
{
    (void)c;
    (void)in;
    return 0;
}

static mnt_tensor *fill_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    (void)in;
    return mnt_fill(g, kit_shape(c, "x"), (float)kit_num(c, "s", 1));
}

static ora fill_forward(const kit_case *c, const ora in[])
{
    (void)in;
    ora y = ora_new(kit_shape(c, "x"));
    for (int64_t i = 0; i < y.count; i++)
        y.v[i] = (double)(float)kit_num(c, "s", 1);
    return y;
}

const kit_op kit_fill_op = { "fill", no_inputs, fill_record, fill_forward, NULL, true };

const kit_op *const kit_ops[] = { &kit_matmul,  &kit_dense,         &kit_add,
                                  &kit_sub,     &kit_mul,           &kit_scale,
                                  &kit_relu,    &kit_bias_add,      &kit_reuse,
                                  &kit_sum,     &kit_mean,          &kit_argmax,
                                  &kit_softmax, &kit_cross_entropy, &kit_accuracy_count,
                                  &kit_conv2d,  &kit_conv_block,    &kit_im2col,
                                  &kit_col2im,  &kit_max_pool2d,    &kit_copy,
                                  &kit_view,    &kit_reshape,       &kit_flatten,
                                  &kit_cast,    &kit_gather,        &kit_fill_op,
                                  NULL };
