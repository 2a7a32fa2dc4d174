/* SPDX-License-Identifier: MIT */
/*
 * The ops. Each call records one command and returns its output tensor, NULL after a
 * failure (the failure is sticky in the graph; see graph.h). Tensors are f32 unless
 * said. Every sum's order of rounding is part of the op (docs/numerics.md), so results
 * are the same bits on every backend. Sticky errors common to all: INVALID for a tensor
 * of another device or graph; DTYPE; SHAPE with both shapes in the sentence.
 */
#ifndef MNT_OPS_H
#define MNT_OPS_H

#include <mnt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Matrix product y = op(x) op(w), op = transpose where the flag says so.
 *   y[i,j] = sum_k x[i,k] w[k,j]     k in chunks, numerics C
 * x [..., M, K] (tx: [..., K, M])   w [K, N] or [..., K, N] (tw: [..., N, K])
 * y [..., M, N]
 * Leading dims are a batch and must be equal, or absent in w. K = 0 gives zeros.
 * Gradient: dx = dy op(w)^T, dw = op(x)^T dy, summed over the batch where w has none.
 */
MNT_API mnt_tensor *mnt_matmul(mnt_graph *g, mnt_tensor *x, mnt_tensor *w);
MNT_API mnt_tensor *mnt_matmul_ex(mnt_graph *g, mnt_tensor *x, mnt_tensor *w, bool tx,
                                  bool tw);

/*
 * y = x + b along axis 1: x [N, C] or [N, C, H, W], b [C]. Gradient: dx = dy; db = sum
 * of dy over all other axes (numerics C3 and C6).
 */
MNT_API mnt_tensor *mnt_bias_add(mnt_graph *g, mnt_tensor *x, mnt_tensor *b);

/*
 * Elementwise sum, difference, product with numpy broadcasting: shapes are aligned at
 * the last axis, a dim of 1 (or absent) stretches. Gradient: through each operand,
 * summed over its stretched axes (numerics D).
 */
MNT_API mnt_tensor *mnt_add(mnt_graph *g, mnt_tensor *a, mnt_tensor *b);
MNT_API mnt_tensor *mnt_sub(mnt_graph *g, mnt_tensor *a, mnt_tensor *b);
MNT_API mnt_tensor *mnt_mul(mnt_graph *g, mnt_tensor *a, mnt_tensor *b);
/* Elementwise quotient, broadcasting alike. Gradient: da = dy / b, db = -((dy y) / b).
 */
MNT_API mnt_tensor *mnt_div(mnt_graph *g, mnt_tensor *a, mnt_tensor *b);
/* y = s x. Gradient: s dy. */
MNT_API mnt_tensor *mnt_scale(mnt_graph *g, mnt_tensor *x, float s);

/* y = max(x, 0): !(x <= 0) ? x : +0, so NaN stays. Gradient: x > 0 ? dy : +0. */
MNT_API mnt_tensor *mnt_relu(mnt_graph *g, mnt_tensor *x);

/*
 * Sum and mean over `axis` (negative counts from the end; MNT_ALL_AXES: everything).
 * The axis is removed; over all axes the result has ndim 0. mean divides once by
 * (float)n; the mean of nothing is NaN, its sum +0. Gradient: dy, or dy / (float)n, to
 * every element.
 */
#define MNT_ALL_AXES 1000
MNT_API mnt_tensor *mnt_sum(mnt_graph *g, mnt_tensor *x, int axis);
MNT_API mnt_tensor *mnt_mean(mnt_graph *g, mnt_tensor *x, int axis);

/*
 * Index of the largest element along `axis`, i32, the axis removed. The first of equals
 * wins; the first NaN wins over every number. Errors: SHAPE if the axis is empty. No
 * gradient.
 */
MNT_API mnt_tensor *mnt_argmax(mnt_graph *g, mnt_tensor *x, int axis);

/*
 * softmax over the last axis: m = max z; e = exp(z - m); y = e / sum e.
 * Gradient: dx = y (dy - sum(dy y)).
 */
MNT_API mnt_tensor *mnt_softmax(mnt_graph *g, mnt_tensor *z);

