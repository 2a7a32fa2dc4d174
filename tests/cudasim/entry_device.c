/* SPDX-License-Identifier: MIT */
/*
 * The driver interface: start, devices, contexts, modules.
 */
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEVICES 64

enum { ATTRIBUTE_MULTIPROCESSORS = 16, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 };

static context *primary[MAX_DEVICES];

/* ---- start and errors ---- */

EXPORT int cuInit(unsigned flags)
{
    int r = enter("cuInit", NOTHING);
    if (r == 0 && flags != 0)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuInit with flags %u", flags);
    if (r == 0 && config()->devices == 0)
        r = CUDA_ERROR_NO_DEVICE;
    if (r == 0)
        set_started();
    return leave(r);
}

EXPORT int cuDriverGetVersion(int *version)
{
    int r = enter("cuDriverGetVersion", NOTHING);
    if (r == 0)
        *version = config()->driver_version;
    return leave(r);
}

static int error_text(int result, const char **text, bool name)
{
    static const struct {
        int value;
        const char *name, *text;
    } rows[] = {
#define ROW(name, value, text) { value, "CUDA_" #name, text },
        CUDASIM_ERRORS(ROW)
#undef ROW
    };
    *text = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value == result)
            *text = name ? rows[i].name : rows[i].text;
    return *text ? 0 : CUDA_ERROR_INVALID_VALUE;
}

EXPORT int cuGetErrorName(int result, const char **text)
{
    return error_text(result, text, true);
}

EXPORT int cuGetErrorString(int result, const char **text)
{
    return error_text(result, text, false);
}

/* ---- devices ---- */

static int device_ok(int d, const char *call)
{
    if (d >= 0 && d < config()->devices)
        return 0;
    return misuse(CUDA_ERROR_INVALID_DEVICE, "%s: there is no device %d", call, d);
}

EXPORT int cuDeviceGetCount(int *n)
{
    int r = enter("cuDeviceGetCount", STARTED);
    if (r == 0)
        *n = config()->devices;
    return leave(r);
}

EXPORT int cuDeviceGet(int *d, int i)
{
    int r = enter("cuDeviceGet", STARTED);
    if (r == 0)
        r = device_ok(i, "cuDeviceGet");
    if (r == 0)
        *d = i;
    return leave(r);
}

EXPORT int cuDeviceGetName(char *text, int size, int d)
{
    int r = enter("cuDeviceGetName", STARTED);
    if (r == 0)
        r = device_ok(d, "cuDeviceGetName");
    if (r == 0)
        snprintf(text, (size_t)size, "%s", config()->name);
    return leave(r);
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int d)
{
    int r = enter("cuDeviceTotalMem_v2", STARTED);
    if (r == 0)
        r = device_ok(d, "cuDeviceTotalMem");
    if (r == 0)
        *bytes = (size_t)config()->memory;
    return leave(r);
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int d)
{
    int r = enter("cuDeviceGetAttribute", STARTED);
    if (r == 0)
        r = device_ok(d, "cuDeviceGetAttribute");
    if (r != 0)
        return leave(r);
    if (attribute == ATTRIBUTE_MULTIPROCESSORS)
        *value = config()->workers;
    else if (attribute == ATTRIBUTE_MAJOR)
        *value = config()->compute / 10;
    else if (attribute == ATTRIBUTE_MINOR)
        *value = config()->compute % 10;
    else
        r = misuse(CUDA_ERROR_INVALID_VALUE, "attribute %d is not simulated",
                   attribute);
    return leave(r);
}

/* ---- contexts ---- */

static context *context_make(int d)
{
    const cudasim_config *cfg = config();
    sim_options o = { .workers = cfg->workers, .order = cfg->order, .seed = cfg->seed };
    context *c = calloc(1, sizeof *c);
    if (c)
        c->engine = sim_engine_create(&o);
    if (!c || !c->engine) {
        free(c);
        return NULL;
    }
    c->device = d;
    object_add(&c->head, CONTEXT, NULL);
    return c;
}

EXPORT int cuDevicePrimaryCtxRetain(context **out, int d)
{
    int r = enter("cuDevicePrimaryCtxRetain", STARTED);
    if (r == 0)
        r = device_ok(d, "cuDevicePrimaryCtxRetain");
    if (r != 0)
        return leave(r);
    if (!primary[d])
        primary[d] = context_make(d);
    if (!primary[d])
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    primary[d]->retained++;
    *out = primary[d];
    return leave(0);
}

