/* SPDX-License-Identifier: MIT */
/*
 * conv2d_pool_dx, variant "sparse": the input gradient behind a 2x2 pool. Output
 * channel by output channel, each pooled gradient adds its multiple of kh lines of kw
 * cp weights to a channels-last image in scratch; per pixel that is numerics C4's
 * order.
 *
 * Where pixels are narrower than a vector, the weights are packed once for each place a
 * pixel can have inside a vector. Loads and stores are then always whole aligned
 * vectors, so that a load finds the line's last store in one piece.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct dx_plan {
    conv_geom g;
    int64_t cp, row;     /* channels; floats a padded line, whole vectors */
    int64_t wide;        /* vectors a kernel line touches */
    int64_t places;      /* of a pixel inside a vector */
    int64_t pack;        /* floats of one channel's weights at one place */
    int64_t image, list; /* floats of the image; entries of the list */
    size_t local;
} dx_plan;

typedef struct dx_scratch {
    float *x, *total;
    int32_t *base, *off;
    float *val;
} dx_scratch;

static dx_scratch cut_scratch(const dx_plan *p, char *local, size_t *bytes)
{
    conv_arena a = { local, 0 };
    dx_scratch s;
    s.x = conv_cut(&a, p->image * 4);
    s.total = conv_cut(&a, p->g.oc > p->g.chunk ? p->image * 4 : 0);
    s.base = conv_cut(&a, p->list * 4);
    s.off = conv_cut(&a, p->list * 4);
    s.val = conv_cut(&a, p->list * 4);
    *bytes = a.used;
    return s;
}

static dx_plan make_plan(const mnt_cmd *cmd)
{
    dx_plan p;
    p.g = CPU_NAME(conv_geom_dx)(cmd);
    p.cp = CPU_NAME(conv_channels)(p.g.c);
    p.row = conv_round(p.g.wp * p.cp, VEC_LANES);
    p.places = p.cp < VEC_LANES ? VEC_LANES / p.cp : 1;
    p.wide = conv_ceil(p.g.kw * p.cp + (p.places - 1) * p.cp, VEC_LANES);
    p.pack = p.g.kh * p.wide * VEC_LANES;
    p.image = p.g.hp * p.row + (p.wide + 1) * VEC_LANES;
    p.list = p.g.yh * p.g.yw + VEC_LANES;
    cut_scratch(&p, NULL, &p.local);
    return p;
}

bool CPU_NAME(conv_pool_dx_accepts)(const mnt_cmd *cmd)
{
    if (!CPU_NAME(conv_operands_ok)(cmd)) {
        return false;
    }
    dx_plan p = make_plan(cmd);
    return CPU_NAME(conv_sparse_ok)(cmd, &p.g) && p.local <= 4 * CONV_MAX_LOCAL;
}

void CPU_NAME(conv_pool_dx_plan)(cpu_job *job)
{
    dx_plan p = make_plan(job->cmd);
    job->shared_bytes = (size_t)(p.g.oc * p.places * p.pack) * 4;
    job->local_bytes = p.local;
    job->phases = 2;
    job->units[0] = p.g.oc;
    job->units[1] = p.g.n;
}

/* w[oc][place][kh][wide vectors]: kernel lines in channels last, `place` pixels in. */
static void pack(const cpu_job *job, const dx_plan *p, int64_t oc)
{
    const conv_geom *g = &p->g;
    const float *w = (const float *)job->in[2] + oc * g->c * g->kh * g->kw;
    float *dst = (float *)(void *)job->shared + oc * p->places * p->pack;
    memset(dst, 0, (size_t)(p->places * p->pack) * 4);
    for (int64_t s = 0; s < p->places; s++) {
        for (int64_t c = 0; c < g->c; c++) {
            for (int64_t i = 0; i < g->kh; i++) {
                for (int64_t j = 0; j < g->kw; j++) {
                    dst[(s * g->kh + i) * p->wide * VEC_LANES + (s + j) * p->cp + c] =
                        w[(c * g->kh + i) * g->kw + j];
                }
            }
        }
    }
}

/* x[off[i] rounded down + r line + v] += w[place of off[i]][r][v] val[i], in order: all
 * of a kernel for one gradient, then the next, because their pixels overlap. */
VEC_INLINE void scatter(float *x, int64_t line, const float *w, int64_t pitch,
                        int64_t place, const int32_t *off, const float *val, int64_t n,
                        int64_t lines, int64_t wide)
{
    CONV_NO_UNROLL
    for (int64_t i = 0; i < n; i++) {
        vecf g = vec_set1(val[i]);
        int64_t shift = off[i] & (VEC_LANES - 1);
        float *at = x + (off[i] - shift);
        const float *wi = w + shift * place;
        CONV_UNROLL
        for (int64_t r = 0; r < lines; r++) {
            CONV_UNROLL
            for (int64_t v = 0; v < wide; v++) {
                float *to = at + v * VEC_LANES;
                vec_store(to, vec_fma(g, vec_load(wi + v * VEC_LANES), vec_load(to)));
            }
            at += line;
            wi += pitch;
            CONV_KEEP(at);
            CONV_KEEP(wi);
        }
    }
}

typedef void scatter_fn(float *x, int64_t line, const float *w, int64_t pitch,
                        int64_t place, const int32_t *off, const float *val, int64_t n,
                        int64_t lines, int64_t wide);

