/* SPDX-License-Identifier: MIT */
/*
 * Reference optimizers: the per-step scalars (optimizer_step) and the updates of sgd
 * and adam, operation by operation as in include/mnt/nn.h. Nothing changes while the
 * fault word is set.
 */
#include "ref.h"

static bool ref_faulted(const void *fault)
{
    return fault != NULL && *(const uint32_t *)fault != MNT_FAULT_NONE;
}

/* Piecewise linear, constant outside the points. */
static float ref_factor(const mnt_schedule *s, int64_t step)
{
    if (s->points == 0)
        return 1.0f;
    int i = 0;
    while (i + 1 < s->points && s->step[i + 1] <= step)
        i++;
    if (step < s->step[0] || i + 1 == s->points)
        return s->factor[i];
    float t = (float)(step - s->step[i]) / (float)(s->step[i + 1] - s->step[i]);
    return mnt_fmaf(s->factor[i + 1] - s->factor[i], t, s->factor[i]);
}

static void run_step(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    (void)begin;
    (void)end;
    const mnt_args_optim *a = &job->cmd->args.optim;
    uint32_t *state = job->out[0];
    if (ref_faulted(job->in[1]))
        return;
    uint64_t step = state[MNT_STATE_STEP_LO] | (uint64_t)state[MNT_STATE_STEP_HI] << 32;
    float lr = a->lr * ref_factor(&a->schedule, (int64_t)step);
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

/* Operands w, dw, v, state, fault -> w, v. Without v its old value is +0. */
static void run_sgd(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    const mnt_args_optim *a = &job->cmd->args.optim;
    const uint32_t *state = job->in[3];
    if (ref_faulted(job->in[4]))
        return;
    float *w = job->out[0], *v = job->out[1];
    const float *dw = job->in[1];
    float minus_lr = -mnt_float(state[MNT_STATE_LR]);
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end; i++) {
        float g = mnt_fmaf(a->weight_decay, w[i], dw[i]);
        float velocity = mnt_fmaf(a->momentum, v != NULL ? v[i] : 0.0f, g);
        float u = a->nesterov ? mnt_fmaf(a->momentum, velocity, g) : velocity;
        w[i] = mnt_fmaf(minus_lr, u, w[i]);
        if (v != NULL)
            v[i] = velocity;
    }
}

/* Operands w, dw, m, v, state, fault -> w, m, v. */
static void run_adam(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const mnt_args_optim *a = &job->cmd->args.optim;
    const uint32_t *state = job->in[4];
    if (ref_faulted(job->in[5]))
        return;
    float *w = job->out[0], *m = job->out[1], *v = job->out[2];
    const float *dw = job->in[1];
    float minus_a = -mnt_float(state[MNT_STATE_A]);
    float r = mnt_float(state[MNT_STATE_R]);
    float decay = -(mnt_float(state[MNT_STATE_LR]) * a->weight_decay);
    float b1 = a->beta1, b2 = a->beta2, c1 = 1.0f - b1, c2 = 1.0f - b2;
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end; i++) {
        float g = a->decoupled ? dw[i] : mnt_fmaf(a->weight_decay, w[i], dw[i]);
        float old = a->decoupled ? mnt_fmaf(decay, w[i], w[i]) : w[i];
        float first = c1 * g;
        float square = g * g;
        float second = c2 * square;
        m[i] = mnt_fmaf(b1, m[i], first);
        v[i] = mnt_fmaf(b2, v[i], second);
        float den = mnt_fmaf(mnt_sqrtf(v[i]), r, a->eps);
        w[i] = mnt_fmaf(minus_a, m[i] / den, old);
    }
}

const cpu_kernel CPU_NAME(cpu_ref_optim)[] = {
    { MNT_OP_ID_optimizer_step, "ref", NULL, ref_plan_one, run_step },
    { MNT_OP_ID_sgd, "ref", NULL, ref_plan_blocks, run_sgd },
    { MNT_OP_ID_adam, "ref", NULL, ref_plan_blocks, run_adam },
    { 0 },
};
