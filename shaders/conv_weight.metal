/* SPDX-License-Identifier: MIT */
/*
 * Weight gradients of convolutions from threadgroup memory: the image and the gradient of
 * one sample at a time, each read once a threadgroup. The terms of a weight are a list,
 * in block order: all positions of the output, or the winners of a 2x2 pool (rules B4,
 * C5, C6). Such a list is made once for 32 threads; with each of its elements a thread
 * goes through several taps, whose sums it holds in registers.
 *
 * A list holds the element of dy and where in the staged image its window begins; a tap is
 * a constant distance from there. Padding is staged as zeros, which change no sum of
 * finite values; a list with other values goes the careful way, term by term.
 */
#include "common.h"

#define WEIGHT_ROWS   8 /* output channels of a threadgroup, 32 threads each */
#define WEIGHT_LANES  32
#define WEIGHT_BATCH  4 /* loads that a thread has on their way at once */
#define WEIGHT_LEVELS 3 /* of the tree over a part's samples: at most 8 */

/* a / d for a below 2^16; `inverse` from the host: 2^32 / d rounded up, 0 where d is 1. */
static inline uint weight_quotient(uint a, uint inverse)
{
    return inverse == 0 ? a : mulhi(a, inverse);
}

/* What a threadgroup works on. */
struct weight_place {
    int64_t first, end, leaf; /* samples, and the part that they make */
    int32_t group;            /* of the convolution */
    int32_t c, channels;      /* within the group */
    int32_t o;                /* of the group's output channels: the row's */
    bool in;                  /* there is such an output channel */
};

/* Parts are slowest, then groups, blocks of input channels, blocks of output channels. */
static inline weight_place weight_place_of(constant mnt_weight_args &p, uint group,
                                           uint row)
{
    weight_place at;
    uint blocks_o = uint(p.blocks_o), blocks_c = uint(p.blocks_c);
    uint rest = blocks_o > 1 ? group / blocks_o : group;
    at.o = int32_t((group - rest * blocks_o) * WEIGHT_ROWS + row);
    at.in = at.o < p.o_group;
    group = blocks_c > 1 ? rest / blocks_c : rest;
    at.c = int32_t(rest - group * blocks_c) * p.channels;
    at.channels = min(p.channels, p.c_group - at.c);
    rest = p.groups > 1 ? group / uint(p.groups) : group;
    at.group = int32_t(group - rest * uint(p.groups));
    at.leaf = rest;
    at.first = at.leaf * p.samples;
    at.end = lesser(p.n, at.first + p.samples);
    return at;
}

/* The block's channels of one sample, with their padding, line by line. All threads. A
 * load that is not wanted reads the first pixel: conditional ones would be waited for one
 * by one. */
static inline void weight_stage_image(constant mnt_weight_args &p,
                                      device const float *image, int32_t channels,
                                      threadgroup float *staged, uint tid)
{
    uint columns = uint(p.columns), rows = uint(p.rows);
    uint count = uint(channels) * rows * columns;
    for (uint base = tid; base < count; base += MNT_GROUP * WEIGHT_BATCH) {
        float v[WEIGHT_BATCH];
        uint to[WEIGHT_BATCH];
        bool real[WEIGHT_BATCH];
#pragma unroll
        for (uint b = 0; b < WEIGHT_BATCH; b++) {
            uint e = base + b * MNT_GROUP;
            uint line = weight_quotient(e, p.by_columns);
            uint c = weight_quotient(line, p.by_rows);
            uint x = e - line * columns, y = line - c * rows;
            int iy = int(y) - p.pad_h, ix = int(x) - p.pad_w;
            real[b] = e < count && iy >= 0 && iy < p.h && ix >= 0 && ix < p.w;
            to[b] = c * uint(p.plane) + y * uint(p.pitch) + x;
            v[b] = image[real[b] ? (int64_t(c) * p.h + iy) * p.w + ix : 0];
        }
#pragma unroll
        for (uint b = 0; b < WEIGHT_BATCH; b++)
            if (base + b * MNT_GROUP < count)
                staged[to[b]] = real[b] ? v[b] : 0.0f;
    }
}

/* Where the window of position (oy, ox) begins. */
static inline uint weight_window(constant mnt_weight_args &p, uint oy, uint ox)
{
    return oy * uint(p.stride_h) * uint(p.pitch) + ox * uint(p.stride_w);
}

/* ---- the two kinds of lists ---- */

/* All positions: element k of block order. Two lines of blocks are 2 ow positions. */
struct weight_positions {
    device const float *dy;
    float value(constant mnt_weight_args &p, int64_t plane, uint k,
                thread uint &window) const
    {
        uint ow = uint(p.ow), oh = uint(p.oh);
        uint by = weight_quotient(k, p.by_two_lines), rest = k - by * 2 * ow;
        uint oy = 2 * by, ox = rest;
        if (oy + 1 < oh) {
            uint bx = rest / 4, q = rest % 4;
            bool whole = 2 * bx + 1 < ow;
            oy += whole ? q / 2 : q;
            ox = 2 * bx + (whole ? q % 2 : 0);
        }
        window = weight_window(p, oy, ox);
        return dy[(plane * p.oh + oy) * p.ow + ox];
    }
};

