/* SPDX-License-Identifier: MIT */
/*
 * conv2d_dw, variant "lanes": VEC_LANES images in the lanes, each lane the chain of its
 * own sample over the output positions in block order (numerics C5, C6).
 *
 * CONV_ROWS output channels x 4 taps are in registers at once. The samples' sums come
 * out side by side; transposed, they are added pairwise. A unit is 16 samples; the
 * second phase goes on with the units' sums.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct dw_plan {
    conv_geom g;
    int64_t k, taps;    /* taps of an output channel; of all of them */
    int64_t size;       /* the same in whole vectors */
    int64_t positions;  /* of the output */
    int64_t plane, row; /* steps of the input, in floats */
    size_t local;
} dw_plan;

typedef struct dw_scratch {
    float *x, *dy;      /* in lanes */
    int32_t *tap;       /* [k]: offset into x */
    int32_t *from, *at; /* [positions] in block order: offsets into dy and x */
    float *sums;        /* [taps][lane] */
    float *level[6];
} dw_scratch;

static dw_scratch cut_scratch(const dw_plan *p, char *local, size_t *bytes)
{
    conv_arena a = { local, 0 };
    dw_scratch s;
    s.x = conv_cut(&a, p->g.c * p->plane * 4);
    s.dy = conv_cut(&a, p->g.oc * p->positions * VEC_BYTES);
    s.tap = conv_cut(&a, p->k * 4);
    s.from = conv_cut(&a, p->positions * 4);
    s.at = conv_cut(&a, p->positions * 4);
    s.sums = conv_cut(&a, p->size * VEC_BYTES);
    s.level[0] = NULL;
    for (int i = 1; i < 6; i++) {
        bool used = (1 << (i - 1)) * VEC_LANES <= CONV_UNIT;
        s.level[i] = conv_cut(&a, used ? p->size * 4 : 0);
    }
    *bytes = a.used;
    return s;
}

static dw_plan make_plan(const mnt_cmd *cmd)
{
    dw_plan p;
    p.g = CPU_NAME(conv_geom_dw)(cmd);
    p.k = p.g.cg * p.g.kh * p.g.kw;
    p.taps = p.g.oc * p.k;
    p.size = conv_round(p.taps, VEC_LANES);
    p.positions = p.g.oh * p.g.ow;
    p.row = p.g.wp * VEC_LANES;
    p.plane = p.g.hp * p.row;
    cut_scratch(&p, NULL, &p.local);
    return p;
}

bool CPU_NAME(conv_dw_accepts)(const mnt_cmd *cmd)
{
    return CPU_NAME(conv_operands_ok)(cmd) &&
           make_plan(cmd).local <= 4 * CONV_MAX_LOCAL;
}

void CPU_NAME(conv_dw_plan)(cpu_job *job)
{
    dw_plan p = make_plan(job->cmd);
    int64_t units = conv_ceil(p.g.n, CONV_UNIT);
    job->shared_bytes = (size_t)(units * p.size) * 4;
    job->local_bytes = p.local;
    job->phases = 2;
    job->units[0] = units;
    job->units[1] = p.g.oc;
}

/* acc[r][q] += dy[r][from[i]] x[at[i] + tap[q]] for i < n, in order, from +0. */
static __attribute__((noinline)) void
tile(vecf out[CONV_ROWS][4], const float *const dy[CONV_ROWS], const float *x,
     const int32_t tap[4], const int32_t *from, const int32_t *at, int64_t n)
{
    const float *xq[4], *dyr[CONV_ROWS];
    vecf acc[CONV_ROWS * 4];
    CONV_UNROLL
    for (int q = 0; q < 4; q++) {
        xq[q] = x + tap[q];
        CONV_KEEP(xq[q]);
    }
    CONV_UNROLL
    for (int r = 0; r < CONV_ROWS; r++) {
        dyr[r] = dy[r];
        CONV_KEEP(dyr[r]);
    }
    CONV_UNROLL
    for (int a = 0; a < CONV_ROWS * 4; a++) {
        acc[a] = vec_zero();
    }
    CONV_NO_UNROLL
    for (int64_t i = 0; i < n; i++) {
        int64_t o = at[i], f = from[i];
        vecf v[4];
        CONV_UNROLL
        for (int q = 0; q < 4; q++) {
            v[q] = vec_load(xq[q] + o);
        }
        CONV_UNROLL
        for (int r = 0; r < CONV_ROWS; r++) {
            vecf g = vec_load(dyr[r] + f);
            acc[4 * r] = vec_fma(g, v[0], acc[4 * r]);
            acc[4 * r + 1] = vec_fma(g, v[1], acc[4 * r + 1]);
            acc[4 * r + 2] = vec_fma(g, v[2], acc[4 * r + 2]);
            acc[4 * r + 3] = vec_fma(g, v[3], acc[4 * r + 3]);
        }
    }
    CONV_UNROLL
    for (int a = 0; a < CONV_ROWS * 4; a++) {
        out[a / 4][a % 4] = acc[a];
    }
}

