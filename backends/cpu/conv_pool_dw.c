/* SPDX-License-Identifier: MIT */
/*
 * conv2d_pool_dw, variant "sparse": the weight gradient behind a 2x2 pool. One output
 * position of a 2x2 block has a gradient, and blocks in row-major order are numerics
 * C5's order, so an image's channel is a list of (value, place), zeros left out.
 *
 * Images are channels last, so that the taps of one kernel line are kw cp floats in a
 * row; their sums stay in registers over the whole list. A unit is 16 samples, added
 * pairwise as they come; the second phase goes on with the units' sums.
 */
#include "conv.h"

#include "conv_kernels.h"

/* Vectors of sums that stay in registers. */
#if defined(VEC_AVX512) || defined(VEC_NEON)
#define SUMS     15
#define MAX_WIDE 3
#else
#define SUMS     10
#define MAX_WIDE 2
#endif
#define MAX_LINES 5
#define TOGETHER  3 /* lists walked at once where one leaves registers unused */

typedef struct dw_plan {
    conv_geom g;
    int64_t cp, row;    /* channels; floats a padded line */
    int64_t wide;       /* vectors a kernel line */
    int64_t slab, size; /* floats of a channel's sums; of all channels' */
    int64_t list;       /* entries there is room for */
    size_t local;
} dw_plan;

typedef struct dw_scratch {
    float *x;
    int32_t *base;
    int32_t *off[TOGETHER];
    float *val[TOGETHER];
    float *level[5];
} dw_scratch;

static dw_scratch cut_scratch(const dw_plan *p, char *local, size_t *bytes)
{
    conv_arena a = { local, 0 };
    dw_scratch s;
    s.x = conv_cut(&a, (p->g.hp * p->row + 2 * VEC_LANES) * 4);
    s.base = conv_cut(&a, p->list * 4);
    for (int i = 0; i < TOGETHER; i++) {
        s.off[i] = conv_cut(&a, p->list * 4);
        s.val[i] = conv_cut(&a, p->list * 4);
    }
    s.level[0] = NULL;
    for (int i = 1; i < 5; i++) {
        s.level[i] = conv_cut(&a, p->size * 4);
    }
    *bytes = a.used;
    return s;
}

static dw_plan make_plan(const mnt_cmd *cmd)
{
    dw_plan p;
    p.g = CPU_NAME(conv_geom_dw)(cmd);
    p.cp = CPU_NAME(conv_channels)(p.g.c);
    p.row = p.g.wp * p.cp;
    p.wide = conv_ceil(p.g.kw * p.cp, VEC_LANES);
    p.slab = p.g.kh * p.wide * VEC_LANES;
    p.size = p.g.oc * p.slab;
    p.list = p.g.yh * p.g.yw + VEC_LANES;
    cut_scratch(&p, NULL, &p.local);
    return p;
}

bool CPU_NAME(conv_pool_dw_accepts)(const mnt_cmd *cmd)
{
    if (!CPU_NAME(conv_operands_ok)(cmd)) {
        return false;
    }
    dw_plan p = make_plan(cmd);
    return CPU_NAME(conv_sparse_ok)(cmd, &p.g) && p.g.oh * p.g.ow <= CONV_POSITIONS &&
           p.local <= 4 * CONV_MAX_LOCAL;
}

void CPU_NAME(conv_pool_dw_plan)(cpu_job *job)
{
    dw_plan p = make_plan(job->cmd);
    int64_t units = conv_ceil(p.g.n, CONV_UNIT);
    job->shared_bytes = (size_t)(units * p.size) * 4;
    job->local_bytes = p.local;
    if (job->local_bytes < (size_t)p.slab * 4) {
        job->local_bytes = (size_t)p.slab * 4;
    }
    job->phases = 2;
    job->units[0] = units;
    job->units[1] = p.g.oc;
}

/* out[r][v] = sum of val[i] x[off[i] + r line + v], lines x wide vectors. */
VEC_INLINE void sums(float *out, int64_t pitch, const float *x, int64_t line,
                     const int32_t *off, const float *val, int64_t n, int lines,
                     int wide)
{
    vecf acc[MAX_LINES * MAX_WIDE];
    for (int i = 0; i < lines * wide; i++) {
        acc[i] = vec_zero();
    }
    CONV_NO_UNROLL
    for (int64_t i = 0; i < n; i++) {
        vecf g = vec_set1(val[i]);
        const float *at = x + off[i];
        for (int r = 0; r < lines; r++) {
            for (int v = 0; v < wide; v++) {
                acc[r * wide + v] = vec_fma(g, vec_load(at + r * line + v * VEC_LANES),
                                            acc[r * wide + v]);
            }
        }
    }
    for (int r = 0; r < lines; r++) {
        for (int v = 0; v < wide; v++) {
            vec_store(out + r * pitch + v * VEC_LANES, vec_zero() + acc[r * wide + v]);
        }
    }
}

