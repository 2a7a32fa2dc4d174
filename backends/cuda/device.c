/* SPDX-License-Identifier: MIT */
/*
 * Devices, contexts, and the module of kernels: the cubin that the build made for this
 * very architecture if there is one, else PTX, which the driver compiles (and caches).
 */
#include "cuda.h"

#include "module.h"

#include <stdio.h>
#include <string.h>

static mnt_status fail(const mnt_host *host, mnt_status status, const char *sentence)
{
    return host->fail(host->self, status, sentence);
}

static mnt_status status_of(cuda_result r)
{
    switch (r) {
    case 0:
        return MNT_OK;
    case CUDA_OUT_OF_MEMORY:
        return MNT_NO_MEMORY;
    case CUDA_NO_DEVICE:
    case CUDA_INVALID_DEVICE:
        return MNT_NOT_FOUND;
    default:
        return MNT_DEVICE;
    }
}

mnt_status cuda_check(cuda_context *c, cuda_result r, const char *what)
{
    if (r == 0)
        return MNT_OK;
    char name[200], text[CUDA_TEXT];
    snprintf(text, sizeof text, "cuda: %s: %s", what,
             cuda_error_text(&c->driver, r, name, sizeof name));
    if (status_of(r) == MNT_DEVICE && !c->broken)
        c->broken = r;
    return fail(c->host, status_of(r), text);
}

mnt_status cuda_enter(cuda_context *c)
{
    if (c->broken)
        return cuda_check(c, c->broken, "the device failed before");
    return cuda_check(c, c->driver.push(c->primary), "cuCtxPushCurrent");
}

void cuda_leave(cuda_context *c)
{
    cuda_driver_context old;
    c->driver.pop(&old);
}

int cuda_devices(void)
{
    cuda_driver d;
    char sentence[CUDA_TEXT];
    int n = 0;
    if (!cuda_driver_open(&d, sentence, sizeof sentence))
        return 0;
    if (d.device_count(&n) != 0)
        n = 0;
    cuda_driver_close(&d);
    return n;
}

/* ---- open ---- */

static mnt_status find_device(cuda_context *c, int index)
{
    char text[160];
    int n = 0;
    mnt_status st = cuda_check(c, c->driver.device_count(&n), "cuDeviceGetCount");
    if (st)
        return st;
    if (index < 0 || index >= n) {
        snprintf(text, sizeof text, "cuda: there is no device %d; the driver has %d",
                 index, n);
        return fail(c->host, MNT_NOT_FOUND, text);
    }
    st = cuda_check(c, c->driver.device_get(&c->device, index), "cuDeviceGet");
    return st ? st
              : cuda_check(c, c->driver.primary_retain(&c->primary, c->device),
                           "cuDevicePrimaryCtxRetain");
}

static mnt_status load_module(cuda_context *c, int major, int minor)
{
    bool fits = cuda_cubin_size > 0 && major * 10 + minor == cuda_cubin_arch;
    const void *image = fits ? (const void *)cuda_cubin_data : cuda_ptx_text;
    mnt_status st =
        cuda_check(c, c->driver.module_load(&c->module, image, 0, NULL, NULL),
                   "the kernels cannot be loaded");
    for (int k = 0; k < GPU_KERNEL_COUNT && st == MNT_OK; k++) {
        char entry[80];
        snprintf(entry, sizeof entry, "mnt_%s", gpu_kernels[k].name);
        st = cuda_check(c, c->driver.module_function(&c->function[k], c->module, entry),
                        entry);
    }
    return st;
}

