/* SPDX-License-Identifier: MIT */
/*
 * Cross entropy with its gradient, and the accuracy count, over rows of contiguous f32
 * logits. The loss of each row goes to shared scratch; a second phase of one unit makes
 * the mean and sets the fault word.
 */
#include "rows_tile.h"

/* ---- cross entropy ---- */

/* What one call computes; loss or dz may be NULL. */
typedef struct entropy {
    const float *z;
    const int32_t *labels;
    float *loss; /* of each row */
    float *dz;
    float c; /* upstream gradient / rows */
    int64_t n;
} entropy;

static bool label_ok(int32_t label, int64_t classes)
{
    return label >= 0 && label < classes;
}

static void entropy_tile(const entropy *x, int64_t row, int rows)
{
    const int n = (int)x->n;
    const float *z = x->z + row * n;
    int32_t label[VEC_LANES], good[VEC_LANES];
    float own[VEC_LANES];
    for (int r = 0; r < VEC_LANES; r++) {
        label[r] = r < rows ? x->labels[row + r] : -1;
        good[r] = label_ok(label[r], n) ? -1 : 0;
        own[r] = good[r] ? z[r * n + label[r]] : 0.0f;
    }
    rows_tile t;
    rows_softmax_lanes s;
    rows_load_tile(&t, z, rows, n);
    rows_softmax(&s, &t, n);
    const veci ok = vec_load_i(good), at = vec_load_i(label);
    if (x->loss) {
        vecf loss = rows_log(s.sum) - (vec_load(own) - s.max);
        vec_store_n(x->loss + row, vec_select(ok, loss, vec_set1(NAN)), rows);
    }
    if (!x->dz)
        return;
    const vecf c = vec_set1(x->c), one = vec_set1(1.0f);
    for (int j = 0; j < n; j++) {
        vecf hot = vec_select((veci)(at == vec_set1_i(j)), one, vec_zero());
        vecf d = s.e.v[j] / s.sum - hot;
        t.v[j] = vec_select(ok, d * c, vec_zero());
    }
    rows_store_tile(&t, x->dz + row * n, rows, n);
}

/* `e`: room for a row. */
static void entropy_row(const entropy *x, int64_t row, float *e)
{
    const int64_t n = x->n;
    const float *z = x->z + row * n;
    float *dz = x->dz ? x->dz + row * n : NULL;
    int32_t label = x->labels[row];
    if (!label_ok(label, n)) {
        if (x->loss)
            x->loss[row] = NAN;
        for (int64_t j = 0; dz && j < n; j++)
            dz[j] = 0.0f;
        return;
    }
    float max = rows_exp_row(z, e, n);
    float s = rows_sum(e, NULL, n);
    if (x->loss) {
        float d = z[label] - max;
        x->loss[row] = mnt_logf(s) - d;
    }
    if (!dz)
        return;
    rows_divide(e, s, e, n);
    e[label] = e[label] - 1.0f;
    const vecf c = vec_set1(x->c);
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(dz + i, vec_load(e + i) * c);
    if (i < n)
        vec_store_n(dz + i, vec_load_n(e + i, (int)(n - i)) * c, (int)(n - i));
}

static void entropy_rows(const cpu_job *job, entropy *x, int64_t begin, int64_t end,
                         char *local)
{
    x->z = job->in[0];
    x->labels = job->in[1];
    x->n = job->i[ROWS_CLASSES];
    int64_t last = end * job->i[ROWS_EACH];
    last = last < job->i[ROWS_COUNT] ? last : job->i[ROWS_COUNT];
    if (x->n > ROWS_NARROW) {
        for (int64_t r = begin; r < last; r++)
            entropy_row(x, r, (float *)(void *)local);
        return;
    }
    for (int64_t r = begin * ROWS_GROUP; r < last; r += VEC_LANES)
        entropy_tile(x, r, last - r < VEC_LANES ? (int)(last - r) : VEC_LANES);
}

/* Second phase: the mean of the rows' losses, and the fault word. */
static void finish_loss(const cpu_job *job, float *loss, uint32_t *fault)
{
    const int32_t *labels = job->in[1];
    int64_t n = job->i[ROWS_COUNT], i = 0;
    float sum = rows_sum((const float *)(const void *)job->shared, NULL, n);
    loss[0] = sum / (float)n;
    while (i < n && label_ok(labels[i], job->i[ROWS_CLASSES]))
        i++;
    if (i == n || !fault || fault[0] != MNT_FAULT_NONE)
        return;
    fault[1] = job->cmd->id;
    fault[2] = (uint32_t)i;
    fault[3] = (uint32_t)labels[i];
    fault[0] = MNT_FAULT_LABEL;
}

static void plan_grad(cpu_job *job)
{
    rows_plan(job, &job->cmd->in[0]);
    if (job->i[ROWS_CLASSES] > ROWS_NARROW)
        job->local_bytes = (size_t)job->i[ROWS_CLASSES] * sizeof(float);
}

