/* SPDX-License-Identifier: MIT */
/*
 * Convolution, pooling, im2col and col2im: descriptors, shape rules, chunk rule
 * (numerics C4), gradients.
 */
#include "core.h"
#include "grad.h"

void mnt_conv2d_desc_init(mnt_conv2d_desc *desc)
{
    if (desc)
        *desc = MNT_CONV2D_DESC(.groups = 1);
}

void mnt_window_desc_init(mnt_window_desc *desc)
{
    if (desc)
        *desc = MNT_WINDOW_DESC(.kernel_h = 2);
}

#define MAX_GEOMETRY (1 << 24) /* keeps all coordinates far from overflow */

static bool in_range(mnt_graph *g, mnt_op op, const char *what, int value, int least)
{
    if (value >= least && value <= MAX_GEOMETRY)
        return true;
    mnti_graph_fail(g, MNT_INVALID, "%s: %s is %d, not in [%d, %d]", mnt_op_name(op),
                    what, value, least, MAX_GEOMETRY);
    return false;
}

/* Positions of a window along one axis; below 1 if it does not fit. */
static int64_t positions(int64_t size, int kernel, int stride, int pad, int dilation)
{
    int64_t room = size + 2 * (int64_t)pad - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static bool is_image(mnt_graph *g, mnt_op op, const char *what, mnt_tensor *x)
{
    if (!mnti_want_dtype(g, op, what, x, MNT_F32))
        return false;
    if (x->shape.ndim == 4)
        return true;
    mnti_graph_fail(g, MNT_SHAPE, "%s: %s is %s, four dims are needed", mnt_op_name(op),
                    what, mnti_shape_text(x->shape).s);
    return false;
}

static bool conv_args(mnt_graph *g, const mnt_conv2d_desc *desc, mnt_args_conv *out)
{
    const mnt_op op = MNT_OP_ID_conv2d;
    mnt_conv2d_desc d;
    mnt_conv2d_desc_init(&d);
    if (desc && !mnti_desc_read(&d, sizeof d, desc)) {
        mnti_graph_fail(g, MNT_INVALID, "conv2d: the desc's size field is wrong");
        return false;
    }
    *out = (mnt_args_conv){ .stride_h = d.stride_h,
                            .stride_w = d.stride_w,
                            .pad_h = d.pad_h,
                            .pad_w = d.pad_w,
                            .dilation_h = d.dilation_h,
                            .dilation_w = d.dilation_w,
                            .groups = d.groups };
    return in_range(g, op, "stride_h", d.stride_h, 1) &&
           in_range(g, op, "stride_w", d.stride_w, 1) &&
           in_range(g, op, "pad_h", d.pad_h, 0) &&
           in_range(g, op, "pad_w", d.pad_w, 0) &&
           in_range(g, op, "dilation_h", d.dilation_h, 1) &&
           in_range(g, op, "dilation_w", d.dilation_w, 1) &&
           in_range(g, op, "groups", d.groups, 1);
}

bool mnti_conv2d_shape(mnt_graph *g, mnt_tensor *x, mnt_shape w,
                       const mnt_conv2d_desc *desc, mnt_args_conv *a, mnt_shape *y)
{
    if (!is_image(g, MNT_OP_ID_conv2d, "x", x) || !conv_args(g, desc, a))
        return false;
    const int64_t *dx = x->shape.dim, *dw = w.dim;
    if (dx[1] % a->groups != 0 || dx[1] / a->groups != dw[1] ||
        dw[0] % a->groups != 0) {
        mnti_graph_fail(
            g, MNT_SHAPE,
            "conv2d: x is %s, w is %s; with %d group%s the channels do not fit",
            mnti_shape_text(x->shape).s, mnti_shape_text(w).s, a->groups,
            a->groups == 1 ? "" : "s");
        return false;
    }
    bool kernel_ok =
        dw[2] >= 1 && dw[3] >= 1 && dw[2] <= MAX_GEOMETRY && dw[3] <= MAX_GEOMETRY;
    int64_t oh = 0, ow = 0;
    if (kernel_ok) {
        oh = positions(dx[2], (int)dw[2], a->stride_h, a->pad_h, a->dilation_h);
        ow = positions(dx[3], (int)dw[3], a->stride_w, a->pad_w, a->dilation_w);
    }
    if (oh < 1 || ow < 1) {
        mnti_graph_fail(
            g, MNT_SHAPE,
            "conv2d: the kernel of w %s does not fit into x %s with padding "
            "%d,%d",
            mnti_shape_text(w).s, mnti_shape_text(x->shape).s, a->pad_h, a->pad_w);
        return false;
    }
    a->chunk = 512 / (dw[2] * dw[3]);
    if (a->chunk < 1)
        a->chunk = 1;
    *y = MNT_SHAPE(dx[0], dw[0], oh, ow);
    return true;
}

mnt_tensor *mnt_conv2d(mnt_graph *g, mnt_tensor *x, mnt_tensor *w,
                       const mnt_conv2d_desc *desc)
{
    mnt_tensor *in[] = { x, w };
    const mnt_op op = MNT_OP_ID_conv2d;
    mnt_args args = { 0 };
    mnt_shape y;
    if (!mnti_graph_accepts(g, op, in, 2) || !is_image(g, op, "w", w) ||
        !mnti_conv2d_shape(g, x, w->shape, desc, &args.conv, &y))
        return NULL;
    return mnti_record_1(g, op, in, 2, y, args);
}

void mnti_grad_conv2d(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *x = node->in[0], *w = node->in[1];
    if (x->needs_grad) {
        mnt_tensor *in[] = { dy, w };
        mnti_add_grad(
            g, x, mnti_record_1(g, MNT_OP_ID_conv2d_dx, in, 2, x->shape, node->args));
    }
    if (w->needs_grad) {
        mnt_tensor *in[] = { x, dy };
        mnti_add_grad(
            g, w, mnti_record_1(g, MNT_OP_ID_conv2d_dw, in, 2, w->shape, node->args));
    }
}

static bool window_args(mnt_graph *g, mnt_op op, const mnt_window_desc *desc,
                        mnt_args_window *out)
{
    mnt_window_desc d;
    mnt_window_desc_init(&d);
    if (desc && !mnti_desc_read(&d, sizeof d, desc)) {
        mnti_graph_fail(g, MNT_INVALID, "%s: the desc's size field is wrong",
                        mnt_op_name(op));
        return false;
    }
    *out = (mnt_args_window){ .kernel_h = d.kernel_h,
                              .kernel_w = d.kernel_w,
                              .stride_h = d.stride_h ? d.stride_h : d.kernel_h,
                              .stride_w = d.stride_w ? d.stride_w : d.kernel_w,
                              .pad_h = d.pad_h,
                              .pad_w = d.pad_w,
                              .dilation_h = d.dilation_h,
                              .dilation_w = d.dilation_w };
    return in_range(g, op, "kernel_h", d.kernel_h, 1) &&
           in_range(g, op, "kernel_w", d.kernel_w, 1) &&
           in_range(g, op, "stride_h", out->stride_h, 1) &&
           in_range(g, op, "stride_w", out->stride_w, 1) &&
           in_range(g, op, "pad_h", d.pad_h, 0) &&
           in_range(g, op, "pad_w", d.pad_w, 0) &&
           in_range(g, op, "dilation_h", d.dilation_h, 1) &&
           in_range(g, op, "dilation_w", d.dilation_w, 1);
}

static bool window_out(mnt_graph *g, mnt_op op, const mnt_args_window *a,
                       mnt_shape image, int64_t *oh, int64_t *ow)
{
    *oh = positions(image.dim[2], a->kernel_h, a->stride_h, a->pad_h, a->dilation_h);
    *ow = positions(image.dim[3], a->kernel_w, a->stride_w, a->pad_w, a->dilation_w);
    if (*oh >= 1 && *ow >= 1)
        return true;
    mnti_graph_fail(g, MNT_SHAPE, "%s: the %dx%d window does not fit into %s",
                    mnt_op_name(op), a->kernel_h, a->kernel_w,
                    mnti_shape_text(image).s);
    return false;
}

mnt_tensor *mnt_max_pool2d(mnt_graph *g, mnt_tensor *x, const mnt_window_desc *desc)
{
    const mnt_op op = MNT_OP_ID_max_pool2d;
    mnt_args args = { 0 };
    mnt_args_window *a = &args.window;
    int64_t oh, ow;
    if (!mnti_graph_accepts(g, op, &x, 1) || !is_image(g, op, "x", x) ||
        !window_args(g, op, desc, a))
        return NULL;
    if (a->pad_h >= a->kernel_h || a->pad_w >= a->kernel_w)
        return mnti_graph_fail(
            g, MNT_INVALID, "max_pool2d: padding %d,%d is not below the window %d,%d",
            a->pad_h, a->pad_w, a->kernel_h, a->kernel_w);
    if (a->dilation_h != 1 || a->dilation_w != 1)
        return mnti_graph_fail(g, MNT_INVALID, "max_pool2d: dilation is not supported");
    if (x->shape.dim[2] == 0 || x->shape.dim[3] == 0)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "max_pool2d: x is %s: no pixels to choose from",
                               mnti_shape_text(x->shape).s);
    if (!window_out(g, op, a, x->shape, &oh, &ow))
        return NULL;
    mnt_shape s = MNT_SHAPE(x->shape.dim[0], x->shape.dim[1], oh, ow);
    bool small = (int64_t)a->kernel_h * a->kernel_w <= 255;
    mnt_tensor *out[] = { mnti_graph_tensor(g, MNT_F32, s),
                          mnti_graph_tensor(g, small ? MNT_U8 : MNT_I32, s) };
    if (!out[0] || !out[1])
        return NULL;
    return mnti_record(g, op, &x, 1, out, 2, args) ? out[0] : NULL;
}

