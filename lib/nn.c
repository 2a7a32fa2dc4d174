/* SPDX-License-Identifier: MIT */
/*
 * Layers: a name, parameters made from it, and the ops that use them.
 */
#include "core.h"
#include "grad.h"

#include <math.h>

/* "<layer>.<part>" as a parameter of the graph's model. */
static mnt_tensor *part(mnt_graph *g, const char *layer, const char *suffix,
                        mnt_shape shape, int64_t fan_in)
{
    char name[160];
    int n = snprintf(name, sizeof name, "%s.%s", layer, suffix);
    if (n < 0 || (size_t)n >= sizeof name)
        return mnti_graph_fail(g, MNT_INVALID, "layer: the name %.40s... is too long",
                               layer);
    /* +-1/sqrt(fan in): division and square root are exact to the bit everywhere */
    float bound = fan_in > 0 ? 1.0f / sqrtf((float)fan_in) : 0.0f;
    return mnt_param(g, name, shape,
                     (mnt_init){ .kind = MNT_INIT_UNIFORM, .a = -bound, .b = bound });
}

/* A layer's result bears its name, for dumps and profiles. */
static mnt_tensor *named(mnt_tensor *y, const char *name)
{
    mnt_tensor_set_name(y, name);
    return y;
}

mnt_tensor *mnt_dense(mnt_graph *g, mnt_tensor *x, int64_t out, const char *name)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_dense, &x, 1))
        return NULL;
    if (!name || !*name || out < 1)
        return mnti_graph_fail(g, MNT_INVALID,
                               "dense: a name and at least one output are "
                               "needed, not %s and %lld",
                               name ? name : "NULL", (long long)out);
    if (x->shape.ndim != 2)
        return mnti_graph_fail(g, MNT_SHAPE, "dense: %.100s: x is %s, [N,in] is needed",
                               name, mnti_shape_text(x->shape).s);
    if (!mnti_want_dtype(g, MNT_OP_ID_matmul, "x", x, MNT_F32))
        return NULL;
    int64_t in = x->shape.dim[1];
    mnt_tensor *w = part(g, name, "weight", MNT_SHAPE(in, out), in);
    mnt_tensor *b = part(g, name, "bias", MNT_SHAPE(out), in);
    if (!w || !b)
        return NULL;
    return named(mnt_bias_add(g, mnt_matmul(g, x, w), b), name);
}

mnt_tensor *mnt_conv_layer(mnt_graph *g, mnt_tensor *x, int64_t out, int kernel_h,
                           int kernel_w, const char *name, const mnt_conv2d_desc *desc)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_conv2d, &x, 1))
        return NULL;
    if (!name || !*name || out < 1 || kernel_h < 1 || kernel_w < 1)
        return mnti_graph_fail(
            g, MNT_INVALID,
            "conv_layer: %.100s: %lld outputs and a %dx%d kernel; a name "
            "and sizes of at least 1 are needed",
            name ? name : "NULL", (long long)out, kernel_h, kernel_w);
    if (x->shape.ndim != 4)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "conv_layer: %.100s: x is %s, [N,C,H,W] is needed", name,
                               mnti_shape_text(x->shape).s);
    mnt_conv2d_desc d;
    mnt_conv2d_desc_init(&d);
    if (desc && !mnti_desc_read(&d, sizeof d, desc))
        return mnti_graph_fail(g, MNT_INVALID,
                               "conv_layer: the desc's size field is wrong");
    int64_t in = x->shape.dim[1];
    if (d.groups < 1 || in % d.groups != 0)
        return mnti_graph_fail(
            g, MNT_SHAPE, "conv_layer: %.100s: %d groups do not divide %lld channels",
            name, d.groups, (long long)in);
    in /= d.groups;
    mnt_shape shape = MNT_SHAPE(out, in, kernel_h, kernel_w);
    int64_t fan_in = mnt_shape_count(MNT_SHAPE(in, kernel_h, kernel_w));
    mnt_args_conv args;
    mnt_shape y;
    if (!mnti_conv2d_shape(g, x, shape, &d, &args, &y))
        return NULL;
    mnt_tensor *w = part(g, name, "weight", shape, fan_in);
    mnt_tensor *b = part(g, name, "bias", MNT_SHAPE(out), fan_in);
    if (!w || !b)
        return NULL;
    return named(mnt_bias_add(g, mnt_conv2d(g, x, w, &d), b), name);
}
