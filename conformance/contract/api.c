/* SPDX-License-Identifier: MIT */
/*
 * Sticky calls of the public API, and host memory that is counted. See api.h.
 */
#include "api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void *count_alloc(void *user, size_t bytes)
{
    api *a = user;
    void *p = malloc(bytes);
    if (p)
        atomic_fetch_add(&a->alive, 1);
    return p;
}

static void *count_realloc(void *user, void *p, size_t bytes)
{
    api *a = user;
    void *q = realloc(p, bytes);
    if (q && !p)
        atomic_fetch_add(&a->alive, 1);
    return q;
}

static void count_free(void *user, void *p)
{
    api *a = user;
    if (p)
        atomic_fetch_sub(&a->alive, 1);
    free(p);
}

contract_outcome api_run(const contract_subject *s, char *text, size_t size,
                         void (*body)(api *a))
{
    api a = { .subject = s, .outcome = CONTRACT_PASS, .text = text, .size = size };
    atomic_init(&a.alive, 0);
    if (size > 0)
        text[0] = '\0';
    body(&a);
    long alive = atomic_load(&a.alive);
    api_expect(&a, alive == 0, "after everything was closed %ld host allocations stay",
               alive);
    return a.outcome;
}

bool api_stopped(const api *a)
{
    return a->outcome != CONTRACT_PASS;
}

static void conclude(api *a, const char *format, va_list ap)
{
    if (api_stopped(a))
        return;
    a->outcome = CONTRACT_FAIL;
    vsnprintf(a->text, a->size, format, ap);
}

bool api_fail(api *a, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    conclude(a, format, ap);
    va_end(ap);
    return false;
}

bool api_expect(api *a, bool ok, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (!ok)
        conclude(a, format, ap);
    va_end(ap);
    return ok && !api_stopped(a);
}

bool api_ok(api *a, const mnt_device *dev, mnt_status status, const char *call)
{
    if (status == MNT_UNSUPPORTED && !api_stopped(a)) {
        a->outcome = CONTRACT_SKIP;
        snprintf(a->text, a->size, "%s: \"%.300s\"", call, mnt_last_error(dev));
        return false;
    }
    return api_expect(a, status == MNT_OK, "%s: expected OK, got %s \"%.300s\"", call,
                      mnt_status_name(status), mnt_last_error(dev));
}

mnt_device *api_device_of(api *a, const contract_subject *s)
{
    mnt_device *dev = NULL;
    if (api_stopped(a))
        return NULL;
    const mnt_allocator counted = { count_alloc, count_realloc, count_free, a };
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = s->backend, .index = s->index, .threads = s->threads,
                        .force = s->force ? s->force : "", .allocator = &counted);
    api_ok(a, NULL, mnt_device_open(&dev, &desc), "mnt_device_open");
    return dev;
}

mnt_device *api_device(api *a)
{
    return api_device_of(a, a->subject);
}

bool api_same(api *a, const char *what, mnt_dtype dtype, const void *want,
              const void *got, int64_t count)
{
    if (api_stopped(a))
        return false;
    int64_t i = kit_difference(dtype, want, got, count);
    char text[128];
    return i < 0 || api_fail(a, "%s: element %lld of %lld: %s", what, (long long)i,
                             (long long)count,
                             kit_element_text(text, sizeof text, dtype, want, got, i));
}

mnt_graph *api_graph(api *a, mnt_device *dev, mnt_model *m, const mnt_graph_desc *desc)
{
    mnt_graph *g = NULL;
    if (!api_stopped(a))
        api_ok(a, dev, mnt_graph_create(&g, dev, m, desc), "mnt_graph_create");
    return g;
}

void api_compile(api *a, mnt_device *dev, mnt_graph *g)
{
    if (!api_stopped(a))
        api_ok(a, dev, mnt_graph_compile(g), "mnt_graph_compile");
}

void api_run_graph(api *a, mnt_device *dev, mnt_graph *g, int64_t n)
{
    char call[64];
    snprintf(call, sizeof call, "mnt_graph_run of %lld replays", (long long)n);
    if (!api_stopped(a))
        api_ok(a, dev, mnt_graph_run(g, n), call);
}

mnt_tensor *api_random(api *a, mnt_graph *g, mnt_shape shape, uint64_t seed)
{
    int64_t n = mnt_shape_count(shape);
    if (api_stopped(a))
        return NULL;
    kit_rng rng = { seed };
    float *v = kit_alloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = kit_float(&rng);
    mnt_tensor *t = mnt_constant(g, MNT_F32, shape, v);
    free(v);
    return t;
}

void *api_read(api *a, mnt_device *dev, mnt_tensor *t)
{
    size_t bytes = (size_t)mnt_tensor_count(t) * mnt_dtype_size(mnt_tensor_dtype(t));
    void *p = kit_alloc(bytes);
    if (!api_stopped(a))
        api_ok(a, dev, mnt_tensor_read(t, p, bytes), "mnt_tensor_read");
    return p;
}
