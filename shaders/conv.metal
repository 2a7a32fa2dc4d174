/* SPDX-License-Identifier: MIT */
/*
 * Convolutions for any geometry: forward with what is fused behind it (bias, relu, max
 * pool), and both gradients, also through a 2x2 pool's winners. A thread makes one
 * element of the result by its definition (rules C4 to C6); taps in the padding are no
 * terms. Nothing is shared between threads, so nothing here meets a barrier.
 *
 * Coordinates are 32-bit; a plane's or an image's place is 64-bit.
 */
#include "conv.h"

/* ---- forward ---- */

/* What the pool sees: convolution, bias, relu. */
static inline float conv_block_at(constant mnt_conv_args &p, device const float *image,
                                  device const float *weights, float bias, int oy,
                                  int ox)
{
    float v = conv_at(p, image, weights, oy, ox);
    if (p.bias != 0)
        v = v + bias;
    return p.relu != 0 && v <= 0.0f ? 0.0f : v;
}

/*
 * A thread an element of y [n, o, yh, yw] and, where winners are wanted, of the index:
 * the convolution where its window begins, or the best of the pool's window.
 */
template <typename Index>
kernel void
conv_forward(device const float *x [[buffer(0)]], device const float *w [[buffer(1)]],
             device const float *bias [[buffer(2)]], device float *y [[buffer(3)]],
             device Index *winner [[buffer(4)]],
             constant mnt_conv_args &p [[buffer(5)]],
             uint group [[threadgroup_position_in_grid]],
             uint tid [[thread_index_in_threadgroup]])
{
    int64_t e = int64_t(group) * MNT_GROUP + tid;
    if (e >= p.count)
        return;
    int64_t line = quotient(e, p.yw), plane = quotient(line, p.yh);
    int px = int(e - line * p.yw), py = int(line - plane * p.yh);
    int64_t n = quotient(plane, p.o);
    int o = int(plane - n * p.o);
    int64_t channel = n * p.c + int64_t(o / p.o_group) * p.c_group;
    device const float *image = x + channel * p.h * p.w;
    device const float *weights = w + int64_t(o) * p.c_group * p.kh * p.kw;
    float add = p.bias != 0 ? bias[o] : 0.0f;
    if (p.pool_h == 0) {
        y[e] = conv_block_at(p, image, weights, add, py, px);
        return;
    }
    best b = best_none();
    for (int i = 0; i < p.pool_h; i++)
        for (int j = 0; j < p.pool_w; j++) {
            int oy = py * p.pool_stride_h - p.pool_pad_h + i;
            int ox = px * p.pool_stride_w - p.pool_pad_w + j;
            if (oy >= 0 && oy < p.oh && ox >= 0 && ox < p.ow)
                best_offer(b, conv_block_at(p, image, weights, add, oy, ox),
                           int64_t(i) * p.pool_w + j);
        }
    y[e] = b.value;
    if (p.winners != 0)
        winner[e] = Index(b.index);
}

template [[host_name(
    "conv_forward_u8")]] kernel decltype(conv_forward<uint8_t>) conv_forward<uint8_t>;
template [[host_name(
    "conv_forward_i32")]] kernel decltype(conv_forward<int32_t>) conv_forward<int32_t>;

/* ---- dy as the gradients see it ---- */

/* As it is. */
struct dense_dy {
    device const float *dy;
    float at(constant mnt_conv_args &p, int64_t plane, int oy, int ox) const
    {
        return dy[(plane * p.oh + oy) * p.ow + ox];
    }
};

/* Behind a 2x2 pool: positions outside every window and those that lost read +0. */
template <typename Index> struct pooled_dy {
    device const float *dy;
    device const Index *winner;
    float at(constant mnt_conv_args &p, int64_t plane, int oy, int ox) const
    {
        if (oy / 2 >= p.yh || ox / 2 >= p.yw)
            return 0.0f;
        int64_t i = (plane * p.yh + oy / 2) * p.yw + ox / 2;
        return winner[i] == oy % 2 * 2 + ox % 2 ? dy[i] : 0.0f;
    }
};

/* ---- gradient of the image ---- */

/* Along one axis: the positions whose windows can hold a pixel. */
struct span {
    int first, end;
};

static inline span conv_touching(int pixel, int positions, int size, int stride,
                                 int pad, int dilation)
{
    int far = pixel + pad, near = far - dilation * (size - 1);
    span s;
    s.first = near > 0 ? (near + stride - 1) / stride : 0;
    s.end = min(positions, far / stride + 1);
    return s;
}

/* Along one axis: the tap by which the window at `position` holds `pixel`, else -1. */
static inline int conv_tap(int pixel, int position, int size, int stride, int pad,
                           int dilation)
{
    int d = pixel + pad - position * stride;
    if (d < 0 || d % dilation != 0 || d / dilation >= size)
        return -1;
    return d / dilation;
}

