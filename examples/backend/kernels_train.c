/* SPDX-License-Identifier: MIT */
/*
 * Optimizers: the scalars of a step (optimizer_step) and the updates of sgd and adam,
 * operation by operation as nn.h writes them. While the fault word is set nothing
 * changes.
 */
#include "plain.h"

#include <mnt/scalar.h>

static bool faulted(const void *fault)
{
    return fault && *(const uint32_t *)fault != MNT_FAULT_NONE;
}

/* Piecewise linear between the points, constant outside. */
static float factor(const mnt_schedule *s, int64_t step)
{
    if (s->points == 0)
        return 1.0f;
    int next = 0; /* the first point after the step */
    while (next < s->points && s->step[next] <= step)
        next++;
    if (next == 0)
        return s->factor[0];
    int i = next - 1;
    if (next == s->points)
        return s->factor[i];
    float t = (float)(step - s->step[i]) / (float)(s->step[next] - s->step[i]);
    return mnt_fmaf(s->factor[next] - s->factor[i], t, s->factor[i]);
}

static void optimizer_step(const plain_job *job)
{
    const mnt_args_optim *a = &job->cmd->args.optim;
    uint32_t *state = job->out[0];
    if (faulted(job->in[1]))
        return;
    uint64_t step = state[MNT_STATE_STEP_LO] | (uint64_t)state[MNT_STATE_STEP_HI] << 32;
    float lr = a->lr * factor(&a->schedule, (int64_t)step);
    float p1 = mnt_float(state[MNT_STATE_P1]) * a->beta1;
    float p2 = mnt_float(state[MNT_STATE_P2]) * a->beta2;
    step++;
    state[MNT_STATE_STEP_LO] = (uint32_t)step;
    state[MNT_STATE_STEP_HI] = (uint32_t)(step >> 32);
    state[MNT_STATE_P1] = mnt_bits(p1);
    state[MNT_STATE_P2] = mnt_bits(p2);
    state[MNT_STATE_LR] = mnt_bits(lr);
    state[MNT_STATE_A] = mnt_bits(lr / (1.0f - p1));
    state[MNT_STATE_R] = mnt_bits(1.0f / mnt_sqrtf(1.0f - p2));
}

/* w, dw, v or none, state, fault -> w, v */
static void sgd(const plain_job *job)
{
    const mnt_args_optim *a = &job->cmd->args.optim;
    const uint32_t *state = job->in[3];
    if (faulted(job->in[4]))
        return;
    const float *dw = job->in[1];
    float *w = job->out[0], *v = job->out[1];
    float minus_lr = -mnt_float(state[MNT_STATE_LR]);
    int64_t n = plain_count(&job->cmd->out[0]);
    for (int64_t i = 0; i < n; i++) {
        float g = mnt_fmaf(a->weight_decay, w[i], dw[i]);
        float velocity = mnt_fmaf(a->momentum, v ? v[i] : 0.0f, g);
        float u = a->nesterov ? mnt_fmaf(a->momentum, velocity, g) : velocity;
        if (v)
            v[i] = velocity;
        w[i] = mnt_fmaf(minus_lr, u, w[i]);
    }
}

/* w, dw, m, v, state, fault -> w, m, v */
static void adam(const plain_job *job)
{
    const mnt_args_optim *a = &job->cmd->args.optim;
    const uint32_t *state = job->in[4];
    if (faulted(job->in[5]))
        return;
    const float *dw = job->in[1];
    float *w = job->out[0], *m = job->out[1], *v = job->out[2];
    float minus_a = -mnt_float(state[MNT_STATE_A]), r = mnt_float(state[MNT_STATE_R]);
    float decay = -(mnt_float(state[MNT_STATE_LR]) * a->weight_decay);
    int64_t n = plain_count(&job->cmd->out[0]);
    for (int64_t i = 0; i < n; i++) {
        float g = a->decoupled ? dw[i] : mnt_fmaf(a->weight_decay, w[i], dw[i]);
        float from = a->decoupled ? mnt_fmaf(decay, w[i], w[i]) : w[i];
        float first = (1.0f - a->beta1) * g;
        float square = g * g;
        float second = (1.0f - a->beta2) * square;
        m[i] = mnt_fmaf(a->beta1, m[i], first);
        v[i] = mnt_fmaf(a->beta2, v[i], second);
        float den = mnt_fmaf(mnt_sqrtf(v[i]), r, a->eps);
        w[i] = mnt_fmaf(minus_a, m[i] / den, from);
    }
}

const plain_kernel plain_train[MNT_OP_COUNT] = {
    [MNT_OP_ID_optimizer_step] = optimizer_step,
    [MNT_OP_ID_sgd] = sgd,
    [MNT_OP_ID_adam] = adam,
};
