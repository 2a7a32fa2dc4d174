/* SPDX-License-Identifier: MIT */
/*
 * Optimizers: the scalars of a step (one thread) and the updates of sgd and adam, one
 * element a thread, operation by operation as in include/mnt/nn.h. Nothing changes while
 * the fault word is set. Word numbers of the state: include/mnt/backend.h.
 */
#include "common.h"

enum {
    STATE_STEP_LO = 0,
    STATE_STEP_HI = 1,
    STATE_P1 = 2,
    STATE_P2 = 3,
    STATE_LR = 4,
    STATE_A = 5,
    STATE_R = 6
};

/* Piecewise linear, constant outside the points. */
static inline float schedule_factor(constant mnt_optimizer_args &p, int64_t step)
{
    if (p.points == 0)
        return 1.0f;
    int i = 0;
    while (i + 1 < p.points && p.step[i + 1] <= step)
        i++;
    if (step < p.step[0] || i + 1 == p.points)
        return p.factor[i];
    float t = float(step - p.step[i]) / float(p.step[i + 1] - p.step[i]);
    return mnt_fmaf(p.factor[i + 1] - p.factor[i], t, p.factor[i]);
}

/* One thread. */
kernel void optimizer_step(device uint32_t *state [[buffer(0)]],
                           device const uint32_t *fault [[buffer(1)]],
                           constant mnt_optimizer_args &p [[buffer(2)]])
{
    if (p.guarded != 0 && fault[0] != 0)
        return;
    uint64_t step = uint64_t(state[STATE_STEP_LO]) | uint64_t(state[STATE_STEP_HI])
                                                         << 32;
    float lr = p.lr * schedule_factor(p, int64_t(step));
    float p1 = mnt_float(state[STATE_P1]) * p.beta1;
    float p2 = mnt_float(state[STATE_P2]) * p.beta2;
    step++;
    state[STATE_STEP_LO] = uint32_t(step);
    state[STATE_STEP_HI] = uint32_t(step >> 32);
    state[STATE_P1] = mnt_bits(p1);
    state[STATE_P2] = mnt_bits(p2);
    state[STATE_LR] = mnt_bits(lr);
    state[STATE_A] = mnt_bits(lr / (1.0f - p1));
    state[STATE_R] = mnt_bits(1.0f / mnt_sqrtf(1.0f - p2));
}

/* w and v are updated in place; without a velocity its old value is +0, and v is not
 * touched. */
kernel void sgd(device float *w [[buffer(0)]], device const float *dw [[buffer(1)]],
                device float *v [[buffer(2)]],
                device const uint32_t *state [[buffer(3)]],
                device const uint32_t *fault [[buffer(4)]],
                constant mnt_optimizer_args &p [[buffer(5)]],
                uint group [[threadgroup_position_in_grid]],
                uint tid [[thread_index_in_threadgroup]])
{
    int64_t i = int64_t(group) * MNT_GROUP + tid;
    if (i >= p.count || (p.guarded != 0 && fault[0] != 0))
        return;
    float minus_lr = -mnt_float(state[STATE_LR]);
    float g = mnt_fmaf(p.weight_decay, w[i], dw[i]);
    float velocity = mnt_fmaf(p.momentum, p.velocity != 0 ? v[i] : 0.0f, g);
    float u = p.nesterov != 0 ? mnt_fmaf(p.momentum, velocity, g) : velocity;
    w[i] = mnt_fmaf(minus_lr, u, w[i]);
    if (p.velocity != 0)
        v[i] = velocity;
}

/* w, m and v are updated in place. */
kernel void adam(device float *w [[buffer(0)]], device const float *dw [[buffer(1)]],
                 device float *m [[buffer(2)]], device float *v [[buffer(3)]],
                 device const uint32_t *state [[buffer(4)]],
                 device const uint32_t *fault [[buffer(5)]],
                 constant mnt_optimizer_args &p [[buffer(6)]],
                 uint group [[threadgroup_position_in_grid]],
                 uint tid [[thread_index_in_threadgroup]])
{
    int64_t i = int64_t(group) * MNT_GROUP + tid;
    if (i >= p.count || (p.guarded != 0 && fault[0] != 0))
        return;
    float minus_a = -mnt_float(state[STATE_A]);
    float r = mnt_float(state[STATE_R]);
    float decay = -(mnt_float(state[STATE_LR]) * p.weight_decay);
    float c1 = 1.0f - p.beta1, c2 = 1.0f - p.beta2;
    float g = p.decoupled != 0 ? dw[i] : mnt_fmaf(p.weight_decay, w[i], dw[i]);
    float old = p.decoupled != 0 ? mnt_fmaf(decay, w[i], w[i]) : w[i];
    float first = c1 * g;
    float square = g * g;
    float second = c2 * square;
    float mean = mnt_fmaf(p.beta1, m[i], first);
    float variance = mnt_fmaf(p.beta2, v[i], second);
    float den = mnt_fmaf(mnt_sqrtf(variance), r, p.eps);
    m[i] = mean;
    v[i] = variance;
    w[i] = mnt_fmaf(minus_a, mean / den, old);
}
