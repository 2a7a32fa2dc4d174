/* SPDX-License-Identifier: MIT */
/*
 * sum and mean over trailing axes (numerics D) and bias_grad of [N,C] (numerics C3),
 * for contiguous f32 operands.
 */
#include "rows.h"

/* ---- sum, mean: rows of n elements ---- */

/* i[0] rows, i[1] elements a row, i[2] blocks a row, i[3] rows a unit. A row of more
 * than one block takes two phases: block results into scratch, then their sum. */
static void plan_sum(cpu_job *job)
{
    const mnt_operand *x = &job->cmd->in[0];
    int axis = job->cmd->args.reduce.axis;
    int64_t rows = rows_product(x, 0, axis), n = rows_product(x, axis, x->ndim);
    job->i[0] = rows;
    job->i[1] = n;
    job->i[2] = rows_blocks(n, ROWS_BLOCK);
    job->i[3] = n > 0 && n < ROWS_BLOCK ? ROWS_BLOCK / n : 1;
    if (n <= ROWS_BLOCK) {
        cpu_plan_units(job, rows_blocks(rows, job->i[3]));
        return;
    }
    job->phases = 2;
    job->units[0] = rows * job->i[2];
    job->units[1] = rows;
    job->shared_bytes = (size_t)(rows * job->i[2]) * sizeof(float);
}

static bool accepts_sum(const mnt_cmd *cmd)
{
    const mnt_args_reduce *r = &cmd->args.reduce;
    return r->axis + r->count == cmd->in[0].ndim && rows_f32(&cmd->in[0]) &&
           rows_f32(&cmd->out[0]);
}

VEC_INLINE void sum(bool mean, const cpu_job *job, int phase, int64_t begin,
                    int64_t end)
{
    const float *x = job->in[0];
    float *y = job->out[0], *partial = (float *)(void *)job->shared;
    int64_t n = job->i[1], blocks = job->i[2];
    if (job->phases == 2 && phase == 0) {
        for (int64_t u = begin; u < end; u++) {
            int64_t row = u / blocks, at = u % blocks * ROWS_BLOCK;
            int64_t length = n - at < ROWS_BLOCK ? n - at : ROWS_BLOCK;
            partial[u] = rows_block_sum(x + row * n + at, NULL, length);
        }
        return;
    }
    bool small = job->phases == 1;
    int64_t first = small ? begin * job->i[3] : begin;
    int64_t last = small ? end * job->i[3] : end;
    last = last < job->i[0] ? last : job->i[0];
    for (int64_t r = first; r < last; r++) {
        float s = small ? rows_block_sum(x + r * n, NULL, n)
                        : rows_sum(partial + r * blocks, NULL, blocks);
        y[r] = mean ? s / (float)n : s;
    }
}

static void run_sum(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)local;
    sum(false, job, phase, begin, end);
}

static void run_mean(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)local;
    sum(true, job, phase, begin, end);
}

/* ---- bias_grad: dy [N,C] -> db [C] ---- */

#define CHAIN   64 /* rows a chunk */
#define COLUMNS 64 /* columns a unit */

static void plan_bias_grad(cpu_job *job)
{
    cpu_plan_units(job, rows_blocks(job->cmd->in[0].dim[1], COLUMNS));
}

static bool accepts_bias_grad(const mnt_cmd *cmd)
{
    return cmd->in[0].ndim == 2 && rows_f32(&cmd->in[0]) && rows_f32(&cmd->out[0]);
}

/* Columns [0, m) of dy, m <= VEC_LANES; `c` apart from row to row. */
VEC_INLINE void column_sums(const float *dy, int64_t n, int64_t c, float *db, int m)
{
    vecf y = vec_zero();
    for (int64_t chunk = 0; chunk < n; chunk += CHAIN) {
        int64_t last = n - chunk < CHAIN ? n : chunk + CHAIN;
        vecf s = vec_zero();
        for (int64_t r = chunk; r < last; r++)
            s = s + (m == VEC_LANES ? vec_load(dy + r * c) : vec_load_n(dy + r * c, m));
        y = y + s;
    }
    vec_store_n(db, y, m);
}

/* 4 VEC_LANES columns side by side: four chains hide the latency of the adds. */
static void column_sums_4(const float *dy, int64_t n, int64_t c, float *db)
{
    vecf y[4] = { { 0 } };
    for (int64_t chunk = 0; chunk < n; chunk += CHAIN) {
        int64_t last = n - chunk < CHAIN ? n : chunk + CHAIN;
        vecf s[4] = { { 0 } };
        for (int64_t r = chunk; r < last; r++)
            for (int k = 0; k < 4; k++)
                s[k] = s[k] + vec_load(dy + r * c + k * VEC_LANES);
        for (int k = 0; k < 4; k++)
            y[k] = y[k] + s[k];
    }
    for (int k = 0; k < 4; k++)
        vec_store(db + k * VEC_LANES, y[k]);
}

static void run_bias_grad(const cpu_job *job, int phase, int64_t begin, int64_t end,
                          char *local)
{
    (void)phase;
    (void)local;
    const float *dy = job->in[0];
    float *db = job->out[0];
    int64_t n = job->cmd->in[0].dim[0], c = job->cmd->in[0].dim[1];
    int64_t j = begin * COLUMNS, last = end * COLUMNS;
    last = last < c ? last : c;
    for (; j + 4 * VEC_LANES <= last; j += 4 * VEC_LANES)
        column_sums_4(dy + j, n, c, db + j);
    for (; j + VEC_LANES <= last; j += VEC_LANES)
        column_sums(dy + j, n, c, db + j, VEC_LANES);
    if (j < last)
        column_sums(dy + j, n, c, db + j, (int)(last - j));
}

const cpu_kernel CPU_NAME(cpu_rows_reduce)[] = {
    { MNT_OP_ID_sum, "simd", accepts_sum, plan_sum, run_sum },
    { MNT_OP_ID_mean, "simd", accepts_sum, plan_sum, run_mean },
    { MNT_OP_ID_bias_grad, "simd", accepts_bias_grad, plan_bias_grad, run_bias_grad },
    { 0 },
};
