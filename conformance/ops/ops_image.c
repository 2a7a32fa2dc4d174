/* SPDX-License-Identifier: MIT */
/*
 * Kit ops: convolution, patches, pooling, and the block conv + bias + relu + pool that
 * the planner fuses.
 *   conv2d      n c h w, o, k (kh kw), s (sh sw), p (ph pw), d (dh dw), g
 *   conv_block  the same, bias=0|1, relu=0|1, pool (kernel, 0: none), pools, poolp
 *   im2col col2im max_pool2d   n c h w, k s p d
 */
#include "ops.h"

/* Key `a`, else key `b`, else a value. */
static int either(const kit_case *c, const char *a, const char *b, int otherwise)
{
    return (int)kit_int(c, a, kit_int(c, b, otherwise));
}

static ora_conv conv_of(const kit_case *c)
{
    return (ora_conv){ .sh = either(c, "sh", "s", 1),
                       .sw = either(c, "sw", "s", 1),
                       .ph = either(c, "ph", "p", 0),
                       .pw = either(c, "pw", "p", 0),
                       .dh = either(c, "dh", "d", 1),
                       .dw = either(c, "dw", "d", 1),
                       .groups = either(c, "g", "g", 1) };
}

static mnt_conv2d_desc conv_desc(const kit_case *c)
{
    ora_conv o = conv_of(c);
    return MNT_CONV2D_DESC(.stride_h = o.sh, .stride_w = o.sw, .pad_h = o.ph,
                           .pad_w = o.pw, .dilation_h = o.dh, .dilation_w = o.dw,
                           .groups = o.groups);
}

static mnt_shape image_of(const kit_case *c)
{
    return (mnt_shape){ 4,
                        { kit_int(c, "n", 1), kit_int(c, "c", 1), kit_int(c, "h", 5),
                          kit_int(c, "w", kit_int(c, "h", 5)) } };
}

static int conv_inputs(const kit_case *c, kit_in in[])
{
    mnt_shape x = image_of(c);
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = x };
    in[1] =
        (kit_in){ .dtype = MNT_F32,
                  .grad = true,
                  .shape = { 4,
                             { kit_int(c, "o", 1), x.dim[1] / kit_int(c, "g", 1),
                               either(c, "kh", "k", 3), either(c, "kw", "k", 3) } } };
    return 2;
}

static mnt_tensor *conv_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    mnt_conv2d_desc desc = conv_desc(c);
    return mnt_conv2d(g, in[0], in[1], &desc);
}

static ora conv_forward(const kit_case *c, const ora in[])
{
    ora_conv conv = conv_of(c);
    return ora_conv2d(&in[0], &in[1], &conv);
}

static void conv_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    ora_conv conv = conv_of(c);
    dx[0] = ora_conv2d_dx(dy, &in[1], in[0].shape, &conv);
    dx[1] = ora_conv2d_dw(&in[0], dy, in[1].shape, &conv);
}

static void conv_generate(kit_text *t, kit_rng *r)
{
    kit_geometry q = kit_draw_geometry(r, t->work, true, false);
    kit_append_geometry(t, &q);
    kit_append(t, " o=%d", (int)q.o * q.g);
    if (q.g > 1)
        kit_append(t, " g=%d", q.g);
    if (kit_one_in(r, 3))
        kit_append(t, " param=1");
}

static void block_generate(kit_text *t, kit_rng *r)
{
    kit_geometry q = kit_draw_geometry(r, t->work, true, false);
    q.o += q.o == 0; /* a layer has outputs */
    kit_append_geometry(t, &q);
    kit_append(t, " o=%d", (int)q.o * q.g);
    if (q.g > 1)
        kit_append(t, " g=%d", q.g);
    int64_t oh = kit_positions(&q, 0), ow = kit_positions(&q, 1);
    int k = kit_one_in(r, 2) ? 2 : kit_one_in(r, 3) ? 0 : 3, s = k, p = 0;
    if (kit_one_in(r, 3))
        s = 1 + (int)kit_below(r, 3);
    if (k && kit_one_in(r, 4))
        p = 1 + (int)kit_below(r, k - 1);
    if (oh + 2 * p < k || ow + 2 * p < k)
        k = 0;
    kit_append(t, " relu=%d pool=%d", (int)kit_below(r, 2), k);
    if (k && s != k)
        kit_append(t, " pools=%d", s);
    if (k && p)
        kit_append(t, " poolp=%d", p);
}

