/* SPDX-License-Identifier: MIT */
/*
 * Kernels of arithmetic: products, elementwise ops with any strides, sums in the fixed
 * order, softmax, cross entropy, accuracy.
 */
#include "plain.h"

#include <mnt/scalar.h>

/* ---- products ---- */

/* One element of y: a chain of fma a chunk, the chunks added in order (C1, C2). */
static float dot(const float *a, int64_t a_step, const float *b, int64_t b_step,
                 int64_t k, int64_t chunk)
{
    float y = 0.0f;
    for (int64_t first = 0; first < k; first += chunk) {
        int64_t end = k - first < chunk ? k : first + chunk;
        float s = 0.0f;
        for (int64_t i = first; i < end; i++)
            s = mnt_fmaf(a[i * a_step], b[i * b_step], s);
        y = y + s;
    }
    return y;
}

static void product(const plain_job *job, const float *bias, bool relu)
{
    const mnt_args_matmul *args = &job->cmd->args.matmul;
    const mnt_operand *a = &job->cmd->in[0], *b = &job->cmd->in[1];
    const mnt_operand *y = &job->cmd->out[0];
    int64_t m = y->dim[y->ndim - 2], n = y->dim[y->ndim - 1];
    int64_t k = a->dim[a->ndim - (args->ta ? 2 : 1)];
    int64_t matrices = plain_dims(y, 0, y->ndim - 2);
    for (int64_t t = 0; t < matrices; t++) {
        const float *pa = (const float *)job->in[0] + t * m * k;
        const float *pb = (const float *)job->in[1] + (b->ndim > 2 ? t * k * n : 0);
        float *py = (float *)job->out[0] + t * m * n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                float v =
                    dot(pa + (args->ta ? i : i * k), args->ta ? m : 1,
                        pb + (args->tb ? j * k : j), args->tb ? 1 : n, k, args->chunk);
                if (bias)
                    v = v + bias[j];
                py[i * n + j] = relu && v <= 0.0f ? 0.0f : v;
            }
    }
}

static void matmul(const plain_job *job)
{
    product(job, NULL, false);
}

static void dense(const plain_job *job)
{
    product(job, job->in[2], job->cmd->args.matmul.relu);
}

/* ---- elementwise ---- */

/* For each element of y: its a and b (NULL: none), and where the result goes. */
#define ELEMENTWISE(name, expression)                                                  \
    static void name(const plain_job *job)                                             \
    {                                                                                  \
        const mnt_operand *oa = &job->cmd->in[0], *ob = &job->cmd->in[1];              \
        const mnt_operand *oy = &job->cmd->out[0];                                     \
        const float *pa = job->in[0], *pb = job->in[1];                                \
        float *y = job->out[0];                                                        \
        int64_t n = plain_count(oy);                                                   \
        for (int64_t i = 0; i < n; i++) {                                              \
            float a = pa[plain_at(oa, i)], b = pb ? pb[plain_at(ob, i)] : 0.0f;        \
            (void)b;                                                                   \
            y[plain_at(oy, i)] = (expression);                                         \
        }                                                                              \
    }

ELEMENTWISE(add, a + b)
ELEMENTWISE(sub, a - b)
ELEMENTWISE(mul, a *b)
ELEMENTWISE(divide, a / b)
ELEMENTWISE(scale, a * job->cmd->args.scale.value)
/* A select does not flush by itself. NaN stays, -0 becomes +0. */
ELEMENTWISE(relu, a <= 0.0f ? 0.0f : mnt_flushf(a))
ELEMENTWISE(relu_grad, b > 0.0f ? mnt_flushf(a) : 0.0f)

static void bias_add(const plain_job *job)
{
    const mnt_operand *x = &job->cmd->in[0];
    const float *px = job->in[0], *bias = job->in[1];
    float *y = job->out[0];
    int64_t n = plain_count(x), inner = plain_dims(x, 2, x->ndim);
    for (int64_t i = 0; i < n; i++)
        y[i] = px[i] + bias[i / inner % x->dim[1]];
}

/* dy [N, C]: chunks of 64 rows (C3). Images are left to other backends. */
static void bias_grad(const plain_job *job)
{
    const mnt_operand *o = &job->cmd->in[0];
    const float *dy = job->in[0];
    float *db = job->out[0];
    int64_t rows = o->dim[0], channels = o->dim[1];
    for (int64_t c = 0; c < channels; c++) {
        float y = 0.0f, s = 0.0f;
        for (int64_t i = 0; i < rows; i++) {
            if (i > 0 && i % 64 == 0) {
                y = y + s;
                s = 0.0f;
            }
            s = s + dy[i * channels + c];
        }
        db[c] = y + s;
    }
}

/* ---- sums ---- */

#define LANES  32
#define BLOCK  4096
#define LEVELS 4 /* of blocks of blocks: enough for 2^48 elements */

