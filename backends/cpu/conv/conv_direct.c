/* SPDX-License-Identifier: MIT */
/*
 * conv2d and conv2d_block, variant "direct": VEC_LANES output channels in the lanes of
 * a vector, inputs broadcast from where they lie. It needs no second image, so it
 * serves small batches, and layers too large for the scratch of "lanes".
 *
 * A unit is one image's band of output lines, all channels. Eight positions (two
 * pooling windows' four elements, or eight neighbours of a line) share each vector of
 * weights. A padded image's band is copied with its zeros; others are read in place.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct direct_plan {
    conv_geom g;
    conv_pack pack;
    int64_t bands, lines; /* bands an image; output lines a band */
    int64_t in_lines;     /* input lines a copied band has */
    int64_t plane, row;   /* steps of the input, in floats */
    bool copy;
    size_t local;
} direct_plan;

typedef struct direct_scratch {
    float *x;        /* [c][in_lines][wp] */
    float *y;        /* [lines yw][lane] */
    int32_t *winner; /* the same */
} direct_scratch;

/* One band at work. */
typedef struct direct_band {
    const direct_plan *p;
    direct_scratch s;
    const float *x; /* the group's first plane, at the band's first line */
    const float *w;
    vecf bias;
    conv_end end;
    int64_t lines;
} direct_band;

static direct_scratch cut_scratch(const direct_plan *p, char *local, size_t *bytes)
{
    conv_arena a = { local, 0 };
    direct_scratch s;
    int64_t out = p->lines * p->g.yw * VEC_BYTES;
    s.x = conv_cut(&a, p->copy ? p->g.c * p->plane * 4 : 0);
    s.y = conv_cut(&a, out);
    s.winner = conv_cut(&a, p->g.pool ? out : 0);
    *bytes = a.used;
    return s;
}

static direct_plan make_plan(const mnt_cmd *cmd, char *base)
{
    direct_plan p;
    p.g = CPU_NAME(conv_geom_forward)(cmd);
    const conv_geom *g = &p.g;
    p.pack = CPU_NAME(conv_pack_layout)(g, VEC_LANES, base);
    int64_t bands = conv_min(g->yh, conv_ceil(16, g->n));
    p.lines = conv_ceil(g->yh, bands);
    p.bands = conv_ceil(g->yh, p.lines);
    p.copy = g->ph > 0 || g->pw > 0;
    p.in_lines =
        (((p.lines - 1) * g->qsh + g->qh - 1) * g->sh) + g->dh * (g->kh - 1) + 1;
    p.row = p.copy ? g->wp : g->w;
    p.plane = p.copy ? p.in_lines * g->wp : g->h * g->w;
    cut_scratch(&p, NULL, &p.local);
    return p;
}

bool CPU_NAME(conv_direct_accepts)(const mnt_cmd *cmd)
{
    if (!CPU_NAME(conv_operands_ok)(cmd)) {
        return false;
    }
    if (cmd->op == MNT_OP_ID_conv2d_block && !conv_pool_fits(&cmd->args.block.pool)) {
        return false;
    }
    return make_plan(cmd, NULL).local <= 4 * CONV_MAX_LOCAL;
}

void CPU_NAME(conv_direct_plan)(cpu_job *job)
{
    direct_plan p = make_plan(job->cmd, NULL);
    CPU_NAME(conv_pack_plan)(job, p.pack.bytes);
    job->local_bytes = p.local;
    job->phases = 2;
    job->units[0] = 1 + p.g.groups * p.pack.blocks;
    job->units[1] = p.g.n * p.bands;
}

/* acc[q] += w[k] x[table[k] + at[q]] for k < n, in order, from +0. */
static __attribute__((noinline)) void tile(vecf out[8], const float *x,
                                           const int64_t at[8], const int32_t *table,
                                           const float *w, int64_t n)
{
    const float *p[8];
    vecf acc[8];
    CONV_UNROLL
    for (int q = 0; q < 8; q++) {
        p[q] = x + at[q];
        CONV_KEEP(p[q]);
        acc[q] = vec_zero();
    }
    CONV_NO_UNROLL
    for (int64_t k = 0; k < n; k++) {
        int64_t o = table[k];
        vecf v = vec_load(w + k * VEC_LANES);
        CONV_UNROLL
        for (int q = 0; q < 8; q++) {
            acc[q] = vec_fma(vec_set1(p[q][o]), v, acc[q]);
        }
    }
    CONV_UNROLL
    for (int q = 0; q < 8; q++) {
        out[q] = acc[q];
    }
}

/* The sum over all chunks; a single chunk is left without "+0 +". */
VEC_INLINE void tile_sum(vecf sum[8], const direct_plan *p, const float *x,
                         const int64_t at[8], const float *w)
{
    tile(sum, x, at, p->pack.table, w, conv_min(p->pack.taps, p->pack.k));
    if (p->pack.taps >= p->pack.k) {
        return;
    }
    for (int q = 0; q < 8; q++) {
        sum[q] = vec_zero() + sum[q];
    }
    for (int64_t k = p->pack.taps; k < p->pack.k; k += p->pack.taps) {
        vecf acc[8];
        x += p->g.chunk * p->plane;
        w += p->pack.taps * VEC_LANES;
        tile(acc, x, at, p->pack.table, w, conv_min(p->pack.taps, p->pack.k - k));
        for (int q = 0; q < 8; q++) {
            sum[q] = sum[q] + acc[q];
        }
    }
}

