/* SPDX-License-Identifier: MIT */
/*
 * conv2d_pool_db, variant "sparse": the bias gradient behind a 2x2 pool. It does not
 * matter which element of a window won, so this adds the rows (image, channel) of the
 * pooled gradient from left to right, VEC_LANES rows side by side, then over samples as
 * numerics C6 says.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct db_geom {
    int64_t n, oc, positions, size; /* size: oc rounded up to vectors */
} db_geom;

static db_geom make_geom(const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    db_geom g = { dy->dim[0], dy->dim[1], dy->dim[2] * dy->dim[3], 0 };
    g.size = conv_round(g.oc, VEC_LANES);
    return g;
}

static bool is_full(const mnt_operand *o)
{
    return o->ndim == 4 && o->dim[0] > 0 && o->dim[1] > 0 && o->dim[2] > 0 &&
           o->dim[3] > 0;
}

/* Up to 45 x 45 pooled positions are within one chunk of any convolution they can come
 * from, odd edges included. */
bool CPU_NAME(conv_pool_db_accepts)(const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    return dy->dtype == MNT_F32 && is_full(dy) &&
           (2 * dy->dim[2] + 1) * (2 * dy->dim[3] + 1) <= CONV_POSITIONS;
}

void CPU_NAME(conv_pool_db_plan)(cpu_job *job)
{
    db_geom g = make_geom(job->cmd);
    int64_t units = conv_ceil(g.n, CONV_UNIT);
    job->shared_bytes = (size_t)(units * g.size) * 4;
    job->local_bytes = (size_t)(CONV_UNIT * g.oc) * 4;
    job->phases = 2;
    job->units[0] = units;
    job->units[1] = 1;
}

/* VEC_LANES rows (fewer at the end) summed each from left to right. */
static vecf add_rows(const float *dy, int64_t positions, int rows)
{
    vecf sum = vec_zero();
    for (int64_t p = 0; p < positions; p += VEC_LANES) {
        vecf v[VEC_LANES];
        int n = (int)conv_min(VEC_LANES, positions - p);
        if (rows == VEC_LANES && n == VEC_LANES) {
            for (int l = 0; l < VEC_LANES; l++) {
                v[l] = vec_load(dy + l * positions + p);
            }
        } else {
            for (int l = 0; l < VEC_LANES; l++) {
                v[l] = l < rows ? vec_load_n(dy + l * positions + p, n) : vec_zero();
            }
        }
        conv_transpose(v);
        for (int i = 0; i < VEC_LANES; i++) {
            sum = sum + v[i];
        }
    }
    return vec_zero() + sum;
}

static void run_unit(const cpu_job *job, const db_geom *g, int64_t unit, char *local)
{
    float *sums = (float *)(void *)local; /* [sample][oc] */
    int64_t first = unit * CONV_UNIT;
    int64_t samples = conv_min(CONV_UNIT, g->n - first), rows = samples * g->oc;
    const float *dy = (const float *)job->in[0] + first * g->oc * g->positions;
    for (int64_t r = 0; r < rows; r += VEC_LANES) {
        int n = (int)conv_min(VEC_LANES, rows - r);
        conv_store_first(sums + r, add_rows(dy + r * g->positions, g->positions, n), n);
    }
    for (int64_t h = 1; h < CONV_UNIT; h *= 2) {
        for (int64_t s = 0; s + h < samples; s += 2 * h) {
            float *a = sums + s * g->oc;
            const float *b = sums + (s + h) * g->oc;
            for (int64_t o = 0; o < g->oc; o++) {
                a[o] = a[o] + b[o];
            }
        }
    }
    memcpy((float *)(void *)job->shared + unit * g->size, sums, (size_t)g->oc * 4);
}

void CPU_NAME(conv_pool_db_run)(const cpu_job *job, int phase, int64_t begin,
                                int64_t end, char *local)
{
    db_geom g = make_geom(job->cmd);
    for (int64_t u = begin; u < end; u++) {
        if (phase == 0) {
            run_unit(job, &g, u, local);
        } else {
            CPU_NAME(conv_tree_total)
            (job->out[0], (float *)(void *)job->shared, g.size, g.n, 0, g.oc);
        }
    }
}
