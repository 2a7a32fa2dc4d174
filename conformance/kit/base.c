/* SPDX-License-Identifier: MIT */
/*
 * Random numbers, comparison by bits, texts, memory. See base.h.
 */
#include "base.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kit_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("conformance: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(70);
}

void *kit_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        kit_die("out of memory: %zu bytes", bytes);
    return p;
}

uint64_t kit_next(kit_rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double kit_unit(kit_rng *r)
{
    return (double)(kit_next(r) >> 11) * 0x1p-53;
}

float kit_float(kit_rng *r)
{
    return (float)((double)(kit_next(r) >> 40) * 0x1p-23 - 1.0);
}

int64_t kit_below(kit_rng *r, int64_t n)
{
    return n > 0 ? (int64_t)(kit_next(r) % (uint64_t)n) : 0;
}

uint64_t kit_hash(const void *p, size_t n)
{
    const unsigned char *b = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static bool same_f32(uint32_t a, uint32_t b)
{
    bool nan_a = (a & 0x7fffffffu) > 0x7f800000u;
    bool nan_b = (b & 0x7fffffffu) > 0x7f800000u;
    return a == b || (nan_a && nan_b);
}

int64_t kit_difference(mnt_dtype dtype, const void *want, const void *got,
                       int64_t count)
{
    if (dtype == MNT_F32) {
        const uint32_t *a = want, *b = got;
        for (int64_t i = 0; i < count; i++)
            if (!same_f32(a[i], b[i]))
                return i;
        return -1;
    }
    const unsigned char *a = want, *b = got;
    size_t step = mnt_dtype_size(dtype);
    for (int64_t i = 0; i < count; i++)
        if (memcmp(a + (size_t)i * step, b + (size_t)i * step, step) != 0)
            return i;
    return -1;
}

const char *kit_shape_text(char *buf, size_t size, mnt_shape shape)
{
    size_t at = (size_t)snprintf(buf, size, "[");
    for (int i = 0; i < shape.ndim && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%" PRId64, i ? "," : "",
                               shape.dim[i]);
    if (at < size)
        snprintf(buf + at, size - at, "]");
    return buf;
}

const char *kit_index_text(char *buf, size_t size, mnt_shape shape, int64_t element)
{
    mnt_shape at = { .ndim = shape.ndim };
    for (int i = shape.ndim - 1; i >= 0; i--) {
        at.dim[i] = element % shape.dim[i];
        element /= shape.dim[i];
    }
    return kit_shape_text(buf, size, at);
}

const char *kit_element_text(char *buf, size_t size, mnt_dtype dtype, const void *want,
                             const void *got, int64_t i)
{
    if (dtype == MNT_U8) {
        snprintf(buf, size, "want %u, got %u", ((const uint8_t *)want)[i],
                 ((const uint8_t *)got)[i]);
        return buf;
    }
    uint32_t a, b;
    memcpy(&a, (const uint32_t *)want + i, 4);
    memcpy(&b, (const uint32_t *)got + i, 4);
    float fa, fb;
    memcpy(&fa, &a, 4);
    memcpy(&fb, &b, 4);
    if (dtype == MNT_F32)
        snprintf(buf, size, "want %.9g (%08" PRIx32 "), got %.9g (%08" PRIx32 ")",
                 (double)fa, a, (double)fb, b);
    else
        snprintf(buf, size, "want %" PRId32 ", got %" PRId32, (int32_t)a, (int32_t)b);
    return buf;
}
