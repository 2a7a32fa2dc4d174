/* SPDX-License-Identifier: MIT */
/*
 * Reference softmax, cross entropy and accuracy over rows of logits. Scalars (loss,
 * fault word, count) are made by one unit in a second phase from per-row results in
 * shared scratch, so the rows run in parallel.
 */
#include "ref.h"

/* Maximum and sum of exp(z - max) of a row. */
typedef struct ref_softmax {
    float max, sum;
} ref_softmax;

static ref_softmax ref_softmax_of(const float *z, int64_t n)
{
    ref_softmax r = { .max = ref_row_best(z, n).value };
    ref_sum sum = ref_sum_start();
    for (int64_t j = 0; j < n; j++)
        ref_sum_add(&sum, mnt_expf(z[j] - r.max));
    r.sum = ref_sum_total(&sum);
    return r;
}

static int64_t ref_width(const mnt_operand *o)
{
    return o->ndim > 0 ? o->dim[o->ndim - 1] : 1;
}

static int64_t ref_rows(const mnt_operand *o)
{
    return o->ndim > 0 ? ref_dims(o, 0, o->ndim - 1) : 1;
}

static void plan_rows(cpu_job *job)
{
    cpu_plan_units(job, ref_rows(&job->cmd->out[0]));
}

static void run_softmax(const cpu_job *job, int phase, int64_t begin, int64_t end,
                        char *local)
{
    (void)phase;
    (void)local;
    int64_t n = ref_width(&job->cmd->in[0]);
    for (int64_t row = begin; row < end; row++) {
        const float *z = (const float *)job->in[0] + row * n;
        float *y = (float *)job->out[0] + row * n;
        ref_softmax r = ref_softmax_of(z, n);
        for (int64_t j = 0; j < n; j++)
            y[j] = mnt_expf(z[j] - r.max) / r.sum;
    }
}

static void run_softmax_grad(const cpu_job *job, int phase, int64_t begin, int64_t end,
                             char *local)
{
    (void)phase;
    (void)local;
    int64_t n = ref_width(&job->cmd->in[0]);
    for (int64_t row = begin; row < end; row++) {
        const float *dy = (const float *)job->in[0] + row * n;
        const float *y = (const float *)job->in[1] + row * n;
        float *dx = (float *)job->out[0] + row * n;
        ref_sum sum = ref_sum_start();
        for (int64_t j = 0; j < n; j++)
            ref_sum_product(&sum, dy[j], y[j]);
        float t = ref_sum_total(&sum);
        for (int64_t j = 0; j < n; j++) {
            float d = dy[j] - t;
            dx[j] = y[j] * d;
        }
    }
}

static bool ref_label_ok(int32_t label, int64_t classes)
{
    return label >= 0 && label < classes;
}

static float ref_row_loss(const float *z, int64_t n, int32_t label)
{
    if (!ref_label_ok(label, n))
        return NAN;
    ref_softmax r = ref_softmax_of(z, n);
    float d = z[label] - r.max;
    return mnt_logf(r.sum) - d;
}

static void ref_row_grad(const float *z, int64_t n, int32_t label, float c, float *dz)
{
    if (!ref_label_ok(label, n)) {
        for (int64_t j = 0; j < n; j++)
            dz[j] = 0.0f;
        return;
    }
    ref_softmax r = ref_softmax_of(z, n);
    for (int64_t j = 0; j < n; j++) {
        float p = mnt_expf(z[j] - r.max) / r.sum;
        float d = p - (j == label ? 1.0f : 0.0f);
        dz[j] = d * c;
    }
}

static void plan_loss(cpu_job *job)
{
    int64_t rows = ref_rows(&job->cmd->in[0]);
    job->phases = 2;
    job->units[0] = rows;
    job->units[1] = 1;
    job->shared_bytes = (size_t)rows * sizeof(float);
}

