/* SPDX-License-Identifier: MIT */
/*
 * Patches: windows on a buffer, with what should be in them. See sample.h.
 */
#include "sample.h"

#include <stdlib.h>
#include <string.h>

void patch_add(patch *p, uint64_t offset, uint64_t bytes)
{
    if (offset >= p->limit)
        return;
    if (bytes > p->limit - offset)
        bytes = p->limit - offset;
    if (p->count == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 64;
        patch_window *w = kit_alloc((size_t)capacity * sizeof *w);
        if (p->count)
            memcpy(w, p->windows, (size_t)p->count * sizeof *w);
        free(p->windows);
        p->windows = w;
        p->capacity = capacity;
    }
    p->windows[p->count++] = (patch_window){ offset, bytes, NULL };
}

static int64_t count_of(const mnt_operand *o)
{
    return mnt_operand_count(o);
}

/* Byte offset in the buffer of the i-th element in row-major order. */
static uint64_t element_at(const mnt_operand *o, int64_t i)
{
    uint64_t at = 0;
    for (int d = o->ndim - 1; d >= 0; d--) {
        at += (uint64_t)(i % o->dim[d]) * (uint64_t)o->stride[d];
        i /= o->dim[d];
    }
    return o->offset + at * mnt_dtype_size(o->dtype);
}

void patch_add_operand(patch *p, const mnt_operand *o, uint64_t margin)
{
    size_t size = mnt_dtype_size(o->dtype);
    for (int64_t i = 0; i < count_of(o); i++) {
        uint64_t at = element_at(o, i), before = at < margin ? at : margin;
        patch_add(p, at - before, before + size + margin);
    }
}

/* Where 32-bit arithmetic would have put element `at` (bytes in the buffer). */
static void add_wrapped(patch *p, const mnt_operand *o, uint64_t at)
{
    uint64_t size = mnt_dtype_size(o->dtype), bytes = at - o->offset;
    int64_t element = (int64_t)(bytes / size);
    const uint64_t wrong[] = { o->offset + (uint64_t)(uint32_t)element * size,
                               o->offset + (uint64_t)(int64_t)(int32_t)element * size,
                               o->offset + (uint32_t)bytes,
                               o->offset + (uint64_t)(int64_t)(int32_t)bytes,
                               (uint32_t)at };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (wrong[i] != at && wrong[i] <= at)
            patch_add(p, wrong[i], 2 * size);
}

void patch_add_wrapped(patch *p, const mnt_operand *o)
{
    for (int64_t i = 0; i < count_of(o); i++)
        if (element_at(o, i) >> 31)
            add_wrapped(p, o, element_at(o, i));
}

static int by_offset(const void *a, const void *b)
{
    const patch_window *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void patch_close(patch *p, unsigned char poison)
{
    if (p->count == 0)
        return;
    qsort(p->windows, (size_t)p->count, sizeof *p->windows, by_offset);
    int n = 0;
    for (int i = 1; i < p->count; i++) {
        patch_window *last = &p->windows[n], *w = &p->windows[i];
        if (w->offset > last->offset + last->bytes) {
            p->windows[++n] = *w;
            continue;
        }
        uint64_t end = w->offset + w->bytes;
        if (end > last->offset + last->bytes)
            last->bytes = end - last->offset;
    }
    p->count = n + 1;
    for (int i = 0; i < p->count; i++) {
        p->windows[i].image = kit_alloc((size_t)p->windows[i].bytes);
        memset(p->windows[i].image, poison, (size_t)p->windows[i].bytes);
    }
}

unsigned char *patch_at(const patch *p, uint64_t offset, uint64_t n)
{
    int lo = 0, hi = p->count;
    while (hi - lo > 1) {
        int mid = lo + (hi - lo) / 2;
        if (p->windows[mid].offset <= offset)
            lo = mid;
        else
            hi = mid;
    }
    const patch_window *w = &p->windows[lo];
    if (p->count == 0 || offset < w->offset || offset + n > w->offset + w->bytes)
        kit_die("patch: byte %llu is in no window", (unsigned long long)offset);
    return w->image + (offset - w->offset);
}

void patch_put(patch *p, const mnt_operand *o, const void *data)
{
    size_t size = mnt_dtype_size(o->dtype);
    for (int64_t i = 0; i < count_of(o); i++)
        memcpy(patch_at(p, element_at(o, i), size),
               (const char *)data + (size_t)i * size, size);
}

void patch_get(const patch *p, const mnt_operand *o, void *data)
{
    size_t size = mnt_dtype_size(o->dtype);
    for (int64_t i = 0; i < count_of(o); i++)
        memcpy((char *)data + (size_t)i * size, patch_at(p, element_at(o, i), size),
               size);
}

void patch_write(rig *r, const patch *p, void *buffer)
{
    for (int i = 0; i < p->count; i++)
        rig_write(r, buffer, p->windows[i].offset, p->windows[i].image,
                  p->windows[i].bytes);
}

void patch_read(rig *r, patch *p, void *buffer)
{
    for (int i = 0; i < p->count; i++)
        rig_read(r, buffer, p->windows[i].offset, p->windows[i].image,
                 p->windows[i].bytes);
}

patch patch_copy(const patch *p)
{
    patch q = { .count = p->count, .capacity = p->count, .limit = p->limit };
    q.windows = kit_alloc((size_t)p->count * sizeof *q.windows);
    for (int i = 0; i < p->count; i++) {
        q.windows[i] = p->windows[i];
        q.windows[i].image = kit_alloc((size_t)p->windows[i].bytes);
        memcpy(q.windows[i].image, p->windows[i].image, (size_t)p->windows[i].bytes);
    }
    return q;
}

void patch_free(patch *p)
{
    for (int i = 0; i < p->count; i++)
        free(p->windows[i].image);
    free(p->windows);
    *p = (patch){ 0 };
}
