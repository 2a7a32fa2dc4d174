/* SPDX-License-Identifier: MIT */
/*
 * softmax, its gradient and cross entropy over rows of logits.
 *
 * Two forms. Narrow rows (at most NARROW classes, the usual case): VEC_LANES rows at a
 * time, one in each lane, through a transposed tile; the tree of numerics D1 then runs
 * over whole vectors. Wide rows: elements in lanes, one row at a time.
 *
 * The maximum here may ignore a NaN and the sign of a zero: a NaN reaches every result
 * of its row through the sum, and exp(+-0) = 1.
 */
#include "rows.h"

#define NARROW 64
#define GROUP  16 /* narrow rows a unit; a multiple of VEC_LANES */

/* job->i: rows, classes, rows a unit. */
enum { ROWS, CLASSES, EACH };

static void plan_units(cpu_job *job, const mnt_operand *z)
{
    job->i[ROWS] = z->ndim > 0 ? rows_product(z, 0, z->ndim - 1) : 1;
    job->i[CLASSES] = z->ndim > 0 ? z->dim[z->ndim - 1] : 1;
    job->i[EACH] = job->i[CLASSES] <= NARROW ? GROUP : 1;
    cpu_plan_units(job, rows_blocks(job->i[ROWS], job->i[EACH]));
}

/* ---- narrow: tiles [class][row] ---- */

typedef struct tile {
    vecf v[NARROW];
} tile;

/* Rows past `rows` become zeros. */
static void load_tile(tile *t, const float *z, int rows, int n)
{
    float flat[NARROW * VEC_LANES];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++)
            flat[j * VEC_LANES + r] = z[r * n + j];
    for (int j = 0; j < n; j++)
        t->v[j] = vec_load_n(flat + j * VEC_LANES, rows);
}

static void store_tile(const tile *t, float *z, int rows, int n)
{
    float flat[NARROW * VEC_LANES];
    for (int j = 0; j < n; j++)
        vec_store(flat + j * VEC_LANES, t->v[j]);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++)
            z[r * n + j] = flat[j * VEC_LANES + r];
}

/* D1 over n <= NARROW vectors. Absent lanes of the tree are +0: adding one changes
 * nothing but a -0, which sums of exp() never are. Leaves v as scratch. */
VEC_INLINE vecf tree(vecf *v, int n, bool positive)
{
    for (int l = 32; l < n; l++)
        v[l - 32] = v[l - 32] + v[l];
    int count = n < 32 ? n : 32;
    for (int h = 16; h > 0; h /= 2) {
        for (int l = 0; l + h < count; l++)
            v[l] = v[l] + v[l + h];
        int paired = count > h ? count - h : 0;
        count = count < h ? count : h;
        for (int l = paired; l < count && !positive; l++)
            v[l] = v[l] + vec_zero();
    }
    return v[0];
}

typedef struct softmax_lanes {
    vecf max, sum;
    tile e; /* exp(z - max) */
} softmax_lanes;

static void softmax_tile(softmax_lanes *s, const tile *z, int n)
{
    vecf m = z->v[0];
    for (int j = 1; j < n; j++)
        m = vec_select((veci)(z->v[j] > m), z->v[j], m);
    tile sums;
    for (int j = 0; j < n; j++)
        sums.v[j] = s->e.v[j] = rows_exp(z->v[j] - m);
    s->max = m;
    s->sum = tree(sums.v, n, true);
}

/* ---- wide: one row ---- */

/* Writes exp(z - max) to e; returns the maximum. */
static float exp_row(const float *z, float *e, int64_t n)
{
    vecf best = vec_set1(z[0]);
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vecf v = vec_load(z + i);
        best = vec_select((veci)(v > best), v, best);
    }
    float lanes[VEC_LANES], m = z[0];
    vec_store(lanes, best);
    for (int l = 0; l < VEC_LANES; l++)
        m = lanes[l] > m ? lanes[l] : m;
    for (; i < n; i++)
        m = z[i] > m ? z[i] : m;
    const vecf max = vec_set1(m);
    for (i = 0; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(e + i, rows_exp(vec_load(z + i) - max));
    if (i < n)
        vec_store_n(e + i, rows_exp(vec_load_n(z + i, (int)(n - i)) - max),
                    (int)(n - i));
    return m;
}

/* y = x / s, in place or not. */
static void divide_row(const float *x, float s, float *y, int64_t n)
{
    const vecf d = vec_set1(s);
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, vec_load(x + i) / d);
    if (i < n)
        vec_store_n(y + i, vec_load_n(x + i, (int)(n - i)) / d, (int)(n - i));
}

/* ---- softmax ---- */