/* Second phase: the mean of the rows' losses, and the fault word. */
static void ref_finish_loss(const cpu_job *job, float *loss, uint32_t *fault)
{
    const float *rows = (const float *)job->shared;
    const int32_t *labels = job->in[1];
    int64_t n = ref_rows(&job->cmd->in[0]), classes = ref_width(&job->cmd->in[0]);
    ref_sum sum = ref_sum_start();
    int64_t bad = -1;
    for (int64_t i = 0; i < n; i++) {
        ref_sum_add(&sum, rows[i]);
        if (bad < 0 && !ref_label_ok(labels[i], classes))
            bad = i;
    }
    loss[0] = ref_sum_total(&sum) / (float)n;
    if (bad >= 0 && fault != NULL && fault[0] == MNT_FAULT_NONE) {
        fault[1] = job->cmd->id;
        fault[2] = (uint32_t)bad;
        fault[3] = (uint32_t)labels[bad];
        fault[0] = MNT_FAULT_LABEL;
    }
}

static void run_cross_entropy(const cpu_job *job, int phase, int64_t begin, int64_t end,
                              char *local)
{
    (void)local;
    if (phase == 1) {
        ref_finish_loss(job, job->out[0], job->out[1]);
        return;
    }
    int64_t n = ref_width(&job->cmd->in[0]);
    const int32_t *labels = job->in[1];
    float *loss = (float *)job->shared;
    for (int64_t i = begin; i < end; i++)
        loss[i] = ref_row_loss((const float *)job->in[0] + i * n, n, labels[i]);
}

static void run_cross_entropy_grad(const cpu_job *job, int phase, int64_t begin,
                                   int64_t end, char *local)
{
    (void)phase;
    (void)local;
    int64_t n = ref_width(&job->cmd->in[0]);
    const int32_t *labels = job->in[1];
    float c = *(const float *)job->in[2] / (float)ref_rows(&job->cmd->in[0]);
    for (int64_t i = begin; i < end; i++)
        ref_row_grad((const float *)job->in[0] + i * n, n, labels[i], c,
                     (float *)job->out[0] + i * n);
}

static void run_cross_entropy_both(const cpu_job *job, int phase, int64_t begin,
                                   int64_t end, char *local)
{
    (void)local;
    if (phase == 1) {
        ref_finish_loss(job, job->out[0], job->out[2]);
        return;
    }
    int64_t n = ref_width(&job->cmd->in[0]);
    const int32_t *labels = job->in[1];
    float c = *(const float *)job->in[2] / (float)ref_rows(&job->cmd->in[0]);
    float *loss = (float *)job->shared;
    for (int64_t i = begin; i < end; i++) {
        const float *z = (const float *)job->in[0] + i * n;
        loss[i] = ref_row_loss(z, n, labels[i]);
        ref_row_grad(z, n, labels[i], c, (float *)job->out[1] + i * n);
    }
}

static void plan_accuracy(cpu_job *job)
{
    int64_t rows = ref_rows(&job->cmd->in[0]);
    job->phases = 2;
    job->units[0] = rows;
    job->units[1] = 1;
    job->shared_bytes = (size_t)rows;
}

static void run_accuracy(const cpu_job *job, int phase, int64_t begin, int64_t end,
                         char *local)
{
    (void)local;
    int64_t n = ref_width(&job->cmd->in[0]);
    const int32_t *labels = job->in[1];
    uint8_t *right = (uint8_t *)job->shared;
    if (phase == 0) {
        for (int64_t i = begin; i < end; i++)
            right[i] =
                ref_row_best((const float *)job->in[0] + i * n, n).index == labels[i];
        return;
    }
    int32_t count = 0;
    for (int64_t i = 0; i < job->units[0]; i++)
        count += right[i];
    *(int32_t *)job->out[0] = count;
}

const cpu_kernel CPU_NAME(cpu_ref_loss)[] = {
    { MNT_OP_ID_softmax, "ref", NULL, plan_rows, run_softmax },
    { MNT_OP_ID_softmax_grad, "ref", NULL, plan_rows, run_softmax_grad },
    { MNT_OP_ID_cross_entropy, "ref", NULL, plan_loss, run_cross_entropy },
    { MNT_OP_ID_cross_entropy_grad, "ref", NULL, plan_rows, run_cross_entropy_grad },
    { MNT_OP_ID_cross_entropy_both, "ref", NULL, plan_loss, run_cross_entropy_both },
    { MNT_OP_ID_accuracy_count, "ref", NULL, plan_accuracy, run_accuracy },
    { 0 },
};
