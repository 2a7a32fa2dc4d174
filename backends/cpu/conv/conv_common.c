/* SPDX-License-Identifier: MIT */
/*
 * What the fast convolution kernels share: geometry, packed weights, changes of layout,
 * and the pairwise sums over samples. The loops that cost time are in the other conv_
 * files.
 */
#include "conv.h"

static void fill_conv(conv_geom *g, const mnt_args_conv *a, const mnt_operand *x,
                      const mnt_operand *w)
{
    g->n = x->dim[0];
    g->c = x->dim[1];
    g->h = x->dim[2];
    g->w = x->dim[3];
    g->oc = w->dim[0];
    g->cg = w->dim[1];
    g->kh = w->dim[2];
    g->kw = w->dim[3];
    g->sh = a->stride_h;
    g->sw = a->stride_w;
    g->ph = a->pad_h;
    g->pw = a->pad_w;
    g->dh = a->dilation_h;
    g->dw = a->dilation_w;
    g->groups = a->groups;
    g->og = g->oc / g->groups;
    g->chunk = a->chunk;
    g->hp = g->h + 2 * g->ph;
    g->wp = g->w + 2 * g->pw;
    g->oh = (g->hp - g->dh * (g->kh - 1) - 1) / g->sh + 1;
    g->ow = (g->wp - g->dw * (g->kw - 1) - 1) / g->sw + 1;
    g->yh = g->oh;
    g->yw = g->ow;
    g->qh = g->qw = g->qsh = g->qsw = 1;
}

static void fill_pool(conv_geom *g, const mnt_args_window *a, const mnt_operand *y)
{
    g->pool = a->kernel_h > 0;
    if (g->pool) {
        g->qh = a->kernel_h;
        g->qw = a->kernel_w;
        g->qsh = a->stride_h;
        g->qsw = a->stride_w;
        g->yh = y->dim[2];
        g->yw = y->dim[3];
    }
}

conv_geom CPU_NAME(conv_geom_forward)(const mnt_cmd *cmd)
{
    conv_geom g = { 0 };
    if (cmd->op == MNT_OP_ID_conv2d) {
        fill_conv(&g, &cmd->args.conv, &cmd->in[0], &cmd->in[1]);
    } else {
        fill_conv(&g, &cmd->args.block.conv, &cmd->in[0], &cmd->in[1]);
        fill_pool(&g, &cmd->args.block.pool, &cmd->out[0]);
        g.relu = cmd->args.block.relu;
    }
    return g;
}

conv_geom CPU_NAME(conv_geom_dx)(const mnt_cmd *cmd)
{
    conv_geom g = { 0 };
    if (cmd->op == MNT_OP_ID_conv2d_dx) {
        fill_conv(&g, &cmd->args.conv, &cmd->out[0], &cmd->in[1]);
    } else {
        fill_conv(&g, &cmd->args.block.conv, &cmd->out[0], &cmd->in[2]);
        fill_pool(&g, &cmd->args.block.pool, &cmd->in[0]);
    }
    return g;
}

conv_geom CPU_NAME(conv_geom_dw)(const mnt_cmd *cmd)
{
    conv_geom g = { 0 };
    if (cmd->op == MNT_OP_ID_conv2d_dw) {
        fill_conv(&g, &cmd->args.conv, &cmd->in[0], &cmd->out[0]);
    } else {
        fill_conv(&g, &cmd->args.block.conv, &cmd->in[0], &cmd->out[0]);
        fill_pool(&g, &cmd->args.block.pool, &cmd->in[1]);
    }
    return g;
}

static bool operand_ok(const mnt_operand *o)
{
    if (o->ndim < 1) {
        return false;
    }
    for (int i = 0; i < o->ndim; i++) {
        if (o->dim[i] < 1) {
            return false;
        }
    }
    return o->ndim == 1 || o->ndim == 4;
}

