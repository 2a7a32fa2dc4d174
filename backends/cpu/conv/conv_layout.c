/* SPDX-License-Identifier: MIT */
/*
 * Changes of layout through registers, and the list of a pool's gradients. A block of
 * rows x lanes floats is transposed by perfect shuffles (conv_shuffle), log2(rows) or
 * log2(lanes) of them.
 */
#include "conv.h"

/* Stores n positions, the first at (y, x), to *at in padded planes. */
static inline void store_wrapped(float **at, const vecf *v, int n, const conv_geom *g,
                                 int64_t *x, int64_t *y)
{
    for (int i = 0; i < n; i++) {
        vec_store(*at, v[i]);
        *at += VEC_LANES;
        if (++*x == g->w) {
            *x = 0;
            *at += 2 * g->pw * VEC_LANES;
            if (++*y == g->h) {
                *y = 0;
                *at += 2 * g->ph * g->wp * VEC_LANES;
            }
        }
    }
}

VEC_INLINE void load_rows(vecf *v, const float *src, int rows, int64_t stride,
                          int64_t left)
{
    if (rows == VEC_LANES && left >= VEC_LANES) {
        for (int l = 0; l < VEC_LANES; l++) {
            v[l] = vec_load(src + l * stride);
        }
        return;
    }
    int n = left < VEC_LANES ? (int)left : VEC_LANES;
    for (int l = 0; l < VEC_LANES; l++) {
        v[l] = l < rows ? vec_load_n(src + l * stride, n) : vec_zero();
    }
}

void CPU_NAME(conv_to_lanes)(float *dst, const float *src, int rows, int64_t stride,
                             int64_t count)
{
    for (int64_t p = 0; p < count; p += VEC_LANES) {
        vecf v[VEC_LANES];
        load_rows(v, src + p, rows, stride, count - p);
        conv_transpose(v);
        int n = (int)conv_min(VEC_LANES, count - p);
        if (n == VEC_LANES) {
            for (int i = 0; i < VEC_LANES; i++) {
                vec_store(dst + (p + i) * VEC_LANES, v[i]);
            }
        } else {
            for (int i = 0; i < n; i++) {
                vec_store(dst + (p + i) * VEC_LANES, v[i]);
            }
        }
    }
}

void CPU_NAME(conv_to_lanes_padded)(float *dst, const float *src, int rows,
                                    int64_t stride, const conv_geom *g)
{
    int64_t count = g->c * g->h * g->w;
    float *at = dst + (g->ph * g->wp + g->pw) * VEC_LANES;
    int64_t x = 0, y = 0;
    for (int64_t p = 0; p < count; p += VEC_LANES) {
        vecf v[VEC_LANES];
        load_rows(v, src + p, rows, stride, count - p);
        conv_transpose(v);
        store_wrapped(&at, v, (int)conv_min(VEC_LANES, count - p), g, &x, &y);
    }
}

VEC_INLINE void store_rows(float *dst, const vecf *v, int rows, int64_t stride,
                           int64_t left)
{
    if (rows == VEC_LANES && left >= VEC_LANES) {
        for (int l = 0; l < VEC_LANES; l++) {
            vec_store(dst + l * stride, v[l]);
        }
        return;
    }
    int n = left < VEC_LANES ? (int)left : VEC_LANES;
    for (int l = 0; l < rows; l++) {
        conv_store_first(dst + l * stride, v[l], n);
    }
}

void CPU_NAME(conv_from_lanes)(float *dst, const float *src, int rows, int64_t stride,
                               int64_t count)
{
    for (int64_t p = 0; p < count; p += VEC_LANES) {
        vecf v[VEC_LANES];
        if (count - p >= VEC_LANES) {
            for (int i = 0; i < VEC_LANES; i++) {
                v[i] = vec_load(src + (p + i) * VEC_LANES);
            }
        } else {
            for (int i = 0; i < VEC_LANES; i++) {
                v[i] = p + i < count ? vec_load(src + (p + i) * VEC_LANES) : vec_zero();
            }
        }
        conv_transpose(v);
        store_rows(dst + p, v, rows, stride, count - p);
    }
}

