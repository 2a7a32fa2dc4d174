/* SPDX-License-Identifier: MIT */
/*
 * Reference convolutions: conv2d and its gradients for any geometry, and the fused
 * forms with bias, relu and pooling. One function computes one element by its
 * definition (rules C4 to C6); fused ops call the same functions, so their bits are the
 * same. The pooled gradients read dy through the winners' indices of 2x2 windows.
 */
#include "ref.h"

typedef struct ref_geometry {
    mnt_args_conv args;
    int64_t n, c, h, w;       /* images */
    int64_t o, oh, ow;        /* outputs */
    int64_t c_group, o_group; /* channels of one group */
    int kh, kw;
} ref_geometry;

static ref_geometry ref_geometry_of(const mnt_args_conv *args, const mnt_operand *image,
                                    const mnt_operand *weight)
{
    ref_geometry g = { .args = *args,
                       .n = image->dim[0],
                       .c = image->dim[1],
                       .h = image->dim[2],
                       .w = image->dim[3],
                       .o = weight->dim[0],
                       .c_group = weight->dim[1],
                       .o_group = weight->dim[0] / args->groups,
                       .kh = (int)weight->dim[2],
                       .kw = (int)weight->dim[3] };
    g.oh = ref_positions(g.h, g.kh, args->stride_h, args->pad_h, args->dilation_h);
    g.ow = ref_positions(g.w, g.kw, args->stride_w, args->pad_w, args->dilation_w);
    return g;
}

/* y[n, o, oy, ox]: x is sample n, w the kernels. Padding taps are no terms. */
static float ref_conv_at(const ref_geometry *g, const float *x, const float *w,
                         int64_t o, int64_t oy, int64_t ox)
{
    const mnt_args_conv *a = &g->args;
    int64_t taps = (int64_t)g->kh * g->kw;
    const float *image = x + o / g->o_group * g->c_group * g->h * g->w;
    const float *kernel = w + o * g->c_group * taps;
    float y = 0.0f;
    for (int64_t first = 0; first < g->c_group; first += a->chunk) {
        int64_t end = ref_min(g->c_group, first + a->chunk);
        float s = 0.0f;
        for (int64_t c = first; c < end; c++)
            for (int i = 0; i < g->kh; i++) {
                int64_t iy = oy * a->stride_h - a->pad_h + (int64_t)i * a->dilation_h;
                if (iy < 0 || iy >= g->h)
                    continue;
                for (int j = 0; j < g->kw; j++) {
                    int64_t ix =
                        ox * a->stride_w - a->pad_w + (int64_t)j * a->dilation_w;
                    if (ix < 0 || ix >= g->w)
                        continue;
                    s = mnt_fmaf(image[(c * g->h + iy) * g->w + ix],
                                 kernel[c * taps + i * g->kw + j], s);
                }
            }
        y = y + s;
    }
    return y;
}

/* A unit is one plane [n, o] of the output. */
static void plan_planes(cpu_job *job)
{
    const mnt_operand *y = &job->cmd->out[0];
    cpu_plan_units(job, y->dim[0] * y->dim[1]);
}

static void run_conv2d(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    ref_geometry g = ref_geometry_of(&cmd->args.conv, &cmd->in[0], &cmd->in[1]);
    for (int64_t plane = begin; plane < end; plane++) {
        const float *x = (const float *)job->in[0] + plane / g.o * g.c * g.h * g.w;
        float *y = (float *)job->out[0] + plane * g.oh * g.ow;
        for (int64_t oy = 0; oy < g.oh; oy++)
            for (int64_t ox = 0; ox < g.ow; ox++)
                y[oy * g.ow + ox] = ref_conv_at(&g, x, job->in[1], plane % g.o, oy, ox);
    }
}

/* What the pool sees at (oy, ox): convolution, bias, relu. */
static float ref_block_at(const cpu_job *job, const ref_geometry *g, int64_t plane,
                          int64_t oy, int64_t ox)
{
    const float *x = (const float *)job->in[0] + plane / g->o * g->c * g->h * g->w;
    const float *bias = job->in[2];
    int64_t o = plane % g->o;
    float v = ref_conv_at(g, x, job->in[1], o, oy, ox);
    if (bias != NULL)
        v = v + bias[o];
    return job->cmd->args.block.relu && v <= 0.0f ? 0.0f : v;
}

