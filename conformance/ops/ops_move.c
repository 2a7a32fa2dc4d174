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
#include "ops.h"

#include <stdio.h>
#include <string.h>

mnt_dtype kit_type(const kit_case *c, const char *key)
{
    char word[24];
    kit_word(c, key, "f32", word);
    for (int t = 0; t < MNT_DTYPE_COUNT; t++)
        if (!strcmp(word, mnt_dtype_name((mnt_dtype)t)))
            return (mnt_dtype)t;
    kit_die("%s: case '%s': data type '%s'", c->op->name, c->text, word);
    return MNT_F32;
}

static int move_inputs(const kit_case *c, kit_in in[])
{
    mnt_dtype t = kit_type(c, "from");
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

/* Mostly views, for a copy of what lies in order is no copy. */
static void move_generate(kit_text *t, kit_rng *r)
{
    static const char *const type[] = { "f32", "f32", "i32", "u8" };
    static const char *const view[] = { "transposed", "sliced", "stretched", "plain" };
    mnt_shape x = kit_edge_shape(r, 0, 6, 0, t->work / 8 + 8);
    kit_append_shape(t, "x", x);
    kit_append(t, " from=%s", type[kit_below(r, 4)]);
    if (!kit_one_in(r, 4))
        kit_append(t, " view=%s", view[kit_below(r, 4)]);
}

const kit_op kit_copy = {
    .name = "copy",
    .flags = KIT_MOVES | KIT_FEW,
    .inputs = move_inputs,
    .record = copy_record,
    .forward = same_forward,
    .backward = same_backward,
    .generate = move_generate,
};
const kit_op kit_view = {
    .name = "view",
    .flags = KIT_MOVES | KIT_FEW,
    .inputs = move_inputs,
    .record = view_record,
    .forward = same_forward,
    .backward = same_backward,
    .generate = move_generate,
};

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

/* The dims of x in another order, some neighbours joined. */
static void reshape_generate(kit_text *t, kit_rng *r)
{
    static const char *const type[] = { "f32", "f32", "i32", "u8" };
    mnt_shape x = kit_edge_shape(r, 0, 5, 0, t->work / 8 + 8), to = { 0 };
    mnt_shape rest = x;
    while (rest.ndim) {
        int d = (int)kit_below(r, rest.ndim);
        int64_t size = rest.dim[d];
        rest.dim[d] = rest.dim[--rest.ndim];
        if (to.ndim && kit_one_in(r, 3))
            to.dim[to.ndim - 1] *= size;
        else
            to.dim[to.ndim++] = size;
    }
    while (to.ndim < MNT_MAX_DIMS && kit_one_in(r, 4))
        to.dim[to.ndim++] = 1;
    kit_append_shape(t, "x", x);
    kit_append_shape(t, "to", to);
    kit_append(t, " from=%s", type[kit_below(r, 4)]);
    if (to.ndim && mnt_shape_count(to) > 0 && kit_one_in(r, 3))
        kit_append(t, " infer=%d", (int)kit_below(r, to.ndim));
}

const kit_op kit_reshape = {
    .name = "reshape",
    .flags = KIT_MOVES | KIT_FEW | KIT_DENSE,
    .inputs = move_inputs,
    .record = reshape_record,
    .forward = reshape_forward,
    .backward = same_backward,
    .generate = reshape_generate,
};

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

static void flatten_generate(kit_text *t, kit_rng *r)
{
    static const char *const type[] = { "f32", "f32", "i32", "u8" };
    kit_append_shape(t, "x", kit_edge_shape(r, 1, 6, 0, t->work / 8 + 8));
    kit_append(t, " from=%s", type[kit_below(r, 4)]);
}

const kit_op kit_flatten = {
    .name = "flatten",
    .flags = KIT_MOVES | KIT_FEW | KIT_DENSE,
    .inputs = move_inputs,
    .record = flatten_record,
    .forward = flatten_forward,
    .backward = same_backward,
    .generate = flatten_generate,
};

/* Only f32 -> f32 has a gradient. */
static int cast_inputs(const kit_case *c, kit_in in[])
{
    move_inputs(c, in);
    in[0].grad = in[0].grad && kit_type(c, "to") == MNT_F32;
    return 1;
}

/* One of the conversions that exist. */
static void add_types(kit_text *t, kit_rng *r)
{
    static const char *const pairs[] = {
        "from=u8 to=f32",  "from=u8 to=f32 unit=1", "from=u8 to=i32",
        "from=u8 to=u8",   "from=i32 to=f32",       "from=i32 to=i32",
        "from=f32 to=i32", "from=f32 to=u8",        "from=f32 to=f32",
    };
    const int64_t n = sizeof pairs / sizeof *pairs;
    kit_append(t, " %s", pairs[kit_below(r, n)]);
}

static void cast_generate(kit_text *t, kit_rng *r)
{
    kit_append_shape(t, "x", kit_edge_shape(r, 0, 4, 0, t->work / 8 + 8));
    add_types(t, r);
}

static mnt_tensor *cast_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return mnt_cast(g, in[0], kit_type(c, "to"), kit_int(c, "unit", 0));
}