/* The tap by which (oy, ox) touches the pixel, else -1. */
static inline int conv_touch(constant mnt_conv_args &p, span ry, span rx, int iy,
                             int ix, int oy, int ox)
{
    if (oy < ry.first || oy >= ry.end || ox < rx.first || ox >= rx.end)
        return -1;
    int i = conv_tap(iy, oy, p.kh, p.stride_h, p.pad_h, p.dilation_h);
    int j = conv_tap(ix, ox, p.kw, p.stride_w, p.pad_w, p.dilation_w);
    return i >= 0 && j >= 0 ? i * p.kw + j : -1;
}

/* s with the terms of one output channel: positions in block order. */
static inline float conv_dx_channel(constant mnt_conv_args &p, dense_dy dy,
                                    int64_t plane, device const float *weights, span ry,
                                    span rx, int iy, int ix, float s)
{
    for (int by = ry.first / 2; 2 * by < ry.end; by++)
        for (int bx = rx.first / 2; 2 * bx < rx.end; bx++)
            for (int q = 0; q < 4; q++) {
                int oy = 2 * by + q / 2, ox = 2 * bx + q % 2;
                int tap = conv_touch(p, ry, rx, iy, ix, oy, ox);
                if (tap >= 0)
                    s = fma(dy.at(p, plane, oy, ox), weights[tap], s);
            }
    return s;
}

/* The same for a pool: a block is a window with one winner, the rest is zeros and left
 * out (rule B4). */
template <typename Index>
static inline float conv_dx_channel(constant mnt_conv_args &p, pooled_dy<Index> dy,
                                    int64_t plane, device const float *weights, span ry,
                                    span rx, int iy, int ix, float s)
{
    int end_y = min(p.yh, (ry.end + 1) / 2), end_x = min(p.yw, (rx.end + 1) / 2);
    for (int by = ry.first / 2; by < end_y; by++)
        for (int bx = rx.first / 2; bx < end_x; bx++) {
            int64_t at = (plane * p.yh + by) * p.yw + bx;
            int q = dy.winner[at];
            int tap = conv_touch(p, ry, rx, iy, ix, 2 * by + q / 2, 2 * bx + q % 2);
            if (tap >= 0)
                s = fma(dy.dy[at], weights[tap], s);
        }
    return s;
}

/* A thread an element of dx [n, c, h, w]: order oc, then the positions; chunks of output
 * channels. */
template <typename Dy>
static inline void conv_dx(Dy dy, device const float *w, device float *dx,
                           constant mnt_conv_args &p, int64_t e)
{
    if (e >= p.count)
        return;
    int64_t line = quotient(e, p.w), image = quotient(line, p.h);
    int ix = int(e - line * p.w), iy = int(line - image * p.h);
    int64_t n = quotient(image, p.c);
    int c = int(image - n * p.c);
    int o0 = c / p.c_group * p.o_group; /* first output channel of the group */
    int64_t taps = int64_t(p.kh) * p.kw;
    span ry = conv_touching(iy, p.oh, p.kh, p.stride_h, p.pad_h, p.dilation_h);
    span rx = conv_touching(ix, p.ow, p.kw, p.stride_w, p.pad_w, p.dilation_w);
    float y = 0.0f;
    for (int first = 0; first < p.o_group; first += p.chunk) {
        int end = min(p.o_group, first + p.chunk);
        float s = 0.0f;
        for (int o = o0 + first; o < o0 + end; o++)
            s = conv_dx_channel(p, dy, n * p.o + o,
                                w + (int64_t(o) * p.c_group + c % p.c_group) * taps, ry,
                                rx, iy, ix, s);
        y = y + s;
    }
    dx[e] = y;
}