static void scatter_any(float *x, int64_t line, const float *w, int64_t pitch,
                        int64_t place, const int32_t *off, const float *val, int64_t n,
                        int64_t lines, int64_t wide)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t shift = off[i] & (VEC_LANES - 1);
        for (int64_t r = 0; r < lines; r++) {
            float *at = x + (off[i] - shift) + r * line;
            const float *wi = w + shift * place + r * pitch;
            for (int64_t v = 0; v < wide * VEC_LANES; v += VEC_LANES) {
                vec_store(at + v, vec_fma(vec_set1(val[i]), vec_load(wi + v),
                                          vec_load(at + v)));
            }
        }
    }
}

/* The loops of sizes that nets have, unrolled. */
#define SCATTER(l, w_)                                                                 \
    static void scatter_##l##x##w_(                                                    \
        float *x, int64_t line, const float *w, int64_t pitch, int64_t place,          \
        const int32_t *off, const float *val, int64_t n, int64_t lines, int64_t wide)  \
    {                                                                                  \
        (void)lines;                                                                   \
        (void)wide;                                                                    \
        scatter(x, line, w, pitch, place, off, val, n, l, w_);                         \
    }
SCATTER(3, 1)
SCATTER(3, 2)
SCATTER(3, 3)
SCATTER(3, 6)
SCATTER(5, 1)
SCATTER(5, 2)
SCATTER(5, 3)
SCATTER(5, 5)
SCATTER(5, 10)

static scatter_fn *choose(int64_t lines, int64_t wide)
{
    switch (lines * 16 + wide) {
    case 3 * 16 + 1:
        return scatter_3x1;
    case 3 * 16 + 2:
        return scatter_3x2;
    case 3 * 16 + 3:
        return scatter_3x3;
    case 3 * 16 + 6:
        return scatter_3x6;
    case 5 * 16 + 1:
        return scatter_5x1;
    case 5 * 16 + 2:
        return scatter_5x2;
    case 5 * 16 + 3:
        return scatter_5x3;
    case 5 * 16 + 5:
        return scatter_5x5;
    case 5 * 16 + 10:
        return scatter_5x10;
    default:
        return scatter_any;
    }
}

static void channel(const dx_plan *p, const dx_scratch *s, const float *w, int64_t n)
{
    /* The weights of place q are q pack floats on; off's low bits are q cp. */
    int64_t place = p->places > 1 ? p->pack / p->cp : 0;
    scatter_fn *fn = p->wide < 16 ? choose(p->g.kh, p->wide) : scatter_any;
    fn(s->x, p->g.dh * p->row, w, p->wide * VEC_LANES, place, s->off, s->val, n,
       p->g.kh, p->wide);
}

/* Ends a chunk of output channels: total += x. */
static void add_chunk(const dx_plan *p, const dx_scratch *s)
{
    for (int64_t i = 0; i < p->g.hp * p->row; i += VEC_LANES) {
        vec_store(s->total + i, vec_load(s->total + i) + vec_load(s->x + i));
        vec_store(s->x + i, vec_zero());
    }
}

static void run_image(const cpu_job *job, const dx_plan *p, const dx_scratch *s,
                      int64_t image)
{
    const conv_geom *g = &p->g;
    int32_t right = (int32_t)(g->sw * p->cp), down = (int32_t)(g->sh * p->row);
    const int32_t tab[4] = { 0, right, down, down + right };
    bool many = g->oc > g->chunk;
    memset(s->x, 0, (size_t)p->image * 4);
    if (many) {
        memset(s->total, 0, (size_t)p->image * 4);
    }
    for (int64_t oc = 0; oc < g->oc; oc++) {
        int64_t from = (image * g->oc + oc) * g->yh * g->yw;
        int64_t n = CPU_NAME(conv_pool_list)(
            s->off, s->val, (const float *)job->in[0] + from,
            (const uint8_t *)job->in[1] + from, s->base, tab, g->yh * g->yw);
        channel(p, s,
                (const float *)(const void *)job->shared + oc * p->places * p->pack, n);
        if (many && ((oc + 1) % g->chunk == 0 || oc + 1 == g->oc)) {
            add_chunk(p, s);
        }
    }
    const float *from = many ? s->total : s->x;
    CPU_NAME(conv_from_last)
    ((float *)job->out[0] + image * g->c * g->h * g->w,
     from + g->ph * p->row + g->pw * p->cp, g->c, g->h, g->w, p->row);
}

void CPU_NAME(conv_pool_dx_run)(const cpu_job *job, int phase, int64_t begin,
                                int64_t end, char *local)
{
    dx_plan p = make_plan(job->cmd);
    if (phase == 0) {
        for (int64_t u = begin; u < end; u++) {
            pack(job, &p, u);
        }
        return;
    }
    size_t bytes;
    dx_scratch s = cut_scratch(&p, local, &bytes);
    const conv_geom *g = &p.g;
    for (int64_t i = 0; i < g->yh * g->yw; i++) {
        s.base[i] =
            (int32_t)(i / g->yw * 2 * g->sh * p.row + i % g->yw * 2 * g->sw * p.cp);
    }
    for (int64_t u = begin; u < end; u++) {
        run_image(job, &p, &s, u);
    }
}
