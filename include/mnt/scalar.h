/* SPDX-License-Identifier: MIT */
/*
 * Scalar mathematics of the kernels, for those who write kernels or a backend: fma
 * without hardware, exp, log, tanh, sigmoid, erf, cos(pi x). One definition for every
 * machine; vector and GPU code uses it or repeats it operation by operation to get the
 * same bits. Needs -ffp-contract=off, and subnormals flushed by the caller (FTZ, DAZ).
 *
 * So every function is straight-line: + - * / and fma correctly rounded, integer
 * operations on the bits, and selects at the end. Rounding to an integer adds and
 * subtracts 1.5 * 2^23. Coefficients are minimax fits made for this file.
 *
 * The file is C and Metal Shading Language at once: what differs stands at its top.
 */
#ifndef MNT_SCALAR_H
#define MNT_SCALAR_H

#ifdef __METAL_VERSION__
#include <metal_stdlib>
using namespace metal;
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#endif

#include <mnt/philox.h>

#define MNT_FLT_MIN 0x1p-126f
#define MNT_RINT    0x1.8p23f /* x + this - this rounds |x| < 2^22 to an integer */

#ifdef __METAL_VERSION__
static inline uint32_t mnt_bits(float x)
{
    return as_type<uint32_t>(x);
}

static inline float mnt_float(uint32_t u)
{
    return as_type<float>(u);
}
#else
static inline uint32_t mnt_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float mnt_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

#endif

/* A subnormal becomes zero of its sign: what a select has to write. */
static inline float mnt_flushf(float x)
{
    uint32_t u = mnt_bits(x);
    return mnt_float((u & 0x7f800000u) == 0 ? u & 0x80000000u : u);
}

#ifdef __METAL_VERSION__
static inline float mnt_fmaf(float a, float b, float c)
{
    return fma(a, b, c);
}

static inline float mnt_sqrtf(float x)
{
    return sqrt(x);
}
#else
/*
 * a b + c rounded once, without fma hardware: the product is exact in double; the sum
 * is rounded to odd (the bits that fall off set the lowest one), after which rounding
 * to float is right because double has more than two bits to spare.
 */
static inline float mnt_fmaf_soft(float a, float b, float c)
{
    double p = (double)a * (double)b;
    double q = (double)c;
    double s = p + q;
    double t = s - p;
    double u = s - t;
    double v = q - t;
    double w = p - u;
    double err = w + v;
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    if ((err < 0 || err > 0) && (bits & 1) == 0)
        bits += (err > 0) == (s > 0) ? 1u : ~UINT64_C(0);
    memcpy(&s, &bits, sizeof s);
    return (float)s;
}

static inline float mnt_fmaf(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return mnt_fmaf_soft(a, b, c);
#endif
}

static inline float mnt_sqrtf(float x)
{
    return sqrtf(x);
}
#endif

/*
 * exp(x), 1 ulp. +0 where the result would be subnormal, +inf where it would overflow:
 * below -87.33654 and above 88.72283.
 */
static inline float mnt_expf(float x)
{
    float t = mnt_fmaf(x, 0x1.715476p+0f, MNT_RINT);
    float nf = t - MNT_RINT;
    float r = mnt_fmaf(nf, -0x1.62e430p-1f, x);
    r = mnt_fmaf(nf, 0x1.05c610p-29f, r);
    float p = 0x1.6a8830p-10f;
    p = mnt_fmaf(p, r, 0x1.123952p-7f);
    p = mnt_fmaf(p, r, 0x1.555890p-5f);
    p = mnt_fmaf(p, r, 0x1.555494p-3f);
    p = mnt_fmaf(p, r, 0x1.fffffcp-2f);
    p = mnt_fmaf(p, r, 1.0f);
    p = mnt_fmaf(p, r, 1.0f);
    int32_t n = (int32_t)(mnt_bits(t) - mnt_bits(MNT_RINT));
    int32_t half = n >> 1;
    uint32_t rest = (uint32_t)n - (uint32_t)half;
    float y = p * mnt_float(((uint32_t)half + 127u) << 23);
    y = y * mnt_float((rest + 127u) << 23);
    y = x > 0x1.62e42ep+6f ? INFINITY : y;
    return x < -0x1.5d589ep+6f ? 0.0f : y;
}

/* Natural log, 1 ulp. log(+-0) = -inf, NaN below; subnormals are zero. */
static inline float mnt_logf(float x)
{
    uint32_t u = mnt_bits(x) - 0x3f2aaaabu; /* mantissa from 2/3 to 4/3 */
    float n = (float)((int32_t)u >> 23);
    float f = mnt_float((u & 0x7fffffu) + 0x3f2aaaabu) - 1.0f;
    float q = -0x1.07a1d6p-3f;
    q = mnt_fmaf(q, f, 0x1.1e8de4p-3f);
    q = mnt_fmaf(q, f, -0x1.f35876p-4f);
    q = mnt_fmaf(q, f, 0x1.1ed2a2p-3f);
    q = mnt_fmaf(q, f, -0x1.559a8ep-3f);
    q = mnt_fmaf(q, f, 0x1.99d06ap-3f);
    q = mnt_fmaf(q, f, -0x1.ffff02p-3f);
    q = mnt_fmaf(q, f, 0x1.555506p-2f);
    q = mnt_fmaf(q, f, -0.5f);
    float a = n * 0x1.62e4p-1f; /* exact */
    float hi = a + f;
    float lo = a - hi;
    lo = lo + f; /* hi + lo = a + f exactly */
    lo = mnt_fmaf(n, 0x1.7f7d1cp-20f, lo);
    float g = f * q;
    float y = hi + mnt_fmaf(f, g, lo);
    y = x < INFINITY ? y : x;
    y = x < MNT_FLT_MIN ? -INFINITY : y;
    return x <= -MNT_FLT_MIN ? NAN : y;
}

