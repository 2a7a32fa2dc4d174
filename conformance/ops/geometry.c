/* SPDX-License-Identifier: MIT */
/*
 * Random geometries of convolutions and windows: kernels larger than the image, strides,
 * dilation, groups, all of them unlike along the two axes. What does not fit gets more
 * padding first, as far as that is legal, then a larger image.
 */
#include "ops.h"

int64_t kit_positions(const kit_geometry *q, int axis)
{
    int64_t size = axis ? q->w : q->h;
    int64_t room = size + 2 * q->p[axis] - q->d[axis] * (q->k[axis] - 1) - 1;
    return room < 0 ? 0 : room / q->s[axis] + 1;
}

static int64_t work_of(const kit_geometry *q)
{
    int64_t planes = (q->n ? q->n : 1) * q->g * (q->o ? q->o : 1) * (q->c ? q->c : 1);
    int64_t places = kit_positions(q, 0) * kit_positions(q, 1) * q->k[0] * q->k[1];
    int64_t pixels = (q->n ? q->n : 1) * q->g * (q->c ? q->c : 1) * q->h * q->w;
    return planes * places + pixels;
}

static void draw_window(kit_geometry *q, kit_rng *r, bool dilate)
{
    static const int kernel[] = { 1, 2, 2, 3, 3, 3, 4, 5, 5, 6, 7, 9, 11, 16 };
    static const int stride[] = { 1, 1, 1, 1, 2, 2, 3, 4 };
    bool square = kit_one_in(r, 2);
    for (int i = 0; i < 2; i++) {
        q->k[i] = kernel[kit_below(r, kit_one_in(r, 4) ? 14 : 9)];
        q->s[i] = stride[kit_below(r, 8)];
        q->d[i] = dilate && kit_one_in(r, 4) ? 2 + (int)kit_below(r, 2) : 1;
        q->p[i] = kit_one_in(r, 2) ? (int)kit_below(r, q->d[i] * q->k[i]) : 0;
        if (i && square) {
            q->k[1] = q->k[0];
            q->s[1] = q->s[0];
            q->d[1] = q->d[0];
            q->p[1] = q->p[0];
        }
    }
}

/* Makes the window fit into the padded image: more padding, of a pool less than its
 * kernel, then a larger image. */
static void fit(kit_geometry *q, bool pool)
{
    for (int i = 0; i < 2; i++) {
        int64_t *size = i ? &q->w : &q->h, span = q->d[i] * (q->k[i] - 1) + 1;
        if (*size + 2 * q->p[i] >= span)
            continue;
        int64_t pad = (span - *size + 1) / 2;
        if (pool && pad >= q->k[i])
            pad = q->k[i] - 1;
        q->p[i] = (int)pad;
        if (*size + 2 * pad < span)
            *size = span - 2 * pad;
    }
}

kit_geometry kit_draw_geometry(kit_rng *r, int64_t work, bool conv, bool pool)
{
    static const int groups[] = { 1, 1, 1, 1, 2, 3, 4, 8 };
    kit_geometry q = { .g = conv ? groups[kit_below(r, 8)] : 1, .o = 1 };
    draw_window(&q, r, !pool);
    q.n = kit_edge(r, 0, kit_one_in(r, 4) ? 257 : 17);
    q.c = kit_edge(r, 0, kit_one_in(r, 6) ? 600 : 33);
    q.o = conv ? kit_edge(r, 0, kit_one_in(r, 6) ? 257 : 33) : 1;
    q.h = kit_edge(r, 1, kit_one_in(r, 8) ? 131 : 33);
    q.w = kit_edge(r, 1, kit_one_in(r, 8) ? 131 : 33);
    fit(&q, pool);
    for (int i = 0; i < 200 && work_of(&q) > work + 64; i++) {
        int64_t *const dims[] = { &q.n, &q.c, &q.o, &q.h, &q.w };
        int64_t *d = dims[kit_below(r, 5)];
        if (*d > 1)
            *d = kit_edge(r, 1, *d / 2);
        if (i % 16 == 15) { /* a large window over a small image */
            q.k[0] = (q.k[0] + 1) / 2;
            q.k[1] = (q.k[1] + 1) / 2;
            q.p[0] = q.p[1] = 0;
        }
        fit(&q, pool);
    }
    return q;
}

static void append_pair(kit_text *t, const char *key, const int v[2], int otherwise)
{
    if (v[0] == v[1] && v[0] != otherwise)
        kit_append(t, " %s=%d", key, v[0]);
    else if (v[0] != v[1])
        kit_append(t, " %sh=%d %sw=%d", key, v[0], key, v[1]);
}

void kit_append_geometry(kit_text *t, const kit_geometry *q)
{
    kit_append(t, " n=%d c=%d h=%d w=%d", (int)q->n, (int)q->c * q->g, (int)q->h,
               (int)q->w);
    append_pair(t, "k", q->k, -1);
    append_pair(t, "s", q->s, -1);
    append_pair(t, "p", q->p, 0);
    append_pair(t, "d", q->d, 1);
}