static ref_best ref_block_window(const cpu_job *job, const ref_geometry *g,
                                 int64_t plane, int64_t py, int64_t px)
{
    const mnt_args_window *p = &job->cmd->args.block.pool;
    ref_best best = { 0.0f, -1 };
    for (int i = 0; i < p->kernel_h; i++)
        for (int j = 0; j < p->kernel_w; j++) {
            int64_t oy = py * p->stride_h - p->pad_h + i;
            int64_t ox = px * p->stride_w - p->pad_w + j;
            if (oy >= 0 && oy < g->oh && ox >= 0 && ox < g->ow)
                ref_best_offer(&best, ref_block_at(job, g, plane, oy, ox),
                               (int64_t)i * p->kernel_w + j);
        }
    return best;
}

static void run_conv2d_block(const cpu_job *job, int phase, int64_t begin, int64_t end,
                             char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    const mnt_args_block *args = &cmd->args.block;
    ref_geometry g = ref_geometry_of(&args->conv, &cmd->in[0], &cmd->in[1]);
    int64_t h = cmd->out[0].dim[2], w = cmd->out[0].dim[3];
    float *y = job->out[0];
    for (int64_t i = begin * h * w; i < end * h * w; i++) {
        int64_t plane = i / (h * w), py = i / w % h, px = i % w;
        if (args->pool.kernel_h == 0) {
            y[i] = ref_block_at(job, &g, plane, py, px);
            continue;
        }
        ref_best best = ref_block_window(job, &g, plane, py, px);
        y[i] = best.value;
        if (job->out[1] != NULL)
            ref_set_winner(job->out[1], cmd->out[1].dtype, i, best.index);
    }
}

/* dy of the convolution: as it is, or behind a 2x2 max pool with stride 2, where
 * positions outside every window and those that lost read +0. */
typedef struct ref_source {
    const float *dy;
    const void *index; /* NULL: no pool */
    mnt_dtype index_dtype;
    int64_t h, w; /* of dy */
} ref_source;

static float ref_source_at(const ref_source *s, int64_t plane, int64_t oy, int64_t ox)
{
    if (s->index == NULL)
        return s->dy[(plane * s->h + oy) * s->w + ox];
    if (oy / 2 >= s->h || ox / 2 >= s->w)
        return 0.0f;
    int64_t i = (plane * s->h + oy / 2) * s->w + ox / 2;
    bool won = ref_winner(s->index, s->index_dtype, i) == oy % 2 * 2 + ox % 2;
    return won ? s->dy[i] : 0.0f;
}

static ref_source ref_source_of(const cpu_job *job, int dy, int index)
{
    const mnt_operand *o = job->cmd->in;
    ref_source s = { .dy = job->in[dy], .h = o[dy].dim[2], .w = o[dy].dim[3] };
    if (index >= 0) {
        s.index = job->in[index];
        s.index_dtype = o[index].dtype;
    }
    return s;
}

/* A position of the output and the tap by which its window holds a pixel. */
typedef struct ref_touch {
    int64_t oy, ox, tap;
} ref_touch;

/* All that touch the pixel, in block order (C5). At most kh kw. */
static int64_t ref_touches(const ref_geometry *g, int64_t iy, int64_t ix,
                           ref_touch *list)
{
    const mnt_args_conv *a = &g->args;
    ref_range ry = ref_touching(iy, g->oh, g->kh, a->stride_h, a->pad_h, a->dilation_h);
    ref_range rx = ref_touching(ix, g->ow, g->kw, a->stride_w, a->pad_w, a->dilation_w);
    int64_t count = 0;
    for (int64_t by = ry.first / 2; 2 * by < ry.end; by++)
        for (int64_t bx = rx.first / 2; 2 * bx < rx.end; bx++)
            for (int q = 0; q < 4; q++) {
                int64_t oy = 2 * by + q / 2, ox = 2 * bx + q % 2;
                if (oy < ry.first || oy >= ry.end || ox < rx.first || ox >= rx.end)
                    continue;
                int64_t i =
                    ref_tap(iy, oy, g->kh, a->stride_h, a->pad_h, a->dilation_h);
                int64_t j =
                    ref_tap(ix, ox, g->kw, a->stride_w, a->pad_w, a->dilation_w);
                if (i >= 0 && j >= 0)
                    list[count++] = (ref_touch){ oy, ox, i * g->kw + j };
            }
    return count;
}

