/* SPDX-License-Identifier: MIT */
/*
 * Gradient of a convolution's image, for small square kernels, stride 1, no groups, in
 * tiles (conv_tile.h); dense, or behind a 2x2 max pool. Zeros from margins are terms here,
 * which changes nothing for finite operands (rule B4).
 *
 * With Y = iy + pad, the window at oy touches the pixel by tap Y - oy. A quad begins at
 * even Y, so for odd K the first position that touches it, Y - (K - 1), is even too: it
 * sees whole 2x2 blocks of positions, (K + 1) / 2 each way, in the same order as every
 * other quad, and a position's taps are known when the loops are unrolled.
 */
#include "conv_tile.h"

/* ---- dense ---- */

/* Weights [channel summed][tap]: an output channel is c K K floats. */
template <int K> struct taps_back {
    static int64_t at(constant mnt_conv_args &p, int e)
    {
        return int64_t(e / (K * K)) * p.c * (K * K) + e % (K * K);
    }
};

/* s with the terms of one output channel: blocks, positions inside. */
template <int K>
static inline void tile_back(thread tile_sums<4> &s, threadgroup const float *from,
                             int pitch, threadgroup const float4 *weights, int line)
{
#pragma unroll
    for (int block = 0; block < (K + 1) * (K + 1) / 4; block++) {
        int u = 2 * (block / ((K + 1) / 2)), v = 2 * (block % ((K + 1) / 2));
        float2 rows[2];
        rows[0] = *(threadgroup const float2 *)(from + u * pitch + v);
        rows[1] = *(threadgroup const float2 *)(from + (u + 1) * pitch + v);
#pragma unroll
        for (int q = 0; q < 4; q++)
#pragma unroll
            for (int pixel = 0; pixel < 4; pixel++) {
                int i = pixel / 2 + K - 1 - (u + q / 2);
                int j = pixel % 2 + K - 1 - (v + q % 2);
                if (i < 0 || i >= K || j < 0 || j >= K)
                    continue;
                float4 w = weights[(i * K + j) * line];
#pragma unroll
                for (int k = 0; k < 4; k++)
                    s.v[pixel][k] = fma(rows[q / 2][q % 2], w[k], s.v[pixel][k]);
            }
    }
}

/* Stores the quad's pixels that exist, of the channels that exist. */
static inline void tile_pixels(constant mnt_conv_args &p, device float *dx,
                               tile_place at, thread const tile_sums<4> &sum)
{
    int first = at.channel + 4 * at.own_block;
    int y = 2 * (at.y + at.own_y + p.pad_h / 2) - p.pad_h;
    int x = 2 * (at.x + at.own_x + p.pad_w / 2) - p.pad_w;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (first + k >= p.c)
            continue;
        int64_t plane = (at.n + at.own_sample) * p.c + first + k;
#pragma unroll
        for (int q = 0; q < 4; q++) {
            int iy = y + q / 2, ix = x + q % 2;
            if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w)
                dx[(plane * p.h + iy) * p.w + ix] = sum.v[q][k];
        }
    }
}

/*
 * dy [n, o, oh, ow], w [o, c, K, K] -> dx [n, c, h, w]. Tiles and threads as in conv_tile:
 * quads of pixels, blocks of 4 input channels.
 */
template <int K>
kernel void
conv_dx_tile(device const float *dy [[buffer(0)]], device const float *w [[buffer(1)]],
             device float *dx [[buffer(2)]], constant mnt_tile_args &t [[buffer(3)]],
             uint group [[threadgroup_position_in_grid]],
             uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 staged[MNT_TILE_FLOATS / 4];
    constant mnt_conv_args &p = t.conv;
    tile_place at = tile_at(t, group, tid, 4);
    int line = tile_line(t, 4);
    threadgroup float *image =
        (threadgroup float *)(staged + t.channels * K * K * line);
    tile_sums<4> sum, s;
    tile_clear(sum);
    tile_clear(s);
    int left = p.chunk;
    for (int first = 0; first < p.o; first += t.channels) {
        int count = min(t.channels, p.o - first);
        if (first > 0)
            threadgroup_barrier(mem_flags::mem_threadgroup);
        tile_image(t, dy, image, at, p.o, p.oh, p.ow, first, count,
                   2 * (at.y + p.pad_h / 2) - (K - 1),
                   2 * (at.x + p.pad_w / 2) - (K - 1), tid);
        tile_weights<taps_back<K>>(t, w + int64_t(first) * p.c * (K * K), staged, 4,
                                   K * K, at.channel, p.c, count * K * K, 0, tid);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (!at.active)
            continue;
        threadgroup const float *from = image +
                                        at.own_sample * t.channels * t.rows * t.pitch +
                                        2 * at.own_y * t.pitch + 2 * at.own_x;
        for (int c = 0; c < count; c++) {
            tile_back<K>(s, from + c * t.rows * t.pitch, t.pitch,
                         staged + at.own_block + c * K * K * line, line);
            if (--left == 0) {
                tile_add(sum, s);
                left = p.chunk;
            }
        }
    }
    if (!at.active)
        return;
    if (left != p.chunk)
        tile_add(sum, s);
    tile_pixels(p, dx, at, sum);
}

