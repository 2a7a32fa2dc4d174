/* SPDX-License-Identifier: MIT */
/*
 * Parameter updates: sgd and adam as in include/mnt/nn.h, a unit a block of elements.
 * The step's scalars come from the optimizer's state block; nothing changes while the
 * fault word is set.
 */
#include "rows.h"

/* i[0] elements. */
static void plan_update(cpu_job *job)
{
    job->i[0] = mnt_operand_count(&job->cmd->out[0]);
    cpu_plan_units(job, rows_blocks(job->i[0], ROWS_BLOCK));
}

/* The last two inputs are the state and the fault word; an absent v is a scalar. */
static bool accepts_update(const mnt_cmd *cmd)
{
    for (int i = 0; i < mnt_op_inputs(cmd->op) - 2; i++)
        if (!rows_f32(&cmd->in[i]))
            return false;
    return true;
}

static float state_word(const void *state, int word)
{
    return mnt_float(((const uint32_t *)state)[word]);
}

static bool faulted(const void *fault)
{
    return fault && *(const uint32_t *)fault != MNT_FAULT_NONE;
}

/* ---- sgd: w, dw, v, state, fault -> w, v; without v its old value is +0 ---- */

typedef struct sgd {
    float *w, *v;
    const float *dw;
    vecf momentum, decay, minus_lr;
    bool nesterov;
} sgd;

/* Elements [i, i + m) of a vector; m is VEC_LANES but in the last one. */
VEC_INLINE void sgd_step(const sgd *s, int64_t i, int m)
{
    vecf w = rows_load(s->w + i, m);
    vecf old = s->v ? rows_load(s->v + i, m) : vec_zero();
    vecf g = vec_fma(s->decay, w, rows_load(s->dw + i, m));
    vecf v = vec_fma(s->momentum, old, g);
    vecf u = s->nesterov ? vec_fma(s->momentum, v, g) : v;
    rows_store(s->w + i, vec_fma(s->minus_lr, u, w), m);
    if (s->v)
        rows_store(s->v + i, v, m);
}

static void run_sgd(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    if (faulted(job->in[4]))
        return;
    const mnt_args_optim *a = &job->cmd->args.optim;
    const sgd s = { .w = job->out[0],
                    .v = job->out[1],
                    .dw = job->in[1],
                    .momentum = vec_set1(a->momentum),
                    .decay = vec_set1(a->weight_decay),
                    .minus_lr = vec_set1(-state_word(job->in[3], MNT_STATE_LR)),
                    .nesterov = a->nesterov };
    int64_t i = begin * ROWS_BLOCK, last = end * ROWS_BLOCK;
    last = last < job->i[0] ? last : job->i[0];
    for (; i + VEC_LANES <= last; i += VEC_LANES)
        sgd_step(&s, i, VEC_LANES);
    if (i < last)
        sgd_step(&s, i, (int)(last - i));
}

/* ---- adam: w, dw, m, v, state, fault -> w, m, v ---- */

typedef struct adam {
    float *w, *m, *v;
    const float *dw;
    vecf b1, b2, c1, c2; /* c = 1 - b */
    vecf minus_a, r, eps;
    vecf decay; /* decoupled: -(lr wd); otherwise wd */
    bool decoupled;
} adam;

VEC_INLINE void adam_step(const adam *s, int64_t i, int n)
{
    vecf w = rows_load(s->w + i, n), g = rows_load(s->dw + i, n);
    if (s->decoupled)
        w = vec_fma(s->decay, w, w);
    else
        g = vec_fma(s->decay, w, g);
    vecf first = s->c1 * g;
    vecf square = g * g;
    vecf second = s->c2 * square;
    vecf m = vec_fma(s->b1, rows_load(s->m + i, n), first);
    vecf v = vec_fma(s->b2, rows_load(s->v + i, n), second);
    vecf den = vec_fma(vec_sqrt(v), s->r, s->eps);
    rows_store(s->m + i, m, n);
    rows_store(s->v + i, v, n);
    rows_store(s->w + i, vec_fma(s->minus_a, m / den, w), n);
}

static void run_adam(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    if (faulted(job->in[5]))
        return;
    const mnt_args_optim *a = &job->cmd->args.optim;
    float lr_decay = -(state_word(job->in[4], MNT_STATE_LR) * a->weight_decay);
    const adam s = { .w = job->out[0],
                     .m = job->out[1],
                     .v = job->out[2],
                     .dw = job->in[1],
                     .b1 = vec_set1(a->beta1),
                     .b2 = vec_set1(a->beta2),
                     .c1 = vec_set1(1.0f - a->beta1),
                     .c2 = vec_set1(1.0f - a->beta2),
                     .minus_a = vec_set1(-state_word(job->in[4], MNT_STATE_A)),
                     .r = vec_set1(state_word(job->in[4], MNT_STATE_R)),
                     .eps = vec_set1(a->eps),
                     .decay = vec_set1(a->decoupled ? lr_decay : a->weight_decay),
                     .decoupled = a->decoupled };
    int64_t i = begin * ROWS_BLOCK, last = end * ROWS_BLOCK;
    last = last < job->i[0] ? last : job->i[0];
    for (; i + VEC_LANES <= last; i += VEC_LANES)
        adam_step(&s, i, VEC_LANES);
    if (i < last)
        adam_step(&s, i, (int)(last - i));
}

const cpu_kernel CPU_NAME(cpu_rows_optim)[] = {
    { MNT_OP_ID_sgd, "simd", accepts_update, plan_update, run_sgd },
    { MNT_OP_ID_adam, "simd", accepts_update, plan_update, run_adam },
    { 0 },
};
