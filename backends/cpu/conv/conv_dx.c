/* SPDX-License-Identifier: MIT */
/*
 * conv2d_dx, variant "lanes": VEC_LANES images in the lanes, each input pixel gathers.
 *
 * Which outputs touch a pixel, and in what block order (numerics C5), depends only on
 * the pixel's place modulo twice the stride. For each such class a list of taps is made
 * once; pixels of a class that are neighbours share the weights. The gradient is put
 * into planes with margins of zeros, wide enough that every list can be walked in full:
 * a zero adds nothing to a finite sum.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct dx_plan {
    conv_geom g;
    int64_t mh, mw;        /* margins before; even, so blocks stay blocks */
    int64_t dyh, dyw;      /* planes with margins */
    int64_t plane, row;    /* steps in floats */
    int64_t classes, taps; /* places modulo 2 stride; most taps a class has */
    int64_t blocks;        /* of CONV_ROWS input channels in a group */
    int64_t pack, parts;   /* floats of a class's weights of one block; see units */
    size_t shared, local;
} dx_plan;

typedef struct dx_shared {
    int32_t *count; /* [classes]: taps in order */
    int32_t *table; /* [classes][channels of a chunk][taps]: offsets into dy */
    float *w;       /* [classes][group][block][oc][taps][CONV_ROWS] */
    int64_t table_size;
} dx_shared;

static dx_shared cut_shared(const dx_plan *p, char *base, size_t *bytes)
{
    conv_arena a = { base, 0 };
    dx_shared s;
    s.table_size = conv_min(p->g.chunk, p->g.og) * p->taps;
    s.count = conv_cut(&a, p->classes * 4);
    s.table = conv_cut(&a, p->classes * s.table_size * 4);
    s.w = conv_cut(&a, p->classes * p->g.groups * p->blocks * p->pack * 4);
    *bytes = a.used;
    return s;
}

static int64_t even(int64_t x)
{
    return conv_round(x, 2);
}

static dx_plan make_plan(const mnt_cmd *cmd)
{
    dx_plan p;
    p.g = CPU_NAME(conv_geom_dx)(cmd);
    const conv_geom *g = &p.g;
    /* The last pixel's first output and the first pixel's last one, and rounding. */
    p.mh = even(conv_ceil(g->dh * (g->kh - 1), g->sh) + 1);
    p.mw = even(conv_ceil(g->dw * (g->kw - 1), g->sw) + 1);
    int64_t last_y = conv_max(g->oh - 1, (g->h - 1 + g->ph) / g->sh);
    int64_t last_x = conv_max(g->ow - 1, (g->w - 1 + g->pw) / g->sw);
    p.dyh = p.mh + last_y + 3;
    p.dyw = p.mw + last_x + 3;
    p.row = p.dyw * VEC_LANES;
    p.plane = p.dyh * p.row;
    p.classes = 4 * g->sh * g->sw;
    p.taps = g->kh * g->kw;
    p.blocks = conv_ceil(g->cg, CONV_ROWS);
    p.pack = g->og * p.taps * CONV_ROWS;
    p.parts = conv_min(g->groups * p.blocks, conv_ceil(16, conv_ceil(g->n, VEC_LANES)));
    cut_shared(&p, NULL, &p.shared);
    p.local =
        (size_t)(g->oc * p.plane + CONV_ROWS * g->h * g->w * VEC_LANES) * 4 + CPU_ALIGN;
    return p;
}

bool CPU_NAME(conv_dx_accepts)(const mnt_cmd *cmd)
{
    if (!CPU_NAME(conv_operands_ok)(cmd)) {
        return false;
    }
    dx_plan p = make_plan(cmd);
    return p.local <= 4 * CONV_MAX_LOCAL && p.shared <= 4 * CONV_MAX_LOCAL;
}

void CPU_NAME(conv_dx_plan)(cpu_job *job)
{
    dx_plan p = make_plan(job->cmd);
    job->shared_bytes = p.shared;
    job->local_bytes = p.local;
    job->phases = 2;
    job->units[0] = p.classes;
    job->units[1] = conv_ceil(p.g.n, VEC_LANES) * p.parts;
}

/* A tap of a class: kernel element and the output it joins to a pixel of the class. */
typedef struct dx_tap {
    int64_t i, j, oy, ox;
} dx_tap;

