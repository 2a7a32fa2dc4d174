/* SPDX-License-Identifier: MIT */
/*
 * Reference data movement: copy, fill, cast, gather, batch_index, accumulate. Moves
 * keep every bit, so they copy integers of the element's size and never load a float.
 */
#include "ref.h"

static size_t ref_size(mnt_dtype dtype)
{
    switch (dtype) {
    case MNT_U8:
        return 1;
    case MNT_F16:
        return 2;
    default:
        return 4;
    }
}

static float ref_to_f32(const void *x, mnt_dtype dtype, int64_t i, bool unit)
{
    if (dtype == MNT_I32)
        return (float)((const int32_t *)x)[i];
    uint8_t v = ((const uint8_t *)x)[i];
    return unit ? mnt_unit_u8(v) : (float)v;
}

static int32_t ref_to_i32(const void *x, mnt_dtype dtype, int64_t i)
{
    if (dtype == MNT_U8)
        return ((const uint8_t *)x)[i];
    float v = ((const float *)x)[i];
    if (v >= 0x1p31f)
        return INT32_MAX;
    if (v < -0x1p31f)
        return INT32_MIN;
    return v == v ? (int32_t)v : 0;
}

static uint8_t ref_to_u8(const void *x, mnt_dtype dtype, int64_t i)
{
    int32_t v = dtype == MNT_I32 ? ((const int32_t *)x)[i] : ref_to_i32(x, dtype, i);
    return v < 0 ? 0 : v > UINT8_MAX ? UINT8_MAX : (uint8_t)v;
}

static void ref_convert(void *y, mnt_dtype to, int64_t i, const void *x, mnt_dtype from,
                        int64_t j, bool unit)
{
    size_t size = ref_size(to);
    if (to == from)
        memcpy((char *)y + (size_t)i * size, (const char *)x + (size_t)j * size, size);
    else if (to == MNT_F32)
        ((float *)y)[i] = ref_to_f32(x, from, j, unit);
    else if (to == MNT_I32)
        ((int32_t *)y)[i] = ref_to_i32(x, from, j);
    else
        ((uint8_t *)y)[i] = ref_to_u8(x, from, j);
}

static bool ref_is_plain(mnt_dtype dtype)
{
    return dtype == MNT_F32 || dtype == MNT_I32 || dtype == MNT_U8;
}

static bool accepts_cast(const mnt_cmd *cmd)
{
    mnt_dtype from = cmd->in[0].dtype, to = cmd->out[0].dtype;
    return from == to || (ref_is_plain(from) && ref_is_plain(to));
}

static void run_cast(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end; i++)
        ref_convert(job->out[0], cmd->out[0].dtype, i, job->in[0], cmd->in[0].dtype, i,
                    cmd->args.cast.unit);
}

static void run_copy(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *const o[] = { &job->cmd->out[0], &job->cmd->in[0] };
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end;) {
        ref_run r = ref_run_at(o, 2, i, e.end);
        for (int64_t k = 0; k < r.count; k++)
            ref_convert(job->out[0], o[0]->dtype, r.at[0] + k * r.step[0], job->in[0],
                        o[0]->dtype, r.at[1] + k * r.step[1], false);
        i += r.count;
    }
}

static bool accepts_fill(const mnt_cmd *cmd)
{
    return ref_is_plain(cmd->out[0].dtype);
}

static void run_fill(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *const o[] = { &job->cmd->out[0] };
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end;) {
        ref_run r = ref_run_at(o, 1, i, e.end);
        for (int64_t k = 0; k < r.count; k++)
            ref_convert(job->out[0], o[0]->dtype, r.at[0] + k * r.step[0],
                        &job->cmd->args.scale.value, MNT_F32, 0, false);
        i += r.count;
    }
}

static void plan_gather(cpu_job *job)
{
    job->phases = 2;
    job->units[0] = job->cmd->out[0].dim[0];
    job->units[1] = 1;
}

