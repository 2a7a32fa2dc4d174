/* SPDX-License-Identifier: MIT */
/*
 * Elementwise kernels for contiguous f32 operands, and bias_add. A unit is a block of
 * elements; strided and broadcast operands are left to the reference.
 */
#include "rows.h"

/* i[0] elements. Every kernel of this kind. */
static void plan_flat(cpu_job *job)
{
    job->i[0] = mnt_operand_count(&job->cmd->out[0]);
    cpu_plan_units(job, rows_blocks(job->i[0], ROWS_BLOCK));
}

static bool same_shape(const mnt_operand *a, const mnt_operand *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int d = 0; d < a->ndim; d++)
        if (a->dim[d] != b->dim[d])
            return false;
    return true;
}

/* No operand is stretched: all of them are the output's shape without gaps. */
static bool accepts_flat(const mnt_cmd *cmd)
{
    const mnt_operand *y = &cmd->out[0];
    if (!rows_f32(y))
        return false;
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        if (!rows_f32(&cmd->in[i]) || !same_shape(&cmd->in[i], y))
            return false;
    return true;
}

/* `op` is a constant where this is inlined. */
VEC_INLINE vecf apply(mnt_op op, vecf a, vecf b, vecf s)
{
    switch ((int)op) {
    case MNT_OP_ID_add:
        return a + b;
    case MNT_OP_ID_sub:
        return a - b;
    case MNT_OP_ID_mul:
        return a * b;
    case MNT_OP_ID_div:
        return a / b;
    case MNT_OP_ID_scale:
        return s * a;
    case MNT_OP_ID_relu:
        return vec_select((veci)(a <= vec_zero()), vec_zero(), a);
    case MNT_OP_ID_relu_grad:
        return vec_select((veci)(b > vec_zero()), rows_flush(a), vec_zero());
    default: /* accumulate: x, total */
        return b + a;
    }
}

VEC_INLINE void flat(mnt_op op, const cpu_job *job, int64_t begin, int64_t end)
{
    const bool binary = op != MNT_OP_ID_scale && op != MNT_OP_ID_relu;
    const float *a = job->in[0];
    const float *b = binary ? job->in[1] : a;
    float *y = job->out[0];
    const vecf s = vec_set1(op == MNT_OP_ID_scale ? job->cmd->args.scale.value : 0.0f);
    int64_t i = begin * ROWS_BLOCK, n = end * ROWS_BLOCK;
    n = n < job->i[0] ? n : job->i[0];
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, apply(op, vec_load(a + i), vec_load(b + i), s));
    if (i < n) {
        int m = (int)(n - i);
        vec_store_n(y + i, apply(op, vec_load_n(a + i, m), vec_load_n(b + i, m), s), m);
    }
}

#define FLAT(op)                                                                       \
    static void run_##op(const cpu_job *job, int phase, int64_t begin, int64_t end,    \
                         char *local)                                                  \
    {                                                                                  \
        (void)phase;                                                                   \
        (void)local;                                                                   \
        flat(MNT_OP_ID_##op, job, begin, end);                                         \
    }
FLAT(add)
FLAT(sub)
FLAT(mul)
FLAT(div)
FLAT(scale)
FLAT(relu)
FLAT(relu_grad)
FLAT(accumulate)

/* ---- bias_add: x [N,C,inner...], b [C] ---- */

/* i[0] rows of i[1] elements: [N, C] when inner is 1, else planes [N C, inner]; i[2] C,
 * i[3] rows a unit. */
static void plan_bias(cpu_job *job)
{
    const mnt_operand *x = &job->cmd->in[0];
    int64_t n = x->dim[0], c = x->dim[1], inner = rows_product(x, 2, x->ndim);
    job->i[0] = inner == 1 ? n : n * c;
    job->i[1] = inner == 1 ? c : inner;
    job->i[2] = c;
    int64_t rows = job->i[1] > 0 ? ROWS_BLOCK / job->i[1] : 1;
    job->i[3] = rows > 0 ? rows : 1;
    job->i[4] = inner == 1;
    cpu_plan_units(job, rows_blocks(job->i[0], job->i[3]));
}

static bool accepts_bias(const mnt_cmd *cmd)
{
    return rows_f32(&cmd->in[0]) && rows_f32(&cmd->in[1]) && rows_f32(&cmd->out[0]) &&
           cmd->in[0].ndim >= 2;
}

static void bias_row(const float *x, const float *bias, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, vec_load(x + i) + vec_load(bias + i));
    if (i < n) {
        int m = (int)(n - i);
        vec_store_n(y + i, vec_load_n(x + i, m) + vec_load_n(bias + i, m), m);
    }
}

static void bias_plane(const float *x, float bias, float *y, int64_t n)
{
    const vecf b = vec_set1(bias);
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, vec_load(x + i) + b);
    if (i < n)
        vec_store_n(y + i, vec_load_n(x + i, (int)(n - i)) + b, (int)(n - i));
}

static void run_bias(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const float *x = job->in[0], *bias = job->in[1];
    float *y = job->out[0];
    int64_t n = job->i[1], last = end * job->i[3];
    last = last < job->i[0] ? last : job->i[0];
    for (int64_t r = begin * job->i[3]; r < last; r++)
        if (job->i[4])
            bias_row(x + r * n, bias, y + r * n, n);
        else
            bias_plane(x + r * n, bias[r % job->i[2]], y + r * n, n);
}

const cpu_kernel CPU_NAME(cpu_rows_elementwise)[] = {
    { MNT_OP_ID_add, "simd", accepts_flat, plan_flat, run_add },
    { MNT_OP_ID_sub, "simd", accepts_flat, plan_flat, run_sub },
    { MNT_OP_ID_mul, "simd", accepts_flat, plan_flat, run_mul },
    { MNT_OP_ID_div, "simd", accepts_flat, plan_flat, run_div },
    { MNT_OP_ID_scale, "simd", accepts_flat, plan_flat, run_scale },
    { MNT_OP_ID_relu, "simd", accepts_flat, plan_flat, run_relu },
    { MNT_OP_ID_relu_grad, "simd", accepts_flat, plan_flat, run_relu_grad },
    { MNT_OP_ID_accumulate, "simd", accepts_flat, plan_flat, run_accumulate },
    { MNT_OP_ID_bias_add, "simd", accepts_bias, plan_bias, run_bias },
    { 0 },
};
