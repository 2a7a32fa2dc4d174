/* SPDX-License-Identifier: MIT */
/*
 * im2col and col2im, variant "lines": whole lines of one tap are copied or added at a
 * time. A unit is one row of columns, or one plane of the image.
 *
 * col2im adds a pixel's terms in rising (oy, ox). At one oy every kernel line i belongs
 * to another image line, and a pixel meets rising ox as falling j: so oy rises outside,
 * j falls inside, and the lanes run along ox.
 */
#include "conv.h"

#include "conv_kernels.h"

typedef struct line_geom {
    int64_t planes, h, w, oh, ow;
    int64_t kh, kw, sh, sw, ph, pw, dh, dw;
} line_geom;

static line_geom make_geom(const mnt_args_window *a, const mnt_operand *image)
{
    line_geom g = { .planes = image->dim[0] * image->dim[1],
                    .h = image->dim[2],
                    .w = image->dim[3],
                    .kh = a->kernel_h,
                    .kw = a->kernel_w,
                    .sh = a->stride_h,
                    .sw = a->stride_w,
                    .ph = a->pad_h,
                    .pw = a->pad_w,
                    .dh = a->dilation_h,
                    .dw = a->dilation_w };
    g.oh = (g.h + 2 * g.ph - g.dh * (g.kh - 1) - 1) / g.sh + 1;
    g.ow = (g.w + 2 * g.pw - g.dw * (g.kw - 1) - 1) / g.sw + 1;
    return g;
}

static bool is_image(const mnt_operand *o)
{
    return o->ndim == 4 && o->dtype == MNT_F32;
}

bool CPU_NAME(conv_im2col_accepts)(const mnt_cmd *cmd)
{
    return is_image(&cmd->in[0]) && cmd->out[0].dtype == MNT_F32;
}

bool CPU_NAME(conv_col2im_accepts)(const mnt_cmd *cmd)
{
    return is_image(&cmd->out[0]) && cmd->in[0].dtype == MNT_F32;
}

void CPU_NAME(conv_im2col_plan)(cpu_job *job)
{
    line_geom g = make_geom(&job->cmd->args.window, &job->cmd->in[0]);
    cpu_plan_units(job, g.planes * g.kh * g.kw);
}

void CPU_NAME(conv_col2im_plan)(cpu_job *job)
{
    line_geom g = make_geom(&job->cmd->args.window, &job->cmd->out[0]);
    cpu_plan_units(job, g.planes);
}

/* Outputs [first, end) of a line whose tap j lies inside the image. */
static void inside(const line_geom *g, int64_t j, int64_t *first, int64_t *end)
{
    int64_t left = g->pw - j * g->dw; /* ox sw >= left, ox sw < left + w */
    *first = left > 0 ? conv_min(conv_ceil(left, g->sw), g->ow) : 0;
    *end = left + g->w > 0 ? conv_min(conv_ceil(left + g->w, g->sw), g->ow) : 0;
    *end = conv_max(*first, *end);
}

static void copy_row(const line_geom *g, float *y, const float *x, int64_t i, int64_t j)
{
    int64_t first, end;
    inside(g, j, &first, &end);
    for (int64_t oy = 0; oy < g->oh; oy++, y += g->ow) {
        int64_t iy = oy * g->sh - g->ph + i * g->dh;
        if (iy < 0 || iy >= g->h || first == end) {
            memset(y, 0, (size_t)g->ow * 4);
            continue;
        }
        const float *from = x + iy * g->w + (first * g->sw - g->pw + j * g->dw);
        memset(y, 0, (size_t)first * 4);
        if (g->sw == 1) {
            memcpy(y + first, from, (size_t)(end - first) * 4);
        } else {
            for (int64_t ox = first; ox < end; ox++, from += g->sw) {
                y[ox] = *from;
            }
        }
        memset(y + end, 0, (size_t)(g->ow - end) * 4);
    }
}

void CPU_NAME(conv_im2col_run)(const cpu_job *job, int phase, int64_t begin,
                               int64_t end, char *local)
{
    (void)phase;
    (void)local;
    line_geom g = make_geom(&job->cmd->args.window, &job->cmd->in[0]);
    for (int64_t r = begin; r < end; r++) {
        copy_row(&g, (float *)job->out[0] + r * g.oh * g.ow,
                 (const float *)job->in[0] + r / (g.kh * g.kw) * g.h * g.w,
                 r / g.kw % g.kh, r % g.kw);
    }
}

/* to[i step] += from[i], i < n. */
static void add_line(float *to, const float *from, int64_t n, int64_t step)
{
    int64_t i = 0;
    for (; step == 1 && i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(to + i, vec_load(to + i) + vec_load(from + i));
    }
    for (; i < n; i++) {
        to[i * step] = to[i * step] + from[i];
    }
}

static void add_plane(const line_geom *g, float *x, const float *columns)
{
    memset(x, 0, (size_t)(g->h * g->w) * 4);
    for (int64_t oy = 0; oy < g->oh; oy++) {
        for (int64_t i = 0; i < g->kh; i++) {
            int64_t iy = oy * g->sh - g->ph + i * g->dh;
            for (int64_t j = g->kw - 1; j >= 0 && iy >= 0 && iy < g->h; j--) {
                int64_t first, end;
                inside(g, j, &first, &end);
                if (first < end) {
                    add_line(x + iy * g->w + (first * g->sw - g->pw + j * g->dw),
                             columns + ((i * g->kw + j) * g->oh + oy) * g->ow + first,
                             end - first, g->sw);
                }
            }
        }
    }
}

void CPU_NAME(conv_col2im_run)(const cpu_job *job, int phase, int64_t begin,
                               int64_t end, char *local)
{
    (void)phase;
    (void)local;
    line_geom g = make_geom(&job->cmd->args.window, &job->cmd->out[0]);
    int64_t size = g.kh * g.kw * g.oh * g.ow;
    for (int64_t p = begin; p < end; p++) {
        add_plane(&g, (float *)job->out[0] + p * g.h * g.w,
                  (const float *)job->in[0] + p * size);
    }
}
