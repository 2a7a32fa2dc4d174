/* SPDX-License-Identifier: MIT */
/*
 * Convolution with small square kernels, stride 1, no groups, in tiles (conv_tile.h), with
 * the bias, relu and 2x2 max pool behind it.
 *
 * A zero from a margin adds nothing, except where the weight is not finite: the sum is a
 * NaN then, and where there is padding such quads are computed once more by definition.
 */
#include "conv.h"
#include "conv_tile.h"

/* Taps of one output channel, from the first staged input channel on, as they lie. */
struct taps_forward {
    static int64_t at(constant mnt_conv_args &, int e)
    {
        return e;
    }
};

/* One row of what a quad sees: K + 1 neighbours from an even place on. */
template <int K>
static inline void tile_row(threadgroup const float *from, thread float *x)
{
#pragma unroll
    for (int j = 0; j < K; j += 2) {
        float2 pair = *(threadgroup const float2 *)(from + j);
        x[j] = pair.x;
        x[j + 1] = pair.y;
    }
}

/* s with the terms of one line of taps; x[0] and x[1] are the rows that meet it. */
template <int K, int M>
static inline void tile_taps_line(thread tile_sums<M> &s, thread float (*x)[K + 1],
                                  threadgroup const float4 *weights, int line)
{
#pragma unroll
    for (int j = 0; j < K; j++)
#pragma unroll
        for (int g = 0; g < M / 4; g++) {
            float4 w = weights[j * line + g];
#pragma unroll
            for (int q = 0; q < 4; q++)
#pragma unroll
                for (int k = 0; k < 4; k++)
                    s.v[q][4 * g + k] =
                        fma(x[q / 2][j + q % 2], w[k], s.v[q][4 * g + k]);
        }
}

/*
 * s with the terms of one input channel in the order kh, kw. `from` is the first element
 * that the quad sees. Many sums for many lines of taps are a loop: unrolled, the code would
 * not stay in the instruction caches.
 */
template <int K, int M>
static inline void tile_taps(thread tile_sums<M> &s, threadgroup const float *from,
                             int pitch, threadgroup const float4 *weights, int line)
{
    float x[K + 1][K + 1];
    tile_row<K>(from, x[0]);
    if (K * M <= 24) {
#pragma unroll
        for (int i = 0; i < K; i++) {
            tile_row<K>(from + (i + 1) * pitch, x[i + 1]);
            tile_taps_line<K, M>(s, x + i, weights + i * K * line, line);
        }
        return;
    }
#pragma clang loop unroll(disable)
    for (int i = 0; i < K; i++) {
        tile_row<K>(from + (i + 1) * pitch, x[1]);
        tile_taps_line<K, M>(s, x, weights + i * K * line, line);
#pragma unroll
        for (int j = 0; j <= K; j++)
            x[0][j] = x[1][j];
    }
}

/* What the pool sees: bias, relu. */
static inline float tile_end(constant mnt_conv_args &p, float v, float bias)
{
    if (p.bias != 0)
        v = v + bias;
    return p.relu != 0 && v <= 0.0f ? 0.0f : v;
}

/* Whether a is a NaN, or larger: it comes before b, which came first. */
static inline bool tile_wins(float a, float b)
{
    return a > b || (a != a && b == b);
}

/* The quad (qy, qx) of channel o by definition, for sums that met padding and a weight
 * that is not finite. `e` is where its first value goes, `image` the sample. */
static inline void tile_exact(constant mnt_conv_args &p, device const float *image,
                              device const float *w, device float *y,
                              device uint8_t *winner, int64_t e, int o, float bias,
                              int qy, int qx)
{
    float best = 0.0f;
    int index = 0;
#pragma clang loop unroll(disable)
    for (int q = 0; q < 4; q++) {
        int oy = 2 * qy + q / 2, ox = 2 * qx + q % 2;
        if (oy >= p.oh || ox >= p.ow)
            continue;
        float v = conv_at(p, image, w + int64_t(o) * p.c * p.kh * p.kw, oy, ox);
        v = tile_end(p, v, bias);
        if (p.pool_h == 0)
            y[e + q / 2 * p.yw + q % 2] = v;
        if (q == 0 || tile_wins(v, best)) {
            best = v;
            index = q;
        }
    }
    if (p.pool_h == 0)
        return;
    y[e] = best;
    if (p.winners != 0)
        winner[e] = uint8_t(index);
}

