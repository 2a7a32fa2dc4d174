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

/*
 * Vectors of this kernel have at most eight lanes. Taps begin at any pixel, so longer
 * loads would cross a cache line more often than they save an instruction.
 */
#if defined(VEC_AVX512)
#define LANES 8
typedef float vec8 __attribute__((vector_size(32)));

VEC_INLINE vec8 vec8_load(const float *p)
{
    return (vec8)_mm256_loadu_ps(p);
}

VEC_INLINE vec8 vec8_fma(float a, vec8 b, vec8 c)
{
    return (vec8)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
}

VEC_INLINE void vec8_store(float *p, vec8 v)
{
    _mm256_storeu_ps(p, (__m256)v);
}
#else
#define LANES VEC_LANES
typedef vecf vec8;

VEC_INLINE vec8 vec8_load(const float *p)
{
    return vec_load(p);
}

VEC_INLINE vec8 vec8_fma(float a, vec8 b, vec8 c)
{
    return vec_fma(vec_set1(a), b, c);
}

VEC_INLINE void vec8_store(float *p, vec8 v)
{
    vec_store(p, v);
}
#endif

/* A tile of sums in registers: `lines` kernel lines x `wide` vectors, or a few channels
 * x lines x 1 where one channel would leave the adders waiting. */
#define MAX_LINES 5
#if defined(VEC_AVX512) || defined(VEC_NEON)
#define MAX_WIDE 5
#define TOGETHER 4
#else
#define MAX_WIDE 2
#define TOGETHER 2
#endif

typedef struct dw_plan {
    conv_geom g;
    int64_t cp, row;     /* channels; floats a padded line */
    int64_t wide, pitch; /* vectors, floats a kernel line */
    int64_t slab, size;  /* floats of a channel's sums; of all channels' */
    int64_t list;        /* entries there is room for */
    size_t local;
} dw_plan;

