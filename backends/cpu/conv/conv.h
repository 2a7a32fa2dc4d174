/* SPDX-License-Identifier: MIT */
/*
 * Shared by the fast convolution kernels (conv_*.c) and maxpool.c: the geometry of a
 * command, layout changes through registers, and the last steps of a forward tile.
 *
 * Two layouts are used besides NCHW. "Lanes": [position][VEC_LANES], one image (or one
 * output channel) a lane. "Channels last": [y][x][cp], cp channels padded so that they
 * are a power of two up to VEC_LANES, or a multiple of it. Padding of the image is made
 * real in scratch: taps there multiply zeros, which changes no sum as long as the other
 * factor is finite; forward kernels test that and fall back to conv_plain_image().
 */
#ifndef CPU_CONV_H
#define CPU_CONV_H

#include "../cpu.h"
#include "../vec.h"

#include <string.h>

/* Output channels a register tile of the "lanes" kernels holds, four vectors each. */
#if defined(VEC_AVX512) || defined(VEC_NEON)
#define CONV_ROWS 4
#else
#define CONV_ROWS 2
#endif

/* Samples of one unit of the weight gradients; divides numerics C6's blocks of 64. */
#define CONV_UNIT 16
/* Positions a chunk of the weight gradients holds (C6). */
#define CONV_POSITIONS 4096

#if defined(__clang__)
#define CONV_NO_UNROLL _Pragma("clang loop unroll(disable)")
#define CONV_UNROLL    _Pragma("clang loop unroll(full)")
#else
#define CONV_NO_UNROLL _Pragma("GCC unroll 1")
#define CONV_UNROLL    _Pragma("GCC unroll 32")
#endif

/* A pointer the compiler must keep as it is: otherwise it splits sums of addresses in
 * inner loops and runs out of registers. */
#define CONV_KEEP(p) __asm__("" : "+r"(p))

typedef struct conv_geom {
    int64_t n, c, h, w; /* input of the convolution */
    int64_t oc, oh, ow; /* its output, before pooling */
    int64_t kh, kw, sh, sw, ph, pw, dh, dw;
    int64_t groups, cg, og;   /* input and output channels of a group */
    int64_t chunk;            /* channels a chunk */
    int64_t yh, yw;           /* after pooling */
    int64_t qh, qw, qsh, qsw; /* pool window and stride; 1 without pooling */
    int64_t hp, wp;           /* padded image */
    bool pool, relu;
} conv_geom;

/* For the forward ops: */
conv_geom CPU_NAME(conv_geom_forward)(const mnt_cmd *cmd);
/* ... and for the gradients, dense and pool-sparse. */
conv_geom CPU_NAME(conv_geom_dx)(const mnt_cmd *cmd);
conv_geom CPU_NAME(conv_geom_dw)(const mnt_cmd *cmd);
/* Operands are f32 (the index u8), of four dims, none of them empty. */
bool CPU_NAME(conv_operands_ok)(const mnt_cmd *cmd);
/* One image by the definition, tap by tap: any weights, any padding. */
void CPU_NAME(conv_plain_image)(const cpu_job *job, const conv_geom *g, int64_t image);

/*
 * Packed weights of a forward kernel: w[block][k][rows], zeros past the group's last
 * channel, k = (ic, kh, kw); a table with the k-th tap's offset inside the input
 * scratch, for the taps of one chunk; a flag a block, 1 if every weight is finite.
 */
typedef struct conv_pack {
    int64_t rows, blocks; /* channels a block; blocks a group */
    int64_t k, taps;      /* k of all channels; of one chunk */
    float *w;
    int32_t *table, *finite;
    size_t bytes;
} conv_pack;

/* Layout over `base` (NULL: only the size). */
conv_pack CPU_NAME(conv_pack_layout)(const conv_geom *g, int64_t rows, char *base);
/* Unit 0 fills the table, unit 1 + b block b. A position's channel plane, row, column
 * and lane steps are in floats. */
void CPU_NAME(conv_pack_unit)(const conv_geom *g, const conv_pack *p, const float *w,
                              int64_t unit, int64_t plane, int64_t row, int64_t col);
bool CPU_NAME(conv_pack_finite)(const conv_geom *g, const conv_pack *p);
/* Scratch for the pack: the job's cache if the weights are a parameter. */
void CPU_NAME(conv_pack_plan)(cpu_job *job, size_t bytes);

/* src[l * stride + p], l < rows: rows of `count` values -> dst[p][VEC_LANES]; lanes
 * from rows on are zero. */
void CPU_NAME(conv_to_lanes)(float *dst, const float *src, int rows, int64_t stride,
                             int64_t count);
