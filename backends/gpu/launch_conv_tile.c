/* SPDX-License-Identifier: MIT */
/*
 * Convolutions in tiles (shaders/conv_tile.metal): which they take, and how large tiles
 * are. A threadgroup has 128 threads and stages 24 KiB; its quads go to threads first by
 * image, then by sample, then by block of channels. Small problems get small blocks of
 * channels, so that there are threads enough.
 */
#include "launch.h"

#include "launch_conv.h"

#define MOST_ACROSS 16 /* quads of a tile in a row */
#define MOST_BLOCKS 4  /* register blocks of a threadgroup */
#define UNIT        3  /* quads of a unit, each way */
#define UNITS       4  /* of a threadgroup */

/* What a kernel makes of a plane of quads. */
typedef struct problem {
    int32_t across, down; /* quads of a sample */
    int32_t summed, made; /* channels */
    int32_t block;        /* channels of a register block */
    int32_t taps;         /* staged, of one channel summed and one made */
    int32_t halo;         /* a staged plane has 2 quads + halo elements */
} problem;

static int32_t pieces(int32_t size, int32_t each)
{
    return size > 0 ? (size - 1) / each + 1 : 0;
}

/* Shares of about equal size, none above `most`. */
static int32_t even(int32_t size, int32_t most)
{
    return size > most ? pieces(size, pieces(size, most)) : size;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Floats from row to row of a staged plane, even: where quads of several rows are read at
 * once, they should not meet in one bank. */
static int32_t pitch_of(int32_t width, int32_t quads)
{
    int32_t narrow = width + width % 2;
    if (quads % 2 != 0 || quads >= 16)
        return narrow;
    for (int32_t pitch = narrow; pitch <= narrow + 6; pitch += 2)
        if (pitch % 16 == quads || pitch % 16 == 16 - quads)
            return pitch;
    return narrow;
}

/* Channels that can be staged at a time. */
static int32_t staged(const mnt_tile_args *t, const problem *m)
{
    int32_t plane = t->rows * t->pitch;
    int32_t channels =
        MNT_TILE_FLOATS / (t->blocks * m->block * m->taps + t->samples * plane);
    return least(channels, m->summed);
}

/* About how long the tiles take in all, in cycles of a core that runs a threadgroup's
 * four warps at once; 0 if they do not fit. Below 128 threadgroups cores are idle. */
static double cost(const mnt_tile_args *t, const problem *m)
{
    int32_t channels = staged(t, m);
    if (channels < 1)
        return 0;
    double groups =
        (double)gpu_groups(t->conv.n, t->samples) * t->tiles_x * t->tiles_y * t->groups;
    double sums = (double)m->summed * t->conv.kh * t->conv.kw * m->block * 4;
    double line = 16 * pieces(t->pitch, 16); /* 16 threads share a row */
    double moved = (double)m->summed *
                   (line * t->samples * t->rows + t->blocks * m->block * m->taps);
    double each = sums + moved / 4 + 2000.0 * pieces(m->summed, channels) + 600;
    return each * (groups > 128 ? groups : 128);
}

static void place(mnt_tile_args *t, const problem *m, int32_t blocks, int32_t x,
                  int32_t y)
{
    t->blocks = blocks;
    t->groups = pieces(pieces(m->made, m->block), blocks);
    t->quads_x = x;
    t->quads_y = y;
    t->tiles_x = pieces(m->across, x);
    t->tiles_y = pieces(m->down, y);
    t->rows = 2 * y + m->halo;
    t->pitch = pitch_of(2 * x + m->halo, x);
    int64_t samples = MNT_TILE_GROUP / (blocks * x * y);
    t->samples = (int32_t)(samples < t->conv.n ? samples : t->conv.n);
}

/* The tiles that take least time. */
static double fit(mnt_tile_args *best, const problem *m)
{
    mnt_tile_args t = *best;
    double least_cost = 0;
    int32_t most = least(pieces(m->made, m->block), MOST_BLOCKS);
    for (int32_t blocks = 1; blocks <= most; blocks++)
        for (int32_t x = 1; x <= least(m->across, MOST_ACROSS); x++)
            for (int32_t y = 1; y <= m->down && blocks * x * y <= MNT_TILE_GROUP; y++) {
                place(&t, m, blocks, x, y);
                double c = cost(&t, m);
                if (c > 0 && (least_cost <= 0 || c < least_cost)) {
                    least_cost = c;
                    *best = t;
                }
            }
    return least_cost;
}

static void reciprocals(mnt_tile_args *t, int32_t block)
{
    int32_t quads = t->quads_y * t->quads_x;
    t->per_block = 1.0f / (float)(t->samples * quads);
    t->per_sample = 1.0f / (float)quads;
    t->per_line = 1.0f / (float)t->quads_x;
    t->per_channels = 1.0f / (float)t->channels;
    t->per_rows = 1.0f / (float)t->rows;
    t->per_pitch = 1.0f / (float)t->pitch;
    t->per_tap = 1.0f / (float)(t->blocks * block / 4);
}

/* What follows from the tiles. */
static void finish(mnt_tile_args *t, const problem *m)
{
    t->channels = even(m->summed, staged(t, m));
    if (t->channels < 1)
        t->channels = 1;
    reciprocals(t, m->block);
}

static uint64_t threadgroups(const mnt_tile_args *t)
{
    return gpu_groups(t->conv.n, t->samples) * (uint64_t)t->tiles_x *
           (uint64_t)t->tiles_y * (uint64_t)t->groups;
}

/* Square kernels of 1, 3 or 5, moving by ones, one group. */
static bool plain(const mnt_args_conv *a, const mnt_operand *w)
{
    return a->groups == 1 && a->stride_h == 1 && a->stride_w == 1 &&
           a->dilation_h == 1 && a->dilation_w == 1 && w->dim[2] == w->dim[3] &&
           (w->dim[2] == 1 || w->dim[2] == 3 || w->dim[2] == 5);
}

/* The entry of a list for kernels of 1, 3, 5. */
static gpu_kernel of_size(int32_t size, gpu_kernel first, gpu_kernel apart)
{
    return (gpu_kernel)((int)first + (size / 2) * (int)apart);
}

/* ---- forward ---- */

static bool accepts_conv(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->in[0], &cmd->in[1]) &&
           plain(&cmd->args.conv, &cmd->in[1]);
}

