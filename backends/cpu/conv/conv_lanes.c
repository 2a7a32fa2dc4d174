/* SPDX-License-Identifier: MIT */
/*
 * conv2d and conv2d_block, variant "lanes": VEC_LANES images side by side in the lanes
 * of a vector, weights broadcast. Every operation of a layer, pooling included, is then
 * plain vector arithmetic, whatever the channel counts, strides and sizes are.
 *
 * A unit is VEC_LANES images and a part of the output channels. It changes the images
 * to [c][y][x][lane], computes CONV_ROWS channels at all positions with CONV_ROWS x 4
 * sums in registers (four elements of one pooling window, or four neighbours of a line)
 * and changes the results back.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct lanes_plan {
    conv_geom g;
    conv_pack pack;
    int64_t blocks, parts; /* blocks of channels; parts a unit takes one of */
    int64_t plane, row;    /* steps of the input scratch, in floats */
    size_t local;
} lanes_plan;

typedef struct lanes_scratch {
    float *x;        /* [c][hp][wp][lane] */
    float *y;        /* [CONV_ROWS][yh yw][lane] */
    int32_t *winner; /* the same */
} lanes_scratch;

static lanes_scratch cut_scratch(const conv_geom *g, char *local, size_t *bytes)
{
    conv_arena a = { local, 0 };
    lanes_scratch s;
    int64_t out = CONV_ROWS * g->yh * g->yw * VEC_BYTES;
    s.x = conv_cut(&a, g->c * g->hp * g->wp * VEC_BYTES);
    s.y = conv_cut(&a, out);
    s.winner = conv_cut(&a, g->pool ? out : 0);
    *bytes = a.used;
    return s;
}

static lanes_plan make_plan(const mnt_cmd *cmd, char *base)
{
    lanes_plan p;
    p.g = CPU_NAME(conv_geom_forward)(cmd);
    p.pack = CPU_NAME(conv_pack_layout)(&p.g, CONV_ROWS, base);
    p.blocks = p.g.groups * p.pack.blocks;
    p.parts = conv_min(p.blocks, conv_ceil(16, conv_ceil(p.g.n, VEC_LANES)));
    p.row = p.g.wp * VEC_LANES;
    p.plane = p.g.hp * p.row;
    cut_scratch(&p.g, NULL, &p.local);
    return p;
}

bool CPU_NAME(conv_lanes_accepts)(const mnt_cmd *cmd)
{
    if (!CPU_NAME(conv_operands_ok)(cmd)) {
        return false;
    }
    if (cmd->op == MNT_OP_ID_conv2d_block && !conv_pool_fits(&cmd->args.block.pool)) {
        return false;
    }
    lanes_plan p = make_plan(cmd, NULL);
    /* Share of lanes in use, here and in "direct"; that one also reads fewer bytes. */
    int64_t here = p.g.n * conv_round(p.g.og, VEC_LANES);
    int64_t direct = p.g.og * conv_round(p.g.n, VEC_LANES);
    return here > direct ? p.local <= CONV_MAX_LOCAL
                         : here == direct && p.local <= CONV_MAX_LOCAL / 4;
}

void CPU_NAME(conv_lanes_plan)(cpu_job *job)
{
    lanes_plan p = make_plan(job->cmd, NULL);
    CPU_NAME(conv_pack_plan)(job, p.pack.bytes);
    job->local_bytes = p.local;
    job->phases = 2;
    job->units[0] = 1 + p.blocks;
    job->units[1] = conv_ceil(p.g.n, VEC_LANES) * p.parts;
}