/* n <= 2 pooled neighbours; x at the first window. */
static void windows(const direct_band *b, const float *x, int64_t n, int64_t pos)
{
    const conv_geom *g = &b->p->g;
    int64_t elements = g->qh * g->qw, second = (n - 1) * g->qsw * g->sw;
    vecf best[2] = { { 0 } };
    veci winner[2] = { { 0 } };
    for (int64_t e = 0; e < elements; e += 4) {
        vecf v[8];
        int64_t at[8];
        for (int64_t q = 0; q < 4; q++) {
            int64_t i = conv_min(e + q, elements - 1);
            at[q] = i / g->qw * g->sh * b->p->row + i % g->qw * g->sw;
            at[q + 4] = at[q] + second;
        }
        tile_sum(v, b->p, x, at, b->w);
        conv_ended_pool(&best[0], &winner[0], v, b->bias, b->end, e);
        conv_ended_pool(&best[1], &winner[1], v + 4, b->bias, b->end, e);
    }
    for (int64_t i = 0; i < n; i++) {
        vec_store(b->s.y + (pos + i) * VEC_LANES, best[i]);
        vec_store_i(b->s.winner + (pos + i) * VEC_LANES, winner[i]);
    }
}

/* n <= 8 neighbours of a line, without pooling. */
static void line8(const direct_band *b, const float *x, int64_t n, int64_t pos)
{
    vecf v[8];
    int64_t at[8];
    for (int64_t q = 0; q < 8; q++) {
        at[q] = conv_min(q, n - 1) * b->p->g.sw;
    }
    tile_sum(v, b->p, x, at, b->w);
    for (int q = 7; q >= 0; q--) {
        vec_store(b->s.y + (pos + conv_min(q, n - 1)) * VEC_LANES,
                  conv_ended(v[q], b->bias, b->end));
    }
}

static void block(const direct_band *b)
{
    const conv_geom *g = &b->p->g;
    int64_t step = g->pool ? 2 : 8;
    for (int64_t y = 0; y < b->lines; y++) {
        const float *line = b->x + y * g->qsh * g->sh * b->p->row;
        for (int64_t i = 0; i < g->yw; i += step) {
            const float *first = line + i * g->qsw * g->sw;
            int64_t n = conv_min(step, g->yw - i), pos = y * g->yw + i;
            if (g->pool) {
                windows(b, first, n, pos);
            } else {
                line8(b, first, n, pos);
            }
        }
    }
}

/* The band's input lines with the padding made real. */
static void copy_band(const direct_plan *p, const float *x, float *dst, int64_t top)
{
    const conv_geom *g = &p->g;
    memset(dst, 0, (size_t)(g->c * p->plane) * 4);
    for (int64_t c = 0; c < g->c; c++) {
        for (int64_t i = 0; i < p->in_lines; i++) {
            int64_t y = top + i - g->ph;
            if (y >= 0 && y < g->h) {
                memcpy(dst + c * p->plane + i * p->row + g->pw,
                       x + (c * g->h + y) * g->w, (size_t)g->w * 4);
            }
        }
    }
}

static void run_block(const cpu_job *job, direct_band *b, const float *x, int64_t image,
                      int64_t line, int64_t blk)
{
    const direct_plan *p = b->p;
    const conv_geom *g = &p->g;
    int64_t group = blk / p->pack.blocks, first = blk % p->pack.blocks * VEC_LANES;
    int64_t oc = group * g->og + first;
    int channels = (int)conv_min(VEC_LANES, g->og - first);
    const float *bias = job->in[2];
    b->bias = bias ? vec_load_n(bias + oc, channels) : vec_zero();
    b->end = (conv_end){ bias != NULL, g->relu, p->pack.taps >= p->pack.k };
    b->x = x + group * g->cg * p->plane;
    b->w = p->pack.w + blk * p->pack.k * VEC_LANES;
    block(b);
    int64_t positions = g->yh * g->yw,
            to = (image * g->oc + oc) * positions + line * g->yw;
    CPU_NAME(conv_from_lanes)
    ((float *)job->out[0] + to, b->s.y, channels, positions, b->lines * g->yw);
    if (g->pool && job->out[1]) {
        CPU_NAME(conv_from_lanes_u8)
        ((uint8_t *)job->out[1] + to, b->s.winner, channels, positions,
         b->lines * g->yw);
    }
}

static void run_unit(const cpu_job *job, const direct_plan *p, int64_t unit,
                     char *local)
{
    const conv_geom *g = &p->g;
    int64_t image = unit / p->bands, line = unit % p->bands * p->lines;
    if (p->copy && !CPU_NAME(conv_pack_finite)(g, &p->pack)) {
        if (line == 0) {
            CPU_NAME(conv_plain_image)(job, g, image);
        }
        return;
    }
    size_t bytes;
    direct_band b = { .p = p, .s = cut_scratch(p, local, &bytes) };
    b.lines = conv_min(p->lines, g->yh - line);
    const float *x = (const float *)job->in[0] + image * g->c * g->h * g->w;
    int64_t top = line * g->qsh * g->sh;
    if (p->copy) {
        copy_band(p, x, b.s.x, top);
        x = b.s.x;
    } else {
        x += top * g->w;
    }
    for (int64_t blk = 0; blk < g->groups * p->pack.blocks; blk++) {
        run_block(job, &b, x, image, line, blk);
    }
}

void CPU_NAME(conv_direct_run)(const cpu_job *job, int phase, int64_t begin,
                               int64_t end, char *local)
{
    direct_plan p = make_plan(job->cmd, job->cache_bytes ? job->cache : job->shared);
    for (int64_t u = begin; u < end; u++) {
        if (phase == 1) {
            run_unit(job, &p, u, local);
        } else if (!job->cache_bytes || job->cache_stale) {
            CPU_NAME(conv_pack_unit)(&p.g, &p.pack, job->in[1], u, p.plane, p.row, 1);
        }
    }
}
