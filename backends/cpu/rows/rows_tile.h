/* SPDX-License-Identifier: MIT */
/*
 * Rows of logits for rows_softmax.c and rows_loss.c, in two forms. Narrow rows (at most
 * ROWS_NARROW classes, the usual case): VEC_LANES rows at a time, one in each lane,
 * through a transposed tile; the tree of numerics D1 then runs over whole vectors. Wide
 * rows: elements in lanes, one row at a time.
 *
 * The maximum here may ignore a NaN and the sign of a zero: a NaN reaches every result
 * of its row through the sum, and exp(+-0) = 1.
 */
#ifndef CPU_ROWS_TILE_H
#define CPU_ROWS_TILE_H

#include "rows.h"

#define ROWS_NARROW 64
#define ROWS_GROUP  16 /* narrow rows a unit; a multiple of VEC_LANES */

/* job->i: rows, classes, rows a unit. */
enum { ROWS_COUNT, ROWS_CLASSES, ROWS_EACH };

static inline void rows_plan(cpu_job *job, const mnt_operand *z)
{
    job->i[ROWS_COUNT] = z->ndim > 0 ? rows_product(z, 0, z->ndim - 1) : 1;
    job->i[ROWS_CLASSES] = z->ndim > 0 ? z->dim[z->ndim - 1] : 1;
    job->i[ROWS_EACH] = job->i[ROWS_CLASSES] <= ROWS_NARROW ? ROWS_GROUP : 1;
    cpu_plan_units(job, rows_blocks(job->i[ROWS_COUNT], job->i[ROWS_EACH]));
}

/* ---- narrow: tiles [class][row] ---- */

typedef struct rows_tile {
    vecf v[ROWS_NARROW];
} rows_tile;

/* Rows past `rows` become zeros. */
static inline void rows_load_tile(rows_tile *t, const float *z, int rows, int n)
{
    float flat[ROWS_NARROW * VEC_LANES];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++)
            flat[j * VEC_LANES + r] = z[r * n + j];
    t->v[0] = vec_zero(); /* defined for n = 0 too */
    for (int j = 0; j < n; j++)
        t->v[j] = vec_load_n(flat + j * VEC_LANES, rows);
}

static inline void rows_store_tile(const rows_tile *t, float *z, int rows, int n)
{
    float flat[ROWS_NARROW * VEC_LANES];
    for (int j = 0; j < n; j++)
        vec_store(flat + j * VEC_LANES, t->v[j]);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++)
            z[r * n + j] = flat[j * VEC_LANES + r];
}

/* D1 over n <= ROWS_NARROW vectors. Absent lanes of the tree are +0: adding one changes
 * nothing but a -0, which sums of exp() never are. Leaves v as scratch. */
VEC_INLINE vecf rows_tile_tree(vecf *v, int n, bool positive)
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

typedef struct rows_softmax_lanes {
    vecf max, sum;
    rows_tile e; /* exp(z - max) */
} rows_softmax_lanes;

static inline void rows_softmax(rows_softmax_lanes *s, const rows_tile *z, int n)
{
    vecf m = z->v[0];
    for (int j = 1; j < n; j++)
        m = vec_select((veci)(z->v[j] > m), z->v[j], m);
    rows_tile sums;
    for (int j = 0; j < n; j++)
        sums.v[j] = s->e.v[j] = rows_exp(z->v[j] - m);
    s->max = m;
    s->sum = rows_tile_tree(sums.v, n, true);
}

/* ---- wide: one row ---- */

/* Writes exp(z - max) to e; returns the maximum. */
static inline float rows_exp_row(const float *z, float *e, int64_t n)
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
static inline void rows_divide(const float *x, float s, float *y, int64_t n)
{
    const vecf d = vec_set1(s);
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(y + i, vec_load(x + i) / d);
    if (i < n)
        vec_store_n(y + i, vec_load_n(x + i, (int)(n - i)) / d, (int)(n - i));
}

#endif