#define CONV_DX_TILE(k)                                                                \
    template [[host_name(                                                              \
        "conv_dx_tile_" #k)]] kernel decltype(conv_dx_tile<k>) conv_dx_tile<k>;
CONV_DX_TILE(1)
CONV_DX_TILE(3)
CONV_DX_TILE(5)

/* ---- behind a 2x2 pool ---- */

/*
 * A block of positions is a window with one winner, and many windows hold a zero. So here
 * 32 neighbouring threads share their windows, and what they skip or look up is the same
 * for all of them: they are the four pixels of a quad by 8 channels, each for the
 * TILE_QUADS x TILE_QUADS quads of a unit.
 *
 *   thread % 8          channel
 *   thread / 8 % 4      pixel of the quad, row-major
 *   thread / 32         unit: tile, sample
 *
 * A winner moves the taps that a pixel meets by its place in the window. Around the taps
 * lies a margin of zeros for winners that do not touch the pixel: a column on the left,
 * which closes the line before, and a line above, which closes the channel before.
 */
#define TILE_QUADS 3

template <int K> struct taps_wide {
    /* Taps from line to line: the four pixels of 8 channels lie in 32 banks. */
    static constexpr constant int line = K == 1 ? 2 : 6;
    static constexpr constant int taps = (K + 1) * line;
    static constexpr constant int after = line + 1; /* zeros behind the last channel */

    static int64_t at(constant mnt_conv_args &p, int e)
    {
        int o = e / taps, tap = e % taps;
        int i = tap / line - 1, j = tap % line - 1;
        if (i < 0 || i >= K || j < 0 || j >= K)
            return -1;
        return int64_t(o) * p.c * (K * K) + i * K + j;
    }
};

/*
 * Windows [sample][t.channels][t.rows][t.pitch] from channel `first` on; (y, x) is the
 * first window's place. Each is the bits of dy and by how many floats the winner's taps
 * lie before those of position (0, 0); windows that do not exist hold +0.
 */
static inline void tile_windows(constant mnt_tile_args &t, device const float *dy,
                                device const uint8_t *winner, threadgroup uint2 *to,
                                tile_place at, int first, int count, int y, int x,
                                int line, uint tid)
{
    constant mnt_conv_args &p = t.conv;
    int64_t plane = int64_t(p.yh) * p.yw, base = (at.n * p.o + first) * plane;
    int size = at.samples * t.channels * t.rows * t.pitch;
    for (int e = int(tid); e < size; e += 4 * MNT_TILE_GROUP) {
        float v[4];
        int index[4];
#pragma unroll
        for (int q = 0; q < 4; q++) {
            int i = e + q * MNT_TILE_GROUP, r = tile_quotient(i, t.per_pitch);
            int k = tile_quotient(r, t.per_rows);
            int s = tile_quotient(k, t.per_channels), c = k - s * t.channels;
            int wx = x + (i - r * t.pitch), wy = y + (r - k * t.rows);
            bool in =
                i < size && c < count && wx >= 0 && wx < p.yw && wy >= 0 && wy < p.yh;
            int64_t from =
                base + (int64_t(s) * p.o + c) * plane + int64_t(wy) * p.yw + wx;
            float f = dy[in ? from : 0];
            int won = winner[in ? from : 0];
            v[q] = in ? f : 0.0f;
            index[q] = in ? won : 0;
        }
#pragma unroll
        for (int q = 0; q < 4; q++) {
            int i = e + q * MNT_TILE_GROUP;
            if (i < size)
                to[i] = uint2(as_type<uint>(v[q]),
                              uint((index[q] / 2 * line + index[q] % 2) * 8));
        }
    }
}

/* The sums of a thread: its pixel in each quad of the unit. */
struct tile_unit {
    float v[TILE_QUADS][TILE_QUADS];
};

/* s with the terms of one output channel. Window (wy, wx) of those that the unit sees
 * reaches the quads at most (K - 1) / 2 above and left of it. */
template <int K>
static inline void tile_winners(thread tile_unit &s, threadgroup const uint2 *from,
                                int pitch, threadgroup const float *weights)
{
    const int reach = (K - 1) / 2, across = TILE_QUADS + reach;
#pragma unroll
    for (int wy = 0; wy < across; wy++) {
        uint2 e[across];
#pragma unroll
        for (int wx = 0; wx < across; wx++)
            e[wx] = from[wy * pitch + wx];
#pragma unroll
        for (int wx = 0; wx < across; wx++) {
            float d = as_type<float>(e[wx].x);
            if (d == 0.0f)
                continue;
            threadgroup const float *w = weights - int(e[wx].y);
#pragma unroll
            for (int y = 0; y < TILE_QUADS; y++)
#pragma unroll
                for (int x = 0; x < TILE_QUADS; x++) {
                    int i = reach - (wy - y), j = reach - (wx - x);
                    if (i < 0 || i > reach || j < 0 || j > reach)
                        continue;
                    s.v[y][x] =
                        fma(d, w[(2 * i * taps_wide<K>::line + 2 * j) * 8], s.v[y][x]);
                }
        }
    }
}

/*
 * dy, winner [n, o, yh, yw], w [o, c, K, K] -> dx [n, c, h, w]. Of the arguments, quads_y
 * and quads_x count units here, and a block is 8 channels. Writes are bounded by h, w
 * and c.
 */
template <int K>
kernel void conv_dx_winners(device const float *dy [[buffer(0)]],
                            device const uint8_t *winner [[buffer(1)]],
                            device const float *w [[buffer(2)]],
                            device float *dx [[buffer(3)]],
                            constant mnt_tile_args &t [[buffer(4)]],
                            uint group [[threadgroup_position_in_grid]],
                            uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 staged[MNT_TILE_WINDOWS / 4];
    constant mnt_conv_args &p = t.conv;
    const int line = taps_wide<K>::line, taps = taps_wide<K>::taps;
    const int after = taps_wide<K>::after, reach = (K - 1) / 2;
    tile_place at = tile_at(t, group, tid / 32, 8);
    threadgroup uint2 *windows =
        (threadgroup uint2 *)(staged + (t.channels * taps + after) * 2);
    int first_y = TILE_QUADS * at.y + p.pad_h / 2; /* quads */
    int first_x = TILE_QUADS * at.x + p.pad_w / 2;
    int a = int(tid / 16 % 2), b = int(tid / 8 % 2), k = int(tid % 8);
    tile_unit sum, s;
#pragma unroll
    for (int i = 0; i < TILE_QUADS * TILE_QUADS; i++)
        sum.v[i / TILE_QUADS][i % TILE_QUADS] = s.v[i / TILE_QUADS][i % TILE_QUADS] =
            0.0f;
    int left = p.chunk;
    for (int first = 0; first < p.o; first += t.channels) {
        int count = min(t.channels, p.o - first);
        if (first > 0)
            threadgroup_barrier(mem_flags::mem_threadgroup);
        tile_windows(t, dy, winner, windows, at, first, count, first_y - reach,
                     first_x - reach, line, tid);
        tile_weights<taps_wide<K>>(t, w + int64_t(first) * p.c * (K * K), staged, 8,
                                   K * K, at.channel, p.c, count * taps, after, tid);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (!at.active)
            continue;
        threadgroup const uint2 *from = windows +
                                        at.own_sample * t.channels * t.rows * t.pitch +
                                        TILE_QUADS * (at.own_y * t.pitch + at.own_x);
        threadgroup const float *weights =
            (threadgroup const float *)staged + ((a + 1) * line + b + 1) * 8 + k;
        for (int c = 0; c < count; c++) {
            tile_winners<K>(s, from + c * t.rows * t.pitch, t.pitch,
                            weights + c * taps * 8);
            if (--left > 0 && first + c + 1 < p.o)
                continue;
#pragma unroll
            for (int i = 0; i < TILE_QUADS * TILE_QUADS; i++) {
                int y = i / TILE_QUADS, x = i % TILE_QUADS;
                sum.v[y][x] = sum.v[y][x] + s.v[y][x];
                s.v[y][x] = 0.0f;
            }
            left = p.chunk;
        }
    }
    if (!at.active || at.channel + k >= p.c)
        return;
    int64_t plane = (at.n + at.own_sample) * p.c + at.channel + k;
#pragma unroll
    for (int i = 0; i < TILE_QUADS * TILE_QUADS; i++) {
        int y = i / TILE_QUADS, x = i % TILE_QUADS;
        int iy = 2 * (first_y + TILE_QUADS * at.own_y + y) - p.pad_h + a;
        int ix = 2 * (first_x + TILE_QUADS * at.own_x + x) - p.pad_w + b;
        if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w)
            dx[(plane * p.h + iy) * p.w + ix] = sum.v[y][x];
    }
}

#define CONV_DX_WINNERS(k)                                                             \
    template [[host_name("conv_dx_winners_" #k)]] kernel decltype(conv_dx_winners<k>)  \
        conv_dx_winners<k>;
CONV_DX_WINNERS(1)
CONV_DX_WINNERS(3)
CONV_DX_WINNERS(5)
