/* SPDX-License-Identifier: MIT */
/*
 * Reference matrix products: matmul and dense (bias and relu at the end). Every element
 * of y is its own chain over k, cut into chunks (rules C1 to C3). A unit is a row of y.
 */
#include "ref.h"

typedef struct ref_product {
    int64_t m, n, k, chunk;
    int64_t a_row, a_step; /* strides in a of a row of y, of k */
    int64_t b_col, b_step; /* strides in b of a column of y, of k */
    int64_t a_batch, b_batch;
} ref_product;

static ref_product ref_product_of(const mnt_cmd *cmd)
{
    const mnt_args_matmul *args = &cmd->args.matmul;
    const mnt_operand *a = &cmd->in[0], *b = &cmd->in[1], *y = &cmd->out[0];
    ref_product p = { .m = y->dim[y->ndim - 2],
                      .n = y->dim[y->ndim - 1],
                      .k = a->dim[args->ta ? a->ndim - 2 : a->ndim - 1],
                      .chunk = args->chunk };
    p.a_row = args->ta ? 1 : p.k;
    p.a_step = args->ta ? p.m : 1;
    p.b_col = args->tb ? p.k : 1;
    p.b_step = args->tb ? 1 : p.n;
    p.a_batch = p.m * p.k;
    p.b_batch = b->ndim > 2 ? p.k * p.n : 0;
    return p;
}

/* y = ((+0 + s0) + s1) + ..., s the chain of one chunk. */
static float ref_dot(const ref_product *p, const float *a, const float *b)
{
    float y = 0.0f;
    for (int64_t first = 0; first < p->k; first += p->chunk) {
        int64_t end = ref_min(p->k, first + p->chunk);
        float s = 0.0f;
        for (int64_t k = first; k < end; k++)
            s = mnt_fmaf(a[k * p->a_step], b[k * p->b_step], s);
        y = y + s;
    }
    return y;
}

static void plan_rows(cpu_job *job)
{
    const mnt_operand *y = &job->cmd->out[0];
    cpu_plan_units(job, ref_dims(y, 0, y->ndim - 1));
}

static void run_product(const cpu_job *job, int64_t begin, int64_t end,
                        const float *bias, bool relu)
{
    ref_product p = ref_product_of(job->cmd);
    for (int64_t row = begin; row < end; row++) {
        int64_t batch = row / p.m, i = row % p.m;
        const float *a = (const float *)job->in[0] + batch * p.a_batch + i * p.a_row;
        const float *b = (const float *)job->in[1] + batch * p.b_batch;
        float *y = (float *)job->out[0] + row * p.n;
        for (int64_t j = 0; j < p.n; j++) {
            float v = ref_dot(&p, a, b + j * p.b_col);
            if (bias != NULL)
                v = v + bias[j];
            y[j] = relu && v <= 0.0f ? 0.0f : v;
        }
    }
}

static void run_matmul(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    run_product(job, begin, end, NULL, false);
}

static void run_dense(const cpu_job *job, int phase, int64_t begin, int64_t end,
                      char *local)
{
    (void)phase;
    (void)local;
    run_product(job, begin, end, job->in[2], job->cmd->args.matmul.relu);
}

const cpu_kernel CPU_NAME(cpu_ref_matmul)[] = {
    { MNT_OP_ID_matmul, "ref", NULL, plan_rows, run_matmul },
    { MNT_OP_ID_dense, "ref", NULL, plan_rows, run_dense },
    { 0 },
};