kernel void conv_dx_dense(device const float *dy [[buffer(0)]],
                          device const float *w [[buffer(1)]],
                          device float *dx [[buffer(2)]],
                          constant mnt_conv_args &p [[buffer(3)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    dense_dy d;
    d.dy = dy;
    conv_dx(d, w, dx, p, int64_t(group) * MNT_GROUP + tid);
}

template <typename Index>
kernel void conv_dx_pooled(device const float *dy [[buffer(0)]],
                           device const Index *winner [[buffer(1)]],
                           device const float *w [[buffer(2)]],
                           device float *dx [[buffer(3)]],
                           constant mnt_conv_args &p [[buffer(4)]],
                           uint group [[threadgroup_position_in_grid]],
                           uint tid [[thread_index_in_threadgroup]])
{
    pooled_dy<Index> d;
    d.dy = dy;
    d.winner = winner;
    conv_dx(d, w, dx, p, int64_t(group) * MNT_GROUP + tid);
}

template [[host_name("conv_dx_pooled_u8")]] kernel decltype(conv_dx_pooled<uint8_t>)
    conv_dx_pooled<uint8_t>;
template [[host_name("conv_dx_pooled_i32")]] kernel decltype(conv_dx_pooled<int32_t>)
    conv_dx_pooled<int32_t>;

/* ---- gradient of the weights ---- */

/* One sample's share for tap (i, j): `x` its channel, `plane` its plane of dy. */
template <typename Dy>
static inline float conv_dw_sample(constant mnt_conv_args &p, Dy dy,
                                   device const float *x, int64_t plane, int i, int j)
{
    int64_t count = int64_t(p.oh) * p.ow;
    int oy = 0, ox = 0;
    float y = 0.0f, s = 0.0f;
    for (int64_t k = 0; k < count; k++) {
        if (k > 0 && k % MNT_SUM_BLOCK == 0) {
            y = y + s;
            s = 0.0f;
        }
        int iy = oy * p.stride_h - p.pad_h + i * p.dilation_h;
        int ix = ox * p.stride_w - p.pad_w + j * p.dilation_w;
        if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w)
            s = fma(x[int64_t(iy) * p.w + ix], dy.at(p, plane, oy, ox), s);
        block_next(p.oh, p.ow, oy, ox);
    }
    return y + s;
}

/* The same over the winners alone, where the plane is one chunk (rule B4). */
struct winners_dy {
    device const float *dy;
    device const uint8_t *winner;
};

static inline float conv_dw_sample(constant mnt_conv_args &p, winners_dy dy,
                                   device const float *x, int64_t plane, int i, int j)
{
    int64_t at = plane * p.yh * p.yw;
    float s = 0.0f;
    for (int by = 0; by < p.yh; by++)
        for (int bx = 0; bx < p.yw; bx++, at++) {
            int q = dy.winner[at];
            int oy = 2 * by + q / 2, ox = 2 * bx + q % 2;
            int iy = oy * p.stride_h - p.pad_h + i * p.dilation_h;
            int ix = ox * p.stride_w - p.pad_w + j * p.dilation_w;
            if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w)
                s = fma(x[int64_t(iy) * p.w + ix], dy.dy[at], s);
        }
    return 0.0f + s;
}

/*
 * Parts [leaves, weights] of dw, each the tree of p.samples samples; sample_tree adds
 * them up. A thread makes one part; p.count is the number of weights.
 */
template <typename Dy>
static inline void conv_dw(Dy dy, device const float *x, device float *parts,
                           constant mnt_conv_args &p, int64_t part)
{
    int64_t leaf = quotient(part, p.count), e = part - leaf * p.count;
    int64_t first = leaf * p.samples;
    if (first >= p.n)
        return;
    int64_t row = quotient(e, p.kw), kernels = quotient(row, p.kh);
    int j = int(e - row * p.kw), i = int(row - kernels * p.kh);
    int64_t o = quotient(kernels, p.c_group);
    int64_t c = o / p.o_group * p.c_group + (kernels - o * p.c_group);
    int64_t end = lesser(p.n, first + p.samples);
    tree_sum t;
    t.count = 0;
    for (int64_t n = first; n < end; n++)
        tree_push(
            t, conv_dw_sample(p, dy, x + (n * p.c + c) * p.h * p.w, n * p.o + o, i, j));
    parts[part] = tree_take(t);
}

kernel void conv_dw_dense(device const float *x [[buffer(0)]],
                          device const float *dy [[buffer(1)]],
                          device float *parts [[buffer(2)]],
                          constant mnt_conv_args &p [[buffer(3)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    dense_dy d;
    d.dy = dy;
    conv_dw(d, x, parts, p, int64_t(group) * MNT_GROUP + tid);
}

template <typename Index>
kernel void conv_dw_pooled(device const float *x [[buffer(0)]],
                           device const float *dy [[buffer(1)]],
                           device const Index *winner [[buffer(2)]],
                           device float *parts [[buffer(3)]],
                           constant mnt_conv_args &p [[buffer(4)]],
                           uint group [[threadgroup_position_in_grid]],
                           uint tid [[thread_index_in_threadgroup]])
{
    pooled_dy<Index> d;
    d.dy = dy;
    d.winner = winner;
    conv_dw(d, x, parts, p, int64_t(group) * MNT_GROUP + tid);
}

template [[host_name("conv_dw_pooled_u8")]] kernel decltype(conv_dw_pooled<uint8_t>)
    conv_dw_pooled<uint8_t>;
template [[host_name("conv_dw_pooled_i32")]] kernel decltype(conv_dw_pooled<int32_t>)
    conv_dw_pooled<int32_t>;

kernel void conv_dw_winners(device const float *x [[buffer(0)]],
                            device const float *dy [[buffer(1)]],
                            device const uint8_t *winner [[buffer(2)]],
                            device float *parts [[buffer(3)]],
                            constant mnt_conv_args &p [[buffer(4)]],
                            uint group [[threadgroup_position_in_grid]],
                            uint tid [[thread_index_in_threadgroup]])
{
    winners_dy d;
    d.dy = dy;
    d.winner = winner;
    conv_dw(d, x, parts, p, int64_t(group) * MNT_GROUP + tid);
}