/* A sum under way by rule D: level 0 holds elements, level 1 results of blocks, ... */
typedef struct sum {
    float lane[LEVELS][LANES];
    int64_t count[LEVELS];
} sum;

/* v[l] += v[l + 16], then 8, 4, 2, 1; the level is empty afterwards. */
static float sum_close(sum *s, int level)
{
    float *v = s->lane[level];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            v[l] = v[l] + v[l + half];
    float total = v[0];
    memset(v, 0, sizeof s->lane[level]);
    s->count[level] = 0;
    return total;
}

/* The lane of the next element; a level that is full moves up as one element. */
static float *sum_lane(sum *s, int level)
{
    for (int top = LEVELS - 1; top > level; top--)
        if (s->count[top - 1] == BLOCK) {
            float block = sum_close(s, top - 1);
            float *up = &s->lane[top][s->count[top]++ % LANES];
            *up = *up + block;
        }
    return &s->lane[level][s->count[level]++ % LANES];
}

static void sum_add(sum *s, float v)
{
    float *lane = sum_lane(s, 0);
    *lane = *lane + v;
}

static void sum_product(sum *s, float a, float b)
{
    float *lane = sum_lane(s, 0);
    *lane = mnt_fmaf(a, b, *lane);
}

static float sum_total(sum *s)
{
    float total = sum_close(s, 0);
    for (int level = 1; level < LEVELS && s->count[level] > 0; level++) {
        float *up = sum_lane(s, level);
        *up = *up + total;
        total = sum_close(s, level);
    }
    return total;
}

/* Offset in x of the first element that goes into element i of y. */
static int64_t slab_at(const mnt_cmd *cmd, int64_t i)
{
    const mnt_args_reduce *r = &cmd->args.reduce;
    int64_t stride[MNT_MAX_DIMS] = { 0 };
    for (int d = 0; d < cmd->out[0].ndim; d++)
        stride[d] = cmd->in[0].stride[d < r->axis ? d : d + r->count];
    return plain_walk(cmd->out[0].dim, stride, cmd->out[0].ndim, i);
}

static void reduce(const plain_job *job, bool mean)
{
    const mnt_operand *x = &job->cmd->in[0], *y = &job->cmd->out[0];
    const mnt_args_reduce *r = &job->cmd->args.reduce;
    int64_t results = plain_count(y), n = plain_dims(x, r->axis, r->axis + r->count);
    for (int64_t i = 0; i < results; i++) {
        const float *px = (const float *)job->in[0] + slab_at(job->cmd, i);
        sum s = { .count = { 0 } };
        for (int64_t k = 0; k < n; k++)
            sum_add(&s,
                    px[plain_walk(x->dim + r->axis, x->stride + r->axis, r->count, k)]);
        float total = sum_total(&s);
        ((float *)job->out[0])[plain_at(y, i)] = mean ? total / (float)n : total;
    }
}

static void sum_axes(const plain_job *job)
{
    reduce(job, false);
}

static void mean_axes(const plain_job *job)
{
    reduce(job, true);
}

/* Whether v beats the best so far: the first of equals, a NaN over any number. */
static bool beats(float v, float best)
{
    return v > best || (v != v && best == best);
}

static void argmax(const plain_job *job)
{
    const mnt_operand *x = &job->cmd->in[0], *y = &job->cmd->out[0];
    const mnt_args_reduce *r = &job->cmd->args.reduce;
    int64_t results = plain_count(y), n = plain_dims(x, r->axis, r->axis + r->count);
    for (int64_t i = 0; i < results; i++) {
        const float *px = (const float *)job->in[0] + slab_at(job->cmd, i);
        int32_t winner = 0;
        float best = n > 0 ? px[0] : 0.0f;
        for (int64_t k = 1; k < n; k++) {
            float v =
                px[plain_walk(x->dim + r->axis, x->stride + r->axis, r->count, k)];
            if (beats(v, best)) {
                best = v;
                winner = (int32_t)k;
            }
        }
        ((int32_t *)job->out[0])[plain_at(y, i)] = winner;
    }
}

/* ---- softmax and losses ---- */

static int64_t winner_of(const float *z, int64_t n)
{
    int64_t winner = 0;
    for (int64_t j = 1; j < n; j++)
        if (beats(z[j], z[winner]))
            winner = j;
    return winner;
}

/* The sum of exp(z - max) of a row. */
static float exp_sum(const float *z, int64_t n, float max)
{
    sum s = { .count = { 0 } };
    for (int64_t j = 0; j < n; j++)
        sum_add(&s, mnt_expf(z[j] - max));
    return sum_total(&s);
}