/* Four positions become the bytes of one 32-bit lane, then lanes are transposed. */
void CPU_NAME(conv_from_lanes_u8)(uint8_t *dst, const int32_t *src, int rows,
                                  int64_t stride, int64_t count)
{
    const int64_t block = 4 * VEC_LANES;
    for (int64_t p = 0; p < count; p += block) {
        vecf v[VEC_LANES];
        for (int i = 0; i < VEC_LANES; i++) {
            veci word = { 0 };
            for (int b = 0; b < 4 && p + 4 * i + b < count; b++) {
                word |= vec_load_i(src + (p + 4 * i + b) * VEC_LANES) << (8 * b);
            }
            v[i] = (vecf)word;
        }
        conv_transpose(v);
        size_t n = (size_t)conv_min(block, count - p);
        for (int l = 0; l < rows; l++) {
            if (n == (size_t)block) {
                memcpy(dst + l * stride + p, &v[l], sizeof v[l]);
            } else {
                memcpy(dst + l * stride + p, &v[l], n);
            }
        }
    }
}

/* ---- channels last ---- */

int64_t CPU_NAME(conv_channels)(int64_t c)
{
    int64_t cp = 1;
    while (cp < c && cp < VEC_LANES) {
        cp *= 2;
    }
    return conv_round(c, cp);
}

/* `rows` planes' next n values of a line -> n groups of `rows` channels at step cp. */
VEC_INLINE void line_to_last(float *dst, const float *src, int rows, int64_t there,
                             int64_t plane, int n, int64_t cp)
{
    vecf v[VEC_LANES];
    for (int c = 0; c < rows; c++) {
        v[c] = c < there ? vec_load_n(src + c * plane, n) : vec_zero();
    }
    for (int s = rows; s > 1; s /= 2) {
        conv_shuffle(v, rows);
    }
    if (rows == VEC_LANES) {
        for (int i = 0; i < n; i++) {
            vec_store(dst + i * cp, v[i]);
        }
    } else {
        for (int i = 0; i * VEC_LANES < n * rows; i++) {
            vec_store(dst + i * VEC_LANES, v[i]);
        }
    }
}

VEC_INLINE void image_to_last(float *dst, const float *src, int rows, int64_t c,
                              int64_t h, int64_t w, int64_t row)
{
    int64_t cp = CPU_NAME(conv_channels)(c);
    for (int64_t y = 0; y < h; y++) {
        for (int64_t x = 0; x < w; x += VEC_LANES) {
            int n = (int)conv_min(VEC_LANES, w - x);
            for (int64_t b = 0; b < cp; b += rows) {
                line_to_last(dst + y * row + x * cp + b, src + (b * h + y) * w + x,
                             rows, c - b, h * w, n, cp);
            }
        }
    }
}

void CPU_NAME(conv_to_last)(float *dst, const float *src, int64_t c, int64_t h,
                            int64_t w, int64_t row)
{
    switch (conv_min(CPU_NAME(conv_channels)(c), VEC_LANES)) {
    case 1:
        image_to_last(dst, src, 1, c, h, w, row);
        break;
    case 2:
        image_to_last(dst, src, 2, c, h, w, row);
        break;
#if VEC_LANES > 4
    case 4:
        image_to_last(dst, src, 4, c, h, w, row);
        break;
#endif
#if VEC_LANES > 8
    case 8:
        image_to_last(dst, src, 8, c, h, w, row);
        break;
#endif
    default:
        image_to_last(dst, src, VEC_LANES, c, h, w, row);
        break;
    }
}

VEC_INLINE void line_from_last(float *dst, const float *src, int rows, int64_t there,
                               int64_t plane, int n, int64_t cp)
{
    vecf v[VEC_LANES];
    for (int i = 0; i < rows; i++) {
        bool used = i * VEC_LANES < n * rows;
        int64_t at = rows == VEC_LANES ? i * cp : i * VEC_LANES;
        v[i] = used ? vec_load(src + at) : vec_zero();
    }
    for (int s = VEC_LANES; s > 1 && rows > 1; s /= 2) {
        conv_shuffle(v, rows);
    }
    for (int c = 0; c < rows && c < there; c++) {
        conv_store_first(dst + c * plane, vec_zero() + v[c], n);
    }
}

