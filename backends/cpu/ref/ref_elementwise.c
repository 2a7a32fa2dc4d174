/* SPDX-License-Identifier: MIT */
/*
 * Reference elementwise ops: arithmetic with broadcasting (stretched axes have stride
 * 0), scale, relu and its gradient, bias_add. A unit is a block of elements of y.
 */
#include "ref.h"

/* inline, so that f is known and the loop is plain code. */
static inline void ref_binary(const cpu_job *job, int64_t begin, int64_t end,
                              float (*f)(float, float))
{
    const mnt_operand *const o[] = { &job->cmd->out[0], &job->cmd->in[0],
                                     &job->cmd->in[1] };
    const float *a = job->in[0], *b = job->in[1];
    float *y = job->out[0];
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end;) {
        ref_run r = ref_run_at(o, 3, i, e.end);
        for (int64_t k = 0; k < r.count; k++)
            y[r.at[0] + k * r.step[0]] =
                f(a[r.at[1] + k * r.step[1]], b[r.at[2] + k * r.step[2]]);
        i += r.count;
    }
}

static inline void ref_unary(const cpu_job *job, int64_t begin, int64_t end,
                             float (*f)(float, float), float value)
{
    const mnt_operand *const o[] = { &job->cmd->out[0], &job->cmd->in[0] };
    const float *x = job->in[0];
    float *y = job->out[0];
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end;) {
        ref_run r = ref_run_at(o, 2, i, e.end);
        for (int64_t k = 0; k < r.count; k++)
            y[r.at[0] + k * r.step[0]] = f(x[r.at[1] + k * r.step[1]], value);
        i += r.count;
    }
}

static inline float f_add(float a, float b)
{
    return a + b;
}

static inline float f_sub(float a, float b)
{
    return a - b;
}

static inline float f_mul(float a, float b)
{
    return a * b;
}

static inline float f_div(float a, float b)
{
    return a / b;
}

/* NaN stays, -0 becomes +0. */
static inline float f_relu(float x, float unused)
{
    (void)unused;
    return x <= 0.0f ? 0.0f : mnt_flushf(x);
}

static inline float f_relu_grad(float dy, float y)
{
    return y > 0.0f ? mnt_flushf(dy) : 0.0f;
}

static void run_add(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    ref_binary(job, begin, end, f_add);
}

static void run_sub(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    ref_binary(job, begin, end, f_sub);
}

static void run_mul(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    ref_binary(job, begin, end, f_mul);
}

static void run_div(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    ref_binary(job, begin, end, f_div);
}

static void run_scale(const cpu_job *job, int phase, int64_t begin, int64_t end,
                      char *local)
{
    (void)phase;
    (void)local;
    ref_unary(job, begin, end, f_mul, job->cmd->args.scale.value);
}

static void run_relu(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    ref_unary(job, begin, end, f_relu, 0.0f);
}

static void run_relu_grad(const cpu_job *job, int phase, int64_t begin, int64_t end,
                          char *local)
{
    (void)phase;
    (void)local;
    ref_binary(job, begin, end, f_relu_grad);
}

static void run_bias_add(const cpu_job *job, int phase, int64_t begin, int64_t end,
                         char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *x = &job->cmd->in[0];
    int64_t channels = x->dim[1];
    int64_t inner = ref_dims(x, 2, x->ndim);
    const float *in = job->in[0], *bias = job->in[1];
    float *y = job->out[0];
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end; i++)
        y[i] = in[i] + bias[i / inner % channels];
}

const cpu_kernel CPU_NAME(cpu_ref_elementwise)[] = {
    { MNT_OP_ID_add, "ref", NULL, ref_plan_blocks, run_add },
    { MNT_OP_ID_sub, "ref", NULL, ref_plan_blocks, run_sub },
    { MNT_OP_ID_mul, "ref", NULL, ref_plan_blocks, run_mul },
    { MNT_OP_ID_div, "ref", NULL, ref_plan_blocks, run_div },
    { MNT_OP_ID_scale, "ref", NULL, ref_plan_blocks, run_scale },
    { MNT_OP_ID_relu, "ref", NULL, ref_plan_blocks, run_relu },
    { MNT_OP_ID_relu_grad, "ref", NULL, ref_plan_blocks, run_relu_grad },
    { MNT_OP_ID_bias_add, "ref", NULL, ref_plan_blocks, run_bias_add },
    { 0 },
};