/* The sum over all chunks; a single chunk is left without "+0 +". */
VEC_INLINE void tile_sum(vecf sum[CONV_ROWS][4], const lanes_plan *p, const float *x,
                         const int64_t at[4], const float *w)
{
    conv_tile(sum, x, at, p->pack.table, w, conv_min(p->pack.taps, p->pack.k));
    if (p->pack.taps >= p->pack.k) {
        return;
    }
    for (int r = 0; r < CONV_ROWS; r++) {
        for (int q = 0; q < 4; q++) {
            sum[r][q] = vec_zero() + sum[r][q];
        }
    }
    for (int64_t k = p->pack.taps; k < p->pack.k; k += p->pack.taps) {
        vecf acc[CONV_ROWS][4];
        x += p->g.chunk * p->plane;
        w += p->pack.taps * CONV_ROWS;
        conv_tile(acc, x, at, p->pack.table, w, conv_min(p->pack.taps, p->pack.k - k));
        for (int r = 0; r < CONV_ROWS; r++) {
            for (int q = 0; q < 4; q++) {
                sum[r][q] = sum[r][q] + acc[r][q];
            }
        }
    }
}

/* One pooled position of CONV_ROWS channels: x at the window's first element. */
static void window(const lanes_plan *p, const lanes_scratch *s, const float *x,
                   const float *w, const float *bias, conv_end end, int64_t pos)
{
    const conv_geom *g = &p->g;
    int64_t positions = g->yh * g->yw, elements = g->qh * g->qw;
    vecf best[CONV_ROWS] = { { 0 } };
    veci winner[CONV_ROWS] = { { 0 } };
    for (int64_t e = 0; e < elements; e += 4) {
        vecf v[CONV_ROWS][4];
        int64_t at[4];
        for (int64_t q = 0; q < 4; q++) {
            int64_t i = conv_min(e + q, elements - 1);
            at[q] = i / g->qw * g->sh * p->row + i % g->qw * g->sw * VEC_LANES;
        }
        tile_sum(v, p, x, at, w);
        for (int r = 0; r < CONV_ROWS; r++) {
            conv_ended_pool(&best[r], &winner[r], v[r], vec_set1(bias[r]), end, e);
        }
    }
    for (int r = 0; r < CONV_ROWS; r++) {
        vec_store(s->y + (r * positions + pos) * VEC_LANES, best[r]);
        vec_store_i(s->winner + (r * positions + pos) * VEC_LANES, winner[r]);
    }
}

/* The same with four elements' places known before. */
static void window4(const lanes_plan *p, const lanes_scratch *s, const float *x,
                    const float *w, const float *bias, conv_end end,
                    const int64_t at[4], int64_t pos)
{
    int64_t positions = p->g.yh * p->g.yw;
    vecf v[CONV_ROWS][4];
    tile_sum(v, p, x, at, w);
    for (int r = 0; r < CONV_ROWS; r++) {
        vecf best;
        veci winner;
        conv_ended_pool(&best, &winner, v[r], vec_set1(bias[r]), end, 0);
        vec_store(s->y + (r * positions + pos) * VEC_LANES, best);
        vec_store_i(s->winner + (r * positions + pos) * VEC_LANES, winner);
    }
}

/* Up to four neighbours of a line, without pooling. */
static void line4(const lanes_plan *p, const lanes_scratch *s, const float *x,
                  const float *w, const float *bias, conv_end end, int64_t n,
                  int64_t pos)
{
    int64_t positions = p->g.yh * p->g.yw;
    vecf v[CONV_ROWS][4];
    int64_t at[4];
    for (int64_t q = 0; q < 4; q++) {
        at[q] = conv_min(q, n - 1) * p->g.sw * VEC_LANES;
    }
    tile_sum(v, p, x, at, w);
    for (int r = 0; r < CONV_ROWS; r++) {
        for (int q = 3; q >= 0; q--) {
            int64_t to = r * positions + pos + conv_min(q, n - 1);
            vecf y = conv_ended(v[r][q], vec_set1(bias[r]), end);
            vec_store(s->y + to * VEC_LANES, y);
        }
    }
}

