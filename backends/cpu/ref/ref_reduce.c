/* SPDX-License-Identifier: MIT */
/*
 * Reference reductions: sum, mean and argmax over a range of axes (rule D), and
 * bias_grad (chunks of 64 rows for [N, C]; per sample in block order, then a tree over
 * samples, for images). A unit is one element of the result.
 */
#include "ref.h"

#define BIAS_ROWS 64 /* rows a chunk of bias_grad on [N, C] */

/* The elements of x that go into one result: `rows` rows of `length` elements. */
typedef struct ref_slab {
    const mnt_operand *x;
    int first, end; /* reduced axes */
    int64_t rows, length, step;
    int64_t at; /* offset in x of its first element */
    int64_t to; /* offset in y of the result */
} ref_slab;

static ref_slab ref_slab_of(const mnt_cmd *cmd, int64_t unit)
{
    const mnt_operand *x = &cmd->in[0], *y = &cmd->out[0];
    const mnt_args_reduce *args = &cmd->args.reduce;
    ref_slab s = { .x = x,
                   .first = args->axis,
                   .end = args->axis + args->count,
                   .rows = 1,
                   .length = 1 };
    if (args->count > 0) {
        s.rows = ref_dims(x, s.first, s.end - 1);
        s.length = x->dim[s.end - 1];
        s.step = x->stride[s.end - 1];
    }
    for (int d = y->ndim - 1; d >= 0; d--) {
        int64_t c = unit % y->dim[d];
        unit /= y->dim[d];
        s.to += c * y->stride[d];
        s.at += c * x->stride[d < args->axis ? d : d + args->count];
    }
    return s;
}

/* Offset in x of the first element of a row. */
static int64_t ref_slab_row(const ref_slab *s, int64_t row)
{
    int64_t at = s->at;
    for (int d = s->end - 2; d >= s->first; d--) {
        at += row % s->x->dim[d] * s->x->stride[d];
        row /= s->x->dim[d];
    }
    return at;
}

static float ref_slab_sum(const ref_slab *s, const float *x)
{
    ref_sum sum = ref_sum_start();
    for (int64_t row = 0; row < s->rows; row++) {
        const float *p = x + ref_slab_row(s, row);
        for (int64_t i = 0; i < s->length; i++)
            ref_sum_add(&sum, p[i * s->step]);
    }
    return ref_sum_total(&sum);
}

static void plan_results(cpu_job *job)
{
    cpu_plan_units(job, ref_count(&job->cmd->out[0]));
}

static void run_sum(const cpu_job *job, int phase, int64_t begin, int64_t end,
                    char *local)
{
    (void)phase;
    (void)local;
    float *y = job->out[0];
    for (int64_t unit = begin; unit < end; unit++) {
        ref_slab s = ref_slab_of(job->cmd, unit);
        y[s.to] = ref_slab_sum(&s, job->in[0]);
    }
}

static void run_mean(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    float *y = job->out[0];
    for (int64_t unit = begin; unit < end; unit++) {
        ref_slab s = ref_slab_of(job->cmd, unit);
        y[s.to] = ref_slab_sum(&s, job->in[0]) / (float)(s.rows * s.length);
    }
}

static void run_argmax(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    const float *x = job->in[0];
    int32_t *y = job->out[0];
    for (int64_t unit = begin; unit < end; unit++) {
        ref_slab s = ref_slab_of(job->cmd, unit);
        ref_best best = { 0.0f, -1 };
        for (int64_t row = 0; row < s.rows; row++) {
            const float *p = x + ref_slab_row(&s, row);
            for (int64_t i = 0; i < s.length; i++)
                ref_best_offer(&best, p[i * s.step], row * s.length + i);
        }
        y[s.to] = best.index < 0 ? 0 : (int32_t)best.index;
    }
}

/* dy [N, C]: chunks of 64 rows. */
static float bias_grad_rows(const float *dy, int64_t n, int64_t channels)
{
    float y = 0.0f;
    for (int64_t first = 0; first < n; first += BIAS_ROWS) {
        int64_t end = ref_min(n, first + BIAS_ROWS);
        float s = 0.0f;
        for (int64_t i = first; i < end; i++)
            s = s + dy[i * channels];
        y = y + s;
    }
    return y;
}

/* One sample's h x w positions in block order, in chunks of 4096. */
static float bias_grad_plane(const float *dy, int64_t h, int64_t w)
{
    float y = 0.0f, s = 0.0f;
    int64_t oy = 0, ox = 0;
    for (int64_t i = 0; i < h * w; i++) {
        if (i > 0 && i % REF_BLOCK == 0) {
            y = y + s;
            s = 0.0f;
        }
        s = s + dy[oy * w + ox];
        ref_block_next(h, w, &oy, &ox);
    }
    return y + s;
}

/* dy points at the channel's plane in the first sample; samples lie `pitch` apart. */
static float bias_grad_images(const float *dy, int64_t n, int64_t pitch, int64_t h,
                              int64_t w)
{
    float y = 0.0f;
    for (int64_t first = 0; first < n; first += REF_TREE) {
        float t[REF_TREE];
        int64_t samples = ref_min(REF_TREE, n - first);
        for (int64_t s = 0; s < samples; s++)
            t[s] = bias_grad_plane(dy + (first + s) * pitch, h, w);
        y = y + ref_tree64(t, samples);
    }
    return y;
}

static void run_bias_grad(const cpu_job *job, int phase, int64_t begin, int64_t end,
                          char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *o = &job->cmd->in[0];
    const float *dy = job->in[0];
    float *db = job->out[0];
    int64_t n = o->dim[0], channels = o->dim[1];
    for (int64_t c = begin; c < end; c++) {
        if (o->ndim == 2) {
            db[c] = bias_grad_rows(dy + c, n, channels);
            continue;
        }
        int64_t h = ref_dims(o, 2, o->ndim - 1), w = o->dim[o->ndim - 1];
        db[c] = bias_grad_images(dy + c * h * w, n, channels * h * w, h, w);
    }
}

const cpu_kernel CPU_NAME(cpu_ref_reduce)[] = {
    { MNT_OP_ID_sum, "ref", NULL, plan_results, run_sum },
    { MNT_OP_ID_mean, "ref", NULL, plan_results, run_mean },
    { MNT_OP_ID_argmax, "ref", NULL, plan_results, run_argmax },
    { MNT_OP_ID_bias_grad, "ref", NULL, plan_results, run_bias_grad },
    { 0 },
};
