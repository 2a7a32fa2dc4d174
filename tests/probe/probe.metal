/* SPDX-License-Identifier: MIT */
/*
 * The numerics probe: what arithmetic does here, for the table in docs/numerics.md. One
 * source for every machine: compiled as C++ for CPUs, as PTX for NVIDIA GPUs, as Metal.
 *
 * Every kernel has the same form: thread i reads in[], writes its own words of out[] and
 * nothing else; n is a count whose meaning the kernel states. probe_main.c makes the inputs
 * and hashes the outputs.
 */
#if defined(__METAL_VERSION__) && __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#endif
#include <mnt/scalar.h>

/*
 * Bits that all machines must agree on: one NaN, and no difference between FLT_MIN and 0,
 * since a product just below FLT_MIN may round to either (numerics B3).
 */
static inline uint32_t settled(float x)
{
    uint32_t u = mnt_bits(x), magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return 0x7fc00000u;
    return magnitude <= 0x00800000u ? u & 0x80000000u : u;
}

static inline float value(const device uint32_t *in, uint32_t i)
{
    return mnt_float(in[i]);
}

/* Thread i = (a, b) of the n values: sum, difference, product, quotient, comparisons. */
kernel void probe_pairs(const device uint32_t *in [[buffer(0)]],
                        device uint32_t *out [[buffer(1)]],
                        constant uint32_t &n [[buffer(2)]],
                        uint i [[thread_position_in_grid]])
{
    float a = value(in, i / n), b = value(in, i % n);
    device uint32_t *o = out + 8 * i;
    o[0] = settled(a + b);
    o[1] = settled(a - b);
    o[2] = settled(a * b);
    o[3] = settled(a / b);
    o[4] = a > b ? 1u : 0u;
    o[5] = a == b ? 1u : 0u;
    o[6] = settled(a > b ? mnt_flushf(a) : mnt_flushf(b));
    o[7] = a != b ? 1u : 0u;
}

/* Thread i = (a, b, c) of the n values: fma. */
kernel void probe_fma(const device uint32_t *in [[buffer(0)]],
                      device uint32_t *out [[buffer(1)]],
                      constant uint32_t &n [[buffer(2)]],
                      uint i [[thread_position_in_grid]])
{
    out[i] =
        settled(mnt_fmaf(value(in, i / n / n), value(in, i / n % n), value(in, i % n)));
}

/* fma, product, sum, quotient and root of numbers from random words, folded to one word a
 * thread; exponents near each other so that cancellation and ties happen. */
kernel void probe_random(const device uint32_t *in [[buffer(0)]],
                         device uint32_t *out [[buffer(1)]],
                         constant uint32_t &n [[buffer(2)]],
                         uint i [[thread_position_in_grid]])
{
    uint32_t hash = 2166136261u;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t counter[4] = { i, k, 0, in[0] }, key[2] = { 1, 2 }, word[4];
        mnt_philox(counter, key, word);
        float a = mnt_float((word[0] & 0x80ffffffu) + 0x3f000000u);
        float b = mnt_float((word[1] & 0x80ffffffu) + 0x3f000000u);
        float c = mnt_float((word[2] & 0x81ffffffu) + 0x3e800000u);
        float any = mnt_float(word[3]);
        uint32_t result[6] = { settled(mnt_fmaf(a, b, c)),
                               settled(a * c),
                               settled(a - c),
                               settled(any / a),
                               settled(mnt_sqrtf(mnt_float(word[3] & 0x7fffffffu))),
                               settled(mnt_fmaf(any, b, c)) };
        for (uint32_t r = 0; r < 6; r++)
            hash = (hash ^ result[r]) * 16777619u;
    }
    out[i] = hash;
}

/* Function in[0] over inputs i n stride, (i n + 1) stride, ..., stride in[1]: one word. */
kernel void probe_sweep(const device uint32_t *in [[buffer(0)]],
                        device uint32_t *out [[buffer(1)]],
                        constant uint32_t &n [[buffer(2)]],
                        uint i [[thread_position_in_grid]])
{
    uint32_t hash = 2166136261u;
    uint64_t at = (uint64_t)i * n * in[1];
    for (uint32_t k = 0; k < n && at <= 0xffffffffu; k++, at += in[1]) {
        float x = mnt_float((uint32_t)at), y = 0.0f;
        switch (in[0]) {
        case 0:
            y = mnt_expf(x);
            break;
        case 1:
            y = mnt_logf(x);
            break;
        case 2:
            y = mnt_cospif(x);
            break;
        case 3:
            y = mnt_tanhf(x);
            break;
        case 4:
            y = mnt_sigmoidf(x);
            break;
        case 5:
            y = mnt_erff(x);
            break;
        default:
            y = mnt_sqrtf(x);
            break;
        }
        hash = (hash ^ settled(y)) * 16777619u;
    }
    out[i] = hash;
}

