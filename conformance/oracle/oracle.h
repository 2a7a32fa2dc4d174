/* SPDX-License-Identifier: MIT */
/*
 * The double-precision oracle: every op from its formula, with a bound on the error an
 * f32 evaluation may have, element by element. It shares no code with the library: only
 * shapes come from there.
 *
 * An ora is an array of doubles v with bounds e. Bounds are carried from operand to
 * result, so a chain of ops has a bound too; e = 0 means that the f32 result is exact,
 * sign of zero included, and an infinite e that nothing is promised. gamma(n) = n u /
 * (1 - n u), u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1): n
 * roundings change a sum of products by at most gamma(n) sum |a||b|.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <mnt/base.h>

typedef struct ora {
    mnt_shape shape;
    int64_t count;
    double *v, *e;
} ora;

/* Zeros; kit_die() where memory ends. */
ora ora_new(mnt_shape shape);
ora ora_copy(const ora *x);
void ora_free(ora *x);

#define ORA_U   0x1p-24
#define ORA_MIN 0x1p-126       /* the smallest normal f32 */
#define ORA_MAX 0x1.fffffep127 /* the largest f32 */
double ora_gamma(double n);
/* Roundings on the longest path of a reduction of n terms by numerics D. */
double ora_depth(int64_t n);
/* A subnormal is read as zero of its sign. */
double ora_flush(double x);

ora ora_matmul(const ora *a, const ora *b, bool ta, bool tb);
ora ora_bias_add(const ora *x, const ora *b);
ora ora_bias_grad(const ora *dy);

/* op: + - * / with numpy broadcasting. */
ora ora_binary(char op, const ora *a, const ora *b);
/* dy summed over the axes along which `shape` was stretched. */
ora ora_unstretch(const ora *dy, mnt_shape shape);
ora ora_scale(const ora *x, double s);
ora ora_relu(const ora *x);
ora ora_relu_grad(const ora *dy, const ora *x);

/* Over axes [axis, axis + count). */
ora ora_sum(const ora *x, int axis, int count);
ora ora_mean(const ora *x, int axis, int count);
/* The gradients: dy, or dy / n, to every element of `shape`. */
ora ora_sum_grad(const ora *dy, mnt_shape shape, int axis, int count, bool mean);
ora ora_argmax(const ora *x, int axis, int count);

ora ora_softmax(const ora *z);
ora ora_softmax_grad(const ora *dy, const ora *y);
ora ora_cross_entropy(const ora *z, const ora *labels);
ora ora_cross_entropy_grad(const ora *z, const ora *labels, const ora *dloss);
ora ora_accuracy(const ora *z, const ora *labels);

typedef struct ora_conv {
    int sh, sw, ph, pw, dh, dw, groups;
} ora_conv;
ora ora_conv2d(const ora *x, const ora *w, const ora_conv *c);
ora ora_conv2d_dx(const ora *dy, const ora *w, mnt_shape x, const ora_conv *c);
ora ora_conv2d_dw(const ora *x, const ora *dy, mnt_shape w, const ora_conv *c);

typedef struct ora_window {
    int kh, kw, sh, sw, ph, pw, dh, dw;
} ora_window;
ora ora_im2col(const ora *x, const ora_window *w);
ora ora_col2im(const ora *cols, mnt_shape image, const ora_window *w);
ora ora_max_pool2d(const ora *x, const ora_window *w);
/* From x, not from an index: where bounds leave the winner open, e covers all. */
ora ora_max_pool2d_grad(const ora *dy, const ora *x, const ora_window *w);

/* Values as stored in `to`; x holds values of `from`. */
ora ora_cast(const ora *x, mnt_dtype from, mnt_dtype to, bool unit);
ora ora_gather(const ora *table, const ora *index, mnt_dtype from, mnt_dtype to,
               bool unit);

/* Philox4x32-10, from the paper. */
void ora_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
ora ora_uniform(mnt_shape shape, float lo, float hi, uint64_t seed, uint32_t stream,
                uint32_t replay);
ora ora_normal(mnt_shape shape, float mean, float std, uint64_t seed, uint32_t stream,
               uint32_t replay);

/* The samples in file order or shuffled as data.h says. */
void ora_order(int64_t order[], int64_t n, bool shuffle, uint64_t seed, int64_t epoch);

typedef struct ora_optim {
    bool adam, nesterov, decoupled;
    double lr, momentum, beta1, beta2, eps, weight_decay;
    int points;
    int64_t step[8];
    double factor[8];
} ora_optim;
/* Learning rate at a step. */
double ora_rate(const ora_optim *o, int64_t step);
/* One step, number `step` from 0, on w, m (adam) and v, bounds carried along. */
void ora_update(ora *w, const ora *dw, ora *m, ora *v, const ora_optim *o,
                int64_t step);

#endif