static void window_generate(kit_text *t, kit_rng *r)
{
    kit_geometry q = kit_draw_geometry(r, t->work, false, false);
    kit_append_geometry(t, &q);
}

static void pool_generate(kit_text *t, kit_rng *r)
{
    kit_geometry q = kit_draw_geometry(r, t->work, false, true);
    kit_append_geometry(t, &q);
}

const kit_op kit_conv2d = {
    .name = "conv2d",
    .inputs = conv_inputs,
    .record = conv_record,
    .forward = conv_forward,
    .backward = conv_backward,
    .generate = conv_generate,
};

/* ---- the block ---- */

static ora_window pool_of(const kit_case *c)
{
    int k = (int)kit_int(c, "pool", 2), s = (int)kit_int(c, "pools", k);
    int p = (int)kit_int(c, "poolp", 0);
    return (ora_window){ k, k, s, s, p, p, 1, 1 };
}

static bool has_bias(const kit_case *c)
{
    return kit_int(c, "bias", 1) != 0;
}

static int block_inputs(const kit_case *c, kit_in in[])
{
    conv_inputs(c, in);
    if (!has_bias(c))
        return 2;
    in[1].param = "conv.weight";
    in[2] = (kit_in){ .dtype = MNT_F32,
                      .grad = true,
                      .param = "conv.bias",
                      .shape = { 1, { kit_int(c, "o", 1) } } };
    return 3;
}

static mnt_tensor *block_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    mnt_conv2d_desc desc = conv_desc(c);
    mnt_tensor *y = has_bias(c) ? mnt_conv_layer(g, in[0], kit_int(c, "o", 1),
                                                 either(c, "kh", "k", 3),
                                                 either(c, "kw", "k", 3), "conv", &desc)
                                : mnt_conv2d(g, in[0], in[1], &desc);
    if (kit_int(c, "relu", 1))
        y = mnt_relu(g, y);
    ora_window w = pool_of(c);
    mnt_window_desc pool =
        MNT_WINDOW_DESC(.kernel_h = w.kh, .kernel_w = w.kw, .stride_h = w.sh,
                        .stride_w = w.sw, .pad_h = w.ph, .pad_w = w.pw);
    return w.kh ? mnt_max_pool2d(g, y, &pool) : y;
}

/* conv + bias, and after relu. */
static void block_parts(const kit_case *c, const ora in[], ora *sum, ora *act)
{
    ora y = conv_forward(c, in);
    *sum = has_bias(c) ? ora_bias_add(&y, &in[2]) : ora_copy(&y);
    *act = kit_int(c, "relu", 1) ? ora_relu(sum) : ora_copy(sum);
    ora_free(&y);
}

static ora block_forward(const kit_case *c, const ora in[])
{
    ora sum, act;
    ora_window w = pool_of(c);
    block_parts(c, in, &sum, &act);
    ora y = w.kh ? ora_max_pool2d(&act, &w) : ora_copy(&act);
    ora_free(&sum);
    ora_free(&act);
    return y;
}

static void block_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    ora sum, act;
    ora_window w = pool_of(c);
    block_parts(c, in, &sum, &act);
    ora da = w.kh ? ora_max_pool2d_grad(dy, &act, &w) : ora_copy(dy);
    ora ds = kit_int(c, "relu", 1) ? ora_relu_grad(&da, &sum) : ora_copy(&da);
    conv_backward(c, in, &ds, dx);
    if (has_bias(c))
        dx[2] = ora_bias_grad(&ds);
    ora_free(&sum);
    ora_free(&act);
    ora_free(&da);
    ora_free(&ds);
}

const kit_op kit_conv_block = {
    .name = "conv_block",
    .inputs = block_inputs,
    .record = block_record,
    .forward = block_forward,
    .backward = block_backward,
    .generate = block_generate,
};