/*
 * Mean cross entropy of softmax(logits) against integer labels, natural log:
 *   loss = mean_i( log sum_j exp(z_ij - m_i) - (z_i,y_i - m_i) ),  m_i = max_j z_ij
 * logits [N, C], labels i32 [N], each in [0, C); loss ndim 0.
 * The argument of exp is <= 0 and the sum >= 1, so nothing is clipped and there is no
 * epsilon. Gradient: (softmax(z) - onehot(y)) dloss / N to logits; none to labels.
 * A label out of range makes that row's loss NaN and its gradient 0; the next wait or
 * read returns MNT_LABEL naming op and row, and the optimizer leaves the parameters as
 * they were from that step on. Errors: SHAPE, DTYPE; SHAPE if N or C is 0.
 */
MNT_API mnt_tensor *mnt_cross_entropy(mnt_graph *g, mnt_tensor *logits,
                                      mnt_tensor *labels);

/* How many rows of logits [N, C] have their argmax at labels i32 [N]: i32, ndim 0. */
MNT_API mnt_tensor *mnt_accuracy_count(mnt_graph *g, mnt_tensor *logits,
                                       mnt_tensor *labels);

typedef struct mnt_conv2d_desc {
    size_t size;
    int stride_h, stride_w;     /* >= 1 */
    int pad_h, pad_w;           /* zeros around the image, both sides; >= 0 */
    int dilation_h, dilation_w; /* >= 1 */
    int groups;                 /* divides both channel counts */
} mnt_conv2d_desc;
#ifndef __cplusplus
#define MNT_CONV2D_DESC(...)                                                           \
    ((mnt_conv2d_desc){ .size = sizeof(mnt_conv2d_desc),                               \
                        .stride_h = 1,                                                 \
                        .stride_w = 1,                                                 \
                        .dilation_h = 1,                                               \
                        .dilation_w = 1,                                               \
                        .groups = 1,                                                   \
                        __VA_ARGS__ })
#endif
MNT_API void mnt_conv2d_desc_init(mnt_conv2d_desc *desc);

/*
 * 2-d cross-correlation.
 *   y[n,o,p,q] = sum_{c,i,j} x[n, c, p sh - ph + i dh, q sw - pw + j dw] w[o,c,i,j]
 * x [N,C,H,W], w [O,C/groups,kh,kw], y [N,O,OH,OW], OH = (H + 2 ph - dh (kh-1) - 1)/sh
 * + 1. Taps in the padding are not terms. Gradient: to x and to w (numerics C4, C6).
 * Errors: SHAPE when channels differ or the kernel is larger than the padded image;
 * INVALID for a stride, dilation or group count below 1.
 */
MNT_API mnt_tensor *mnt_conv2d(mnt_graph *g, mnt_tensor *x, mnt_tensor *w,
                               const mnt_conv2d_desc *desc);

typedef struct mnt_window_desc {
    size_t size;
    int kernel_h, kernel_w;     /* >= 1 */
    int stride_h, stride_w;     /* >= 1; 0: the kernel's size */
    int pad_h, pad_w;           /* >= 0, below the kernel's size for pooling */
    int dilation_h, dilation_w; /* im2col, col2im only */
} mnt_window_desc;
#ifndef __cplusplus
#define MNT_WINDOW_DESC(...)                                                           \
    ((mnt_window_desc){ .size = sizeof(mnt_window_desc),                               \
                        .kernel_h = 2,                                                 \
                        .kernel_w = 2,                                                 \
                        .dilation_h = 1,                                               \
                        .dilation_w = 1,                                               \
                        __VA_ARGS__ })
#endif
MNT_API void mnt_window_desc_init(mnt_window_desc *desc);

/*
 * Patches as columns: x [N,C,H,W] -> [N, C kh kw, OH OW]; taps in the padding are +0.
 * col2im is its adjoint: columns [N, C kh kw, OH OW] added into [N,C,H,W], in rising
 * (oy, ox). Each is the other's gradient.
 */
MNT_API mnt_tensor *mnt_im2col(mnt_graph *g, mnt_tensor *x,
                               const mnt_window_desc *desc);
