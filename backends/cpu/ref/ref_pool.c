/* SPDX-License-Identifier: MIT */
/*
 * Reference windows over images: im2col, col2im, max_pool2d and its gradient. All
 * gradients gather: each element of the result collects its terms in a fixed order
 * (rising oy, ox), so nothing is written twice. A unit is a plane of the result.
 */
#include "ref.h"

static void plan_planes(cpu_job *job)
{
    const mnt_operand *y = &job->cmd->out[0];
    cpu_plan_units(job, y->dim[0] * y->dim[1]);
}

/* y[n, (c i j), (oy ox)]; a unit is one row (n, c, i, j). */
static void run_im2col(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *x = &job->cmd->in[0];
    const mnt_args_window *a = &job->cmd->args.window;
    int64_t h = x->dim[2], w = x->dim[3];
    int64_t oh = ref_positions(h, a->kernel_h, a->stride_h, a->pad_h, a->dilation_h);
    int64_t ow = ref_positions(w, a->kernel_w, a->stride_w, a->pad_w, a->dilation_w);
    for (int64_t row = begin; row < end; row++) {
        int64_t j = row % a->kernel_w, i = row / a->kernel_w % a->kernel_h;
        int64_t plane = row / a->kernel_w / a->kernel_h;
        const float *in = (const float *)job->in[0] + plane * h * w;
        float *y = (float *)job->out[0] + row * oh * ow;
        for (int64_t k = 0; k < oh * ow; k++) {
            int64_t iy = k / ow * a->stride_h - a->pad_h + i * a->dilation_h;
            int64_t ix = k % ow * a->stride_w - a->pad_w + j * a->dilation_w;
            bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
            y[k] = inside ? in[iy * w + ix] : 0.0f;
        }
    }
}

/* Sum of the columns' copies of a pixel; `cols` are the plane's kh kw rows. */
static float ref_col2im_at(const mnt_args_window *a, const float *cols, int64_t oh,
                           int64_t ow, int64_t iy, int64_t ix)
{
    ref_range ry =
        ref_touching(iy, oh, a->kernel_h, a->stride_h, a->pad_h, a->dilation_h);
    ref_range rx =
        ref_touching(ix, ow, a->kernel_w, a->stride_w, a->pad_w, a->dilation_w);
    float sum = 0.0f;
    for (int64_t oy = ry.first; oy < ry.end; oy++) {
        int64_t i = ref_tap(iy, oy, a->kernel_h, a->stride_h, a->pad_h, a->dilation_h);
        for (int64_t ox = rx.first; ox < rx.end && i >= 0; ox++) {
            int64_t j =
                ref_tap(ix, ox, a->kernel_w, a->stride_w, a->pad_w, a->dilation_w);
            if (j >= 0)
                sum = sum + cols[((i * a->kernel_w + j) * oh + oy) * ow + ox];
        }
    }
    return sum;
}

static void run_col2im(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *x = &job->cmd->out[0];
    const mnt_args_window *a = &job->cmd->args.window;
    int64_t h = x->dim[2], w = x->dim[3];
    int64_t oh = ref_positions(h, a->kernel_h, a->stride_h, a->pad_h, a->dilation_h);
    int64_t ow = ref_positions(w, a->kernel_w, a->stride_w, a->pad_w, a->dilation_w);
    int64_t taps = (int64_t)a->kernel_h * a->kernel_w;
    for (int64_t plane = begin; plane < end; plane++) {
        const float *cols = (const float *)job->in[0] + plane * taps * oh * ow;
        float *y = (float *)job->out[0] + plane * h * w;
        for (int64_t iy = 0; iy < h; iy++)
            for (int64_t ix = 0; ix < w; ix++)
                y[iy * w + ix] = ref_col2im_at(a, cols, oh, ow, iy, ix);
    }
}