/* The winners of 2x2 windows. */
struct weight_winners {
    device const float *dy;
    device const uint8_t *winner;
    float value(constant mnt_weight_args &p, int64_t plane, uint k,
                thread uint &window) const
    {
        int64_t i = plane * p.list + k;
        uint q = winner[i], py = weight_quotient(k, p.by_windows);
        uint px = k - py * uint(p.yw);
        window = weight_window(p, 2 * py + q / 2, 2 * px + q % 2);
        return dy[i];
    }
};

/* Elements [first, first + count) of the row's list; by the row's threads. */
template <typename List>
static inline void weight_stage_list(constant mnt_weight_args &p, List list,
                                     int64_t plane, uint first, uint count,
                                     threadgroup float *dy, threadgroup ushort *window,
                                     uint lane)
{
    for (uint base = lane; base < count; base += WEIGHT_LANES * WEIGHT_BATCH) {
        float v[WEIGHT_BATCH];
        uint w[WEIGHT_BATCH];
#pragma unroll
        for (uint b = 0; b < WEIGHT_BATCH; b++) {
            uint k = min(base + b * WEIGHT_LANES, count - 1);
            v[b] = list.value(p, plane, first + k, w[b]);
        }
#pragma unroll
        for (uint b = 0; b < WEIGHT_BATCH; b++) {
            uint k = base + b * WEIGHT_LANES;
            if (k < count) {
                dy[k] = v[b];
                window[k] = ushort(w[b]);
            }
        }
    }
}

/* ---- sums ---- */

/* s[t] goes on by the list's elements; tap[t]: the thread's taps in the image. */
template <int taps>
static inline void weight_chain(threadgroup const float *image,
                                threadgroup const float4 *dy,
                                threadgroup const ushort4 *window, uint count,
                                thread const uint *tap, thread float *s)
{
    uint whole = count / 4;
    for (uint k = 0; k < whole; k++) {
        float4 d = dy[k];
        ushort4 w = window[k];
#pragma unroll
        for (uint q = 0; q < 4; q++)
#pragma unroll
            for (int t = 0; t < taps; t++)
                s[t] = fma(image[uint(w[q]) + tap[t]], d[q], s[t]);
    }
    threadgroup const float *last = (threadgroup const float *)(dy + whole);
    threadgroup const ushort *at = (threadgroup const ushort *)(window + whole);
    for (uint k = 0; k < count % 4; k++)
#pragma unroll
        for (int t = 0; t < taps; t++)
            s[t] = fma(image[uint(at[k]) + tap[t]], last[k], s[t]);
}

static inline bool weight_all_finite(threadgroup const float *dy, uint count)
{
    uint most = 0;
    for (uint k = 0; k < count; k++)
        most = max(most, mnt_bits(dy[k]) & 0x7fffffffu);
    return most < 0x7f800000u;
}

/* The same with taps in the padding left out: a tap's line and column in its window tell
 * where it falls. */
template <int taps>
static inline void
weight_careful(constant mnt_weight_args &p, threadgroup const float *image,
               threadgroup const float *dy, threadgroup const ushort *window,
               uint count, thread const uint *tap, thread float *s)
{
    uint plane = uint(p.plane), pitch = uint(p.pitch);
    for (uint k = 0; k < count; k++)
        for (int t = 0; t < taps; t++) {
            uint at = uint(window[k]) + tap[t], in_plane = at % plane;
            int iy = int(in_plane / pitch) - p.pad_h;
            int ix = int(in_plane % pitch) - p.pad_w;
            if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w)
                s[t] = fma(image[at], dy[k], s[t]);
        }
}

/*
 * Rows of 32 threads take an output channel each; lane l of them takes taps l, l + 32, ..
 * of the block's channels, `taps` of them at most. The group goes through its part's
 * samples one by one, through a sample's list in segments, and writes the part: sums of
 * 1, 2, 4 or 8 samples by the tree, to parts [leaf, weight].
 */