/* The same for planes of w values a line into padded ones of wp (already zeroed). */
void CPU_NAME(conv_to_lanes_padded)(float *dst, const float *src, int rows,
                                    int64_t stride, const conv_geom *g);
/* dst[l * stride + p] = src[p][l]. */
void CPU_NAME(conv_from_lanes)(float *dst, const float *src, int rows, int64_t stride,
                               int64_t count);
/* The same from values 0..255 to bytes. */
void CPU_NAME(conv_from_lanes_u8)(uint8_t *dst, const int32_t *src, int rows,
                                  int64_t stride, int64_t count);

/* Channels last: cp for c channels; an image [c][h][w] into rows of `row` floats,
 * row >= w cp; and back, adding +0 (numerics C2). dst needs VEC_LANES floats more. */
int64_t CPU_NAME(conv_channels)(int64_t c);
void CPU_NAME(conv_to_last)(float *dst, const float *src, int64_t c, int64_t h,
                            int64_t w, int64_t row);
void CPU_NAME(conv_from_last)(float *dst, const float *src, int64_t c, int64_t h,
                              int64_t w, int64_t row);

/* Per-sample results of a weight gradient: t[0], t[1], ... of `size` floats (a multiple
 * of VEC_LANES) are added pairwise as they come (numerics C6). */
typedef struct conv_tree {
    float *level[6]; /* level[d]: the d-th pending subtree */
    int64_t size;
    int depth;
    int64_t count;
} conv_tree;

/* Where the next sample's result goes; call conv_tree_push() when it is there. */
static inline float *conv_tree_top(const conv_tree *t)
{
    return t->level[t->depth];
}
void CPU_NAME(conv_tree_push)(conv_tree *t);
/* Adds what is pending; the result is in level[0]. */
void CPU_NAME(conv_tree_finish)(conv_tree *t);
/* parts[u][size] of CONV_UNIT samples each, n samples in all: slice [at, at + len) of
 * the total over blocks of 64 goes to out; parts are used up. */
void CPU_NAME(conv_tree_total)(float *out, float *parts, int64_t size, int64_t n,
                               int64_t at, int64_t len);

/* Pooled gradients that are not zero, in block order: value, and base[p] +
 * tab[winner]. Room for count + VEC_LANES entries. Returns how many. */
int64_t CPU_NAME(conv_pool_list)(int32_t *off, float *val, const float *dy,
                                 const uint8_t *winner, const int32_t *base,
                                 const int32_t tab[4], int64_t count);

/* What a sparse kernel's job can be: 2x2 windows, runs of taps without gaps. */
bool CPU_NAME(conv_sparse_ok)(const mnt_cmd *cmd, const conv_geom *g);

static inline int64_t conv_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t conv_round(int64_t a, int64_t b)
{
    return conv_ceil(a, b) * b;
}

static inline int64_t conv_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t conv_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Cuts 64-byte aligned pieces from a thread's scratch; with base NULL it only counts.
 */
typedef struct conv_arena {
    char *base;
    size_t used;
} conv_arena;

static inline void *conv_cut(conv_arena *a, int64_t bytes)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (size_t)conv_round(bytes, CPU_ALIGN);
    return p;
}

/* ---- in registers ---- */

#if VEC_LANES == 16
#define CONV_LOW(a, b)                                                                 \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,  \
                            23)
#define CONV_HIGH(a, b)                                                                \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,    \
                            30, 15, 31)
#define CONV_EVEN(a, b)                                                                \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26,   \
                            28, 30)
#define CONV_ODD(a, b)                                                                 \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,   \
                            29, 31)
#elif VEC_LANES == 8
#define CONV_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define CONV_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define CONV_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define CONV_ODD(a, b)  __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define CONV_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define CONV_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define CONV_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define CONV_ODD(a, b)  __builtin_shufflevector(a, b, 1, 3, 5, 7)
#endif

/* The first n lanes, as vec_store_n(). Masked stores of avx2 are slow on some machines
 * (a dozen cycles and more), so there halves and quarters are stored. */
VEC_INLINE void conv_store_first(float *p, vecf v, int n)
{
    if (n == VEC_LANES) {
        vec_store(p, v);
        return;
    }
#if defined(VEC_AVX2)
    __m128 part = _mm256_castps256_ps128((__m256)v);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps((__m256)v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1) {
        _mm_store_ss(p, part);
    }
#else
    vec_store_n(p, v, n);
#endif
}

/* One perfect shuffle of `rows` vectors seen as one array: the index's bits rotate by
 * one. log2(rows) of them turn [rows][lanes] into [lanes][rows], log2(lanes) turn
 * [lanes][rows] into [rows][lanes]. */