typedef void sums_fn(float *out, int64_t pitch, const float *x, int64_t line,
                     const int32_t *off, const float *val, int64_t n);

#define SUMS_OF(lines, wide)                                                           \
    static void sums_##lines##x##wide(float *out, int64_t pitch, const float *x,       \
                                      int64_t line, const int32_t *off,                \
                                      const float *val, int64_t n)                     \
    {                                                                                  \
        sums(out, pitch, x, line, off, val, n, lines, wide);                           \
    }
SUMS_OF(1, 1)
SUMS_OF(2, 1)
SUMS_OF(3, 1)
SUMS_OF(4, 1)
SUMS_OF(5, 1)
SUMS_OF(1, 2)
SUMS_OF(2, 2)
SUMS_OF(3, 2)
SUMS_OF(4, 2)
SUMS_OF(5, 2)
#if MAX_WIDE == 3
SUMS_OF(1, 3)
SUMS_OF(2, 3)
SUMS_OF(3, 3)
SUMS_OF(4, 3)
SUMS_OF(5, 3)
#endif

static sums_fn *const sums_of[MAX_WIDE][MAX_LINES] = {
    { sums_1x1, sums_2x1, sums_3x1, sums_4x1, sums_5x1 },
    { sums_1x2, sums_2x2, sums_3x2, sums_4x2, sums_5x2 },
#if MAX_WIDE == 3
    { sums_1x3, sums_2x3, sums_3x3, sums_4x3, sums_5x3 },
#endif
};

/* One channel's sums over one image. */
static void channel(const dw_plan *p, const dw_scratch *s, float *out, int64_t n)
{
    int64_t line = p->g.dh * p->row, pitch = p->wide * VEC_LANES;
    for (int64_t v = 0; v < p->wide; v += MAX_WIDE) {
        int64_t wide = conv_min(MAX_WIDE, p->wide - v);
        for (int64_t r = 0; r < p->g.kh; r += MAX_LINES) {
            int64_t lines = conv_min(MAX_LINES, p->g.kh - r);
            sums_of[wide - 1][lines - 1](out + r * pitch + v * VEC_LANES, pitch,
                                         s->x + r * line + v * VEC_LANES, line,
                                         s->off[0], s->val[0], n);
        }
    }
}

/* Three channels at once, where a channel has few sums. */
VEC_INLINE void sums3(float *out, int64_t slab, const float *x, int64_t line,
                      const dw_scratch *s, int64_t n, int lines)
{
    vecf acc[TOGETHER * MAX_LINES];
    for (int i = 0; i < TOGETHER * lines; i++) {
        acc[i] = vec_zero();
    }
    CONV_NO_UNROLL
    for (int64_t i = 0; i < n; i++) {
        for (int o = 0; o < TOGETHER; o++) {
            vecf g = vec_set1(s->val[o][i]);
            const float *at = x + s->off[o][i];
            for (int r = 0; r < lines; r++) {
                acc[o * lines + r] =
                    vec_fma(g, vec_load(at + r * line), acc[o * lines + r]);
            }
        }
    }
    for (int o = 0; o < TOGETHER; o++) {
        for (int r = 0; r < lines; r++) {
            vec_store(out + o * slab + r * VEC_LANES, vec_zero() + acc[o * lines + r]);
        }
    }
}

static void channels3(const dw_plan *p, const dw_scratch *s, float *out, int64_t n)
{
    int64_t line = p->g.dh * p->row;
    switch (p->g.kh) {
    case 1:
        sums3(out, p->slab, s->x, line, s, n, 1);
        break;
    case 2:
        sums3(out, p->slab, s->x, line, s, n, 2);
        break;
    case 3:
        sums3(out, p->slab, s->x, line, s, n, 3);
        break;
    case 4:
        sums3(out, p->slab, s->x, line, s, n, 4);
        break;
    default:
        sums3(out, p->slab, s->x, line, s, n, 5);
        break;
    }
}