/* dx[n, c] at a pixel: order oc, then the positions; chunks of output channels. */
static float ref_dx_at(const ref_geometry *g, const ref_source *dy, const float *w,
                       int64_t n, int64_t c, const ref_touch *list, int64_t count)
{
    int64_t taps = (int64_t)g->kh * g->kw;
    int64_t o0 = c / g->c_group * g->o_group; /* first output channel of the group */
    float y = 0.0f;
    for (int64_t first = 0; first < g->o_group; first += g->args.chunk) {
        int64_t end = ref_min(g->o_group, first + g->args.chunk);
        float s = 0.0f;
        for (int64_t o = o0 + first; o < o0 + end; o++) {
            const float *kernel = w + (o * g->c_group + c % g->c_group) * taps;
            for (int64_t k = 0; k < count; k++)
                s = mnt_fmaf(ref_source_at(dy, n * g->o + o, list[k].oy, list[k].ox),
                             kernel[list[k].tap], s);
        }
        y = y + s;
    }
    return y;
}

/* A unit is one plane [n, c] of dx; thread scratch: the touches of a pixel. */
static void plan_dx(cpu_job *job)
{
    const mnt_cmd *cmd = job->cmd;
    const mnt_operand *w = &cmd->in[cmd->op == MNT_OP_ID_conv2d_dx ? 1 : 2];
    plan_planes(job);
    job->local_bytes = (size_t)(w->dim[2] * w->dim[3]) * sizeof(ref_touch);
}

static void ref_dx(const cpu_job *job, const ref_geometry *g, const ref_source *dy,
                   const float *w, int64_t begin, int64_t end, char *local)
{
    ref_touch *list = (ref_touch *)(void *)local;
    float *dx = job->out[0];
    for (int64_t plane = begin; plane < end; plane++)
        for (int64_t iy = 0; iy < g->h; iy++)
            for (int64_t ix = 0; ix < g->w; ix++) {
                int64_t count = ref_touches(g, iy, ix, list);
                dx[(plane * g->h + iy) * g->w + ix] =
                    ref_dx_at(g, dy, w, plane / g->c, plane % g->c, list, count);
            }
}

static void run_conv2d_dx(const cpu_job *job, int phase, int64_t begin, int64_t end,
                          char *local)
{
    (void)phase;
    const mnt_cmd *cmd = job->cmd;
    ref_geometry g = ref_geometry_of(&cmd->args.conv, &cmd->out[0], &cmd->in[1]);
    ref_source dy = ref_source_of(job, 0, -1);
    ref_dx(job, &g, &dy, job->in[1], begin, end, local);
}

static void run_conv2d_pool_dx(const cpu_job *job, int phase, int64_t begin,
                               int64_t end, char *local)
{
    (void)phase;
    const mnt_cmd *cmd = job->cmd;
    ref_geometry g = ref_geometry_of(&cmd->args.block.conv, &cmd->out[0], &cmd->in[2]);
    ref_source dy = ref_source_of(job, 0, 1);
    ref_dx(job, &g, &dy, job->in[2], begin, end, local);
}

/* One sample's share of dw[o, c, i, j]: positions in block order, in chunks of 4096. */
static float ref_dw_sample(const ref_geometry *g, const ref_source *dy, const float *x,
                           int64_t plane, int i, int j)
{
    const mnt_args_conv *a = &g->args;
    float y = 0.0f, s = 0.0f;
    int64_t oy = 0, ox = 0;
    for (int64_t k = 0; k < g->oh * g->ow; k++) {
        if (k > 0 && k % REF_BLOCK == 0) {
            y = y + s;
            s = 0.0f;
        }
        int64_t iy = oy * a->stride_h - a->pad_h + (int64_t)i * a->dilation_h;
        int64_t ix = ox * a->stride_w - a->pad_w + (int64_t)j * a->dilation_w;
        if (iy >= 0 && iy < g->h && ix >= 0 && ix < g->w)
            s = mnt_fmaf(x[iy * g->w + ix], ref_source_at(dy, plane, oy, ox), s);
        ref_block_next(g->oh, g->ow, &oy, &ox);
    }
    return y + s;
}

