/* SPDX-License-Identifier: MIT */
/*
 * softmax and its gradient over rows of contiguous f32 (numerics E).
 */
#include "rows_tile.h"

static void plan_softmax(cpu_job *job)
{
    rows_plan(job, &job->cmd->out[0]);
}

static bool accepts_softmax(const mnt_cmd *cmd)
{
    for (int i = 0; i < mnt_op_inputs(cmd->op); i++)
        if (!rows_f32(&cmd->in[i]))
            return false;
    return rows_f32(&cmd->out[0]);
}

static void run_softmax(const cpu_job *job, int phase, int64_t begin, int64_t end,
                        char *local)
{
    (void)phase;
    (void)local;
    const float *z = job->in[0];
    float *y = job->out[0];
    int64_t n = job->i[ROWS_CLASSES], last = end * job->i[ROWS_EACH];
    last = last < job->i[ROWS_COUNT] ? last : job->i[ROWS_COUNT];
    if (n == 0)
        return;
    if (n > ROWS_NARROW) {
        for (int64_t r = begin; r < last; r++) {
            rows_exp_row(z + r * n, y + r * n, n);
            rows_divide(y + r * n, rows_sum(y + r * n, NULL, n), y + r * n, n);
        }
        return;
    }
    for (int64_t r = begin * ROWS_GROUP; r < last; r += VEC_LANES) {
        int rows = last - r < VEC_LANES ? (int)(last - r) : VEC_LANES;
        rows_tile t;
        rows_softmax_lanes s;
        rows_load_tile(&t, z + r * n, rows, (int)n);
        rows_softmax(&s, &t, (int)n);
        for (int64_t j = 0; j < n; j++)
            t.v[j] = s.e.v[j] / s.sum;
        rows_store_tile(&t, y + r * n, rows, (int)n);
    }
}

static void softmax_grad_row(const float *dy, const float *y, float *dx, int64_t n)
{
    const vecf t = vec_set1(rows_sum(dy, y, n));
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(dx + i, vec_load(y + i) * (vec_load(dy + i) - t));
    if (i < n) {
        int m = (int)(n - i);
        vec_store_n(dx + i, vec_load_n(y + i, m) * (vec_load_n(dy + i, m) - t), m);
    }
}

static void run_softmax_grad(const cpu_job *job, int phase, int64_t begin, int64_t end,
                             char *local)
{
    (void)phase;
    (void)local;
    const float *dy = job->in[0], *y = job->in[1];
    float *dx = job->out[0];
    int64_t n = job->i[ROWS_CLASSES], last = end * job->i[ROWS_EACH];
    last = last < job->i[ROWS_COUNT] ? last : job->i[ROWS_COUNT];
    if (n > ROWS_NARROW) {
        for (int64_t r = begin; r < last; r++)
            softmax_grad_row(dy + r * n, y + r * n, dx + r * n, n);
        return;
    }
    for (int64_t r = begin * ROWS_GROUP; r < last && n > 0; r += VEC_LANES) {
        int rows = last - r < VEC_LANES ? (int)(last - r) : VEC_LANES;
        rows_tile a, b, lanes;
        rows_load_tile(&a, dy + r * n, rows, (int)n);
        rows_load_tile(&b, y + r * n, rows, (int)n);
        for (int64_t j = 0; j < n; j++) {
            vecf before = j < 32 ? vec_zero() : lanes.v[j - 32];
            lanes.v[j & 31] = vec_fma(a.v[j], b.v[j], before);
        }
        vecf t = rows_tile_tree(lanes.v, n < 32 ? (int)n : 32, false);
        for (int64_t j = 0; j < n; j++)
            a.v[j] = b.v[j] * (a.v[j] - t);
        rows_store_tile(&a, dx + r * n, rows, (int)n);
    }
}

const cpu_kernel CPU_NAME(cpu_rows_softmax)[] = {
    { MNT_OP_ID_softmax, "simd", accepts_softmax, plan_softmax, run_softmax },
    { MNT_OP_ID_softmax_grad, "simd", accepts_softmax, plan_softmax, run_softmax_grad },
    { 0 },
};