static mnt_status describe(cuda_context *c, int *major, int *minor)
{
    size_t bytes = 0;
    int units = 0;
    cuda_driver *d = &c->driver;
    mnt_status st = cuda_check(
        c, d->device_name(c->name, (int)sizeof c->name, c->device), "cuDeviceGetName");
    if (st == MNT_OK)
        st = cuda_check(c, d->device_memory(&bytes, c->device), "cuDeviceTotalMem");
    const struct {
        int attribute, *value;
    } wanted[] = { { CUDA_ATTRIBUTE_MAJOR, major },
                   { CUDA_ATTRIBUTE_MINOR, minor },
                   { CUDA_ATTRIBUTE_MULTIPROCESSORS, &units } };
    for (int i = 0; i < 3 && st == MNT_OK; i++)
        st = cuda_check(
            c, d->device_attribute(wanted[i].value, wanted[i].attribute, c->device),
            "cuDeviceGetAttribute");
    c->memory_bytes = bytes;
    bool cubin = cuda_cubin_size > 0 && *major * 10 + *minor == cuda_cubin_arch;
    snprintf(c->detail, sizeof c->detail,
             "compute %d.%d, %d multiprocessors, driver of CUDA %d.%d, kernels as %s",
             *major, *minor, units, d->version / 1000, d->version % 1000 / 10,
             cubin ? "cubin" : "PTX");
    return st;
}

static mnt_status make_queue(cuda_context *c)
{
    cuda_driver *d = &c->driver;
    mnt_status st = cuda_check(
        c, d->stream_create(&c->stream, CUDA_STREAM_NON_BLOCKING), "cuStreamCreate");
    for (int i = 0; i < 2 && st == MNT_OK; i++)
        st = cuda_check(c, d->event_create(&c->event[i], CUDA_EVENT_DEFAULT),
                        "cuEventCreate");
    for (int i = 0; i < CUDA_IN_FLIGHT && st == MNT_OK; i++)
        st = cuda_check(c, d->event_create(&c->flying[i], CUDA_EVENT_NO_TIMING),
                        "cuEventCreate");
    if (st == MNT_OK)
        st = cuda_check(c, d->event_create(&c->staged, CUDA_EVENT_NO_TIMING),
                        "cuEventCreate");
    if (st == MNT_OK)
        st = cuda_check(c, d->host_alloc(&c->staging, CUDA_STAGING), "cuMemAllocHost");
    return st;
}

static mnt_status start(cuda_context *c)
{
    int major = 0, minor = 0;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    st = describe(c, &major, &minor);
    if (st == MNT_OK)
        st = load_module(c, major, minor);
    if (st == MNT_OK)
        st = make_queue(c);
    cuda_leave(c);
    return st;
}

mnt_status cuda_open(const mnt_backend_config *config, void **ctx)
{
    const mnt_host *host = config->host;
    char sentence[CUDA_TEXT];
    *ctx = NULL;
    cuda_context *c = host->alloc(host->self, sizeof *c);
    if (!c)
        return fail(host, MNT_NO_MEMORY, "cuda: no memory for a context");
    c->host = host;
    mnt_status st = gpu_force_read(&c->force, host, "cuda", config->force);
    if (st == MNT_OK && !cuda_driver_open(&c->driver, sentence, sizeof sentence))
        st = fail(host, MNT_NOT_FOUND, sentence);
    if (st == MNT_OK)
        st = find_device(c, config->index);
    if (st == MNT_OK)
        st = start(c);
    if (st) {
        cuda_close(c);
        return st;
    }
    *ctx = c;
    return MNT_OK;
}

static void free_queue(cuda_context *c)
{
    cuda_driver *d = &c->driver;
    if (c->stream)
        d->stream_wait(c->stream);
    if (c->staging)
        d->host_free(c->staging);
    for (int i = 0; i < 2; i++)
        if (c->event[i])
            d->event_destroy(c->event[i]);
    for (int i = 0; i < CUDA_IN_FLIGHT; i++)
        if (c->flying[i])
            d->event_destroy(c->flying[i]);
    if (c->staged)
        d->event_destroy(c->staged);
    if (c->stream)
        d->stream_destroy(c->stream);
    if (c->module)
        d->module_unload(c->module);
}

void cuda_close(void *ctx)
{
    cuda_context *c = ctx;
    if (!c)
        return;
    const mnt_host *host = c->host;
    if (c->primary) {
        if (c->driver.push(c->primary) == 0) {
            free_queue(c);
            cuda_leave(c);
        }
        c->driver.primary_release(c->device);
    }
    cuda_driver_close(&c->driver);
    gpu_force_free(&c->force, host);
    host->free(host->self, c);
}