static ora cast_forward(const kit_case *c, const ora in[])
{
    return ora_cast(&in[0], kit_type(c, "from"), kit_type(c, "to"),
                    kit_int(c, "unit", 0));
}

const kit_op kit_cast = {
    .name = "cast",
    .flags = KIT_MOVES,
    .inputs = cast_inputs,
    .record = cast_record,
    .forward = cast_forward,
    .backward = same_backward,
    .generate = cast_generate,
};

static int gather_inputs(const kit_case *c, kit_in in[])
{
    move_inputs(c, in);
    in[0].grad = false;
    in[1] = (kit_in){ .dtype = MNT_I32,
                      .limit = in[0].shape.dim[0],
                      .shape = { 1, { kit_int(c, "count", 3) } } };
    return 2;
}

static mnt_tensor *gather_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    return mnt_gather(g, in[0], in[1], kit_type(c, "to"), kit_int(c, "unit", 0));
}

static mnt_status gather_fault(const kit_case *c, char *part, size_t size)
{
    int32_t value;
    int64_t row = kit_bad_row(c, 1, &value);
    if (row < 0)
        return MNT_OK;
    snprintf(part, size, "gather: index %d of row %lld is not", (int)value,
             (long long)row);
    return MNT_LABEL;
}

static ora gather_forward(const kit_case *c, const ora in[])
{
    return ora_gather(&in[0], &in[1], kit_type(c, "from"), kit_type(c, "to"),
                      kit_int(c, "unit", 0));
}

static void gather_generate(kit_text *t, kit_rng *r)
{
    mnt_shape x = kit_edge_shape(r, 1, 4, 1, t->work / 16 + 8);
    int64_t row = mnt_shape_count(x) / x.dim[0];
    kit_append_shape(t, "x", x);
    int64_t count = kit_edge(r, 0, t->work / 16 / row);
    kit_append(t, " count=%d", (int)count);
    if (count && kit_one_in(r, 6))
        kit_append_bad(t, count, r);
    add_types(t, r);
}

const kit_op kit_gather = {
    .name = "gather",
    .flags = KIT_MOVES,
    .inputs = gather_inputs,
    .record = gather_record,
    .forward = gather_forward,
    .fault = gather_fault,
    .generate = gather_generate,
};

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
    double value = (double)(float)kit_num(c, "s", 1);
    for (int64_t i = 0; i < y.count; i++)
        y.v[i] = value;
    return y;
}

static void fill_generate(kit_text *t, kit_rng *r)
{
    static const char *const s[] = {
        "0", "-0.0", "-2.5", "1e-40", "inf", "nan", "3e38"
    };
    kit_append_shape(t, "x", kit_edge_shape(r, 0, 6, 0, t->work / 8 + 8));
    kit_append(t, " s=%s", s[kit_below(r, (int64_t)(sizeof s / sizeof *s))]);
}

const kit_op kit_fill_op = {
    .name = "fill",
    .flags = KIT_MOVES | KIT_FEW,
    .inputs = no_inputs,
    .record = fill_record,
    .forward = fill_forward,
    .generate = fill_generate,
};
