/* SPDX-License-Identifier: MIT */
/*
 * max_pool2d and its gradient, variant "simd": VEC_LANES neighbours of an output line
 * at a time. 2x2 windows that do not overlap take two vectors of each input line and
 * separate even from odd columns in registers; other windows read lines that were
 * copied with room for the padding, so that no lane reads outside.
 *
 * A unit is one plane (image, channel).
 */
#include "conv.h"

typedef struct pool_geom {
    int64_t planes, h, w, oh, ow;
    int64_t kh, kw, sh, sw, ph, pw;
    int64_t line; /* floats of a copied line */
} pool_geom;

typedef uint8_t pool_bytes __attribute__((vector_size(VEC_LANES)));

static pool_geom make_geom(const mnt_args_window *a, const mnt_operand *x,
                           const mnt_operand *y)
{
    pool_geom g = { x->dim[0] * x->dim[1],
                    x->dim[2],
                    x->dim[3],
                    y->dim[2],
                    y->dim[3],
                    a->kernel_h,
                    a->kernel_w,
                    a->stride_h,
                    a->stride_w,
                    a->pad_h,
                    a->pad_w,
                    0 };
    g.line = (g.ow + VEC_LANES) * g.sw + g.kw;
    g.line = conv_max(g.line, g.w + g.pw);
    return g;
}

static bool is_halving(const pool_geom *g)
{
    return g->kh == 2 && g->kw == 2 && g->sh == 2 && g->sw == 2 && g->ph == 0 &&
           g->pw == 0;
}

static bool forward_accepts(const mnt_cmd *cmd)
{
    const mnt_operand *x = &cmd->in[0], *y = &cmd->out[0];
    if (x->ndim != 4 || y->ndim != 4 || x->dtype != MNT_F32 ||
        cmd->out[1].dtype != MNT_U8) {
        return false;
    }
    pool_geom g = make_geom(&cmd->args.window, x, y);
    return g.line <= 1 << 20;
}

static void forward_plan(cpu_job *job)
{
    const mnt_cmd *cmd = job->cmd;
    pool_geom g = make_geom(&cmd->args.window, &cmd->in[0], &cmd->out[0]);
    cpu_plan_units(job, g.planes);
    job->local_bytes = is_halving(&g) ? 0 : (size_t)(g.kh * g.line) * 4;
}

/* A subnormal becomes zero of its sign. */
VEC_INLINE vecf flush(vecf x)
{
    veci bits = (veci)x;
    veci tiny = (bits & vec_set1_i(0x7f800000)) == vec_set1_i(0);
    return vec_select(tiny, (vecf)(bits & vec_set1_i(INT32_MIN)), x);
}

VEC_INLINE void store_winner(uint8_t *out, veci winner, int64_t n)
{
    pool_bytes b = __builtin_convertvector(winner, pool_bytes);
    if (n == VEC_LANES) {
        memcpy(out, &b, VEC_LANES);
    } else {
        memcpy(out, &b, (size_t)n);
    }
}

/* n <= VEC_LANES windows; a, b: their two input lines. */
VEC_INLINE void halve(float *y, uint8_t *winner, const float *a, const float *b, int n)
{
    vecf v[4];
    if (n == VEC_LANES) {
        v[0] = vec_load(a);
        v[1] = vec_load(a + VEC_LANES);
        v[2] = vec_load(b);
        v[3] = vec_load(b + VEC_LANES);
    } else {
        int lo = 2 * n < VEC_LANES ? 2 * n : VEC_LANES, hi = 2 * n - lo;
        v[0] = vec_load_n(a, lo);
        v[1] = vec_load_n(a + lo, hi);
        v[2] = vec_load_n(b, lo);
        v[3] = vec_load_n(b + lo, hi);
    }
    vecf best = flush(CONV_EVEN(v[0], v[1]));
    veci w = { 0 };
    conv_compete(&best, &w, flush(CONV_ODD(v[0], v[1])), 1);
    conv_compete(&best, &w, flush(CONV_EVEN(v[2], v[3])), 2);
    conv_compete(&best, &w, flush(CONV_ODD(v[2], v[3])), 3);
    conv_store_first(y, best, n);
    store_winner(winner, w, n);
}

