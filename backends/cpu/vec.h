/* SPDX-License-Identifier: MIT */
/*
 * Vectors of float for the kernels: one source, one width an instruction set. Types are
 * GCC vector types, so + - * / and comparisons are written as operators; only loads,
 * stores, broadcast, fma, select and sqrt differ between instruction sets.
 *
 * Every operation is correctly rounded, lane by lane, on every instruction set: the
 * same expression gives the same bits whatever VEC_LANES is. VEC_GENERIC forces the
 * portable version, which needs no fma hardware.
 */
#ifndef CPU_VEC_H
#define CPU_VEC_H

#include <stdint.h>

#if !defined(VEC_GENERIC)
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define VEC_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__)
#define VEC_AVX2 1
#elif defined(__aarch64__)
#define VEC_NEON 1
#else
#define VEC_GENERIC 1
#endif
#endif

#if defined(VEC_AVX512)
#include <immintrin.h>
#define VEC_LANES 16
#elif defined(VEC_AVX2)
#include <immintrin.h>
#define VEC_LANES 8
#elif defined(VEC_NEON)
#include <arm_neon.h>
#define VEC_LANES 4
#else
#define VEC_LANES 4
#endif

#define VEC_BYTES  (VEC_LANES * 4)
#define VEC_INLINE static inline __attribute__((always_inline))

typedef float vecf __attribute__((vector_size(VEC_BYTES)));
typedef int32_t veci __attribute__((vector_size(VEC_BYTES)));

/* The same lanes at any address. */
typedef float vec_unaligned_f
    __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));
typedef int32_t vec_unaligned_i
    __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

VEC_INLINE vecf vec_load(const float *p)
{
    return (vecf) * (const vec_unaligned_f *)p;
}

VEC_INLINE void vec_store(float *p, vecf v)
{
    *(vec_unaligned_f *)p = (vec_unaligned_f)v;
}

VEC_INLINE veci vec_load_i(const int32_t *p)
{
    return (veci) * (const vec_unaligned_i *)p;
}

VEC_INLINE void vec_store_i(int32_t *p, veci v)
{
    *(vec_unaligned_i *)p = (vec_unaligned_i)v;
}

VEC_INLINE vecf vec_zero(void)
{
    return (vecf){ 0 };
}

#if defined(VEC_AVX512)

VEC_INLINE vecf vec_set1(float x)
{
    return (vecf)_mm512_set1_ps(x);
}

VEC_INLINE veci vec_set1_i(int32_t x)
{
    return (veci)_mm512_set1_epi32(x);
}