template <int taps, typename List>
static inline void weight_part(constant mnt_weight_args &p, List list,
                               device const float *x, device float *parts,
                               threadgroup float *image, threadgroup float4 *dys,
                               threadgroup ushort4 *windows, uint group, uint tid)
{
    uint lane = tid % WEIGHT_LANES, row = tid / WEIGHT_LANES;
    weight_place at = weight_place_of(p, group, row);
    uint kernel_taps = uint(p.kh) * uint(p.kw);
    uint count = uint(at.channels) * kernel_taps;
    threadgroup float4 *dy4 = dys + row * (MNT_WEIGHT_SEGMENT / 4);
    threadgroup ushort4 *window4 = windows + row * (MNT_WEIGHT_SEGMENT / 4);
    threadgroup float *dy = (threadgroup float *)dy4;
    threadgroup ushort *window = (threadgroup ushort *)window4;
    uint tap[taps];
#pragma unroll
    for (int t = 0; t < taps; t++) {
        uint e = lane + uint(t) * WEIGHT_LANES, c = weight_quotient(e, p.by_taps);
        uint i = weight_quotient(e - c * kernel_taps, p.by_kw);
        uint j = e - c * kernel_taps - i * uint(p.kw);
        tap[t] = e < count
                     ? c * uint(p.plane) + i * uint(p.dilation_h) * uint(p.pitch) +
                           j * uint(p.dilation_w)
                     : 0;
    }
    float sum[taps], level[WEIGHT_LEVELS][taps];
    for (int64_t n = at.first; n < at.end; n++) {
        int64_t channel = n * p.c + int64_t(at.group) * p.c_group + at.c;
        int64_t plane = n * p.o + int64_t(at.group) * p.o_group + at.o;
        weight_stage_image(p, x + channel * p.h * p.w, at.channels, image, tid);
        float s[taps];
#pragma unroll
        for (int t = 0; t < taps; t++)
            s[t] = 0.0f;
        for (uint first = 0; first < uint(p.list); first += MNT_WEIGHT_SEGMENT) {
            uint length = min(uint(p.list) - first, uint(MNT_WEIGHT_SEGMENT));
            if (at.in)
                weight_stage_list(p, list, plane, first, length, dy, window, lane);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            if (at.in) {
                if (p.padded != 0 && !weight_all_finite(dy, length))
                    weight_careful<taps>(p, image, dy, window, length, tap, s);
                else
                    weight_chain<taps>(image, dy4, window4, length, tap, s);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        /* Level l holds 2^l samples that wait for as many. */
        uint done = uint(n - at.first);
#pragma unroll
        for (int t = 0; t < taps; t++)
            sum[t] = 0.0f + s[t];
#pragma unroll
        for (int l = 0; l < WEIGHT_LEVELS; l++) {
            bool full = (done & ((2u << l) - 1)) == (2u << l) - 1;
            bool keep = (done & ((2u << l) - 1)) == (1u << l) - 1;
#pragma unroll
            for (int t = 0; t < taps; t++) {
                if (full)
                    sum[t] = level[l][t] + sum[t];
                else if (keep)
                    level[l][t] = sum[t];
            }
        }
    }
    /* What still waits, from the right. */
    uint samples = uint(at.end - at.first);
    bool complete = (samples & (samples - 1)) == 0;
#pragma unroll
    for (int l = 0; l < WEIGHT_LEVELS; l++)
        if (!complete && (samples >> l & 1) != 0) {
            bool begun = (samples & ((1u << l) - 1)) != 0;
#pragma unroll
            for (int t = 0; t < taps; t++)
                sum[t] = begun ? level[l][t] + sum[t] : level[l][t];
        }
    int64_t first = ((int64_t(at.group) * p.o_group + at.o) * p.c_group + at.c) *
                    int64_t(kernel_taps);
    if (at.in)
#pragma unroll
        for (int t = 0; t < taps; t++)
            if (lane + uint(t) * WEIGHT_LANES < count)
                parts[at.leaf * p.weights + first + lane + t * WEIGHT_LANES] = sum[t];
}

template <int taps>
kernel void weight_dense(device const float *x [[buffer(0)]],
                         device const float *dy [[buffer(1)]],
                         device float *parts [[buffer(2)]],
                         constant mnt_weight_args &p [[buffer(3)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float image[MNT_WEIGHT_IMAGE];
    threadgroup float4 dys[WEIGHT_ROWS * MNT_WEIGHT_SEGMENT / 4];
    threadgroup ushort4 windows[WEIGHT_ROWS * MNT_WEIGHT_SEGMENT / 4];
    weight_positions list;
    list.dy = dy;
    weight_part<taps>(p, list, x, parts, image, dys, windows, group, tid);
}

template <int taps>
kernel void weight_pooled(device const float *x [[buffer(0)]],
                          device const float *dy [[buffer(1)]],
                          device const uint8_t *winner [[buffer(2)]],
                          device float *parts [[buffer(3)]],
                          constant mnt_weight_args &p [[buffer(4)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float image[MNT_WEIGHT_IMAGE];
    threadgroup float4 dys[WEIGHT_ROWS * MNT_WEIGHT_SEGMENT / 4];
    threadgroup ushort4 windows[WEIGHT_ROWS * MNT_WEIGHT_SEGMENT / 4];
    weight_winners list;
    list.dy = dy;
    list.winner = winner;
    weight_part<taps>(p, list, x, parts, image, dys, windows, group, tid);
}

template
    [[host_name("weight_dense_1")]] kernel decltype(weight_dense<1>) weight_dense<1>;
template
    [[host_name("weight_dense_3")]] kernel decltype(weight_dense<3>) weight_dense<3>;
template
    [[host_name("weight_dense_7")]] kernel decltype(weight_dense<7>) weight_dense<7>;
template
    [[host_name("weight_pooled_1")]] kernel decltype(weight_pooled<1>) weight_pooled<1>;
template
    [[host_name("weight_pooled_3")]] kernel decltype(weight_pooled<3>) weight_pooled<3>;
template
    [[host_name("weight_pooled_7")]] kernel decltype(weight_pooled<7>) weight_pooled<7>;