/* y = a b, a [M,K], b [K,16]: chunks of numerics C3. in: M, K, chunk, then a, then b. */
kernel void probe_matmul(const device uint32_t *in [[buffer(0)]],
                         device uint32_t *out [[buffer(1)]],
                         constant uint32_t &n [[buffer(2)]],
                         uint i [[thread_position_in_grid]])
{
    uint32_t inner = in[1], chunk = in[2], row = i / n, column = i % n;
    const device uint32_t *a = in + 3, *b = a + in[0] * inner;
    float y = 0.0f;
    for (uint32_t k = 0; k < inner; k += chunk) {
        float s = 0.0f;
        for (uint32_t j = k; j < inner && j < k + chunk; j++)
            s = mnt_fmaf(value(a, row * inner + j), value(b, j * n + column), s);
        y = y + s;
    }
    out[i] = settled(y);
}

/*
 * Weight gradient of a 3x3 convolution of n images 8x8 -> 6x6, one channel each side
 * (numerics C5, C6). Thread i is tap i. in: x [n,8,8], dy [n,6,6].
 */
kernel void probe_conv_dw(const device uint32_t *in [[buffer(0)]],
                          device uint32_t *out [[buffer(1)]],
                          constant uint32_t &n [[buffer(2)]],
                          uint i [[thread_position_in_grid]])
{
    const device uint32_t *x = in, *dy = in + n * 64;
    float total = 0.0f;
    for (uint32_t block = 0; block < n; block += 64) {
        float t[64];
        uint32_t count = n - block < 64 ? n - block : 64;
        for (uint32_t s = 0; s < count; s++) {
            float chain = 0.0f;
            for (uint32_t p = 0; p < 36; p++) {
                uint32_t b = p / 4, oy = b / 3 * 2 + p % 4 / 2, ox = b % 3 * 2 + p % 2;
                uint32_t pixel = (oy + i / 3) * 8 + ox + i % 3;
                chain = mnt_fmaf(value(dy, (block + s) * 36 + oy * 6 + ox),
                                 value(x, (block + s) * 64 + pixel), chain);
            }
            t[s] = 0.0f + chain;
        }
        for (uint32_t h = 1; h < 64; h *= 2)
            for (uint32_t s = 0; s + h < count; s += 2 * h)
                t[s] = t[s] + t[s + h];
        total = total + t[0];
    }
    out[i] = settled(total);
}

/* Four words of Philox, a uniform and a normal number a thread. in: key. */
kernel void probe_philox(const device uint32_t *in [[buffer(0)]],
                         device uint32_t *out [[buffer(1)]],
                         constant uint32_t &n [[buffer(2)]],
                         uint i [[thread_position_in_grid]])
{
    uint32_t counter[4] = { i, 0, n, 7 }, key[2] = { in[0], in[1] }, word[4];
    mnt_philox(counter, key, word);
    for (uint32_t k = 0; k < 4; k++)
        out[6 * i + k] = word[k];
    float u1 = (float)((word[0] >> 8) + 1) * 0x1p-24f;
    float u2 = (float)(word[1] >> 8) * 0x1p-24f;
    float radius = mnt_sqrtf(-2.0f * mnt_logf(u1));
    out[6 * i + 4] = settled(u2);
    out[6 * i + 5] = settled(radius * mnt_cospif(2.0f * u2));
}

/* Raw bits of products that lie between FLT_MIN (1 - 2^-24) and FLT_MIN (numerics B3). */
kernel void probe_edge(const device uint32_t *in [[buffer(0)]],
                       device uint32_t *out [[buffer(1)]],
                       constant uint32_t &n [[buffer(2)]],
                       uint i [[thread_position_in_grid]])
{
    out[i] = i < n ? mnt_bits(value(in, 2 * i) * value(in, 2 * i + 1)) : 0u;
}
