/* SPDX-License-Identifier: MIT */
/*
 * Layers (parameters plus ops) and optimizers. Nothing here that a user could not write
 * with ops.h and model.h.
 */
#ifndef MNT_NN_H
#define MNT_NN_H

#include <mnt/base.h>
#include <mnt/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * y = x W + b: x [N, in], parameters "<name>.weight" [in, out] and "<name>.bias" [out],
 * both uniform in +-1/sqrt(in) at first.
 */
MNT_API mnt_tensor *mnt_dense(mnt_graph *g, mnt_tensor *x, int64_t out,
                              const char *name);

/*
 * Convolution with bias: x [N,C,H,W], parameters "<name>.weight" [out, C/groups, kh,
 * kw] and "<name>.bias" [out], uniform in +-1/sqrt(C/groups kh kw) at first. desc as
 * mnt_conv2d(); NULL: stride 1, no padding.
 */
MNT_API mnt_tensor *mnt_conv_layer(mnt_graph *g, mnt_tensor *x, int64_t out,
                                   int kernel_h, int kernel_w, const char *name,
                                   const mnt_conv2d_desc *desc);

/*
 * A learning rate that is piecewise linear in the step: points (step, factor) in rising
 * step; lr(step) = lr factor(step), constant outside. No points: factor 1.
 * At most MNT_MAX_SCHEDULE points. The table is on the device, the step counts there
 * too.
 */
#define MNT_MAX_SCHEDULE 8
typedef struct mnt_schedule {
    int points;
    int64_t step[MNT_MAX_SCHEDULE];
    float factor[MNT_MAX_SCHEDULE];
} mnt_schedule;

typedef struct mnt_sgd_desc {
    size_t size;
    float lr;
    float momentum;     /* mu, 0: none */
    float weight_decay; /* added to the gradient: g + wd w */
    bool nesterov;
    mnt_schedule schedule;
} mnt_sgd_desc;
#ifndef __cplusplus
#define MNT_SGD_DESC(...)                                                              \
    ((mnt_sgd_desc){ .size = sizeof(mnt_sgd_desc), .lr = 0.1f, __VA_ARGS__ })
#endif
MNT_API void mnt_sgd_desc_init(mnt_sgd_desc *desc);

/*
 * Stochastic gradient descent on every parameter that mnt_backward() gave a gradient:
 *   g = fma(wd, w, dw); v = fma(mu, v, g); u = nesterov ? fma(mu, v, g) : v
 *   w = fma(-lr, u, w)
 * (Sutskever et al., ICML 2013, in the form without dampening.) v belongs to the model.
 * Errors (sticky): STATE before mnt_backward(), without a model, or if the model's
 * state is another optimizer's; INVALID for a value that is not finite, lr < 0, or a
 * schedule whose steps do not rise.
 */
MNT_API void mnt_sgd(mnt_graph *g, const mnt_sgd_desc *desc);

typedef struct mnt_adam_desc {
    size_t size;
    float lr, beta1, beta2, eps;
    float weight_decay;
    bool decoupled; /* AdamW: w = fma(-(lr wd), w, w) first; otherwise g = fma(wd, w, g)
                     */
    mnt_schedule schedule;
} mnt_adam_desc;
#ifndef __cplusplus
#define MNT_ADAM_DESC(...)                                                             \
    ((mnt_adam_desc){ .size = sizeof(mnt_adam_desc),                                   \
                      .lr = 1e-3f,                                                     \
                      .beta1 = 0.9f,                                                   \
                      .beta2 = 0.999f,                                                 \
                      .eps = 1e-8f,                                                    \
                      __VA_ARGS__ })
#endif
MNT_API void mnt_adam_desc_init(mnt_adam_desc *desc);

/*
 * Adam (Kingma and Ba, ICLR 2015), AdamW with .decoupled (Loshchilov and Hutter, 2019):
 *   m = fma(b1, m, (1-b1) g); v = fma(b2, v, (1-b2) (g g)); P1 *= b1; P2 *= b2
 *   a = lr/(1-P1); r = 1/sqrt(1-P2); w = fma(-a, m / fma(sqrt(v), r, eps), w)
 * m, v, P1, P2 belong to the model and its checkpoint. Errors: as mnt_sgd().
 */
MNT_API void mnt_adam(mnt_graph *g, const mnt_adam_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