static bool ref_row_ok(const mnt_cmd *cmd, int32_t row)
{
    return row >= 0 && row < cmd->in[0].dim[0];
}

/* The lowest row with an index out of range goes into the fault word. */
static void ref_gather_fault(const cpu_job *job)
{
    const int32_t *index = job->in[1];
    uint32_t *fault = job->out[1];
    int64_t n = job->units[0], i = 0;
    while (i < n && ref_row_ok(job->cmd, index[i]))
        i++;
    if (i == n || fault == NULL || fault[0] != MNT_FAULT_NONE)
        return;
    fault[1] = job->cmd->id;
    fault[2] = (uint32_t)i;
    fault[3] = (uint32_t)index[i];
    fault[0] = MNT_FAULT_INDEX;
}

static void run_gather(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)local;
    if (phase == 1) {
        ref_gather_fault(job);
        return;
    }
    const mnt_cmd *cmd = job->cmd;
    const mnt_operand *y = &cmd->out[0];
    const int32_t *index = job->in[1];
    int64_t width = ref_dims(y, 1, y->ndim);
    for (int64_t i = begin; i < end; i++) {
        if (!ref_row_ok(cmd, index[i])) {
            size_t bytes = (size_t)width * ref_size(y->dtype);
            memset((char *)job->out[0] + (size_t)i * bytes, 0, bytes);
            continue;
        }
        for (int64_t k = 0; k < width; k++)
            ref_convert(job->out[0], y->dtype, i * width + k, job->in[0],
                        cmd->in[0].dtype, index[i] * width + k, cmd->args.cast.unit);
    }
}

/* index[i] = permutation[(cursor + i) mod n]; then the cursor moves on. */
static void run_batch_index(const cpu_job *job, int phase, int64_t begin, int64_t end,
                            char *local)
{
    (void)phase;
    (void)local;
    (void)begin;
    (void)end;
    const int32_t *permutation = job->in[0];
    int64_t n = job->cmd->in[0].dim[0], batch = job->cmd->out[0].dim[0];
    int32_t *index = job->out[0], *cursor = job->out[1];
    if (n == 0)
        return;
    int64_t at = *(const int32_t *)job->in[1] % n;
    at = at < 0 ? at + n : at;
    for (int64_t i = 0; i < batch; i++)
        index[i] = permutation[(at + i) % n];
    *cursor = (int32_t)((at + batch) % n);
}

static bool accepts_accumulate(const mnt_cmd *cmd)
{
    return cmd->in[0].dtype == MNT_F32 || cmd->in[0].dtype == MNT_I32;
}

static void run_accumulate(const cpu_job *job, int phase, int64_t begin, int64_t end,
                           char *local)
{
    (void)phase;
    (void)local;
    ref_range e = ref_elements(job, begin, end);
    if (job->cmd->in[0].dtype == MNT_F32) {
        const float *x = job->in[0], *total = job->in[1];
        float *y = job->out[0];
        for (int64_t i = e.first; i < e.end; i++)
            y[i] = total[i] + x[i];
        return;
    }
    /* Unsigned: a count that overflows wraps. */
    const uint32_t *x = job->in[0], *total = job->in[1];
    uint32_t *y = job->out[0];
    for (int64_t i = e.first; i < e.end; i++)
        y[i] = total[i] + x[i];
}

const cpu_kernel CPU_NAME(cpu_ref_move)[] = {
    { MNT_OP_ID_copy, "ref", NULL, ref_plan_blocks, run_copy },
    { MNT_OP_ID_cast, "ref", accepts_cast, ref_plan_blocks, run_cast },
    { MNT_OP_ID_gather, "ref", accepts_cast, plan_gather, run_gather },
    { MNT_OP_ID_batch_index, "ref", NULL, ref_plan_one, run_batch_index },
    { MNT_OP_ID_fill, "ref", accepts_fill, ref_plan_blocks, run_fill },
    { MNT_OP_ID_accumulate, "ref", accepts_accumulate, ref_plan_blocks,
      run_accumulate },
    { 0 },
};
