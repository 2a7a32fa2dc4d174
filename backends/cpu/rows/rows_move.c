/* SPDX-License-Identifier: MIT */
/*
 * Kernels that move values: gather of rows, cast from u8, copy and fill. Nothing is
 * computed but u8 -> f32, as x or as x / 255 correctly rounded.
 */
#include "rows.h"

/*
 * x / 255 for 0 <= x <= 255 and whole: the product with the rounded reciprocal and one
 * correction give the correctly rounded quotient for all 256 values. Without fma
 * hardware division is faster.
 */
VEC_INLINE vecf unit(vecf x)
{
#if defined(VEC_AVX512) || defined(VEC_AVX2) || defined(VEC_NEON)
    const vecf r = vec_set1(1.0f / 255.0f);
    vecf q = x * r;
    vecf rest = vec_fma(q, vec_set1(-255.0f), x);
    return vec_fma(rest, r, q);
#else
    return x / vec_set1(255.0f);
#endif
}

static void from_u8(const uint8_t *x, float *y, int64_t n, bool scaled)
{
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vecf v = rows_load_u8(x + i);
        vec_store(y + i, scaled ? unit(v) : v);
    }
    for (; i < n; i++)
        y[i] = scaled ? mnt_unit_u8(x[i]) : (float)x[i];
}

static void labels_from_u8(const uint8_t *x, int32_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i];
}

/* ---- gather: table [rows, inner...], index i32 [n] -> y [n, inner...] ---- */

/* job->i: indices, elements a row, rows a unit, rows of the table. */
enum { COUNT, INNER, EACH, TABLE };

#define AHEAD          8 /* rows */
#define PREFETCH_BYTES 1024

static void plan_gather(cpu_job *job)
{
    const mnt_operand *table = &job->cmd->in[0];
    job->i[COUNT] = mnt_operand_count(&job->cmd->in[1]);
    job->i[INNER] = rows_product(table, 1, table->ndim);
    job->i[EACH] = job->i[INNER] > 0 && job->i[INNER] < ROWS_BLOCK
                       ? ROWS_BLOCK / job->i[INNER]
                       : 1;
    job->i[TABLE] = table->dim[0];
    cpu_plan_units(job, rows_blocks(job->i[COUNT], job->i[EACH]));
}

static bool accepts_gather(const mnt_cmd *cmd)
{
    const mnt_operand *table = &cmd->in[0], *index = &cmd->in[1], *y = &cmd->out[0];
    bool wide = table->dtype == MNT_U8 && (y->dtype == MNT_F32 || y->dtype == MNT_I32);
    bool same = table->dtype == y->dtype && !cmd->args.cast.unit;
    return (wide || same) && index->dtype == MNT_I32 && table->ndim > 0 &&
           mnt_operand_contiguous(table) && mnt_operand_contiguous(index) &&
           mnt_operand_contiguous(y);
}

/* Names the first index outside the table, if there is one. */
static void check_indices(const cpu_job *job, const int32_t *index)
{
    uint32_t *fault = job->out[1];
    int64_t i = 0, n = job->i[COUNT], rows = job->i[TABLE];
    while (i < n && index[i] >= 0 && index[i] < rows)
        i++;
    if (i == n || !fault || fault[0] != MNT_FAULT_NONE)
        return;
    fault[1] = job->cmd->id;
    fault[2] = (uint32_t)i;
    fault[3] = (uint32_t)index[i];
    fault[0] = MNT_FAULT_INDEX;
}

/* Rows lie far apart, in other pages: the processor does not foresee them. */
static void prefetch_row(const char *table, int64_t row, int64_t rows, size_t bytes)
{
    if (row < 0 || row >= rows)
        return;
    for (size_t at = 0; at < bytes && at < PREFETCH_BYTES; at += CPU_ALIGN)
        __builtin_prefetch(table + (size_t)row * bytes + at);
}

static void run_gather(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    const char *table = job->in[0];
    const int32_t *index = job->in[1];
    const size_t from = mnt_dtype_size(cmd->in[0].dtype);
    const size_t to = mnt_dtype_size(cmd->out[0].dtype);
    const size_t inner = (size_t)job->i[INNER];
    if (begin == 0)
        check_indices(job, index);
    int64_t last = end * job->i[EACH];
    last = last < job->i[COUNT] ? last : job->i[COUNT];
    for (int64_t i = begin * job->i[EACH]; i < last; i++) {
        if (i + AHEAD < last)
            prefetch_row(table, index[i + AHEAD], job->i[TABLE], inner * from);
        char *y = (char *)job->out[0] + (size_t)i * inner * to;
        const char *x = table + (size_t)index[i] * inner * from;
        if (index[i] < 0 || index[i] >= job->i[TABLE])
            memset(y, 0, inner * to);
        else if (from == to)
            memcpy(y, x, inner * to);
        else if (cmd->out[0].dtype == MNT_I32)
            labels_from_u8((const uint8_t *)x, (int32_t *)(void *)y, (int64_t)inner);
        else
            from_u8((const uint8_t *)x, (float *)(void *)y, (int64_t)inner,
                    cmd->args.cast.unit);
    }
}