MNT_API mnt_tensor *mnt_col2im(mnt_graph *g, mnt_tensor *cols, mnt_shape image,
                               const mnt_window_desc *desc);

/*
 * Maximum over windows: x [N,C,H,W] -> [N,C,OH,OW]. Windows may overlap; padding never
 * wins. The first of equals in row-major order wins, NaN wins over numbers.
 * Gradient: each window's dy goes to its winner, windows in rising (oy, ox).
 * desc NULL: 2x2, stride 2. Errors: SHAPE, also for an image without pixels; INVALID if
 * padding >= kernel.
 */
MNT_API mnt_tensor *mnt_max_pool2d(mnt_graph *g, mnt_tensor *x,
                                   const mnt_window_desc *desc);

/*
 * A view of the same memory with another shape of the same count; x must be contiguous
 * (mnt_contiguous() makes it so). One dim may be -1. Gradient: dy reshaped back.
 */
MNT_API mnt_tensor *mnt_reshape(mnt_graph *g, mnt_tensor *x, mnt_shape shape);
/* [N, ...] -> [N, rest]: a reshape. */
MNT_API mnt_tensor *mnt_flatten(mnt_graph *g, mnt_tensor *x);
/* A view with axes in another order: y's axis i is x's axis order[i]. Gradient: back.
 */
MNT_API mnt_tensor *mnt_permute(mnt_graph *g, mnt_tensor *x, const int *order);
/* A view of [start, start + length) along an axis. Gradient: dy into zeros. */
MNT_API mnt_tensor *mnt_slice(mnt_graph *g, mnt_tensor *x, int axis, int64_t start,
                              int64_t length);
/* A view stretched to `shape` by numpy's rules (stride 0). Gradient: summed back. */
MNT_API mnt_tensor *mnt_broadcast(mnt_graph *g, mnt_tensor *x, mnt_shape shape);
/* A copy in row-major memory; bits are kept. Gradient: dy. */
MNT_API mnt_tensor *mnt_contiguous(mnt_graph *g, mnt_tensor *x);

/*
 * Conversion to another dtype: u8 -> f32 exact or, with `unit`, correctly rounded
 * x/255; f32 -> i32 truncates, saturates, NaN -> 0; i32 -> f32 rounds to nearest even;
 * f32 -> u8 truncates and saturates. Same dtype: a copy. No gradient but f32 -> f32.
 */
MNT_API mnt_tensor *mnt_cast(mnt_graph *g, mnt_tensor *x, mnt_dtype dtype, bool unit);

/*
 * Rows of a table by index, with conversion: y[i, ...] = cast(table[index[i], ...]).
 * table u8, i32 or f32 [R, ...], index i32 [B]; dtype and unit as mnt_cast(). An index
 * out of range gives a row of zeros and MNT_LABEL at the next wait. Gradient: none
 * here.
 */
MNT_API mnt_tensor *mnt_gather(mnt_graph *g, mnt_tensor *table, mnt_tensor *index,
                               mnt_dtype dtype, bool unit);

/* A tensor of f32 `value`. */
MNT_API mnt_tensor *mnt_fill(mnt_graph *g, mnt_shape shape, float value);
/*
 * Random f32, Philox4x32-10 (Salmon et al., SC 2011): key = seed, counter = (element/4,
 * replay, stream), so replay r of a graph draws the same numbers on every backend.
 * uniform in [lo, hi): fma(u, hi - lo, lo), u = (x >> 8) 2^-24.
 * normal: fma(z, std, mean), z by Box and Muller (1958) from two words.
 */
MNT_API mnt_tensor *mnt_uniform(mnt_graph *g, mnt_shape shape, float lo, float hi,
                                uint64_t seed, uint32_t stream);
MNT_API mnt_tensor *mnt_normal(mnt_graph *g, mnt_shape shape, float mean, float std,
                               uint64_t seed, uint32_t stream);

/*
 * A running total: persistent memory of x's shape (f32 or i32), zero at first, to which
 * each replay adds x. Read it after an epoch, write zeros to start anew. No gradient.
 */
MNT_API mnt_tensor *mnt_accumulate(mnt_graph *g, mnt_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