void mnti_grad_max_pool2d(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnt_tensor *in[] = { dy, node->out[1] };
    mnti_add_grad(g, node->in[0],
                  mnti_record_1(g, MNT_OP_ID_max_pool2d_grad, in, 2, node->in[0]->shape,
                                node->args));
}

/* [N, C kh kw, OH OW] of an image [N,C,H,W]; false if that is too large. */
static bool columns(mnt_graph *g, mnt_op op, const mnt_args_window *a, mnt_shape image,
                    int64_t oh, int64_t ow, mnt_shape *out)
{
    mnt_shape taps = MNT_SHAPE(image.dim[1], a->kernel_h, a->kernel_w);
    mnt_shape places = MNT_SHAPE(oh, ow);
    *out = MNT_SHAPE(image.dim[0], mnt_shape_count(taps), mnt_shape_count(places));
    if (mnt_shape_count(*out) >= 0)
        return true;
    mnti_graph_fail(
        g, MNT_SHAPE, "%s: the columns of %s in windows of %dx%d are too many",
        mnt_op_name(op), mnti_shape_text(image).s, a->kernel_h, a->kernel_w);
    return false;
}

mnt_tensor *mnt_im2col(mnt_graph *g, mnt_tensor *x, const mnt_window_desc *desc)
{
    const mnt_op op = MNT_OP_ID_im2col;
    mnt_args args = { 0 };
    int64_t oh, ow;
    if (!mnti_graph_accepts(g, op, &x, 1) || !is_image(g, op, "x", x) ||
        !window_args(g, op, desc, &args.window) ||
        !window_out(g, op, &args.window, x->shape, &oh, &ow))
        return NULL;
    mnt_shape s;
    if (!columns(g, op, &args.window, x->shape, oh, ow, &s))
        return NULL;
    return mnti_record_1(g, op, &x, 1, s, args);
}