/* ---- windows ---- */

static ora_window window_of(const kit_case *c)
{
    int kh = either(c, "kh", "k", 2), kw = either(c, "kw", "k", 2);
    return (ora_window){ .kh = kh,
                         .kw = kw,
                         .sh = either(c, "sh", "s", kh),
                         .sw = either(c, "sw", "s", kw),
                         .ph = either(c, "ph", "p", 0),
                         .pw = either(c, "pw", "p", 0),
                         .dh = either(c, "dh", "d", 1),
                         .dw = either(c, "dw", "d", 1) };
}

static mnt_window_desc window_desc(const kit_case *c)
{
    ora_window w = window_of(c);
    return MNT_WINDOW_DESC(.kernel_h = w.kh, .kernel_w = w.kw, .stride_h = w.sh,
                           .stride_w = w.sw, .pad_h = w.ph, .pad_w = w.pw,
                           .dilation_h = w.dh, .dilation_w = w.dw);
}

static int image_inputs(const kit_case *c, kit_in in[])
{
    in[0] = (kit_in){ .dtype = MNT_F32, .grad = true, .shape = image_of(c) };
    return 1;
}

static mnt_tensor *im2col_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    mnt_window_desc desc = window_desc(c);
    return mnt_im2col(g, in[0], &desc);
}

static ora im2col_forward(const kit_case *c, const ora in[])
{
    ora_window w = window_of(c);
    return ora_im2col(&in[0], &w);
}

static void im2col_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    ora_window w = window_of(c);
    dx[0] = ora_col2im(dy, in[0].shape, &w);
}

const kit_op kit_im2col = {
    .name = "im2col",
    .flags = KIT_MOVES,
    .inputs = image_inputs,
    .record = im2col_record,
    .forward = im2col_forward,
    .backward = im2col_backward,
    .generate = window_generate,
};

static int columns_inputs(const kit_case *c, kit_in in[])
{
    mnt_shape x = image_of(c);
    ora_window w = window_of(c);
    int64_t oh = (x.dim[2] + 2 * w.ph - w.dh * (w.kh - 1) - 1) / w.sh + 1;
    int64_t ow = (x.dim[3] + 2 * w.pw - w.dw * (w.kw - 1) - 1) / w.sw + 1;
    in[0] = (kit_in){ .dtype = MNT_F32,
                      .grad = true,
                      .shape = { 3, { x.dim[0], x.dim[1] * w.kh * w.kw, oh * ow } } };
    return 1;
}

static mnt_tensor *col2im_record(mnt_graph *g, mnt_tensor *const in[],
                                 const kit_case *c)
{
    mnt_window_desc desc = window_desc(c);
    return mnt_col2im(g, in[0], image_of(c), &desc);
}

static ora col2im_forward(const kit_case *c, const ora in[])
{
    ora_window w = window_of(c);
    return ora_col2im(&in[0], image_of(c), &w);
}

static void col2im_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    (void)in;
    ora_window w = window_of(c);
    dx[0] = ora_im2col(dy, &w);
}

const kit_op kit_col2im = {
    .name = "col2im",
    .inputs = columns_inputs,
    .record = col2im_record,
    .forward = col2im_forward,
    .backward = col2im_backward,
    .generate = window_generate,
};

static mnt_tensor *pool_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    mnt_window_desc desc = window_desc(c);
    return mnt_max_pool2d(g, in[0], kit_has(c, "default") ? NULL : &desc);
}

static ora pool_forward(const kit_case *c, const ora in[])
{
    ora_window w = window_of(c);
    return ora_max_pool2d(&in[0], &w);
}

static void pool_backward(const kit_case *c, const ora in[], const ora *dy, ora dx[])
{
    ora_window w = window_of(c);
    dx[0] = ora_max_pool2d_grad(dy, &in[0], &w);
}

const kit_op kit_max_pool2d = {
    .name = "max_pool2d",
    .inputs = image_inputs,
    .record = pool_record,
    .forward = pool_forward,
    .backward = pool_backward,
    .generate = pool_generate,
};
