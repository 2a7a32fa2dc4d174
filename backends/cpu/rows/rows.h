/* SPDX-License-Identifier: MIT */
/*
 * What the row kernels (rows_*.c) share: exp and log on vectors, sums in the order of
 * numerics D, blocks of elements as units of work.
 *
 * Row kernels take contiguous f32 operands and give the bits of the reference kernels:
 * the functions here repeat mnt/scalar.h operation by operation.
 */
#ifndef CPU_ROWS_H
#define CPU_ROWS_H

#include "../cpu.h"
#include "../vec.h"

#include <mnt/scalar.h>

#define ROWS_BLOCK 4096 /* elements a unit; also the block of numerics D2 */

typedef uint32_t rows_vecu __attribute__((vector_size(VEC_BYTES)));

VEC_INLINE rows_vecu rows_set1_u(uint32_t x)
{
    return (rows_vecu)vec_set1_i((int32_t)x);
}

VEC_INLINE vecf rows_from_int(veci v)
{
    return __builtin_convertvector(v, vecf);
}

/* VEC_LANES bytes as floats. Spelled out because compilers widen bytes one by one. */
VEC_INLINE vecf rows_load_u8(const uint8_t *p)
{
#if defined(VEC_AVX512)
    __m128i b = _mm_loadu_si128((const __m128i_u *)(const void *)p);
    return (vecf)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
#elif defined(VEC_AVX2)
    __m128i b = _mm_loadl_epi64((const __m128i_u *)(const void *)p);
    return (vecf)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b));
#else
    return rows_from_int((veci){ p[0], p[1], p[2], p[3] });
#endif
}

/* All ones in the first n lanes. */
VEC_INLINE veci rows_first(int n)
{
    veci lane;
    for (int l = 0; l < VEC_LANES; l++)
        lane[l] = l;
    return (veci)(lane < vec_set1_i(n));
}

/* Subnormals become zeros of their sign: what a select has to write. */
VEC_INLINE vecf rows_flush(vecf x)
{
    rows_vecu bits = (rows_vecu)x;
    rows_vecu tiny = (rows_vecu)((bits & rows_set1_u(0x7f800000u)) == rows_set1_u(0));
    return (vecf)(bits & (rows_set1_u(0x80000000u) | ~tiny));
}

/* mnt_expf(). */
VEC_INLINE vecf rows_exp(vecf x)
{
    const vecf rint = vec_set1(MNT_RINT), one = vec_set1(1.0f);
    vecf t = vec_fma(x, vec_set1(0x1.715476p+0f), rint);
    vecf nf = t - rint;
    vecf r = vec_fma(nf, vec_set1(-0x1.62e430p-1f), x);
    r = vec_fma(nf, vec_set1(0x1.05c610p-29f), r);
    vecf p = vec_set1(0x1.6a8830p-10f);
    p = vec_fma(p, r, vec_set1(0x1.123952p-7f));
    p = vec_fma(p, r, vec_set1(0x1.555890p-5f));
    p = vec_fma(p, r, vec_set1(0x1.555494p-3f));
    p = vec_fma(p, r, vec_set1(0x1.fffffcp-2f));
    p = vec_fma(p, r, one);
    p = vec_fma(p, r, one);
    rows_vecu n = (rows_vecu)t - (rows_vecu)rint;
    rows_vecu half = (rows_vecu)((veci)n >> 1);
    rows_vecu rest = n - half;
    vecf y = p * (vecf)((half + rows_set1_u(127)) << 23);
    y = y * (vecf)((rest + rows_set1_u(127)) << 23);
    y = vec_select((veci)(x > vec_set1(0x1.62e42ep+6f)), vec_set1(INFINITY), y);
    return vec_select((veci)(x < vec_set1(-0x1.5d589ep+6f)), vec_zero(), y);
}