/* What the last owner leaves behind goes with the context, and is reported. */
static void left_behind(const context *c)
{
    static const char *const names[] = { "contexts", "modules", "streams",
                                         "events",   "graphs",  "executable graphs" };
    int allocations = memory_count(c, false), pinned = memory_count(c, true);
    for (object_kind k = MODULE; k < KINDS; k++) {
        int n = 0;
        for (object *o = NULL; (o = object_next(o, k, c)) != NULL;)
            n++;
        if (n > 0)
            misuse(0, "leak: %d %s are left when the context is released", n, names[k]);
    }
    if (allocations + pinned > 0)
        misuse(0,
               "leak: %d allocations and %d of pinned memory are left when the "
               "context is released",
               allocations, pinned);
}

static void object_free(object *o)
{
    if (o->kind == STREAM)
        stream_drop((stream *)o);
    if (o->kind == GRAPH || o->kind == EXEC) {
        graph_free((graph *)o);
        return;
    }
    object_remove(o);
    free(o);
}

static void context_free(context *c)
{
    static const object_kind order[] = { STREAM, EVENT, EXEC, GRAPH, MODULE };
    object *o;
    left_behind(c);
    for (int i = 0; i < 5; i++)
        while ((o = object_next(NULL, order[i], c)) != NULL)
            object_free(o);
    memory_free_all(c);
    sim_engine_destroy(c->engine);
    primary[c->device] = NULL;
    object_remove(&c->head);
    free(c);
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int d)
{
    int r = enter("cuDevicePrimaryCtxRelease_v2", STARTED);
    if (r == 0)
        r = device_ok(d, "cuDevicePrimaryCtxRelease");
    if (r != 0)
        return leave(r);
    context *c = primary[d];
    if (!c)
        return leave(misuse(CUDA_ERROR_INVALID_CONTEXT,
                            "device %d: the primary context is not retained", d));
    if (c == current() && c->retained == 1)
        misuse(0, "a context is released while it is current");
    if (--c->retained == 0)
        context_free(c);
    return leave(0);
}

EXPORT int cuCtxPushCurrent_v2(context *c)
{
    int r = enter("cuCtxPushCurrent_v2", STARTED);
    if (r == 0 && !object_find(c, CONTEXT))
        r = misuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxPushCurrent: no context");
    if (r == 0 && !push(c))
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuCtxPushCurrent: never popped");
    return leave(r);
}

EXPORT int cuCtxPopCurrent_v2(context **old)
{
    int r = enter("cuCtxPopCurrent_v2", STARTED);
    if (r == 0)
        *old = pop();
    if (r == 0 && !*old)
        r = misuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxPopCurrent: none is current");
    return leave(r);
}

/* ---- modules ---- */

EXPORT int cuModuleLoadDataEx(module **m, const void *image, unsigned n, int *options,
                              void **values)
{
    (void)options, (void)values;
    int r = enter("cuModuleLoadDataEx", CURRENT);
    if (r == 0 && n != 0)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "options of modules are not simulated");
    if (r == 0)
        r = module_make(current(), image, m);
    return leave(r);
}

EXPORT int cuModuleUnload(module *m)
{
    int r = enter("cuModuleUnload", CURRENT | RELEASES);
    if (r == 0 && !object_find(m, MODULE))
        r = misuse(CUDA_ERROR_INVALID_HANDLE, "cuModuleUnload: no module");
    if (r == 0) {
        object_remove(&m->head);
        free(m);
    }
    return leave(r);
}

EXPORT int cuModuleGetFunction(const function **f, module *m, const char *name)
{
    int r = enter("cuModuleGetFunction", CURRENT);
    if (r == 0 && !object_find(m, MODULE))
        r = misuse(CUDA_ERROR_INVALID_HANDLE, "cuModuleGetFunction: no module");
    if (r != 0)
        return leave(r);
    *f = NULL;
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->function[i].name, name) == 0)
            *f = &m->function[i];
    return leave(*f ? 0 : CUDA_ERROR_NOT_FOUND);
}