/* The first n lanes, 0 <= n <= VEC_LANES; the others are +0. */
VEC_INLINE vecf vec_load_n(const float *p, int n)
{
    return (vecf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}

VEC_INLINE void vec_store_n(float *p, vecf v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
}

/* a * b + c, rounded once. */
VEC_INLINE vecf vec_fma(vecf a, vecf b, vecf c)
{
    return (vecf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* Lanes of a where the mask is all ones, of b where it is zero. */
VEC_INLINE vecf vec_select(veci mask, vecf a, vecf b)
{
    return (vecf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)b,
                                      (__m512)a);
}

VEC_INLINE vecf vec_sqrt(vecf v)
{
    return (vecf)_mm512_sqrt_ps((__m512)v);
}

#elif defined(VEC_AVX2)

VEC_INLINE vecf vec_set1(float x)
{
    return (vecf)_mm256_set1_ps(x);
}

VEC_INLINE veci vec_set1_i(int32_t x)
{
    return (veci)_mm256_set1_epi32(x);
}

VEC_INLINE __m256i vec_first(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first n lanes, 0 <= n <= VEC_LANES; the others are +0. */
VEC_INLINE vecf vec_load_n(const float *p, int n)
{
    return (vecf)_mm256_maskload_ps(p, vec_first(n));
}

VEC_INLINE void vec_store_n(float *p, vecf v, int n)
{
    _mm256_maskstore_ps(p, vec_first(n), (__m256)v);
}

/* a * b + c, rounded once. */
VEC_INLINE vecf vec_fma(vecf a, vecf b, vecf c)
{
    return (vecf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

/* Lanes of a where the mask is all ones, of b where it is zero. */
VEC_INLINE vecf vec_select(veci mask, vecf a, vecf b)
{
    return (vecf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
}

VEC_INLINE vecf vec_sqrt(vecf v)
{
    return (vecf)_mm256_sqrt_ps((__m256)v);
}

#else

VEC_INLINE vecf vec_set1(float x)
{
    return (vecf){ x, x, x, x };
}

VEC_INLINE veci vec_set1_i(int32_t x)
{
    return (veci){ x, x, x, x };
}

/* The first n lanes, 0 <= n <= VEC_LANES; the others are +0. */
VEC_INLINE vecf vec_load_n(const float *p, int n)
{
    return (vecf){ n > 0 ? p[0] : 0.0f, n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f,
                   n > 3 ? p[3] : 0.0f };
}

VEC_INLINE void vec_store_n(float *p, vecf v, int n)
{
    if (n > 0) {
        p[0] = v[0];
    }
    if (n > 1) {
        p[1] = v[1];
    }
    if (n > 2) {
        p[2] = v[2];
    }
    if (n > 3) {
        p[3] = v[3];
    }
}

#if defined(VEC_NEON)

/* a * b + c, rounded once. */
VEC_INLINE vecf vec_fma(vecf a, vecf b, vecf c)
{
    return (vecf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

/* Lanes of a where the mask is all ones, of b where it is zero. */
VEC_INLINE vecf vec_select(veci mask, vecf a, vecf b)
{
    return (vecf)vbslq_f32((uint32x4_t)mask, (float32x4_t)a, (float32x4_t)b);
}

VEC_INLINE vecf vec_sqrt(vecf v)
{
    return (vecf)vsqrtq_f32((float32x4_t)v);
}

#else

typedef double vec_d2 __attribute__((vector_size(16)));
typedef int64_t vec_l2 __attribute__((vector_size(16)));

/*
 * a * b + c for two lanes, as a double that rounds to the correctly rounded float. The
 * product is exact in double; TwoSum gives the sum's rounding error e exactly; a sum
 * that is inexact is moved to its odd neighbour on e's side (round to odd), so that the
 * second rounding cannot meet a tie that the first one made. Inf and NaN make e a NaN,
 * for which both comparisons are false, and pass through.
 */
VEC_INLINE vec_d2 vec_fma_odd(vec_d2 a, vec_d2 b, vec_d2 c)
{
    const vec_d2 zero = { 0.0, 0.0 };
    const vec_l2 one = { 1, 1 };
    vec_d2 p = a * b;
    vec_d2 s = p + c;
    vec_d2 bb = s - p;
    vec_d2 aa = s - bb;
    vec_d2 e = (p - aa) + (c - bb);
    vec_l2 up = (vec_l2)(e > zero);
    vec_l2 inexact = up | (vec_l2)(e < zero);
    vec_l2 outward = ~(up ^ (vec_l2)(s > zero)); /* away from zero: bits + 1 */
    vec_l2 bits = (vec_l2)s;
    vec_l2 even = (bits & one) - one;
    vec_l2 step = (outward & (one + one)) - one;
    return (vec_d2)(bits + (step & inexact & even));
}

typedef float vec_f2 __attribute__((vector_size(8)));

/* Two lanes from `first` on. gcc 12 keeps a vector of floats made one by one from
 * doubles in double when it is widened again; whole-vector conversions do not. */
VEC_INLINE vec_d2 vec_widen(vecf v, int first)
{
    vec_f2 pair = { v[first], v[first + 1] };
    return __builtin_convertvector(pair, vec_d2);
}

/* a * b + c, rounded once. */
VEC_INLINE vecf vec_fma(vecf a, vecf b, vecf c)
{
    vec_d2 lo = vec_fma_odd(vec_widen(a, 0), vec_widen(b, 0), vec_widen(c, 0));
    vec_d2 hi = vec_fma_odd(vec_widen(a, 2), vec_widen(b, 2), vec_widen(c, 2));
    vec_f2 l = __builtin_convertvector(lo, vec_f2),
           h = __builtin_convertvector(hi, vec_f2);
    return (vecf){ l[0], l[1], h[0], h[1] };
}

/* Lanes of a where the mask is all ones, of b where it is zero. */
VEC_INLINE vecf vec_select(veci mask, vecf a, vecf b)
{
    return (vecf)((mask & (veci)a) | (~mask & (veci)b));
}

VEC_INLINE vecf vec_sqrt(vecf v)
{
    return (vecf){ __builtin_sqrtf(v[0]), __builtin_sqrtf(v[1]), __builtin_sqrtf(v[2]),
                   __builtin_sqrtf(v[3]) };
}

#endif
#endif

#endif
