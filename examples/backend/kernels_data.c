/* SPDX-License-Identifier: MIT */
/*
 * Kernels that move, convert and draw: copy, fill, cast, gather, batch_index,
 * accumulate, uniform, normal, advance. A move keeps every bit, so it copies bytes and
 * never loads a float.
 */
#include "plain.h"

#include <mnt/scalar.h>

static size_t size_of(mnt_dtype dtype)
{
    return dtype == MNT_U8 ? 1 : dtype == MNT_F16 ? 2 : 4;
}

bool plain_converts(mnt_dtype from, mnt_dtype to)
{
    bool known = (from == MNT_F32 || from == MNT_I32 || from == MNT_U8) &&
                 (to == MNT_F32 || to == MNT_I32 || to == MNT_U8);
    return from == to || known;
}

static int32_t to_i32(const void *x, mnt_dtype from, int64_t i)
{
    if (from == MNT_U8)
        return ((const uint8_t *)x)[i];
    if (from == MNT_I32)
        return ((const int32_t *)x)[i];
    float v = ((const float *)x)[i];
    if (v != v)
        return 0;
    return v >= 0x1p31f ? INT32_MAX : v < -0x1p31f ? INT32_MIN : (int32_t)v;
}

/* y[i] = x[j] in another type; `unit`: a byte as a share of 255. */
static void convert(void *y, mnt_dtype to, int64_t i, const void *x, mnt_dtype from,
                    int64_t j, bool unit)
{
    size_t size = size_of(to);
    if (from == to) {
        memcpy((char *)y + (size_t)i * size, (const char *)x + (size_t)j * size, size);
    } else if (to == MNT_F32 && unit && from == MNT_U8) {
        ((float *)y)[i] = mnt_unit_u8(((const uint8_t *)x)[j]);
    } else if (to == MNT_F32) {
        ((float *)y)[i] = (float)to_i32(x, from, j);
    } else if (to == MNT_I32) {
        ((int32_t *)y)[i] = to_i32(x, from, j);
    } else {
        int32_t v = to_i32(x, from, j);
        ((uint8_t *)y)[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void copy(const plain_job *job)
{
    const mnt_operand *x = &job->cmd->in[0], *y = &job->cmd->out[0];
    int64_t n = plain_count(y);
    for (int64_t i = 0; i < n; i++)
        convert(job->out[0], y->dtype, plain_at(y, i), job->in[0], y->dtype,
                plain_at(x, i), false);
}

static void fill(const plain_job *job)
{
    const mnt_operand *y = &job->cmd->out[0];
    int64_t n = plain_count(y);
    for (int64_t i = 0; i < n; i++)
        convert(job->out[0], y->dtype, plain_at(y, i), &job->cmd->args.scale.value,
                MNT_F32, 0, false);
}

static void cast(const plain_job *job)
{
    const mnt_cmd *cmd = job->cmd;
    int64_t n = plain_count(&cmd->out[0]);
    for (int64_t i = 0; i < n; i++)
        convert(job->out[0], cmd->out[0].dtype, i, job->in[0], cmd->in[0].dtype, i,
                cmd->args.cast.unit);
}

/* Rows of a table. A bad index makes a row of zeros and, the first one, a fault. */
static void gather(const plain_job *job)
{
    const mnt_cmd *cmd = job->cmd;
    const mnt_operand *table = &cmd->in[0], *y = &cmd->out[0];
    const int32_t *index = job->in[1];
    int64_t width = plain_dims(y, 1, y->ndim);
    size_t row_bytes = (size_t)width * size_of(y->dtype);
    for (int64_t i = 0; i < y->dim[0]; i++) {
        int32_t row = index[i];
        if (row < 0 || row >= table->dim[0]) {
            memset((char *)job->out[0] + (size_t)i * row_bytes, 0, row_bytes);
            plain_fault(job, job->out[1], MNT_FAULT_INDEX, i, row);
            continue;
        }
        for (int64_t k = 0; k < width; k++)
            convert(job->out[0], y->dtype, i * width + k, job->in[0], table->dtype,
                    row * width + k, cmd->args.cast.unit);
    }
}

/* The next samples of a permutation; the cursor moves on and wraps. */
static void batch_index(const plain_job *job)
{
    const int32_t *order = job->in[0];
    int32_t *index = job->out[0], *cursor = job->out[1];
    int64_t n = job->cmd->in[0].dim[0], batch = job->cmd->out[0].dim[0];
    if (n == 0)
        return;
    int64_t at = (*cursor % n + n) % n;
    for (int64_t i = 0; i < batch; i++)
        index[i] = order[(at + i) % n];
    *cursor = (int32_t)((at + batch) % n);
}

static void accumulate(const plain_job *job)
{
    int64_t n = plain_count(&job->cmd->out[0]);
    if (job->cmd->out[0].dtype == MNT_F32) {
        const float *x = job->in[0];
        float *total = job->out[0];
        for (int64_t i = 0; i < n; i++)
            total[i] = total[i] + x[i];
        return;
    }
    const uint32_t *x = job->in[0]; /* a count that overflows wraps */
    uint32_t *total = job->out[0];
    for (int64_t i = 0; i < n; i++)
        total[i] = total[i] + x[i];
}

/* Four random words of a block: counter (block, replay, stream), key = seed. */
static void draw(const plain_job *job, int64_t block, uint32_t words[4])
{
    const mnt_args_random *a = &job->cmd->args.random;
    const uint32_t *replay = job->in[0];
    const uint32_t counter[4] = { (uint32_t)block, (uint32_t)(block >> 32), replay[0],
                                  a->stream };
    const uint32_t key[2] = { (uint32_t)a->seed, (uint32_t)(a->seed >> 32) };
    mnt_philox(counter, key, words);
}

static void uniform(const plain_job *job)
{
    const mnt_args_random *a = &job->cmd->args.random;
    int64_t n = plain_count(&job->cmd->out[0]);
    float *y = job->out[0], width = a->b - a->a;
    uint32_t words[4];
    for (int64_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            draw(job, i / 4, words);
        float u = (float)(words[i % 4] >> 8) * 0x1p-24f;
        y[i] = mnt_fmaf(u, width, a->a);
    }
}

/* Box and Muller; two words an element, u1 in (0, 1], u2 in [0, 1). */
static void normal(const plain_job *job)
{
    const mnt_args_random *a = &job->cmd->args.random;
    int64_t n = plain_count(&job->cmd->out[0]);
    float *y = job->out[0];
    uint32_t words[4];
    for (int64_t i = 0; i < n; i++) {
        if (i % 2 == 0)
            draw(job, i / 2, words);
        const uint32_t *w = &words[i % 2 * 2];
        float u1 = (float)((w[0] >> 8) + 1) * 0x1p-24f;
        float u2 = (float)(w[1] >> 8) * 0x1p-24f;
        float z = mnt_sqrtf(-2.0f * mnt_logf(u1)) * mnt_cospif(2.0f * u2);
        y[i] = mnt_fmaf(z, a->b, a->a);
    }
}

static void advance(const plain_job *job)
{
    uint32_t *counter = job->out[0];
    counter[0]++;
    counter[1] += counter[0] == 0;
}

const plain_kernel plain_data[MNT_OP_COUNT] = {
    [MNT_OP_ID_copy] = copy,
    [MNT_OP_ID_fill] = fill,
    [MNT_OP_ID_cast] = cast,
    [MNT_OP_ID_gather] = gather,
    [MNT_OP_ID_batch_index] = batch_index,
    [MNT_OP_ID_accumulate] = accumulate,
    [MNT_OP_ID_uniform] = uniform,
    [MNT_OP_ID_normal] = normal,
    [MNT_OP_ID_advance] = advance,
};