/* Stores the thread's quad of its channels: the values, or the best of them and which. */
template <int K, int M>
static inline void tile_store(constant mnt_conv_args &p, device const float *x,
                              device const float *w, device const float *bias,
                              device float *y, device uint8_t *winner, int64_t n,
                              int first, int qy, int qx, thread tile_sums<M> &sum)
{
    bool pooled = p.pool_h != 0;
    int py = pooled ? qy : 2 * qy, px = pooled ? qx : 2 * qx;
    if (py >= p.yh || px >= p.yw)
        return;
    int64_t plane = int64_t(p.yh) * p.yw;
    int64_t e = (n * p.o + first) * plane + int64_t(py) * p.yw + px;
    int count = min(M, p.o - first);
    if ((p.pad_h | p.pad_w) != 0) {
        int nan = 0;
#pragma unroll
        for (int q = 0; q < 4; q++)
#pragma unroll
            for (int k = 0; k < M; k++)
                nan |= int(sum.v[q][k] != sum.v[q][k]);
        if (nan != 0) {
#pragma clang loop unroll(disable)
            for (int k = 0; k < count; k++)
                tile_exact(p, x + n * p.c * p.h * p.w, w, y, winner, e + k * plane,
                           first + k, p.bias != 0 ? bias[first + k] : 0.0f, qy, qx);
            return;
        }
    }
    bool right = px + 1 < p.yw, below = py + 1 < p.yh;
#pragma unroll
    for (int k = 0; k < M; k++) {
        if (k >= count)
            continue;
        float add = p.bias != 0 ? bias[first + k] : 0.0f;
        float v[4];
#pragma unroll
        for (int q = 0; q < 4; q++)
            v[q] = tile_end(p, sum.v[q][k], add);
        device float *to = y + (e + k * plane);
        if (!pooled) {
            to[0] = v[0];
            if (right)
                to[1] = v[1];
            if (below)
                to[p.yw] = v[2];
            if (below && right)
                to[p.yw + 1] = v[3];
            continue;
        }
        float best = v[0];
        int index = 0;
#pragma unroll
        for (int q = 1; q < 4; q++) {
            bool wins = tile_wins(v[q], best);
            best = wins ? v[q] : best;
            index = wins ? q : index;
        }
        to[0] = best;
        if (p.winners != 0)
            winner[e + k * plane] = uint8_t(index);
    }
}

/*
 * x [n, c, h, w], w [o, c, K, K] -> y [n, o, yh, yw] and the winners of a pool. A
 * threadgroup makes its quads, samples and blocks of M output channels; consecutive
 * threads take consecutive quads, then samples, then blocks. Writes are bounded by yh, yw
 * and o, reads by what tile_image and tile_weights stage.
 */
template <int K, int M>
kernel void
conv_tile(device const float *x [[buffer(0)]], device const float *w [[buffer(1)]],
          device const float *bias [[buffer(2)]], device float *y [[buffer(3)]],
          device uint8_t *winner [[buffer(4)]], constant mnt_tile_args &t [[buffer(5)]],
          uint group [[threadgroup_position_in_grid]],
          uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float4 staged[MNT_TILE_FLOATS / 4];
    constant mnt_conv_args &p = t.conv;
    tile_place at = tile_at(t, group, tid, M);
    int line = tile_line(t, M);
    threadgroup float *image =
        (threadgroup float *)(staged + t.channels * K * K * line);
    tile_sums<M> sum, s;
    tile_clear(sum);
    tile_clear(s);
    int left = p.chunk; /* channels of the chunk */
    for (int first = 0; first < p.c; first += t.channels) {
        int count = min(t.channels, p.c - first);
        if (first > 0)
            threadgroup_barrier(mem_flags::mem_threadgroup);
        tile_image(t, x, image, at, p.c, p.h, p.w, first, count, 2 * at.y - p.pad_h,
                   2 * at.x - p.pad_w, tid);
        tile_weights<taps_forward>(t, w + int64_t(first) * K * K, staged, M,
                                   int64_t(p.c) * K * K, at.channel, p.o, count * K * K,
                                   0, tid);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (!at.active)
            continue;
        threadgroup const float *from = image +
                                        at.own_sample * t.channels * t.rows * t.pitch +
                                        2 * at.own_y * t.pitch + 2 * at.own_x;
        threadgroup const float4 *weights = staged + at.own_block * (M / 4);
        for (int c = 0; c < count; c++) {
            tile_taps<K, M>(s, from + c * t.rows * t.pitch, t.pitch,
                            weights + c * K * K * line, line);
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
    tile_store<K, M>(p, x, w, bias, y, winner, at.n + at.own_sample,
                     at.channel + at.own_block * M, at.y + at.own_y, at.x + at.own_x,
                     sum);
}

#define CONV_TILE(k, m)                                                                \
    template [[host_name("conv_tile_" #k                                               \
                         "_" #m)]] kernel decltype(conv_tile<k, m>) conv_tile<k, m>;
CONV_TILE(1, 4)
CONV_TILE(1, 8)
CONV_TILE(3, 4)
CONV_TILE(3, 8)
CONV_TILE(5, 4)
CONV_TILE(5, 8)