static void halve_plane(const pool_geom *g, const float *x, float *y, uint8_t *winner)
{
    for (int64_t i = 0; i < g->oh; i++) {
        const float *a = x + 2 * i * g->w, *b = a + g->w;
        int64_t j = 0;
        for (; j + VEC_LANES <= g->ow; j += VEC_LANES) {
            halve(y + i * g->ow + j, winner + i * g->ow + j, a + 2 * j, b + 2 * j,
                  VEC_LANES);
        }
        if (j < g->ow) {
            halve(y + i * g->ow + j, winner + i * g->ow + j, a + 2 * j, b + 2 * j,
                  (int)(g->ow - j));
        }
    }
}

/* VEC_LANES values, `step` apart. */
VEC_INLINE vecf load_step(const float *p, int64_t step)
{
    if (step == 1) {
        return vec_load(p);
    }
    vecf v = vec_zero();
    for (int l = 0; l < VEC_LANES; l++) {
        v[l] = p[l * step];
    }
    return v;
}

/* Windows j, ..., j + n - 1 of line i; lines[r]: the copied line of window line r. */
static void windows(const pool_geom *g, const float *lines, int64_t i, int64_t j, int n,
                    float *y, uint8_t *winner)
{
    vecf best = vec_zero();
    veci w = { 0 }, have = { 0 }, column = { 0 };
    for (int l = 0; l < VEC_LANES; l++) {
        column[l] = (int32_t)((j + l) * g->sw - g->pw);
    }
    for (int64_t r = 0; r < g->kh; r++) {
        int64_t iy = i * g->sh - g->ph + r;
        for (int64_t k = 0; k < g->kw && iy >= 0 && iy < g->h; k++) {
            veci at = column + vec_set1_i((int32_t)k);
            veci inside = (at >= vec_set1_i(0)) & (at < vec_set1_i((int32_t)g->w));
            vecf v = flush(load_step(lines + r * g->line + j * g->sw + k, g->sw));
            veci wins = ~(veci)(v <= best) & (veci)(best == best);
            wins = inside & (~have | wins);
            best = vec_select(wins, v, best);
            w = (veci)vec_select(wins, (vecf)vec_set1_i((int32_t)(r * g->kw + k)),
                                 (vecf)w);
            have |= inside;
        }
    }
    conv_store_first(y, best, n);
    store_winner(winner, w, n);
}

static void window_plane(const pool_geom *g, const float *x, float *y, uint8_t *winner,
                         float *lines)
{
    memset(lines, 0, (size_t)(g->kh * g->line) * 4);
    for (int64_t i = 0; i < g->oh; i++) {
        for (int64_t r = 0; r < g->kh; r++) {
            int64_t iy = i * g->sh - g->ph + r;
            if (iy >= 0 && iy < g->h) {
                memcpy(lines + r * g->line + g->pw, x + iy * g->w, (size_t)g->w * 4);
            }
        }
        for (int64_t j = 0; j < g->ow; j += VEC_LANES) {
            windows(g, lines, i, j, (int)conv_min(VEC_LANES, g->ow - j),
                    y + i * g->ow + j, winner + i * g->ow + j);
        }
    }
}

static void forward_run(const cpu_job *job, int phase, int64_t begin, int64_t end,
                        char *local)
{
    (void)phase;
    const mnt_cmd *cmd = job->cmd;
    pool_geom g = make_geom(&cmd->args.window, &cmd->in[0], &cmd->out[0]);
    for (int64_t p = begin; p < end; p++) {
        const float *x = (const float *)job->in[0] + p * g.h * g.w;
        float *y = (float *)job->out[0] + p * g.oh * g.ow;
        uint8_t *winner = (uint8_t *)job->out[1] + p * g.oh * g.ow;
        if (is_halving(&g)) {
            halve_plane(&g, x, y, winner);
        } else {
            window_plane(&g, x, y, winner, (float *)(void *)local);
        }
    }
}

/* ---- gradient ---- */

