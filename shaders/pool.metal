/* SPDX-License-Identifier: MIT */
/*
 * Windows over images: max_pool2d and its gradient, im2col, col2im. Gradients gather:
 * each element of the result collects its terms in rising (oy, ox), so nothing is written
 * twice. A thread makes one element; planes are [n, c] in one.
 */
#include "common.h"

/* Plane, line and column of an element of planes h x w. */
struct pool_place {
    int64_t plane;
    int y, x;
};

static inline pool_place pool_at(int64_t e, int h, int w)
{
    int64_t line = quotient(e, w);
    pool_place at;
    at.plane = quotient(line, h);
    at.y = int(line - at.plane * h);
    at.x = int(e - line * w);
    return at;
}

/* Along one axis: first position whose window can hold a pixel, and the end of them. */
static inline int pool_first(int pixel, int size, int stride, int pad, int dilation)
{
    int near = pixel + pad - dilation * (size - 1);
    return near > 0 ? (near + stride - 1) / stride : 0;
}

static inline int pool_end(int pixel, int positions, int stride, int pad)
{
    return min(positions, (pixel + pad) / stride + 1);
}

/* Along one axis: the tap by which the window at `position` holds `pixel`, else -1. */
static inline int pool_tap(int pixel, int position, int size, int stride, int pad,
                           int dilation)
{
    int d = pixel + pad - position * stride;
    if (d < 0 || d % dilation != 0 || d / dilation >= size)
        return -1;
    return d / dilation;
}

/* y and, where winners are wanted, their taps; padding never wins. */
template <typename Index>
kernel void pool_max(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                     device Index *winner [[buffer(2)]],
                     constant mnt_window_args &p [[buffer(3)]],
                     uint group [[threadgroup_position_in_grid]],
                     uint tid [[thread_index_in_threadgroup]])
{
    int64_t e = int64_t(group) * MNT_GROUP + tid;
    if (e >= p.count)
        return;
    pool_place at = pool_at(e, p.oh, p.ow);
    device const float *in = x + at.plane * p.h * p.w;
    best b = best_none();
    for (int i = 0; i < p.kh; i++)
        for (int j = 0; j < p.kw; j++) {
            int iy = at.y * p.stride_h - p.pad_h + i;
            int ix = at.x * p.stride_w - p.pad_w + j;
            if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w)
                best_offer(b, in[int64_t(iy) * p.w + ix], int64_t(i) * p.kw + j);
        }
    y[e] = b.value;
    if (p.winners != 0)
        winner[e] = Index(b.index);
}

/* dx = +0, then + dy of each window that chose the pixel. */
template <typename Index>
kernel void pool_max_grad(device const float *dy [[buffer(0)]],
                          device const Index *winner [[buffer(1)]],
                          device float *dx [[buffer(2)]],
                          constant mnt_window_args &p [[buffer(3)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    int64_t e = int64_t(group) * MNT_GROUP + tid;
    if (e >= p.count)
        return;
    pool_place at = pool_at(e, p.h, p.w);
    int64_t windows = at.plane * p.oh * p.ow;
    int first_y = pool_first(at.y, p.kh, p.stride_h, p.pad_h, 1);
    int first_x = pool_first(at.x, p.kw, p.stride_w, p.pad_w, 1);
    int end_y = pool_end(at.y, p.oh, p.stride_h, p.pad_h);
    int end_x = pool_end(at.x, p.ow, p.stride_w, p.pad_w);
    float sum = 0.0f;
    for (int oy = first_y; oy < end_y; oy++)
        for (int ox = first_x; ox < end_x; ox++) {
            int i = pool_tap(at.y, oy, p.kh, p.stride_h, p.pad_h, 1);
            int j = pool_tap(at.x, ox, p.kw, p.stride_w, p.pad_w, 1);
            int64_t k = windows + int64_t(oy) * p.ow + ox;
            if (i >= 0 && j >= 0 && winner[k] == i * p.kw + j)
                sum = sum + dy[k];
        }
    dx[e] = sum;
}

template
    [[host_name("pool_max_u8")]] kernel decltype(pool_max<uint8_t>) pool_max<uint8_t>;
template
    [[host_name("pool_max_i32")]] kernel decltype(pool_max<int32_t>) pool_max<int32_t>;
template [[host_name("pool_max_grad_u8")]] kernel decltype(pool_max_grad<uint8_t>)
    pool_max_grad<uint8_t>;
template [[host_name("pool_max_grad_i32")]] kernel decltype(pool_max_grad<int32_t>)
    pool_max_grad<int32_t>;

/* columns[plane, (i j), (oy ox)]: a move, so bits are kept; the padding is +0. */
kernel void image_columns(device const uint32_t *x [[buffer(0)]],
                          device uint32_t *columns [[buffer(1)]],
                          constant mnt_window_args &p [[buffer(2)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    int64_t e = int64_t(group) * MNT_GROUP + tid;
    if (e >= p.count)
        return;
    pool_place at = pool_at(e, p.oh, p.ow); /* at.plane: (plane, i, j) */
    int64_t line = quotient(at.plane, p.kw), plane = quotient(line, p.kh);
    int j = int(at.plane - line * p.kw), i = int(line - plane * p.kh);
    int iy = at.y * p.stride_h - p.pad_h + i * p.dilation_h;
    int ix = at.x * p.stride_w - p.pad_w + j * p.dilation_w;
    bool inside = iy >= 0 && iy < p.h && ix >= 0 && ix < p.w;
    columns[e] = inside ? x[(plane * p.h + iy) * p.w + ix] : 0u;
}

/* x = +0, then + each copy of the pixel in the columns. */
kernel void columns_image(device const float *columns [[buffer(0)]],
                          device float *x [[buffer(1)]],
                          constant mnt_window_args &p [[buffer(2)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    int64_t e = int64_t(group) * MNT_GROUP + tid;
    if (e >= p.count)
        return;
    pool_place at = pool_at(e, p.h, p.w);
    int64_t taps = int64_t(p.kh) * p.kw;
    int first_y = pool_first(at.y, p.kh, p.stride_h, p.pad_h, p.dilation_h);
    int first_x = pool_first(at.x, p.kw, p.stride_w, p.pad_w, p.dilation_w);
    int end_y = pool_end(at.y, p.oh, p.stride_h, p.pad_h);
    int end_x = pool_end(at.x, p.ow, p.stride_w, p.pad_w);
    float sum = 0.0f;
    for (int oy = first_y; oy < end_y; oy++) {
        int i = pool_tap(at.y, oy, p.kh, p.stride_h, p.pad_h, p.dilation_h);
        for (int ox = first_x; ox < end_x && i >= 0; ox++) {
            int j = pool_tap(at.x, ox, p.kw, p.stride_w, p.pad_w, p.dilation_w);
            if (j >= 0)
                sum =
                    sum +
                    columns[((at.plane * taps + i * p.kw + j) * p.oh + oy) * p.ow + ox];
        }
    }
    x[e] = sum;
}