/* The winner of the window at (oy, ox); padding never wins. */
static ref_best ref_pool_at(const mnt_args_window *a, const float *x, int64_t h,
                            int64_t w, int64_t oy, int64_t ox)
{
    ref_best best = { 0.0f, -1 };
    for (int i = 0; i < a->kernel_h; i++)
        for (int j = 0; j < a->kernel_w; j++) {
            int64_t iy = oy * a->stride_h - a->pad_h + i;
            int64_t ix = ox * a->stride_w - a->pad_w + j;
            if (iy >= 0 && iy < h && ix >= 0 && ix < w)
                ref_best_offer(&best, x[iy * w + ix], (int64_t)i * a->kernel_w + j);
        }
    return best;
}

static void run_max_pool2d(const cpu_job *job, int phase, int64_t begin, int64_t end,
                           char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *x = &job->cmd->in[0], *y = &job->cmd->out[0];
    int64_t h = x->dim[2], w = x->dim[3], oh = y->dim[2], ow = y->dim[3];
    float *out = job->out[0];
    for (int64_t plane = begin; plane < end; plane++) {
        const float *in = (const float *)job->in[0] + plane * h * w;
        for (int64_t k = 0; k < oh * ow; k++) {
            ref_best best =
                ref_pool_at(&job->cmd->args.window, in, h, w, k / ow, k % ow);
            int64_t i = plane * oh * ow + k;
            out[i] = mnt_flushf(best.value);
            if (job->out[1] != NULL)
                ref_set_winner(job->out[1], job->cmd->out[1].dtype, i, best.index);
        }
    }
}

/* dx at a pixel: +0, then + dy of each window that chose it; `first` is the plane's
 * first window. */
static float ref_pool_dx_at(const cpu_job *job, int64_t first, int64_t iy, int64_t ix)
{
    const mnt_args_window *a = &job->cmd->args.window;
    const mnt_operand *o = &job->cmd->in[0];
    const float *dy = job->in[0];
    ref_range ry = ref_touching(iy, o->dim[2], a->kernel_h, a->stride_h, a->pad_h, 1);
    ref_range rx = ref_touching(ix, o->dim[3], a->kernel_w, a->stride_w, a->pad_w, 1);
    float sum = 0.0f;
    for (int64_t oy = ry.first; oy < ry.end; oy++)
        for (int64_t ox = rx.first; ox < rx.end; ox++) {
            int64_t i = ref_tap(iy, oy, a->kernel_h, a->stride_h, a->pad_h, 1);
            int64_t j = ref_tap(ix, ox, a->kernel_w, a->stride_w, a->pad_w, 1);
            int64_t k = first + oy * o->dim[3] + ox;
            if (i >= 0 && j >= 0 &&
                ref_winner(job->in[1], job->cmd->in[1].dtype, k) == i * a->kernel_w + j)
                sum = sum + dy[k];
        }
    return sum;
}

static void run_max_pool2d_grad(const cpu_job *job, int phase, int64_t begin,
                                int64_t end, char *local)
{
    (void)phase;
    (void)local;
    const mnt_operand *o = &job->cmd->in[0], *x = &job->cmd->out[0];
    int64_t h = x->dim[2], w = x->dim[3], windows = o->dim[2] * o->dim[3];
    for (int64_t plane = begin; plane < end; plane++) {
        float *dx = (float *)job->out[0] + plane * h * w;
        for (int64_t k = 0; k < h * w; k++)
            dx[k] = ref_pool_dx_at(job, plane * windows, k / w, k % w);
    }
}

const cpu_kernel CPU_NAME(cpu_ref_pool)[] = {
    { MNT_OP_ID_im2col, "ref", NULL, plan_planes, run_im2col },
    { MNT_OP_ID_col2im, "ref", NULL, plan_planes, run_col2im },
    { MNT_OP_ID_max_pool2d, "ref", NULL, plan_planes, run_max_pool2d },
    { MNT_OP_ID_max_pool2d_grad, "ref", NULL, plan_planes, run_max_pool2d_grad },
    { 0 },
};