/* An absent operand has no dims: the bias, or the winners where nobody asks. */
static bool optional_ok(const mnt_operand *o, mnt_dtype dtype)
{
    return o->ndim == 0 || (o->dtype == dtype && operand_ok(o));
}

bool CPU_NAME(conv_operands_ok)(const mnt_cmd *cmd)
{
    bool block = cmd->op == MNT_OP_ID_conv2d_block;
    int winners = cmd->op == MNT_OP_ID_conv2d_pool_dx   ? 1
                  : cmd->op == MNT_OP_ID_conv2d_pool_dw ? 2
                                                        : -1;
    int inputs = block ? 2 : mnt_op_inputs(cmd->op);
    for (int i = 0; i < inputs; i++) {
        mnt_dtype want = i == winners ? MNT_U8 : MNT_F32;
        if (cmd->in[i].dtype != want || !operand_ok(&cmd->in[i])) {
            return false;
        }
    }
    if (block &&
        (!optional_ok(&cmd->in[2], MNT_F32) || !optional_ok(&cmd->out[1], MNT_U8))) {
        return false;
    }
    return cmd->out[0].dtype == MNT_F32 && operand_ok(&cmd->out[0]);
}

/* ---- packed weights ---- */

conv_pack CPU_NAME(conv_pack_layout)(const conv_geom *g, int64_t rows, char *base)
{
    conv_pack p = { .rows = rows, .blocks = conv_ceil(g->og, rows) };
    p.k = g->cg * g->kh * g->kw;
    p.taps = conv_min(g->chunk, g->cg) * g->kh * g->kw;
    conv_arena a = { base, 0 };
    int64_t blocks = g->groups * p.blocks;
    p.w = conv_cut(&a, blocks * p.k * rows * 4);
    p.table = conv_cut(&a, p.taps * 4);
    p.finite = conv_cut(&a, blocks * 4);
    p.bytes = a.used;
    return p;
}

static bool is_finite(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (u & 0x7f800000u) != 0x7f800000u;
}

static void pack_block(const conv_geom *g, const conv_pack *p, const float *w,
                       int64_t block)
{
    int64_t first = block % p->blocks * p->rows; /* channel inside the group */
    int64_t oc = block / p->blocks * g->og + first;
    float *dst = p->w + block * p->k * p->rows;
    int32_t finite = 1;
    for (int64_t r = 0; r < p->rows; r++) {
        bool there = first + r < g->og;
        const float *src = there ? w + (oc + r) * p->k : NULL;
        for (int64_t k = 0; k < p->k; k++) {
            float v = src ? src[k] : 0.0f;
            finite &= is_finite(v);
            dst[k * p->rows + r] = v;
        }
    }
    p->finite[block] = finite;
}

void CPU_NAME(conv_pack_unit)(const conv_geom *g, const conv_pack *p, const float *w,
                              int64_t unit, int64_t plane, int64_t row, int64_t col)
{
    if (unit > 0) {
        pack_block(g, p, w, unit - 1);
        return;
    }
    int32_t *t = p->table;
    for (int64_t c = 0; c < conv_min(g->chunk, g->cg); c++) {
        for (int64_t i = 0; i < g->kh; i++) {
            for (int64_t j = 0; j < g->kw; j++) {
                *t++ = (int32_t)(c * plane + i * g->dh * row + j * g->dw * col);
            }
        }
    }
}

bool CPU_NAME(conv_pack_finite)(const conv_geom *g, const conv_pack *p)
{
    for (int64_t b = 0; b < g->groups * p->blocks; b++) {
        if (!p->finite[b]) {
            return false;
        }
    }
    return true;
}

void CPU_NAME(conv_pack_plan)(cpu_job *job, size_t bytes)
{
    if (job->cmd->in[1].version) {
        job->cache_bytes = bytes;
        job->cache_input = 1;
    } else {
        job->shared_bytes = bytes;
    }
}

/* ---- the definition, for weights that are not finite ---- */

static float plain_fma(float a, float b, float c)
{
    return vec_fma(vec_set1(a), vec_set1(b), vec_set1(c))[0];
}