VEC_INLINE void image_from_last(float *dst, const float *src, int rows, int64_t c,
                                int64_t h, int64_t w, int64_t row)
{
    int64_t cp = CPU_NAME(conv_channels)(c);
    for (int64_t y = 0; y < h; y++) {
        for (int64_t x = 0; x < w; x += VEC_LANES) {
            int n = (int)conv_min(VEC_LANES, w - x);
            for (int64_t b = 0; b < cp; b += rows) {
                line_from_last(dst + (b * h + y) * w + x, src + y * row + x * cp + b,
                               rows, c - b, h * w, n, cp);
            }
        }
    }
}

void CPU_NAME(conv_from_last)(float *dst, const float *src, int64_t c, int64_t h,
                              int64_t w, int64_t row)
{
    switch (conv_min(CPU_NAME(conv_channels)(c), VEC_LANES)) {
    case 1:
        image_from_last(dst, src, 1, c, h, w, row);
        break;
    case 2:
        image_from_last(dst, src, 2, c, h, w, row);
        break;
#if VEC_LANES > 4
    case 4:
        image_from_last(dst, src, 4, c, h, w, row);
        break;
#endif
#if VEC_LANES > 8
    case 8:
        image_from_last(dst, src, 8, c, h, w, row);
        break;
#endif
    default:
        image_from_last(dst, src, VEC_LANES, c, h, w, row);
        break;
    }
}

/* ---- gradients of a 2x2 pool ---- */

#if defined(VEC_AVX2)
/* The set bits of a number of four bits, lowest first. */
static const int32_t kept[16][4] = {
    { 0 },    { 0 },       { 1 },       { 0, 1 },       { 2 },    { 0, 2 },
    { 1, 2 }, { 0, 1, 2 }, { 3 },       { 0, 3 },       { 1, 3 }, { 0, 1, 3 },
    { 2, 3 }, { 0, 2, 3 }, { 1, 2, 3 }, { 0, 1, 2, 3 },
};
#endif

int64_t CPU_NAME(conv_pool_list)(int32_t *off, float *val, const float *dy,
                                 const uint8_t *winner, const int32_t *base,
                                 const int32_t tab[4], int64_t count)
{
    int64_t n = 0, p = 0;
#if defined(VEC_AVX512)
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)tab));
    for (; p + VEC_LANES <= count; p += VEC_LANES) {
        __m512 g = _mm512_loadu_ps(dy + p);
        __m512i e =
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(winner + p)));
        __m512i o = _mm512_permutexvar_epi32(e, table);
        o = _mm512_add_epi32(o, _mm512_loadu_si512(base + p));
        __mmask16 m = _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_ps(val + n, _mm512_maskz_compress_ps(m, g));
        _mm512_storeu_si512(off + n, _mm512_maskz_compress_epi32(m, o));
        n += __builtin_popcount(m);
    }
#elif defined(VEC_AVX2)
    __m128 table = _mm_loadu_ps((const float *)(const void *)tab);
    for (; p + 4 <= count; p += 4) {
        __m128 g = _mm_loadu_ps(dy + p);
        int32_t four;
        memcpy(&four, winner + p, 4);
        __m128i e = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
        __m128i o = _mm_castps_si128(_mm_permutevar_ps(table, e));
        o = _mm_add_epi32(o,
                          _mm_loadu_si128((const __m128i *)(const void *)(base + p)));
        int m = _mm_movemask_ps(_mm_cmp_ps(g, _mm_setzero_ps(), _CMP_NEQ_UQ));
        __m128i pick = _mm_loadu_si128((const __m128i *)(const void *)kept[m]);
        _mm_storeu_ps(val + n, _mm_permutevar_ps(g, pick));
        o = _mm_castps_si128(_mm_permutevar_ps(_mm_castsi128_ps(o), pick));
        _mm_storeu_si128((__m128i *)(void *)(off + n), o);
        n += __builtin_popcount((unsigned)m);
    }
#endif
    for (; p < count; p++) {
        off[n] = base[p] + tab[winner[p] & 3];
        val[n] = dy[p];
        n += dy[p] != 0;
    }
    return n;
}

bool CPU_NAME(conv_sparse_ok)(const mnt_cmd *cmd, const conv_geom *g)
{
    const mnt_args_window *q = &cmd->args.block.pool;
    return q->kernel_h == 2 && q->kernel_w == 2 && q->stride_h == 2 &&
           q->stride_w == 2 && q->pad_h == 0 && q->pad_w == 0 && g->groups == 1 &&
           g->dw == 1 && g->yh == g->oh / 2 && g->yw == g->ow / 2;
}