static void plan_loss(cpu_job *job)
{
    plan_grad(job);
    job->phases = 2;
    job->units[1] = 1;
    job->shared_bytes = (size_t)job->i[ROWS_COUNT] * sizeof(float);
}

static bool accepts_entropy(const mnt_cmd *cmd)
{
    const mnt_operand *z = &cmd->in[0], *labels = &cmd->in[1];
    return rows_f32(z) && labels->dtype == MNT_I32 && mnt_operand_contiguous(labels) &&
           z->ndim > 0 && z->dim[z->ndim - 1] > 0;
}

static void run_cross_entropy(const cpu_job *job, int phase, int64_t begin, int64_t end,
                              char *local)
{
    entropy x = { .loss = (float *)(void *)job->shared };
    if (phase == 0)
        entropy_rows(job, &x, begin, end, local);
    else
        finish_loss(job, job->out[0], job->out[1]);
}

static void run_cross_entropy_grad(const cpu_job *job, int phase, int64_t begin,
                                   int64_t end, char *local)
{
    (void)phase;
    entropy x = { .dz = job->out[0] };
    x.c = *(const float *)job->in[2] / (float)job->i[ROWS_COUNT];
    entropy_rows(job, &x, begin, end, local);
}

static void run_cross_entropy_both(const cpu_job *job, int phase, int64_t begin,
                                   int64_t end, char *local)
{
    entropy x = { .loss = (float *)(void *)job->shared, .dz = job->out[1] };
    x.c = *(const float *)job->in[2] / (float)job->i[ROWS_COUNT];
    if (phase == 0)
        entropy_rows(job, &x, begin, end, local);
    else
        finish_loss(job, job->out[0], job->out[2]);
}

/* ---- accuracy: narrow rows only; each unit counts its rows, then the counts are added
 */

static void plan_accuracy(cpu_job *job)
{
    rows_plan(job, &job->cmd->in[0]);
    job->phases = 2;
    job->units[1] = 1;
    job->shared_bytes = (size_t)job->units[0] * sizeof(int32_t);
}

static bool accepts_accuracy(const mnt_cmd *cmd)
{
    const mnt_operand *z = &cmd->in[0];
    return accepts_entropy(cmd) && z->dim[z->ndim - 1] <= ROWS_NARROW;
}

/* Rows whose maximum (the first of equals, the first NaN over every number) is at the
 * label. */
static int32_t right_in_tile(const float *z, const int32_t *labels, int rows, int n)
{
    rows_tile t;
    rows_load_tile(&t, z, rows, n);
    vecf best = t.v[0];
    veci at = vec_set1_i(0);
    for (int j = 1; j < n; j++) {
        vecf v = t.v[j];
        veci nan = (veci)(v != v) & (veci)(best == best);
        veci take = (veci)(v > best) | nan;
        best = vec_select(take, v, best);
        at = (take & vec_set1_i(j)) | (~take & at);
    }
    int32_t winner[VEC_LANES], count = 0;
    vec_store_i(winner, at);
    for (int r = 0; r < rows; r++)
        count += winner[r] == labels[r];
    return count;
}

static void run_accuracy(const cpu_job *job, int phase, int64_t begin, int64_t end,
                         char *local)
{
    (void)local;
    int32_t *counts = (int32_t *)(void *)job->shared;
    if (phase == 1) {
        int32_t total = 0;
        for (int64_t u = 0; u < job->units[0]; u++)
            total += counts[u];
        *(int32_t *)job->out[0] = total;
        return;
    }
    const float *z = job->in[0];
    const int32_t *labels = job->in[1];
    int64_t n = job->i[ROWS_CLASSES];
    for (int64_t u = begin; u < end; u++) {
        int64_t last = (u + 1) * ROWS_GROUP < job->i[ROWS_COUNT] ? (u + 1) * ROWS_GROUP
                                                                 : job->i[ROWS_COUNT];
        counts[u] = 0;
        for (int64_t r = u * ROWS_GROUP; r < last; r += VEC_LANES) {
            int rows = last - r < VEC_LANES ? (int)(last - r) : VEC_LANES;
            counts[u] += right_in_tile(z + r * n, labels + r, rows, (int)n);
        }
    }
}

const cpu_kernel CPU_NAME(cpu_rows_loss)[] = {
    { MNT_OP_ID_cross_entropy, "simd", accepts_entropy, plan_loss, run_cross_entropy },
    { MNT_OP_ID_cross_entropy_grad, "simd", accepts_entropy, plan_grad,
      run_cross_entropy_grad },
    { MNT_OP_ID_cross_entropy_both, "simd", accepts_entropy, plan_loss,
      run_cross_entropy_both },
    { MNT_OP_ID_accuracy_count, "simd", accepts_accuracy, plan_accuracy, run_accuracy },
    { 0 },
};