static bool accepts_block(const mnt_cmd *cmd)
{
    const mnt_args_window *p = &cmd->args.block.pool;
    if (!gpu_conv_fits(&cmd->in[0], &cmd->in[1]) ||
        !plain(&cmd->args.block.conv, &cmd->in[1]))
        return false;
    return p->kernel_h == 0 ||
           (p->kernel_h == 2 && p->kernel_w == 2 && p->stride_h == 2 &&
            p->stride_w == 2 && p->pad_h == 0 && p->pad_w == 0);
}

static void emit_forward(gpu_emit *e, const mnt_cmd *cmd, mnt_tile_args *t,
                         const mnt_operand *bias, const mnt_operand *winner)
{
    mnt_conv_args *p = &t->conv;
    p->count = gpu_count(&cmd->out[0]);
    if (p->count == 0)
        return;
    p->bias = bias->buffer != NULL;
    p->winners = winner->buffer != NULL;
    problem m = { .across = p->pool_h ? p->yw : pieces(p->yw, 2),
                  .down = p->pool_h ? p->yh : pieces(p->yh, 2),
                  .summed = p->c > 0 ? p->c : 1,
                  .made = p->o,
                  .block = 8,
                  .taps = p->kh * p->kw,
                  .halo = p->kh - 1 };
    mnt_tile_args narrow = *t;
    double wide_cost = fit(t, &m);
    m.block = 4;
    double narrow_cost = fit(&narrow, &m);
    if (narrow_cost < wide_cost)
        *t = narrow;
    else
        m.block = 8;
    if (t->tiles_x == 1 && t->tiles_y == 1 && p->pad_h == 0 && p->pad_w == 0 &&
        t->pitch >= p->w && 2 * t->quads_x + m.halo <= p->w && p->w % 2 == 0 &&
        t->rows == p->h) {
        t->linear = 1;
        t->pitch = p->w;
    }
    finish(t, &m);
    gpu_kernel first =
        m.block == 8 ? GPU_KERNEL_conv_tile_1_8 : GPU_KERNEL_conv_tile_1_4;
    gpu_dispatch *d = gpu_dispatch_add(e, of_size(p->kh, first, 2), threadgroups(t));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, bias);
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, winner);
    gpu_args(d, t, sizeof *t);
}

static void launch_conv(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_tile_args t = { .conv =
                            gpu_conv_args(&cmd->args.conv, &cmd->in[0], &cmd->in[1]) };
    emit_forward(e, cmd, &t, &gpu_absent, &gpu_absent);
}