/* mnt_logf(). */
VEC_INLINE vecf rows_log(vecf x)
{
    const rows_vecu base = rows_set1_u(0x3f2aaaabu);
    rows_vecu u = (rows_vecu)x - base;
    vecf n = rows_from_int((veci)u >> 23);
    vecf f = (vecf)((u & rows_set1_u(0x7fffffu)) + base) - vec_set1(1.0f);
    vecf q = vec_set1(-0x1.07a1d6p-3f);
    q = vec_fma(q, f, vec_set1(0x1.1e8de4p-3f));
    q = vec_fma(q, f, vec_set1(-0x1.f35876p-4f));
    q = vec_fma(q, f, vec_set1(0x1.1ed2a2p-3f));
    q = vec_fma(q, f, vec_set1(-0x1.559a8ep-3f));
    q = vec_fma(q, f, vec_set1(0x1.99d06ap-3f));
    q = vec_fma(q, f, vec_set1(-0x1.ffff02p-3f));
    q = vec_fma(q, f, vec_set1(0x1.555506p-2f));
    q = vec_fma(q, f, vec_set1(-0.5f));
    vecf a = n * vec_set1(0x1.62e4p-1f);
    vecf hi = a + f;
    vecf lo = a - hi;
    lo = lo + f;
    lo = vec_fma(n, vec_set1(0x1.7f7d1cp-20f), lo);
    vecf g = f * q;
    vecf y = hi + vec_fma(f, g, lo);
    y = vec_select((veci)(x < vec_set1(INFINITY)), y, x);
    y = vec_select((veci)(x < vec_set1(MNT_FLT_MIN)), vec_set1(-INFINITY), y);
    return vec_select((veci)(x <= vec_set1(-MNT_FLT_MIN)), vec_set1(NAN), y);
}

/* The first m lanes; full loads where m is the constant VEC_LANES. */
VEC_INLINE vecf rows_load(const float *p, int m)
{
    return m == VEC_LANES ? vec_load(p) : vec_load_n(p, m);
}

VEC_INLINE void rows_store(float *p, vecf v, int m)
{
    if (m == VEC_LANES)
        vec_store(p, v);
    else
        vec_store_n(p, v, m);
}

/* ---- numerics D ---- */

#define ROWS_LANE_VECS (32 / VEC_LANES)

/* The 32 lanes of D1. A lane may be -0 when a sum was flushed, so lanes without an
 * element of the last, partial row are left alone rather than given +0. */
typedef struct rows_lanes {
    vecf v[ROWS_LANE_VECS];
} rows_lanes;

/* v[l] += v[l + 16], then 8, 4, 2, 1. */
VEC_INLINE float rows_tree(rows_lanes *s)
{
    for (int h = ROWS_LANE_VECS / 2; h > 0; h /= 2)
        for (int i = 0; i < h; i++)
            s->v[i] = s->v[i] + s->v[i + h];
    float t[VEC_LANES];
    vec_store(t, s->v[0]);
    for (int h = VEC_LANES / 2; h > 0; h /= 2)
        for (int l = 0; l < h; l++)
            t[l] = t[l] + t[l + h];
    return t[0];
}

/* One block, n <= ROWS_BLOCK: sum of x, or of x y when y is not NULL. */
VEC_INLINE float rows_block_sum(const float *x, const float *y, int64_t n)
{
    rows_lanes s = { { { 0 } } };
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int k = 0; k < ROWS_LANE_VECS; k++) {
            vecf a = vec_load(x + i + k * VEC_LANES);
            s.v[k] =
                y ? vec_fma(a, vec_load(y + i + k * VEC_LANES), s.v[k]) : s.v[k] + a;
        }
    for (int k = 0; i < n; k++, i += VEC_LANES) {
        int m = n - i < VEC_LANES ? (int)(n - i) : VEC_LANES;
        vecf a = vec_load_n(x + i, m);
        vecf t = y ? vec_fma(a, vec_load_n(y + i, m), s.v[k]) : s.v[k] + a;
        s.v[k] = vec_select(rows_first(m), t, s.v[k]);
    }
    return rows_tree(&s);
}

/* Any n: blocks, then blocks of block results, as deep as n needs. */
static inline float rows_sum(const float *x, const float *y, int64_t n)
{
    if (n <= ROWS_BLOCK)
        return rows_block_sum(x, y, n);
    int64_t span = ROWS_BLOCK;
    while (n > span * ROWS_BLOCK)
        span *= ROWS_BLOCK;
    float lanes[32] = { 0 };
    for (int64_t b = 0; b * span < n; b++) {
        int64_t at = b * span, length = n - at < span ? n - at : span;
        lanes[b % 32] += rows_sum(x + at, y ? y + at : NULL, length);
    }
    for (int h = 16; h > 0; h /= 2)
        for (int l = 0; l < h; l++)
            lanes[l] = lanes[l] + lanes[l + h];
    return lanes[0];
}

/* ---- shapes ---- */

static inline bool rows_f32(const mnt_operand *o)
{
    return o->dtype == MNT_F32 && mnt_operand_contiguous(o);
}

/* Product of dims [from, to). */
static inline int64_t rows_product(const mnt_operand *o, int from, int to)
{
    int64_t n = 1;
    for (int d = from; d < to; d++)
        n *= o->dim[d];
    return n;
}

static inline int64_t rows_blocks(int64_t n, int64_t block)
{
    return (n + block - 1) / block;
}

#endif