/* Whether tap a comes before b in block order. Outputs may be negative here. */
static bool before(const dx_tap *a, const dx_tap *b, int64_t far)
{
    int64_t ay = a->oy + far, ax = a->ox + far, by = b->oy + far, bx = b->ox + far;
    if (ay / 2 != by / 2) {
        return ay / 2 < by / 2;
    }
    if (ax / 2 != bx / 2) {
        return ax / 2 < bx / 2;
    }
    return ay % 2 != by % 2 ? ay % 2 < by % 2 : ax % 2 < bx % 2;
}

/* The first kernel element in block order after `last` (NULL: of all) that reaches the
 * pixel (y, x); pixels are counted in the padded image. */
static bool next_tap(const conv_geom *g, int64_t y, int64_t x, const dx_tap *last,
                     dx_tap *out)
{
    int64_t far = even(g->dh * g->kh + g->dw * g->kw);
    bool found = false;
    for (int64_t i = 0; i < g->kh; i++) {
        for (int64_t j = 0; j < g->kw; j++) {
            /* + far s: division of a number that is not negative */
            int64_t oy = y - i * g->dh + far * g->sh, ox = x - j * g->dw + far * g->sw;
            if (oy % g->sh != 0 || ox % g->sw != 0) {
                continue;
            }
            dx_tap t = { i, j, oy / g->sh - far, ox / g->sw - far };
            if ((!last || before(last, &t, far)) && (!found || before(&t, out, far))) {
                *out = t;
                found = true;
            }
        }
    }
    return found;
}

/* One class's table and weights. */
static void make_class(const cpu_job *job, const dx_plan *p, int64_t cls)
{
    const conv_geom *g = &p->g;
    size_t bytes;
    dx_shared s = cut_shared(p, job->shared, &bytes);
    int64_t y = cls / (2 * g->sw), x = cls % (2 * g->sw);
    int64_t groups = g->groups * p->blocks, n = 0;
    const float *w = job->in[1];
    int32_t *table = s.table + cls * s.table_size;
    float *pack = s.w + cls * groups * p->pack;
    dx_tap tap, last;
    while (next_tap(g, y, x, n > 0 ? &last : NULL, &tap)) {
        last = tap;
        table[n++] =
            (int32_t)((tap.oy + p->mh) * p->row + (tap.ox + p->mw) * VEC_LANES);
    }
    s.count[cls] = (int32_t)n;
    for (int64_t c = 1; c < conv_min(g->chunk, g->og); c++) {
        for (int64_t t = 0; t < n; t++) {
            table[c * n + t] = (int32_t)(table[t] + c * p->plane);
        }
    }
    for (int64_t t = 0; t < n; t++) {
        next_tap(g, y, x, t > 0 ? &last : NULL, &tap);
        last = tap;
        for (int64_t b = 0; b < groups; b++) {
            int64_t group = b / p->blocks, first = b % p->blocks * CONV_ROWS;
            for (int64_t k = 0; k < g->og * CONV_ROWS; k++) {
                int64_t oc = k / CONV_ROWS, r = k % CONV_ROWS;
                float v = 0.0f;
                if (first + r < g->cg) {
                    v = w[(((group * g->og + oc) * g->cg + first + r) * g->kh + tap.i) *
                              g->kw +
                          tap.j];
                }
                pack[b * p->pack + (oc * n + t) * CONV_ROWS + r] = v;
            }
        }
    }
}

/* Up to four pixels of a class, 2 stride apart, of CONV_ROWS channels. dy: the group's
 * first plane, at the first pixel. */