/* A unit is one weight: 64 samples' shares, their tree, and so on (C6). */
static void ref_dw(const cpu_job *job, const ref_geometry *g, const ref_source *dy,
                   int64_t begin, int64_t end)
{
    const float *x = job->in[0];
    float *dw = job->out[0];
    for (int64_t e = begin; e < end; e++) {
        int j = (int)(e % g->kw), i = (int)(e / g->kw % g->kh);
        int64_t oc = e / g->kw / g->kh;
        int64_t o = oc / g->c_group;
        int64_t c = o / g->o_group * g->c_group + oc % g->c_group;
        float y = 0.0f;
        for (int64_t first = 0; first < g->n; first += REF_TREE) {
            float t[REF_TREE];
            int64_t samples = ref_min(REF_TREE, g->n - first);
            for (int64_t s = 0; s < samples; s++) {
                int64_t n = first + s;
                t[s] = ref_dw_sample(g, dy, x + (n * g->c + c) * g->h * g->w,
                                     n * g->o + o, i, j);
            }
            y = y + ref_tree64(t, samples);
        }
        dw[e] = y;
    }
}

static void plan_weights(cpu_job *job)
{
    cpu_plan_units(job, ref_count(&job->cmd->out[0]));
}

static void run_conv2d_dw(const cpu_job *job, int phase, int64_t begin, int64_t end,
                          char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    ref_geometry g = ref_geometry_of(&cmd->args.conv, &cmd->in[0], &cmd->out[0]);
    ref_source dy = ref_source_of(job, 1, -1);
    ref_dw(job, &g, &dy, begin, end);
}

static void run_conv2d_pool_dw(const cpu_job *job, int phase, int64_t begin,
                               int64_t end, char *local)
{
    (void)phase;
    (void)local;
    const mnt_cmd *cmd = job->cmd;
    ref_geometry g = ref_geometry_of(&cmd->args.block.conv, &cmd->in[0], &cmd->out[0]);
    ref_source dy = ref_source_of(job, 1, 2);
    ref_dw(job, &g, &dy, begin, end);
}

/*
 * db behind a pool. The command does not tell an even image from one with an odd last
 * row or column; they differ in where 4096 positions end, so such images are refused
 * and stay unfused.
 */
static bool accepts_pool_db(const mnt_cmd *cmd)
{
    const mnt_operand *dy = &cmd->in[0];
    return (2 * dy->dim[2] + 1) * (2 * dy->dim[3] + 1) <= REF_BLOCK;
}

static float ref_db_sample(const float *dy, int64_t count)
{
    float s = 0.0f;
    for (int64_t i = 0; i < count; i++)
        s = s + dy[i];
    return 0.0f + s;
}

/* A window is a 2x2 block with one winner: its windows in order are the block order. */
static void run_conv2d_pool_db(const cpu_job *job, int phase, int64_t begin,
                               int64_t end, char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *o = &job->cmd->in[0];
    int64_t n = o->dim[0], channels = o->dim[1], plane = o->dim[2] * o->dim[3];
    const float *dy = job->in[0];
    float *db = job->out[0];
    for (int64_t c = begin; c < end; c++) {
        float y = 0.0f;
        for (int64_t first = 0; first < n; first += REF_TREE) {
            float t[REF_TREE];
            int64_t samples = ref_min(REF_TREE, n - first);
            for (int64_t s = 0; s < samples; s++)
                t[s] = ref_db_sample(dy + ((first + s) * channels + c) * plane, plane);
            y = y + ref_tree64(t, samples);
        }
        db[c] = y;
    }
}

const cpu_kernel CPU_NAME(cpu_ref_conv)[] = {
    { MNT_OP_ID_conv2d, "ref", NULL, plan_planes, run_conv2d },
    { MNT_OP_ID_conv2d_dx, "ref", NULL, plan_dx, run_conv2d_dx },
    { MNT_OP_ID_conv2d_dw, "ref", NULL, plan_weights, run_conv2d_dw },
    { MNT_OP_ID_conv2d_block, "ref", NULL, plan_planes, run_conv2d_block },
    { MNT_OP_ID_conv2d_pool_dx, "ref", NULL, plan_dx, run_conv2d_pool_dx },
    { MNT_OP_ID_conv2d_pool_dw, "ref", NULL, plan_weights, run_conv2d_pool_dw },
    { MNT_OP_ID_conv2d_pool_db, "ref", accepts_pool_db, plan_weights,
      run_conv2d_pool_db },
    { 0 },
};