mnt_tensor *mnt_col2im(mnt_graph *g, mnt_tensor *cols, mnt_shape image,
                       const mnt_window_desc *desc)
{
    const mnt_op op = MNT_OP_ID_col2im;
    mnt_args args = { 0 };
    int64_t oh, ow;
    if (!mnti_graph_accepts(g, op, &cols, 1) ||
        !mnti_want_dtype(g, op, "columns", cols, MNT_F32) ||
        !window_args(g, op, desc, &args.window))
        return NULL;
    if (image.ndim != 4 || mnt_shape_count(image) < 0)
        return mnti_graph_fail(g, MNT_SHAPE,
                               "col2im: the image is %s, four dims are needed",
                               mnti_shape_text(image).s);
    if (!window_out(g, op, &args.window, image, &oh, &ow))
        return NULL;
    mnt_shape want;
    if (!columns(g, op, &args.window, image, oh, ow, &want))
        return NULL;
    const mnt_shape *c = &cols->shape;
    if (c->ndim != 3 || memcmp(c->dim, want.dim, 3 * sizeof *c->dim) != 0)
        return mnti_graph_fail(
            g, MNT_SHAPE, "col2im: columns are %s, the image %s needs %s",
            mnti_shape_text(*c).s, mnti_shape_text(image).s, mnti_shape_text(want).s);
    return mnti_record_1(g, op, &cols, 1, image, args);
}

void mnti_grad_im2col(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(
        g, node->in[0],
        mnti_record_1(g, MNT_OP_ID_col2im, &dy, 1, node->in[0]->shape, node->args));
}

void mnti_grad_col2im(mnt_graph *g, const mnti_node *node, mnt_tensor *dy)
{
    mnti_add_grad(
        g, node->in[0],
        mnti_record_1(g, MNT_OP_ID_im2col, &dy, 1, node->in[0]->shape, node->args));
}