static void pixels(const dx_plan *p, const dx_shared *s, const float *dy,
                   const float *w, int64_t cls, int64_t n, float *out)
{
    const conv_geom *g = &p->g;
    const int32_t *table = s->table + cls * s->table_size;
    int64_t count = s->count[cls], at[4];
    for (int64_t q = 0; q < 4; q++) {
        at[q] = conv_min(q, n - 1) * 2 * VEC_LANES;
    }
    vecf sum[CONV_ROWS][4];
    for (int r = 0; r < CONV_ROWS; r++) {
        sum[r][0] = sum[r][1] = sum[r][2] = sum[r][3] = vec_zero();
    }
    for (int64_t oc = 0; oc < g->og; oc += g->chunk) {
        vecf acc[CONV_ROWS][4];
        conv_tile(acc, dy + oc * p->plane, at, table, w + oc * count * CONV_ROWS,
                  conv_min(g->chunk, g->og - oc) * count);
        for (int r = 0; r < CONV_ROWS; r++) {
            for (int q = 0; q < 4; q++) {
                sum[r][q] = sum[r][q] + acc[r][q];
            }
        }
    }
    for (int r = 0; r < CONV_ROWS; r++) {
        for (int q = 3; q >= 0; q--) {
            int64_t to = r * g->h * g->w + conv_min(q, n - 1) * 2 * g->sw;
            vec_store(out + to * VEC_LANES, sum[r][q]);
        }
    }
}

/* All pixels of one block of channels. */
static void block(const dx_plan *p, const dx_shared *s, const float *dy, int64_t b,
                  float *out)
{
    const conv_geom *g = &p->g;
    int64_t groups = g->groups * p->blocks;
    for (int64_t y = 0; y < g->h; y++) {
        int64_t cy = (y + g->ph) % (2 * g->sh), up = (y + g->ph) / (2 * g->sh);
        for (int64_t x0 = 0; x0 < conv_min(g->w, 2 * g->sw); x0++) {
            int64_t cx = (x0 + g->pw) % (2 * g->sw), cls = cy * 2 * g->sw + cx;
            const float *w = s->w + (cls * groups + b) * p->pack;
            for (int64_t x = x0; x < g->w; x += 8 * g->sw) {
                int64_t left = (x + g->pw) / (2 * g->sw);
                int64_t n = conv_min(4, conv_ceil(g->w - x, 2 * g->sw));
                pixels(p, s, dy + up * 2 * p->row + left * 2 * VEC_LANES, w, cls, n,
                       out + (y * g->w + x) * VEC_LANES);
            }
        }
    }
}

static void run_unit(const cpu_job *job, const dx_plan *p, int64_t unit, char *local)
{
    const conv_geom *g = &p->g;
    size_t bytes;
    dx_shared s = cut_shared(p, job->shared, &bytes);
    int64_t image = unit / p->parts * VEC_LANES, part = unit % p->parts;
    int images = (int)conv_min(VEC_LANES, g->n - image);
    conv_arena a = { local, 0 };
    float *dy = conv_cut(&a, g->oc * p->plane * 4);
    float *out = conv_cut(&a, CONV_ROWS * g->h * g->w * VEC_BYTES);
    const float *from = (const float *)job->in[0] + image * g->oc * g->oh * g->ow;
    memset(dy, 0, (size_t)(g->oc * p->plane) * 4);
    for (int64_t l = 0; l < g->oc * g->oh; l++) {
        float *to = dy + l / g->oh * p->plane + (l % g->oh + p->mh) * p->row +
                    p->mw * VEC_LANES;
        CPU_NAME(conv_to_lanes)
        (to, from + l * g->ow, images, g->oc * g->oh * g->ow, g->ow);
    }
    int64_t blocks = g->groups * p->blocks, end = blocks * (part + 1) / p->parts;
    for (int64_t b = blocks * part / p->parts; b < end; b++) {
        int64_t group = b / p->blocks, first = b % p->blocks * CONV_ROWS;
        block(p, &s, dy + group * g->og * p->plane, b, out);
        int64_t to = (image * g->c + group * g->cg + first) * g->h * g->w;
        for (int64_t r = 0; r < conv_min(CONV_ROWS, g->cg - first); r++) {
            CPU_NAME(conv_from_lanes)
            ((float *)job->out[0] + to + r * g->h * g->w,
             out + r * g->h * g->w * VEC_LANES, images, g->c * g->h * g->w,
             g->h * g->w);
        }
    }
}

void CPU_NAME(conv_dx_run)(const cpu_job *job, int phase, int64_t begin, int64_t end,
                           char *local)
{
    dx_plan p = make_plan(job->cmd);
    for (int64_t u = begin; u < end; u++) {
        if (phase == 0) {
            make_class(job, &p, u);
        } else {
            run_unit(job, &p, u, local);
        }
    }
}