static void plan_softmax(cpu_job *job)
{
    plan_units(job, &job->cmd->out[0]);
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
    int64_t n = job->i[CLASSES], last = end * job->i[EACH];
    last = last < job->i[ROWS] ? last : job->i[ROWS];
    if (n == 0)
        return;
    if (n > NARROW) {
        for (int64_t r = begin; r < last; r++) {
            exp_row(z + r * n, y + r * n, n);
            divide_row(y + r * n, rows_sum(y + r * n, NULL, n), y + r * n, n);
        }
        return;
    }
    for (int64_t r = begin * GROUP; r < last; r += VEC_LANES) {
        int rows = last - r < VEC_LANES ? (int)(last - r) : VEC_LANES;
        tile t;
        softmax_lanes s;
        load_tile(&t, z + r * n, rows, (int)n);
        softmax_tile(&s, &t, (int)n);
        for (int64_t j = 0; j < n; j++)
            t.v[j] = s.e.v[j] / s.sum;
        store_tile(&t, y + r * n, rows, (int)n);
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
    int64_t n = job->i[CLASSES], last = end * job->i[EACH];
    last = last < job->i[ROWS] ? last : job->i[ROWS];
    if (n > NARROW) {
        for (int64_t r = begin; r < last; r++)
            softmax_grad_row(dy + r * n, y + r * n, dx + r * n, n);
        return;
    }
    for (int64_t r = begin * GROUP; r < last && n > 0; r += VEC_LANES) {
        int rows = last - r < VEC_LANES ? (int)(last - r) : VEC_LANES;
        tile a, b, lanes;
        load_tile(&a, dy + r * n, rows, (int)n);
        load_tile(&b, y + r * n, rows, (int)n);
        for (int64_t j = 0; j < n; j++) {
            vecf before = j < 32 ? vec_zero() : lanes.v[j - 32];
            lanes.v[j & 31] = vec_fma(a.v[j], b.v[j], before);
        }
        vecf t = tree(lanes.v, n < 32 ? (int)n : 32, false);
        for (int64_t j = 0; j < n; j++)
            a.v[j] = b.v[j] * (a.v[j] - t);
        store_tile(&a, dx + r * n, rows, (int)n);
    }
}

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
    tile t;
    softmax_lanes s;
    load_tile(&t, z, rows, n);
    softmax_tile(&s, &t, n);
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
    store_tile(&t, x->dz + row * n, rows, n);
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
    float max = exp_row(z, e, n);
    float s = rows_sum(e, NULL, n);
    if (x->loss) {
        float d = z[label] - max;
        x->loss[row] = cpu_logf(s) - d;
    }
    if (!dz)
        return;
    divide_row(e, s, e, n);
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
    x->n = job->i[CLASSES];
    int64_t last = end * job->i[EACH];
    last = last < job->i[ROWS] ? last : job->i[ROWS];
    if (x->n > NARROW) {
        for (int64_t r = begin; r < last; r++)
            entropy_row(x, r, (float *)(void *)local);
        return;
    }
    for (int64_t r = begin * GROUP; r < last; r += VEC_LANES)
        entropy_tile(x, r, last - r < VEC_LANES ? (int)(last - r) : VEC_LANES);
}

/* Second phase: the mean of the rows' losses, and the fault word. */
static void finish_loss(const cpu_job *job, float *loss, uint32_t *fault)
{
    const int32_t *labels = job->in[1];
    int64_t n = job->i[ROWS], i = 0;
    float sum = rows_sum((const float *)(const void *)job->shared, NULL, n);
    loss[0] = sum / (float)n;
    while (i < n && label_ok(labels[i], job->i[CLASSES]))
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
    plan_units(job, &job->cmd->in[0]);
    if (job->i[CLASSES] > NARROW)
        job->local_bytes = (size_t)job->i[CLASSES] * sizeof(float);
}

static void plan_loss(cpu_job *job)
{
    plan_grad(job);
    job->phases = 2;
    job->units[1] = 1;
    job->shared_bytes = (size_t)job->i[ROWS] * sizeof(float);
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
    x.c = *(const float *)job->in[2] / (float)job->i[ROWS];
    entropy_rows(job, &x, begin, end, local);
}

static void run_cross_entropy_both(const cpu_job *job, int phase, int64_t begin,
                                   int64_t end, char *local)
{
    entropy x = { .loss = (float *)(void *)job->shared, .dz = job->out[1] };
    x.c = *(const float *)job->in[2] / (float)job->i[ROWS];
    if (phase == 0)
        entropy_rows(job, &x, begin, end, local);
    else
        finish_loss(job, job->out[0], job->out[2]);
}

const cpu_kernel CPU_NAME(cpu_rows_loss)[] = {
    { MNT_OP_ID_softmax, "simd", accepts_softmax, plan_softmax, run_softmax },
    { MNT_OP_ID_softmax_grad, "simd", accepts_softmax, plan_softmax, run_softmax_grad },
    { MNT_OP_ID_cross_entropy, "simd", accepts_entropy, plan_loss, run_cross_entropy },
    { MNT_OP_ID_cross_entropy_grad, "simd", accepts_entropy, plan_grad,
      run_cross_entropy_grad },
    { MNT_OP_ID_cross_entropy_both, "simd", accepts_entropy, plan_loss,
      run_cross_entropy_both },
    { 0 },
};
