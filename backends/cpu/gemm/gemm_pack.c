/* SPDX-License-Identifier: MIT */
/*
 * Packing into panels. A panel is `width` rows of op(A) or columns of op(B), stored
 * [k][width], so that the microkernel reads it from beginning to end; lines beyond the
 * matrix are +0. Bits are moved, never changed.
 *
 * One idea: a panel has a long direction (k) and a short one (the width); one of the
 * two is contiguous in memory. If it is the short one, packing copies; if it is k, it
 * transposes blocks of 4 x 4.
 */
#include "gemm_pack.h"

typedef float f4 __attribute__((vector_size(16)));
typedef float f4_any __attribute__((vector_size(16), aligned(4), may_alias));

VEC_INLINE f4 load4(const float *p)
{
    return (f4) * (const f4_any *)p;
}

VEC_INLINE void store4(float *p, f4 v)
{
    *(f4_any *)p = (f4_any)v;
}

/* Four lines of four into four columns, `to` apart. */
VEC_INLINE void transpose4(float *dst, int to, const float *src, int64_t line)
{
    f4 r0 = load4(src), r1 = load4(src + line);
    f4 r2 = load4(src + 2 * line), r3 = load4(src + 3 * line);
    f4 t0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    f4 t1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    f4 t2 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    f4 t3 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    store4(dst, __builtin_shufflevector(t0, t1, 0, 1, 4, 5));
    store4(dst + to, __builtin_shufflevector(t0, t1, 2, 3, 6, 7));
    store4(dst + 2 * to, __builtin_shufflevector(t2, t3, 0, 1, 4, 5));
    store4(dst + 3 * to, __builtin_shufflevector(t2, t3, 2, 3, 6, 7));
}

/* src[l line + p], l < lines: k is contiguous. */
VEC_INLINE void pack_transposed(float *dst, const int width, const float *src,
                                int64_t line, int lines, int64_t k)
{
    int l = 0;
    for (; l + 4 <= lines; l += 4) {
        const float *s = src + l * line;
        float *d = dst + l;
        int64_t p = 0;
        for (; p + 4 <= k; p += 4)
            transpose4(d + p * width, width, s + p, line);
        for (; p < k; p++)
            for (int i = 0; i < 4; i++)
                d[p * width + i] = s[i * line + p];
    }
    for (; l < width; l++)
        for (int64_t p = 0; p < k; p++)
            dst[p * width + l] = l < lines ? src[l * line + p] : 0.0f;
}

/* src[p step + l], l < lines: the width is contiguous. */
VEC_INLINE void pack_copied(float *dst, const int width, const float *src, int64_t step,
                            int lines, int64_t k)
{
    if (lines == width) {
        for (int64_t p = 0; p < k; p++, src += step, dst += width) {
            int l = 0;
            for (; l + VEC_LANES <= width; l += VEC_LANES)
                vec_store(dst + l, vec_load(src + l));
            for (; l + 4 <= width; l += 4)
                store4(dst + l, load4(src + l));
            for (; l < width; l++)
                dst[l] = src[l];
        }
        return;
    }
    for (int64_t p = 0; p < k; p++, src += step, dst += width) {
        int l = 0;
        for (; l < lines; l++)
            dst[l] = src[l];
        for (; l < width; l++)
            dst[l] = 0.0f;
    }
}

VEC_INLINE void pack_panel(float *dst, const int width, const float *src, int64_t line,
                           int64_t step, int lines, int64_t k)
{
    if (line == 1)
        pack_copied(dst, width, src, step, lines, k);
    else if (step == 1)
        pack_transposed(dst, width, src, line, lines, k);
    else
        for (int64_t p = 0; p < k; p++)
            for (int l = 0; l < width; l++)
                dst[p * width + l] = l < lines ? src[l * line + p * step] : 0.0f;
}

void CPU_NAME(cpu_gemm_pack_a)(const cpu_gemm *g, float *dst, int64_t row,
                               int64_t row_end, int64_t k, int64_t k_end)
{
    const int64_t length = k_end - k;
    for (; row < row_end; row += GEMM_MR, dst += length * GEMM_MR) {
        int64_t lines = row_end - row < GEMM_MR ? row_end - row : GEMM_MR;
        pack_panel(dst, GEMM_MR, g->a + row * g->a_row + k * g->a_col, g->a_row,
                   g->a_col, (int)lines, length);
    }
}

static int64_t slices(int64_t k)
{
    return (k + GEMM_SLICE - 1) / GEMM_SLICE;
}

int64_t CPU_NAME(cpu_gemm_pack_units)(int64_t n, int64_t k)
{
    return cpu_gemm_panels(n) * slices(k);
}

/* A unit is a slice of k of one panel. */
void CPU_NAME(cpu_gemm_pack)(const cpu_gemm *g, float *packed, int64_t begin,
                             int64_t end)
{
    const int64_t count = slices(g->k);
    for (int64_t u = begin; u < end; u++) {
        const int64_t panel = u / count, k = u % count * GEMM_SLICE;
        const int64_t col = panel * GEMM_NR;
        const int64_t lines = g->n - col < GEMM_NR ? g->n - col : GEMM_NR;
        const int64_t length = g->k - k < GEMM_SLICE ? g->k - k : GEMM_SLICE;
        pack_panel(packed + (panel * g->k + k) * GEMM_NR, GEMM_NR,
                   g->b + k * g->b_row + col * g->b_col, g->b_col, g->b_row, (int)lines,
                   length);
    }
}