static float plain_position(const conv_geom *g, const float *x, const float *w,
                            int64_t oy, int64_t ox)
{
    float y = 0.0f, s = 0.0f;
    for (int64_t c = 0; c < g->cg; c++) {
        if (c > 0 && c % g->chunk == 0) {
            y = y + s;
            s = 0.0f;
        }
        for (int64_t i = 0; i < g->kh; i++) {
            int64_t iy = oy * g->sh - g->ph + i * g->dh;
            for (int64_t j = 0; j < g->kw && iy >= 0 && iy < g->h; j++) {
                int64_t ix = ox * g->sw - g->pw + j * g->dw;
                if (ix >= 0 && ix < g->w) {
                    s = plain_fma(x[(c * g->h + iy) * g->w + ix],
                                  w[(c * g->kh + i) * g->kw + j], s);
                }
            }
        }
    }
    return y + s;
}

/* One output value and its winner. */
static float plain_window(const conv_geom *g, const float *x, const float *w,
                          const float *bias, int64_t py, int64_t px, uint8_t *winner)
{
    float best = 0.0f;
    *winner = 0;
    for (int64_t e = 0; e < g->qh * g->qw; e++) {
        float v =
            plain_position(g, x, w, py * g->qsh + e / g->qw, px * g->qsw + e % g->qw);
        if (bias) {
            v = v + *bias;
        }
        if (g->relu && v <= 0) {
            v = 0.0f;
        }
        if (e == 0 || (!(v <= best) && best == best)) {
            best = v;
            *winner = (uint8_t)e;
        }
    }
    return best;
}

void CPU_NAME(conv_plain_image)(const cpu_job *job, const conv_geom *g, int64_t image)
{
    const float *bias = job->in[2];
    for (int64_t o = 0; o < g->oc; o++) {
        const float *x = (const float *)job->in[0] +
                         (image * g->c + o / g->og * g->cg) * g->h * g->w;
        const float *w = (const float *)job->in[1] + o * g->cg * g->kh * g->kw;
        for (int64_t p = 0; p < g->yh * g->yw; p++) {
            int64_t at = (image * g->oc + o) * g->yh * g->yw + p;
            uint8_t winner;
            ((float *)job->out[0])[at] = plain_window(g, x, w, bias ? bias + o : NULL,
                                                      p / g->yw, p % g->yw, &winner);
            if (g->pool && job->out[1]) {
                ((uint8_t *)job->out[1])[at] = winner;
            }
        }
    }
}

/* ---- sums over samples ---- */

static void add_into(float *a, const float *b, int64_t n)
{
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(a + i, vec_load(a + i) + vec_load(b + i));
    }
    for (; i < n; i++) {
        a[i] = a[i] + b[i];
    }
}

void CPU_NAME(conv_tree_push)(conv_tree *t)
{
    t->depth++;
    t->count++;
    for (int64_t c = t->count; c % 2 == 0; c /= 2) {
        t->depth--;
        add_into(t->level[t->depth - 1], t->level[t->depth], t->size);
    }
}

void CPU_NAME(conv_tree_finish)(conv_tree *t)
{
    for (; t->depth > 1; t->depth--) {
        add_into(t->level[t->depth - 2], t->level[t->depth - 1], t->size);
    }
}

void CPU_NAME(conv_tree_total)(float *out, float *parts, int64_t size, int64_t n,
                               int64_t at, int64_t len)
{
    const int64_t block = 64 / CONV_UNIT;
    int64_t count = conv_ceil(n, CONV_UNIT);
    memset(out, 0, (size_t)len * 4);
    for (int64_t b = 0; b < count; b += block) {
        float *t = parts + b * size + at;
        int64_t m = conv_min(block, count - b);
        for (int64_t h = 1; h < block; h *= 2) {
            for (int64_t s = 0; s + h < m; s += 2 * h) {
                add_into(t + s * size, t + (s + h) * size, len);
            }
        }
        add_into(out, t, len);
    }
}