VEC_INLINE void conv_shuffle(vecf *v, int rows)
{
    vecf t[VEC_LANES];
    for (int i = 0; i < rows / 2; i++) {
        t[2 * i] = CONV_LOW(v[i], v[i + rows / 2]);
        t[2 * i + 1] = CONV_HIGH(v[i], v[i + rows / 2]);
    }
    for (int i = 0; i < rows; i++) {
        v[i] = t[i];
    }
}

VEC_INLINE void conv_transpose(vecf *v)
{
    for (int s = VEC_LANES; s > 1; s /= 2) {
        conv_shuffle(v, VEC_LANES);
    }
}

/* !(x <= 0) ? x : +0 */
VEC_INLINE vecf conv_relu(vecf x)
{
#if defined(VEC_AVX512)
    __mmask16 keep = _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_NLE_UQ);
    return (vecf)_mm512_maskz_mov_ps(keep, (__m512)x);
#else
    return vec_select(x <= vec_zero(), vec_zero(), x);
#endif
}

/* The pooling rule: x replaces best if it is larger, or NaN where best is none. */
VEC_INLINE void conv_compete(vecf *best, veci *winner, vecf x, int32_t element)
{
#if defined(VEC_AVX512)
    __m512 b = (__m512)*best;
    __mmask16 m = _mm512_cmp_ps_mask((__m512)x, b, _CMP_NLE_UQ);
    m = _mm512_mask_cmp_ps_mask(m, b, b, _CMP_ORD_Q);
    *best = (vecf)_mm512_mask_mov_ps(b, m, (__m512)x);
    *winner =
        (veci)_mm512_mask_mov_epi32((__m512i)*winner, m, _mm512_set1_epi32(element));
#else
    veci m = ~(veci)(x <= *best) & (veci)(*best == *best);
    *best = vec_select(m, x, *best);
    *winner = (veci)vec_select(m, (vecf)vec_set1_i(element), (vecf)*winner);
#endif
}

/* acc[r][q] += w[k][r] x[table[k] + at[q]] for k < n, in order, from +0. */
VEC_INLINE void conv_tile(vecf acc[CONV_ROWS][4], const float *x, const int64_t at[4],
                          const int32_t *table, const float *w, int64_t n)
{
    const float *x0 = x + at[0], *x1 = x + at[1], *x2 = x + at[2], *x3 = x + at[3];
    CONV_KEEP(x0);
    CONV_KEEP(x1);
    CONV_KEEP(x2);
    CONV_KEEP(x3);
    for (int r = 0; r < CONV_ROWS; r++) {
        acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = vec_zero();
    }
    CONV_NO_UNROLL
    for (int64_t k = 0; k < n; k++) {
        int64_t o = table[k];
        vecf v0 = vec_load(x0 + o), v1 = vec_load(x1 + o);
        vecf v2 = vec_load(x2 + o), v3 = vec_load(x3 + o);
        for (int r = 0; r < CONV_ROWS; r++) {
            vecf wr = vec_set1(w[k * CONV_ROWS + r]);
            acc[r][0] = vec_fma(wr, v0, acc[r][0]);
            acc[r][1] = vec_fma(wr, v1, acc[r][1]);
            acc[r][2] = vec_fma(wr, v2, acc[r][2]);
            acc[r][3] = vec_fma(wr, v3, acc[r][3]);
        }
    }
}

/* What follows the sum of products. */
typedef struct conv_end {
    bool bias, relu, single; /* single: one chunk, the sum still lacks "+0 +" */
} conv_end;

/* relu absorbs the sign of zero, so "+0 +" is needed only without it. */
VEC_INLINE vecf conv_ended(vecf v, vecf bias, conv_end end)
{
    if (end.single && !end.relu) {
        v = vec_zero() + v;
    }
    if (end.bias) {
        v = v + bias;
    }
    return end.relu ? conv_relu(v) : v;
}

/* Window elements first, ..., first + 3 join the contest. A relu'd first element is
 * >= 0 or NaN, so a rival loses or wins the same with and without a relu of its own. */
VEC_INLINE void conv_ended_pool(vecf *best, veci *winner, const vecf *v, vecf bias,
                                conv_end end, int64_t first)
{
    conv_end rival = { end.bias, false, end.single && !end.relu };
    if (first == 0) {
        *best = conv_ended(v[0], bias, end);
        *winner = (veci){ 0 };
    } else {
        conv_compete(best, winner, conv_ended(v[0], bias, rival), (int32_t)first);
    }
    for (int q = 1; q < 4; q++) {
        conv_compete(best, winner, conv_ended(v[q], bias, rival), (int32_t)first + q);
    }
}

#endif