/* Lists of `count` channels from oc on, of equal length (filled up with zeros). */
static int64_t make_lists(const cpu_job *job, const dw_plan *p, const dw_scratch *s,
                          int64_t image, int64_t oc, int count)
{
    const conv_geom *g = &p->g;
    int32_t right = (int32_t)(g->sw * p->cp), down = (int32_t)(g->sh * p->row);
    const int32_t tab[4] = { 0, right, down, down + right };
    int64_t n[TOGETHER] = { 0 }, most = 0;
    for (int o = 0; o < count; o++) {
        int64_t from = (image * g->oc + oc + o) * g->yh * g->yw;
        n[o] = CPU_NAME(conv_pool_list)(
            s->off[o], s->val[o], (const float *)job->in[1] + from,
            (const uint8_t *)job->in[2] + from, s->base, tab, g->yh * g->yw);
        most = conv_max(most, n[o]);
    }
    for (int o = 0; o < count; o++) {
        for (int64_t i = n[o]; i < most; i++) {
            s->off[o][i] = 0;
            s->val[o][i] = 0.0f;
        }
    }
    return most;
}

static void sample(const cpu_job *job, const dw_plan *p, const dw_scratch *s,
                   int64_t image, float *out)
{
    const conv_geom *g = &p->g;
    const float *x = (const float *)job->in[0] + image * g->c * g->h * g->w;
    CPU_NAME(conv_to_last)
    (s->x + g->ph * p->row + g->pw * p->cp, x, g->c, g->h, g->w, p->row);
    int64_t oc = 0;
    if (p->wide == 1 && g->kh <= MAX_LINES && TOGETHER * g->kh <= SUMS) {
        for (; oc + TOGETHER <= g->oc; oc += TOGETHER) {
            int64_t n = make_lists(job, p, s, image, oc, TOGETHER);
            channels3(p, s, out + oc * p->slab, n);
        }
    }
    for (; oc < g->oc; oc++) {
        channel(p, s, out + oc * p->slab, make_lists(job, p, s, image, oc, 1));
    }
}

static void run_unit(const cpu_job *job, const dw_plan *p, int64_t unit, char *local)
{
    const conv_geom *g = &p->g;
    size_t bytes;
    dw_scratch s = cut_scratch(p, local, &bytes);
    s.level[0] = (float *)(void *)job->shared + unit * p->size;
    conv_tree t = { .size = p->size };
    memcpy(t.level, s.level, sizeof s.level);
    memset(s.x, 0, (size_t)(g->hp * p->row + 2 * VEC_LANES) * 4);
    for (int64_t i = 0; i < g->yh * g->yw; i++) {
        s.base[i] =
            (int32_t)(i / g->yw * 2 * g->sh * p->row + i % g->yw * 2 * g->sw * p->cp);
    }
    int64_t end = conv_min(g->n, (unit + 1) * CONV_UNIT);
    for (int64_t i = unit * CONV_UNIT; i < end; i++) {
        sample(job, p, &s, i, conv_tree_top(&t));
        CPU_NAME(conv_tree_push)(&t);
    }
    CPU_NAME(conv_tree_finish)(&t);
}

/* The total of one output channel, from channels last to [ic][kh][kw]. */
static void finish(const cpu_job *job, const dw_plan *p, int64_t oc, char *local)
{
    const conv_geom *g = &p->g;
    float *total = (float *)(void *)local, *dw = job->out[0];
    CPU_NAME(conv_tree_total)
    (total, (float *)(void *)job->shared, p->size, g->n, oc * p->slab, p->slab);
    dw += oc * g->c * g->kh * g->kw;
    for (int64_t c = 0; c < g->c; c++) {
        for (int64_t i = 0; i < g->kh; i++) {
            for (int64_t j = 0; j < g->kw; j++) {
                *dw++ = total[i * p->wide * VEC_LANES + j * p->cp + c];
            }
        }
    }
}

void CPU_NAME(conv_pool_dw_run)(const cpu_job *job, int phase, int64_t begin,
                                int64_t end, char *local)
{
    dw_plan p = make_plan(job->cmd);
    for (int64_t u = begin; u < end; u++) {
        if (phase == 0) {
            run_unit(job, &p, u, local);
        } else {
            finish(job, &p, u, local);
        }
    }
}