/* ---- cast ---- */

static void plan_cast(cpu_job *job)
{
    job->i[COUNT] = mnt_operand_count(&job->cmd->out[0]);
    cpu_plan_units(job, rows_blocks(job->i[COUNT], ROWS_BLOCK));
}

static bool accepts_cast(const mnt_cmd *cmd)
{
    return cmd->in[0].dtype == MNT_U8 && cmd->out[0].dtype == MNT_F32 &&
           mnt_operand_contiguous(&cmd->in[0]) && mnt_operand_contiguous(&cmd->out[0]);
}

static void run_cast(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    int64_t i = begin * ROWS_BLOCK, last = end * ROWS_BLOCK;
    last = last < job->i[COUNT] ? last : job->i[COUNT];
    from_u8((const uint8_t *)job->in[0] + i, (float *)job->out[0] + i, last - i,
            job->cmd->args.cast.unit);
}

/* ---- copy: runs of elements that are contiguous on both sides ---- */

/* job->i, beside COUNT: elements a run, runs a unit, first dim inside the run. */
enum { RUN = 1, RUNS = 2, AXIS = 3 };

/* The first dim from which both operands are row-major without gaps. */
static int run_axis(const mnt_operand *x, const mnt_operand *y)
{
    int64_t n = 1;
    int d = y->ndim;
    while (d > 0 &&
           (y->dim[d - 1] == 1 || (x->stride[d - 1] == n && y->stride[d - 1] == n)))
        n *= y->dim[--d];
    return d;
}

static void plan_copy(cpu_job *job)
{
    const mnt_operand *x = &job->cmd->in[0], *y = &job->cmd->out[0];
    int axis = run_axis(x, y);
    int64_t run = rows_product(y, axis, y->ndim), count = rows_product(y, 0, y->ndim);
    job->i[COUNT] = count;
    job->i[RUN] = run;
    job->i[AXIS] = axis;
    /* One long run is cut into blocks; short ones are bundled. */
    job->i[RUNS] = run > 0 && run < ROWS_BLOCK ? ROWS_BLOCK / run : 1;
    if (axis == 0)
        cpu_plan_units(job, rows_blocks(count, ROWS_BLOCK));
    else
        cpu_plan_units(job, count > 0 ? rows_blocks(count / run, job->i[RUNS]) : 0);
}

static bool accepts_copy(const mnt_cmd *cmd)
{
    const mnt_operand *x = &cmd->in[0], *y = &cmd->out[0];
    if (x->dtype != y->dtype || x->ndim != y->ndim)
        return false;
    int axis = run_axis(x, y);
    return axis == 0 || rows_product(y, axis, y->ndim) >= VEC_LANES;
}

static void run_copy(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *ox = &job->cmd->in[0], *oy = &job->cmd->out[0];
    const char *x = job->in[0];
    char *y = job->out[0];
    const size_t size = mnt_dtype_size(oy->dtype);
    const int64_t count = job->i[COUNT], run = job->i[RUN];
    if (job->i[AXIS] == 0) {
        int64_t i = begin * ROWS_BLOCK, last = end * ROWS_BLOCK;
        last = last < count ? last : count;
        memcpy(y + (size_t)i * size, x + (size_t)i * size, (size_t)(last - i) * size);
        return;
    }
    int64_t last = end * job->i[RUNS];
    last = last < count / run ? last : count / run;
    for (int64_t r = begin * job->i[RUNS]; r < last; r++) {
        int64_t rest = r, from = 0, to = 0;
        for (int d = (int)job->i[AXIS] - 1; d >= 0; d--) {
            int64_t at = rest % oy->dim[d];
            rest /= oy->dim[d];
            from += at * ox->stride[d];
            to += at * oy->stride[d];
        }
        memcpy(y + (size_t)to * size, x + (size_t)from * size, (size_t)run * size);
    }
}

const cpu_kernel CPU_NAME(cpu_rows_move)[] = {
    { MNT_OP_ID_gather, "simd", accepts_gather, plan_gather, run_gather },
    { MNT_OP_ID_cast, "simd", accepts_cast, plan_cast, run_cast },
    { MNT_OP_ID_copy, "simd", accepts_copy, plan_copy, run_copy },
    { 0 },
};