/* cos(pi x), 2 ulp; exact zeros at k + 1/2, NaN for infinities. */
static inline float mnt_cospif(float x)
{
    float a = mnt_float(mnt_bits(x) & 0x7fffffffu);
    float odd = (mnt_bits(a) & 1u) != 0 ? 1.0f : 0.0f;
    float z = a < 0x1p24f ? odd : 0.0f; /* from 2^23 on all are integers */
    z = a < 0x1p23f ? a : z;
    float h = z * 0.5f;
    h = h + MNT_RINT;
    h = h - MNT_RINT;
    z = mnt_fmaf(-2.0f, h, z); /* [-1, 1] */
    float t = mnt_fmaf(2.0f, z, MNT_RINT);
    float r = mnt_fmaf(-0.5f, t - MNT_RINT, z); /* [-1/4, 1/4] */
    uint32_t quadrant = mnt_bits(t);
    float u = r * r;
    float s = -0x1.331996p-1f;
    s = mnt_fmaf(s, u, 0x1.4680a4p+1f);
    s = mnt_fmaf(s, u, -0x1.4abc24p+2f);
    s = mnt_fmaf(s, u, 0x1.921fb6p+1f);
    s = s * r;
    float c = 0x1.d47d7ep-3f;
    c = mnt_fmaf(c, u, -0x1.55b146p+0f);
    c = mnt_fmaf(c, u, 0x1.03c1aep+2f);
    c = mnt_fmaf(c, u, -0x1.3bd3ccp+2f);
    c = mnt_fmaf(c, u, 1.0f);
    /* Quadrants 0 to 3: cos, -sin, -cos, sin. */
    float y = (quadrant & 1u) != 0 ? s : c;
    float negative = 0.0f - y;
    y = ((quadrant + 1u) & 2u) != 0 ? negative : y;
    return a < INFINITY ? y : NAN;
}

/* tanh(x), 2 ulp. */
static inline float mnt_tanhf(float x)
{
    uint32_t sign = mnt_bits(x) & 0x80000000u;
    float a = mnt_float(mnt_bits(x) & 0x7fffffffu);
    float u = a * a;
    float p = -0x1.732b80p-8f;
    p = mnt_fmaf(p, u, 0x1.519036p-6f);
    p = mnt_fmaf(p, u, -0x1.b82628p-5f);
    p = mnt_fmaf(p, u, 0x1.110684p-3f);
    p = mnt_fmaf(p, u, -0x1.555530p-2f);
    p = p * u;
    float small = mnt_fmaf(p, a, a);
    float e = mnt_expf(-2.0f * a);
    float large = 1.0f - (e + e) / (1.0f + e);
    float y = a < 0.625f ? small : large;
    return mnt_float(mnt_bits(y) | sign);
}

/* 1 / (1 + exp(-x)), 2 ulp. */
static inline float mnt_sigmoidf(float x)
{
    float a = mnt_float(mnt_bits(x) & 0x7fffffffu);
    float e = mnt_expf(-a);
    float d = 1.0f + e;
    float w = e / d;
    float below = mnt_fmaf(-w, e, e); /* w would inherit the rounding of d in full */
    float y = 1.0f / d;
    return x < 0.0f ? below : y;
}

/* erf(x), 2 ulp: a polynomial in x^2 near 0, else 1 - exp(-q), q = -log(erfc(|x|)). */
static inline float mnt_erff(float x)
{
    uint32_t sign = mnt_bits(x) & 0x80000000u;
    float a = mnt_float(mnt_bits(x) & 0x7fffffffu);
    float u = a * a;
    float p = 0x1.4f740ep-14f;
    p = mnt_fmaf(p, u, -0x1.a60dd0p-11f);
    p = mnt_fmaf(p, u, 0x1.544a78p-8f);
    p = mnt_fmaf(p, u, -0x1.b80122p-6f);
    p = mnt_fmaf(p, u, 0x1.ce2d64p-4f);
    p = mnt_fmaf(p, u, -0x1.812740p-2f);
    p = mnt_fmaf(p, u, 0x1.06eba8p-3f);
    float small = mnt_fmaf(p, a, a);
    float b = a > 4.0f ? 4.0f : a;
    float q = 0x1.578d1cp-16f;
    q = mnt_fmaf(q, b, -0x1.c01bd4p-12f);
    q = mnt_fmaf(q, b, 0x1.0f1b96p-8f);
    q = mnt_fmaf(q, b, -0x1.9a1622p-6f);
    q = mnt_fmaf(q, b, 0x1.baf36cp-4f);
    q = mnt_fmaf(q, b, 0x1.445652p-1f);
    q = mnt_fmaf(q, b, 0x1.2123e6p+0f);
    q = mnt_fmaf(q, b, -0x1.540f68p-13f);
    float large = 1.0f - mnt_expf(-q);
    float y = a < 0.921875f ? small : large;
    return mnt_float(mnt_bits(y) | sign);
}

/* x / 255, correctly rounded. */
static inline float mnt_unit_u8(uint8_t x)
{
    return (float)x / 255.0f;
}

#endif