static void softmax(const plain_job *job)
{
    int64_t n = plain_width(&job->cmd->in[0]), rows = plain_rows(&job->cmd->in[0]);
    for (int64_t i = 0; i < rows && n > 0; i++) {
        const float *z = (const float *)job->in[0] + i * n;
        float *y = (float *)job->out[0] + i * n;
        float max = z[winner_of(z, n)], s = exp_sum(z, n, max);
        for (int64_t j = 0; j < n; j++)
            y[j] = mnt_expf(z[j] - max) / s;
    }
}

static void softmax_grad(const plain_job *job)
{
    int64_t n = plain_width(&job->cmd->in[0]), rows = plain_rows(&job->cmd->in[0]);
    for (int64_t i = 0; i < rows; i++) {
        const float *dy = (const float *)job->in[0] + i * n;
        const float *y = (const float *)job->in[1] + i * n;
        float *dx = (float *)job->out[0] + i * n;
        sum s = { .count = { 0 } };
        for (int64_t j = 0; j < n; j++)
            sum_product(&s, dy[j], y[j]);
        float t = sum_total(&s);
        for (int64_t j = 0; j < n; j++) {
            float d = dy[j] - t;
            dx[j] = y[j] * d;
        }
    }
}

/* The mean loss into *loss, and a label outside the classes into the fault word. */
static void losses(const plain_job *job, float *loss, uint32_t *fault)
{
    int64_t n = plain_width(&job->cmd->in[0]), rows = plain_rows(&job->cmd->in[0]);
    const int32_t *labels = job->in[1];
    sum s = { .count = { 0 } };
    for (int64_t i = 0; i < rows; i++) {
        const float *z = (const float *)job->in[0] + i * n;
        if (labels[i] < 0 || labels[i] >= n) {
            plain_fault(job, fault, MNT_FAULT_LABEL, i, labels[i]);
            sum_add(&s, NAN);
            continue;
        }
        float max = z[winner_of(z, n)];
        float d = z[labels[i]] - max;
        sum_add(&s, mnt_logf(exp_sum(z, n, max)) - d);
    }
    *loss = sum_total(&s) / (float)rows;
}

static void loss_gradients(const plain_job *job, float *dz)
{
    int64_t n = plain_width(&job->cmd->in[0]), rows = plain_rows(&job->cmd->in[0]);
    const int32_t *labels = job->in[1];
    float c = *(const float *)job->in[2] / (float)rows;
    for (int64_t i = 0; i < rows; i++) {
        const float *z = (const float *)job->in[0] + i * n;
        bool good = labels[i] >= 0 && labels[i] < n;
        float max = z[winner_of(z, n)], s = exp_sum(z, n, max);
        for (int64_t j = 0; j < n; j++) {
            float p = mnt_expf(z[j] - max) / s;
            float d = p - (j == labels[i] ? 1.0f : 0.0f);
            dz[i * n + j] = good ? d * c : 0.0f;
        }
    }
}

static void cross_entropy(const plain_job *job)
{
    losses(job, job->out[0], job->out[1]);
}

static void cross_entropy_grad(const plain_job *job)
{
    loss_gradients(job, job->out[0]);
}

static void cross_entropy_both(const plain_job *job)
{
    losses(job, job->out[0], job->out[2]);
    loss_gradients(job, job->out[1]);
}

static void accuracy_count(const plain_job *job)
{
    int64_t n = plain_width(&job->cmd->in[0]), rows = plain_rows(&job->cmd->in[0]);
    const float *z = job->in[0];
    const int32_t *labels = job->in[1];
    int32_t right = 0;
    for (int64_t i = 0; i < rows; i++)
        right += winner_of(z + i * n, n) == labels[i];
    *(int32_t *)job->out[0] = right;
}

const plain_kernel plain_math[MNT_OP_COUNT] = {
    [MNT_OP_ID_matmul] = matmul,
    [MNT_OP_ID_dense] = dense,
    [MNT_OP_ID_add] = add,
    [MNT_OP_ID_sub] = sub,
    [MNT_OP_ID_mul] = mul,
    [MNT_OP_ID_div] = divide,
    [MNT_OP_ID_scale] = scale,
    [MNT_OP_ID_relu] = relu,
    [MNT_OP_ID_relu_grad] = relu_grad,
    [MNT_OP_ID_bias_add] = bias_add,
    [MNT_OP_ID_bias_grad] = bias_grad,
    [MNT_OP_ID_sum] = sum_axes,
    [MNT_OP_ID_mean] = mean_axes,
    [MNT_OP_ID_argmax] = argmax,
    [MNT_OP_ID_softmax] = softmax,
    [MNT_OP_ID_softmax_grad] = softmax_grad,
    [MNT_OP_ID_cross_entropy] = cross_entropy,
    [MNT_OP_ID_cross_entropy_grad] = cross_entropy_grad,
    [MNT_OP_ID_cross_entropy_both] = cross_entropy_both,
    [MNT_OP_ID_accuracy_count] = accuracy_count,
};