static bool grad_accepts(const mnt_cmd *cmd)
{
    return cmd->in[0].ndim == 4 && cmd->out[0].ndim == 4 &&
           cmd->in[0].dtype == MNT_F32 && cmd->in[1].dtype == MNT_U8 &&
           cmd->out[0].dtype == MNT_F32;
}

static void grad_plan(cpu_job *job)
{
    cpu_plan_units(job, job->cmd->out[0].dim[0] * job->cmd->out[0].dim[1]);
}

/* 2 n <= 2 VEC_LANES values of each of the two input lines a, b. */
VEC_INLINE void widen(float *a, float *b, const float *dy, const uint8_t *winner, int n)
{
    pool_bytes bytes = { 0 };
    memcpy(&bytes, winner, (size_t)n);
    veci w = __builtin_convertvector(bytes, veci);
    vecf g = vec_zero() + vec_load_n(dy, n), v[4];
    for (int e = 0; e < 4; e++) {
        v[e] = vec_select(w == vec_set1_i(e), g, vec_zero());
    }
    int lo = 2 * n < VEC_LANES ? 2 * n : VEC_LANES, hi = 2 * n - lo;
    conv_store_first(a, CONV_LOW(v[0], v[1]), lo);
    conv_store_first(a + lo, CONV_HIGH(v[0], v[1]), hi);
    conv_store_first(b, CONV_LOW(v[2], v[3]), lo);
    conv_store_first(b + lo, CONV_HIGH(v[2], v[3]), hi);
}

static void widen_plane(const pool_geom *g, float *dx, const float *dy,
                        const uint8_t *winner)
{
    for (int64_t i = 0; i < g->oh; i++) {
        float *a = dx + 2 * i * g->w, *b = a + g->w;
        int64_t j = 0;
        for (; j + VEC_LANES <= g->ow; j += VEC_LANES) {
            widen(a + 2 * j, b + 2 * j, dy + i * g->ow + j, winner + i * g->ow + j,
                  VEC_LANES);
        }
        if (j < g->ow) {
            widen(a + 2 * j, b + 2 * j, dy + i * g->ow + j, winner + i * g->ow + j,
                  (int)(g->ow - j));
        }
        for (j = 2 * g->ow; j < g->w; j++) {
            a[j] = b[j] = 0.0f;
        }
    }
    int64_t done = 2 * g->oh * g->w;
    memset(dx + done, 0, (size_t)(g->h * g->w - done) * 4);
}

/* Windows in rising order: each pixel gets its terms in the order of the definition. */
static void scatter_plane(const pool_geom *g, float *dx, const float *dy,
                          const uint8_t *winner)
{
    memset(dx, 0, (size_t)(g->h * g->w) * 4);
    for (int64_t i = 0; i < g->oh; i++) {
        for (int64_t j = 0; j < g->ow; j++) {
            int64_t e = winner[i * g->ow + j];
            int64_t y = i * g->sh - g->ph + e / g->kw,
                    x = j * g->sw - g->pw + e % g->kw;
            if (y >= 0 && y < g->h && x >= 0 && x < g->w) {
                dx[y * g->w + x] = dx[y * g->w + x] + dy[i * g->ow + j];
            }
        }
    }
}

static void grad_run(const cpu_job *job, int phase, int64_t begin, int64_t end,
                     char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    pool_geom g = make_geom(&cmd->args.window, &cmd->out[0], &cmd->in[0]);
    for (int64_t p = begin; p < end; p++) {
        float *dx = (float *)job->out[0] + p * g.h * g.w;
        const float *dy = (const float *)job->in[0] + p * g.oh * g.ow;
        const uint8_t *winner = (const uint8_t *)job->in[1] + p * g.oh * g.ow;
        if (is_halving(&g)) {
            widen_plane(&g, dx, dy, winner);
        } else {
            scatter_plane(&g, dx, dy, winner);
        }
    }
}

extern const cpu_kernel CPU_NAME(cpu_maxpool)[];

const cpu_kernel CPU_NAME(cpu_maxpool)[] = {
    { MNT_OP_ID_max_pool2d, "simd", forward_accepts, forward_plan, forward_run },
    { MNT_OP_ID_max_pool2d_grad, "simd", grad_accepts, grad_plan, grad_run },
    { 0 },
};