/* Rows [oc, oc + rows) x taps [k, k + n) of one group of images. */
static void tile_sums(const dw_plan *p, const dw_scratch *s, int64_t oc, int64_t rows,
                      int64_t k, int64_t n)
{
    const float *dy[CONV_ROWS];
    int32_t tap[4];
    vecf sum[CONV_ROWS][4];
    for (int r = 0; r < CONV_ROWS; r++) {
        dy[r] = s->dy + (oc + conv_min(r, rows - 1)) * p->positions * VEC_LANES;
        sum[r][0] = sum[r][1] = sum[r][2] = sum[r][3] = vec_zero();
    }
    for (int q = 0; q < 4; q++) {
        tap[q] = s->tap[k + conv_min(q, n - 1)];
    }
    const float *x = s->x + oc / p->g.og * p->g.cg * p->plane;
    for (int64_t i = 0; i < p->positions; i += CONV_POSITIONS) {
        vecf acc[CONV_ROWS][4];
        tile(acc, dy, x, tap, s->from + i, s->at + i,
             conv_min(CONV_POSITIONS, p->positions - i));
        for (int r = 0; r < CONV_ROWS; r++) {
            for (int q = 0; q < 4; q++) {
                sum[r][q] = sum[r][q] + acc[r][q];
            }
        }
    }
    for (int r = 0; r < CONV_ROWS; r++) {
        for (int q = 0; q < 4; q++) {
            int64_t to = (oc + conv_min(r, rows - 1)) * p->k + k + conv_min(q, n - 1);
            vec_store(s->sums + to * VEC_LANES, sum[r][q]);
        }
    }
}

/* out[tap] = the pairwise sum over lanes. Absent samples are +0 there, which adds
 * nothing. */
static void add_lanes(const dw_plan *p, const dw_scratch *s, float *out)
{
    for (int64_t i = 0; i < p->size; i += VEC_LANES) {
        vecf v[VEC_LANES];
        for (int l = 0; l < VEC_LANES; l++) {
            v[l] = vec_load(s->sums + (i + l) * VEC_LANES);
        }
        conv_transpose(v);
        for (int h = 1; h < VEC_LANES; h *= 2) {
            for (int l = 0; l < VEC_LANES; l += 2 * h) {
                v[l] = v[l] + v[l + h];
            }
        }
        vec_store(out + i, v[0]);
    }
}

static void images(const cpu_job *job, const dw_plan *p, const dw_scratch *s,
                   int64_t image, float *out)
{
    const conv_geom *g = &p->g;
    int lanes = (int)conv_min(VEC_LANES, g->n - image);
    int64_t in = g->c * g->h * g->w, dys = g->oc * p->positions;
    CPU_NAME(conv_to_lanes_padded)
    (s->x, (const float *)job->in[0] + image * in, lanes, in, g);
    CPU_NAME(conv_to_lanes)
    (s->dy, (const float *)job->in[1] + image * dys, lanes, dys, dys);
    for (int64_t b = 0; b < g->groups; b++) {
        for (int64_t r = 0; r < g->og; r += CONV_ROWS) {
            for (int64_t k = 0; k < p->k; k += 4) {
                tile_sums(p, s, b * g->og + r, conv_min(CONV_ROWS, g->og - r), k,
                          conv_min(4, p->k - k));
            }
        }
    }
    add_lanes(p, s, out);
}

/* Where taps and positions are. */
static void make_tables(const dw_plan *p, const dw_scratch *s)
{
    const conv_geom *g = &p->g;
    for (int64_t k = 0; k < p->k; k++) {
        int64_t c = k / (g->kh * g->kw), i = k / g->kw % g->kh, j = k % g->kw;
        s->tap[k] =
            (int32_t)(c * p->plane + i * g->dh * p->row + j * g->dw * VEC_LANES);
    }
    int64_t n = 0;
    for (int64_t by = 0; by < g->oh; by += 2) {
        for (int64_t bx = 0; bx < g->ow; bx += 2) {
            for (int e = 0; e < 4; e++) {
                int64_t y = by + e / 2, x = bx + e % 2;
                if (y < g->oh && x < g->ow) {
                    s->from[n] = (int32_t)((y * g->ow + x) * VEC_LANES);
                    s->at[n++] = (int32_t)(y * g->sh * p->row + x * g->sw * VEC_LANES);
                }
            }
        }
    }
}

void CPU_NAME(conv_dw_run)(const cpu_job *job, int phase, int64_t begin, int64_t end,
                           char *local)
{
    dw_plan p = make_plan(job->cmd);
    float *parts = (float *)(void *)job->shared;
    if (phase == 1) {
        for (int64_t oc = begin; oc < end; oc++) {
            CPU_NAME(conv_tree_total)
            ((float *)job->out[0] + oc * p.k, parts, p.size, p.g.n, oc * p.k, p.k);
        }
        return;
    }
    size_t bytes;
    dw_scratch s = cut_scratch(&p, local, &bytes);
    make_tables(&p, &s);
    memset(s.x, 0, (size_t)(p.g.c * p.plane) * 4);
    memset(s.sums + p.taps * VEC_LANES, 0, (size_t)((p.size - p.taps) * VEC_LANES) * 4);
    for (int64_t u = begin; u < end; u++) {
        conv_tree t = { .size = p.size };
        memcpy(t.level, s.level, sizeof s.level);
        t.level[0] = parts + u * p.size;
        int64_t last = conv_min(p.g.n, (u + 1) * CONV_UNIT);
        for (int64_t i = u * CONV_UNIT; i < last; i += VEC_LANES) {
            images(job, &p, &s, i, conv_tree_top(&t));
            CPU_NAME(conv_tree_push)(&t);
        }
        CPU_NAME(conv_tree_finish)(&t);
    }
}