static void launch_block(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_tile_args t = { .conv = gpu_conv_block_args(cmd) };
    emit_forward(e, cmd, &t, &cmd->in[2], &cmd->out[1]);
}

/* ---- gradient of the image ---- */

static bool accepts_dx(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->out[0], &cmd->in[1]) &&
           plain(&cmd->args.conv, &cmd->in[1]);
}

static bool accepts_pool_dx(const mnt_cmd *cmd)
{
    return gpu_conv_fits(&cmd->out[0], &cmd->in[2]) && cmd->in[1].dtype == MNT_U8 &&
           plain(&cmd->args.block.conv, &cmd->in[2]);
}

/* Quads along one axis: of the pixels at pad .. pad + size - 1. */
static int32_t quads(int32_t size, int32_t pad)
{
    return size > 0 ? (pad + size - 1) / 2 - pad / 2 + 1 : 0;
}

static void launch_dx(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_tile_args t = { .conv =
                            gpu_conv_args(&cmd->args.conv, &cmd->out[0], &cmd->in[1]) };
    mnt_conv_args *p = &t.conv;
    p->count = gpu_count(&cmd->out[0]);
    if (p->count == 0)
        return;
    problem m = { .across = quads(p->w, p->pad_w),
                  .down = quads(p->h, p->pad_h),
                  .summed = p->o > 0 ? p->o : 1,
                  .made = p->c,
                  .block = 4,
                  .taps = p->kh * p->kw,
                  .halo = p->kh - 1 };
    fit(&t, &m);
    finish(&t, &m);
    gpu_dispatch *d = gpu_dispatch_add(e, of_size(p->kh, GPU_KERNEL_conv_dx_tile_1, 1),
                                       threadgroups(&t));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &t, sizeof t);
}

/* Units of 3x3 quads: two each way where the image has as many, the rest of a
 * threadgroup's four from other samples. Weights have margins as the kernel says. */
static void fit_units(mnt_tile_args *t)
{
    mnt_conv_args *p = &t->conv;
    int32_t across = quads(p->w, p->pad_w), down = quads(p->h, p->pad_h);
    int32_t reach = (p->kh - 1) / 2, line = p->kh == 1 ? 2 : 6;
    t->quads_x = across > UNIT ? 2 : 1;
    t->quads_y = down > UNIT ? 2 : 1;
    t->tiles_x = pieces(across, UNIT * t->quads_x);
    t->tiles_y = pieces(down, UNIT * t->quads_y);
    t->samples = UNITS / (t->quads_x * t->quads_y);
    if (t->samples > p->n)
        t->samples = (int32_t)p->n;
    t->blocks = 1;
    t->groups = pieces(p->c, 8);
    t->rows = UNIT * t->quads_y + reach;
    t->pitch = UNIT * t->quads_x + reach;
    int32_t taps = (p->kh + 1) * line;
    int32_t room = (MNT_TILE_WINDOWS - 8 * (line + 1)) /
                   (8 * taps + 2 * t->samples * t->rows * t->pitch);
    t->channels = p->o > 0 ? even(p->o, room) : 1;
    reciprocals(t, 8);
}

/* Operands dy, winners, w -> dx. */
static void launch_pool_dx(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_tile_args t = { .conv = gpu_conv_args(&cmd->args.block.conv, &cmd->out[0],
                                              &cmd->in[2]) };
    mnt_conv_args *p = &t.conv;
    p->count = gpu_count(&cmd->out[0]);
    if (p->count == 0)
        return;
    p->yh = (int32_t)cmd->in[0].dim[2];
    p->yw = (int32_t)cmd->in[0].dim[3];
    fit_units(&t);
    gpu_dispatch *d = gpu_dispatch_add(
        e, of_size(p->kh, GPU_KERNEL_conv_dx_winners_1, 1), threadgroups(&t));
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, &cmd->in[2]);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &t, sizeof t);
}

const gpu_launcher gpu_launch_conv_tile[] = {
    { MNT_OP_ID_conv2d, "tile", accepts_conv, launch_conv, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_block, "tile", accepts_block, launch_block, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_dx, "tile", accepts_dx, launch_dx, NULL, GPU_ANY },
    { MNT_OP_ID_conv2d_pool_dx, "winners", accepts_pool_dx, launch_pool_dx, NULL,
      GPU_ANY },
    { 0 },
};