/* All positions of one block of channels. */
static void block(const lanes_plan *p, const lanes_scratch *s, const float *x,
                  const float *w, const float *bias, conv_end end)
{
    const conv_geom *g = &p->g;
    int64_t step = g->pool ? 1 : 4;
    int64_t at[4];
    for (int64_t q = 0; q < 4; q++) {
        at[q] = q / g->qw * g->sh * p->row + q % g->qw * g->sw * VEC_LANES;
    }
    for (int64_t y = 0; y < g->yh; y++) {
        const float *line = x + y * g->qsh * g->sh * p->row;
        for (int64_t i = 0; i < g->yw; i += step) {
            const float *first = line + i * g->qsw * g->sw * VEC_LANES;
            int64_t pos = y * g->yw + i;
            if (!g->pool) {
                line4(p, s, first, w, bias, end, conv_min(4, g->yw - i), pos);
            } else if (g->qh * g->qw == 4) {
                window4(p, s, first, w, bias, end, at, pos);
            } else {
                window(p, s, first, w, bias, end, pos);
            }
        }
    }
}

static void run_block(const cpu_job *job, const lanes_plan *p, const lanes_scratch *s,
                      int64_t image, int64_t b)
{
    const conv_geom *g = &p->g;
    int64_t group = b / p->pack.blocks, first = b % p->pack.blocks * CONV_ROWS;
    int64_t oc = group * g->og + first, rows = conv_min(CONV_ROWS, g->og - first);
    int64_t positions = g->yh * g->yw;
    const float *bias = job->in[2];
    float bias_of[CONV_ROWS] = { 0 };
    for (int64_t r = 0; bias && r < rows; r++) {
        bias_of[r] = bias[oc + r];
    }
    conv_end end = { bias != NULL, g->relu, p->pack.taps >= p->pack.k };
    block(p, s, s->x + group * g->cg * p->plane, p->pack.w + b * p->pack.k * CONV_ROWS,
          bias_of, end);
    int images = (int)conv_min(VEC_LANES, g->n - image);
    for (int64_t r = 0; r < rows; r++) {
        int64_t to = (image * g->oc + oc + r) * positions;
        CPU_NAME(conv_from_lanes)
        ((float *)job->out[0] + to, s->y + r * positions * VEC_LANES, images,
         g->oc * positions, positions);
        if (g->pool && job->out[1]) {
            CPU_NAME(conv_from_lanes_u8)
            ((uint8_t *)job->out[1] + to, s->winner + r * positions * VEC_LANES, images,
             g->oc * positions, positions);
        }
    }
}

static void run_unit(const cpu_job *job, const lanes_plan *p, int64_t unit, char *local)
{
    const conv_geom *g = &p->g;
    int64_t image = unit / p->parts * VEC_LANES, part = unit % p->parts;
    int images = (int)conv_min(VEC_LANES, g->n - image);
    bool padded = g->ph > 0 || g->pw > 0;
    if (padded && !CPU_NAME(conv_pack_finite)(g, &p->pack)) {
        for (int i = 0; i < images && part == 0; i++) {
            CPU_NAME(conv_plain_image)(job, g, image + i);
        }
        return;
    }
    size_t bytes;
    lanes_scratch s = cut_scratch(g, local, &bytes);
    int64_t count = g->c * g->h * g->w;
    const float *x = (const float *)job->in[0] + image * count;
    if (padded) {
        memset(s.x, 0, (size_t)(g->c * p->plane) * 4);
        CPU_NAME(conv_to_lanes_padded)(s.x, x, images, count, g);
    } else {
        CPU_NAME(conv_to_lanes)(s.x, x, images, count, count);
    }
    int64_t end = p->blocks * (part + 1) / p->parts;
    for (int64_t b = p->blocks * part / p->parts; b < end; b++) {
        run_block(job, p, &s, image, b);
    }
}

void CPU_NAME(conv_lanes_run)(const cpu_job *job, int phase, int64_t begin, int64_t end,
                              char *local)
{
    lanes_plan p = make_plan(job->cmd, job->cache_bytes ? job->cache : job->shared);
    for (int64_t u = begin; u < end; u++) {
        if (phase == 1) {
            run_unit(job, &p, u, local);
        } else if (!job->cache_bytes || job->cache_stale) {
            CPU_NAME(conv_pack_unit)
            (&p.g, &p.pack, job->in[1], u, p.plane, p.row, VEC_LANES);
        }
    }
}