typedef struct dw_scratch {
    float *x;
    int32_t *base;
    int32_t *off[TOGETHER];
    float *val[TOGETHER];
    float *level[4];
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
    for (int i = 1; i < 4; i++) {
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
    p.wide = conv_ceil(p.g.kw * p.cp, LANES);
    p.pitch = p.wide * LANES;
    p.slab = p.g.kh * p.pitch;
    p.size = conv_round(p.g.oc * p.slab, VEC_LANES);
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

/*
 * out[o][r][v] = sum over i of val[o][i] x[off[o][i] + r line + v]: `count` channels, a
 * tile of lines x wide vectors each. With `add` it is added to out, which then holds
 * the sample before: the first step of numerics C6's tree.
 */
VEC_INLINE void sums(const dw_plan *p, const dw_scratch *s, float *out, const float *x,
                     int64_t n, bool add, int count, int lines, int wide)
{
    int64_t line = p->g.dh * p->row;
    vec8 acc[MAX_LINES * MAX_WIDE];
    CONV_UNROLL
    for (int a = 0; a < count * lines * wide; a++) {
        acc[a] = (vec8){ 0 };
    }
    CONV_NO_UNROLL
    for (int64_t i = 0; i < n; i++) {
        CONV_UNROLL
        for (int o = 0; o < count; o++) {
            float g = s->val[o][i];
            const float *at = x + s->off[o][i];
            CONV_UNROLL
            for (int t = 0; t < lines * wide; t++) {
                int a = o * lines * wide + t;
                vec8 v = vec8_load(at + t / wide * line + t % wide * LANES);
                acc[a] = vec8_fma(g, v, acc[a]);
            }
        }
    }
    CONV_UNROLL
    for (int a = 0; a < count * lines * wide; a++) {
        int o = a / (lines * wide), t = a % (lines * wide);
        float *to = out + o * p->slab + t / wide * p->pitch + t % wide * LANES;
        vec8 y = (vec8){ 0 } + acc[a];
        vec8_store(to, add ? vec8_load(to) + y : y);
    }
}

typedef void sums_fn(const dw_plan *p, const dw_scratch *s, float *out, const float *x,
                     int64_t n, bool add);

#define SUMS(count, lines, wide)                                                       \
    static void sums_##count##_##lines##x##wide(const dw_plan *p, const dw_scratch *s, \
                                                float *out, const float *x, int64_t n, \
                                                bool add)                              \
    {                                                                                  \
        sums(p, s, out, x, n, add, count, lines, wide);                                \
    }
#define SUMS_OF(count, wide)                                                           \
    SUMS(count, 1, wide)                                                               \
    SUMS(count, 2, wide)                                                               \
    SUMS(count, 3, wide)                                                               \
    SUMS(count, 5, wide)
#define NAMES(count, wide)                                                             \
    {                                                                                  \
        sums_##count##_1x##wide, sums_##count##_2x##wide, sums_##count##_3x##wide,     \
            sums_##count##_5x##wide                                                    \
    }

SUMS_OF(1, 1)
SUMS_OF(1, 2)
#if MAX_WIDE == 5
SUMS_OF(1, 3)
SUMS_OF(1, 5)
SUMS_OF(4, 1)
static sums_fn *const together[4] = NAMES(4, 1);
#else
SUMS_OF(2, 1)
static sums_fn *const together[4] = NAMES(2, 1);
#endif

/* Tiles by size: 1, 2, 3, 5 lines; 1, 2, 3, 5 vectors. */
static sums_fn *const single[][4] = {
    NAMES(1, 1),
    NAMES(1, 2),
#if MAX_WIDE == 5
    NAMES(1, 3),
    NAMES(1, 5),
#endif
};

/* The largest tile size up to n: its place in the lists above. */
static int tile_size(int64_t n, int most, int64_t *size)
{
    static const int sizes[4] = { 1, 2, 3, 5 };
    int i = 3;
    while (sizes[i] > n || sizes[i] > most) {
        i--;
    }
    *size = sizes[i];
    return i;
}

/* The sums of `count` channels over one image: lists of n entries are in s. */
static void channels(const dw_plan *p, const dw_scratch *s, float *out, int64_t n,
                     bool add, int count)
{
    int64_t line = p->g.dh * p->row, wide, lines;
    for (int64_t v = 0; v < p->wide; v += wide) {
        int w = tile_size(p->wide - v, MAX_WIDE, &wide);
        for (int64_t r = 0; r < p->g.kh; r += lines) {
            int l = tile_size(p->g.kh - r, MAX_LINES, &lines);
            sums_fn *fn = count > 1 ? together[l] : single[w][l];
            fn(p, s, out + r * p->pitch + v * LANES, s->x + r * line + v * LANES, n,
               add);
        }
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

/* An image's sums, stored or, as the second of a pair, added. */
static void sample(const cpu_job *job, const dw_plan *p, const dw_scratch *s,
                   int64_t image, float *out, bool add)
{
    const conv_geom *g = &p->g;
    const float *x = (const float *)job->in[0] + image * g->c * g->h * g->w;
    CPU_NAME(conv_to_last)
    (s->x + g->ph * p->row + g->pw * p->cp, x, g->c, g->h, g->w, p->row);
    int64_t oc = 0, n;
    for (; p->wide == 1 && oc + TOGETHER <= g->oc; oc += TOGETHER) {
        n = make_lists(job, p, s, image, oc, TOGETHER);
        channels(p, s, out + oc * p->slab, n, add, TOGETHER);
    }
    for (; oc < g->oc; oc++) {
        n = make_lists(job, p, s, image, oc, 1);
        channels(p, s, out + oc * p->slab, n, add, 1);
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
    for (int64_t i = unit * CONV_UNIT; i < end; i += 2) {
        sample(job, p, &s, i, conv_tree_top(&t), false);
        if (i + 1 < end) {
            sample(job, p, &s, i + 1, conv_tree_top(&t), true);
        }
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
                *dw++ = total[i * p->pitch + j * p->cp + c];
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
