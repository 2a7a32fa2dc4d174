/* SPDX-License-Identifier: MIT */
/*
 * What the convolutions in tiles share: where threads work, their sums, and the staging
 * of planes and weights in threadgroup memory.
 *
 * A thread makes one quad (2x2 neighbouring results) of M channels, 4 M sums in registers.
 * Consecutive threads take consecutive quads of the tile, then samples, then blocks of M
 * channels. What they multiply is staged some channels at a time: planes with margins of
 * zeros, and weights turned so that M channels of one tap are neighbours. The order of the
 * terms is that of rule C4 in every thread, so tiles do not show in the bits.
 */
#ifndef SHADERS_CONV_TILE_H
#define SHADERS_CONV_TILE_H

#include "common.h"

#define TILE_LOADS 8 /* of device memory that a thread waits for at once */

/* Where a threadgroup and a thread of it work. */
struct tile_place {
    int64_t n;                               /* first sample */
    int samples;                             /* of it, as far as they exist */
    int y, x;                                /* first quad */
    int channel;                             /* first of the channels that are made */
    int own_sample, own_y, own_x, own_block; /* the thread's, within the tile */
    bool active;                             /* the thread has a quad to make */
};

/* a / b, given 1 / b: exact for 0 <= a < 2^21, since (a + 1/2) / b is further from any
 * integer than two roundings reach. */
static inline int tile_quotient(int a, float per)
{
    float near = float(a) + 0.5f;
    return int(near * per);
}

static inline tile_place tile_at(constant mnt_tile_args &t, uint group, uint tid, int m)
{
    tile_place at;
    uint line = group / uint(t.groups), tile = line / uint(t.tiles_x);
    uint image = tile / uint(t.tiles_y);
    at.channel = int(group - line * uint(t.groups)) * t.blocks * m;
    at.x = int(line - tile * uint(t.tiles_x)) * t.quads_x;
    at.y = int(tile - image * uint(t.tiles_y)) * t.quads_y;
    at.n = int64_t(image) * t.samples;
    at.samples = int(lesser(t.samples, t.conv.n - at.n));
    int quads = t.quads_y * t.quads_x, rest = int(tid);
    at.own_block = tile_quotient(rest, t.per_block);
    rest -= at.own_block * t.samples * quads;
    at.own_sample = tile_quotient(rest, t.per_sample);
    rest -= at.own_sample * quads;
    at.own_y = tile_quotient(rest, t.per_line);
    at.own_x = rest - at.own_y * t.quads_x;
    at.active = at.own_block < t.blocks && at.own_sample < at.samples;
    return at;
}

/* The sums of a thread: quad positions (0,0), (0,1), (1,0), (1,1) by channels. */
template <int M> struct tile_sums {
    float v[4][M];
};

template <int M> static inline void tile_clear(thread tile_sums<M> &s)
{
#pragma unroll
    for (int q = 0; q < 4; q++)
#pragma unroll
        for (int k = 0; k < M; k++)
            s.v[q][k] = 0.0f;
}

/* The end of a chunk: y = y + s, s = +0. */
template <int M>
static inline void tile_add(thread tile_sums<M> &y, thread tile_sums<M> &s)
{
#pragma unroll
    for (int q = 0; q < 4; q++)
#pragma unroll
        for (int k = 0; k < M; k++)
            y.v[q][k] = y.v[q][k] + s.v[q][k];
    tile_clear(s);
}

/*
 * ---- staging: all threads of the group take part ----
 *
 * A thread loads several elements before it stores the first. Where an element is not
 * there, it loads the first one and stores +0: no branch stands between the loads.
 */

/* `count` neighbouring floats. */
static inline void tile_copy(device const float *from, threadgroup float *to, int count,
                             uint tid)
{
    for (int first = int(tid); first < count; first += TILE_LOADS * MNT_TILE_GROUP) {
        float v[TILE_LOADS];
#pragma unroll
        for (int q = 0; q < TILE_LOADS; q++) {
            v[q] = from[min(first + q * MNT_TILE_GROUP, count - 1)];
        }
#pragma unroll
        for (int q = 0; q < TILE_LOADS; q++) {
            int i = first + q * MNT_TILE_GROUP;
            if (i < count)
                to[i] = v[q];
        }
    }
}

