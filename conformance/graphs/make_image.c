/* SPDX-License-Identifier: MIT */
/*
 * Makers of convolutions, pooling and patches, and the chains that become a block:
 * convolution, bias, relu, pooling.
 */
#include "program.h"

static bool usable(const graph_program *p, int x)
{
    return x >= 0 && (p->wild || !p->values[x].tainted);
}

/* An image that is there, or a new one. */
static int pick_image(graph_program *p)
{
    int x = graph_chance(p, 85) ? graph_pick(p, graph_is_image) : -1;
    if (x >= 0 && p->values[x].shape.dim[2] > 0 && p->values[x].shape.dim[3] > 0)
        return x;
    return graph_input(p, MNT_F32,
                       MNT_SHAPE(graph_draw(p, 1, 2), graph_draw(p, 1, 2),
                                 graph_size(p, 4, 9, 24), graph_size(p, 4, 9, 24)),
                       0);
}

static int64_t places(int64_t n, int64_t kernel, int64_t stride, int64_t pad,
                      int64_t dilation)
{
    int64_t room = n + 2 * pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* sh sw ph pw dh dw groups, mostly plain. */
static void geometry(graph_program *p, int64_t g[7], int64_t channels)
{
    bool odd = graph_chance(p, 40);
    for (int i = 0; i < 2; i++) {
        g[i] = odd ? graph_draw(p, 1, 2) : 1;
        g[2 + i] = odd ? graph_draw(p, 0, 2) : 0;
        g[4 + i] = odd && graph_chance(p, 30) ? 2 : 1;
    }
    g[6] = odd && channels % 2 == 0 && channels > 0 && graph_chance(p, 40) ? 2 : 1;
}

typedef struct convolution {
    int x;
    int64_t g[7], out, kh, kw;
    mnt_shape y, w;
    double work;
} convolution;

static bool draw_convolution(graph_program *p, convolution *c)
{
    c->x = pick_image(p);
    if (!usable(p, c->x))
        return false;
    const int64_t *d = p->values[c->x].shape.dim;
    geometry(p, c->g, d[1]);
    c->kh = graph_size(p, 1, 3, 5);
    c->kw = graph_chance(p, 70) ? c->kh : graph_draw(p, 1, 4);
    c->out = c->g[6] * graph_size(p, 1, graph_chance(p, 15) ? 9 : 3, 17);
    int64_t oh = places(d[2], c->kh, c->g[0], c->g[2], c->g[4]);
    int64_t ow = places(d[3], c->kw, c->g[1], c->g[3], c->g[5]);
    if (oh < 1 || ow < 1)
        return false;
    c->y = MNT_SHAPE(d[0], c->out, oh, ow);
    c->w = MNT_SHAPE(c->out, d[1] / c->g[6], c->kh, c->kw);
    c->work = (double)mnt_shape_count(c->y) * (double)(c->w.dim[1] * c->kh * c->kw);
    return true;
}

static void set_geometry(graph_program *p, const convolution *c)
{
    for (int i = 0; i < 7; i++)
        p->steps[p->count - 1].p[i] = c->g[i];
}

static int taps(const convolution *c)
{
    return graph_log2(c->w.dim[1] * c->kh * c->kw);
}

static int plain_convolution(graph_program *p)
{
    convolution c;
    if (!draw_convolution(p, &c))
        return -1;
    int w = graph_operand(p, c.w);
    if (!usable(p, w))
        return -1;
    int y = graph_op(p, GRAPH_conv2d, c.x, w, c.y,
                     p->values[c.x].bound + p->values[w].bound + taps(&c), c.work);
    if (y >= 0)
        set_geometry(p, &c);
    return y;
}

static bool make_conv(graph_program *p)
{
    return plain_convolution(p) >= 0;
}

/* Two dims of a window, inside the image. */
static int pool(graph_program *p, int x)
{
    mnt_shape s = p->values[x].shape;
    bool plain = graph_chance(p, 60);
    int64_t k[6] = { 2, 2, 2, 2, 0, 0 };
    for (int i = 0; i < 2 && !plain; i++) {
        k[i] = graph_draw(p, 1, 3);
        k[2 + i] = graph_chance(p, 40) ? 0 : graph_draw(p, 1, 3);
        k[4 + i] = graph_chance(p, 30) ? k[i] / 2 : 0;
    }
    if (!plain && graph_chance(p, 40)) /* nearly the plain one */
        k[0] = k[1] = 2;
    for (int i = 0; i < 2; i++) {
        s.dim[2 + i] =
            places(s.dim[2 + i], k[i], k[2 + i] ? k[2 + i] : k[i], k[4 + i], 1);
        if (s.dim[2 + i] < 1)
            return -1;
    }
    int y = graph_op(p, GRAPH_max_pool2d, x, -1, s, p->values[x].bound,
                     4.0 * (double)mnt_shape_count(s));
    if (y < 0)
        return -1;
    graph_step *step = &p->steps[p->count - 1];
    for (int i = 0; i < 6; i++)
        step->p[i] = k[i];
    step->p[6] = plain && graph_chance(p, 30);
    return y;
}

/* What follows a convolution with bias: relu, pooling, both or neither. */
static bool tail(graph_program *p, int y)
{
    mnt_shape s = p->values[y].shape;
    if (graph_chance(p, 65)) {
        p->values[y].hidden = graph_chance(p, 80);
        y = graph_op(p, GRAPH_relu, y, -1, s, p->values[y].bound, 0);
    }
    if (y >= 0 && graph_chance(p, 65) && s.dim[2] > 1 && s.dim[3] > 1) {
        bool hidden = graph_chance(p, 80);
        int z = pool(p, y);
        if (z >= 0)
            p->values[y].hidden = hidden;
        return true;
    }
    return y >= 0;
}

static bool make_block_by_hand(graph_program *p)
{
    int y = plain_convolution(p);
    if (y < 0)
        return false;
    mnt_shape s = p->values[y].shape;
    int b = graph_operand(p, MNT_SHAPE(s.dim[1]));
    p->values[y].hidden = graph_chance(p, 80);
    int bound = p->values[y].bound > p->values[b].bound ? p->values[y].bound
                                                        : p->values[b].bound;
    y = graph_op(p, GRAPH_bias_add, y, b, s, bound + 1, 0);
    return y >= 0 && tail(p, y);
}

/* The number of an earlier layer whose parameters have the same shapes, or a new one.
 */
static int64_t layer_of(graph_program *p, const convolution *c)
{
    for (int i = 0; i < p->count; i++) {
        const graph_step *s = &p->steps[i];
        if (s->kind == GRAPH_conv_layer && s->p[7] == c->out && s->p[8] == c->kh &&
            s->p[9] == c->kw &&
            p->values[s->in[0]].shape.dim[1] / s->p[6] == c->w.dim[1] &&
            graph_chance(p, 60))
            return s->p[10];
    }
    return p->count;
}

static bool make_block(graph_program *p)
{
    convolution c;
    if (!draw_convolution(p, &c))
        return false;
    int64_t layer = layer_of(p, &c);
    int bound = p->values[c.x].bound + taps(&c) / 2 + 1;
    int y = graph_op(p, GRAPH_conv_layer, c.x, -1, c.y, bound, c.work);
    if (y < 0)
        return false;
    set_geometry(p, &c);
    graph_step *s = &p->steps[p->count - 1];
    s->p[7] = c.out;
    s->p[8] = c.kh;
    s->p[9] = c.kw;
    s->p[10] = layer;
    p->values[y].needs = true;
    return tail(p, y);
}

static bool make_pool(graph_program *p)
{
    int x = graph_pick(p, graph_is_image);
    return x >= 0 && pool(p, x) >= 0;
}

/* Columns of an image, and perhaps back again. */
static bool make_columns(graph_program *p)
{
    int x = pick_image(p);
    const int64_t *d = p->values[x].shape.dim;
    int64_t g[7], kh = graph_draw(p, 1, 3), kw = graph_draw(p, 1, 3);
    geometry(p, g, 1);
    int64_t oh = places(d[2], kh, g[0], g[2], g[4]);
    int64_t ow = places(d[3], kw, g[1], g[3], g[5]);
    if (oh < 1 || ow < 1)
        return false;
    mnt_shape image = p->values[x].shape;
    mnt_shape s = MNT_SHAPE(d[0], d[1] * kh * kw, oh * ow);
    const int64_t window[8] = { kh, kw, g[0], g[1], g[2], g[3], g[4], g[5] };
    int y = graph_op(p, GRAPH_im2col, x, -1, s, p->values[x].bound, 0);
    if (y < 0)
        return false;
    for (int i = 0; i < 8; i++)
        p->steps[p->count - 1].p[i] = window[i];
    if (graph_chance(p, 50))
        return true;
    int z =
        graph_op(p, GRAPH_col2im, y, -1, image,
                 p->values[y].bound + graph_log2(kh * kw), (double)mnt_shape_count(s));
    for (int i = 0; i < 8 && z >= 0; i++)
        p->steps[p->count - 1].p[i] = window[i];
    return z >= 0;
}

const graph_maker graph_image_makers[] = {
    { "conv", 4, make_conv },       { "block_by_hand", 7, make_block_by_hand },
    { "block", 8, make_block },     { "pool", 5, make_pool },
    { "columns", 3, make_columns }, { 0 },
};