/*
 * Planes [sample][t.channels][t.rows][t.pitch] of images [n, planes, h, w], `count`
 * channels from `first` on; (y, x) is the place of the staged plane's first element in the
 * image. What lies outside the image reads +0; nothing outside the image is read. 16
 * threads share a row.
 */
static inline void tile_image(constant mnt_tile_args &t, device const float *image,
                              threadgroup float *to, tile_place at, int planes, int h,
                              int w, int first, int count, int y, int x, uint tid)
{
    int64_t plane = int64_t(h) * w;
    device const float *from = image + (at.n * planes + first) * plane;
    if (t.linear != 0) {
        bool whole = count == planes; /* then samples are neighbours, too */
        int runs = whole ? 1 : at.samples;
        int size = (whole ? at.samples * count : count) * int(plane);
        for (int s = 0; s < runs; s++)
            tile_copy(from + s * planes * plane, to + s * t.channels * int(plane), size,
                      tid);
        return;
    }
    int rows = at.samples * t.channels * t.rows, lane = int(tid % 16);
    for (int line = int(tid / 16); line < rows; line += 4 * (MNT_TILE_GROUP / 16)) {
        for (int j = lane; j < t.pitch; j += 16) {
            float v[4];
            bool in = x + j >= 0 && x + j < w;
#pragma unroll
            for (int q = 0; q < 4; q++) {
                int r = line + q * (MNT_TILE_GROUP / 16);
                int k = tile_quotient(r, t.per_rows), iy = y + (r - k * t.rows);
                int s = tile_quotient(k, t.per_channels), c = k - s * t.channels;
                bool there = in && r < rows && c < count && iy >= 0 && iy < h;
                int64_t e =
                    (int64_t(s) * planes + c) * plane + int64_t(iy) * w + (x + j);
                float f = from[there ? e : 0];
                v[q] = there ? f : 0.0f;
            }
#pragma unroll
            for (int q = 0; q < 4; q++) {
                int r = line + q * (MNT_TILE_GROUP / 16);
                if (r < rows)
                    to[r * t.pitch + j] = v[q];
            }
        }
    }
}

/* float4s between neighbouring taps. */
static inline int tile_line(constant mnt_tile_args &t, int m)
{
    return t.blocks * m / 4;
}

/*
 * Weights [channel summed][tap][channel made] as float4s: `count` taps of all channels
 * that are summed over, then `after` zeros. Tap e lies at w[Taps::at(e)], or is +0 where
 * that is negative; made channels lie `stride` apart, `made` in all, the first that is
 * wanted is `channel`.
 */
template <typename Taps>
static inline void tile_weights(constant mnt_tile_args &t, device const float *w,
                                threadgroup float4 *to, int m, int64_t stride,
                                int channel, int made, int count, int after, uint tid)
{
    int line = tile_line(t, m), size = (count + after) * line;
    for (int first = int(tid); first < size; first += 4 * MNT_TILE_GROUP) {
        float4 v[4];
#pragma unroll
        for (int q = 0; q < 4; q++) {
            int i = min(first + q * MNT_TILE_GROUP, size - 1);
            int e = tile_quotient(i, t.per_tap), c = channel + 4 * (i - e * line);
            int64_t tap = Taps::at(t.conv, e), at = tap + c * stride;
            int left = tap >= 0 && e < count ? made - c : 0;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                float f = w[left > k ? at : 0];
                v[q][k] = left > k ? f : 0.0f;
                at += stride;
            }
        }
#pragma unroll
        for (int q = 0; q < 4; q++)
            if (first + q * MNT_TILE_GROUP < size)
                to[first + q * MNT_TILE_GROUP] = v[q];
    }
}

#endif
