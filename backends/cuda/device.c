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

/* Whether every call will fail from now on. */
static bool lasting(cuda_result r)
{
    switch (r) {
    case CUDA_NOT_INITIALIZED:
    case CUDA_DEINITIALIZED:
    case CUDA_DEVICE_UNAVAILABLE:
    case CUDA_INVALID_CONTEXT:
    case CUDA_ECC_UNCORRECTABLE:
    case CUDA_NVLINK_UNCORRECTABLE:
    case CUDA_ILLEGAL_ADDRESS:
    case CUDA_LAUNCH_TIMEOUT:
    case CUDA_CONTEXT_IS_DESTROYED:
    case CUDA_ASSERT:
    case CUDA_UNKNOWN:
        return true;
    default:
        return r >= CUDA_HARDWARE_STACK_ERROR && r <= CUDA_LAUNCH_FAILED;
    }
}

mnt_status cuda_check(cuda_context *c, cuda_result r, const char *what)
{
    if (r == 0)
        return MNT_OK;
    char name[200], text[CUDA_TEXT];
    snprintf(text, sizeof text, "cuda: %s: %s", what,
             cuda_error_text(&c->driver, r, name, sizeof name));
    if (lasting(r) && !c->broken)
        c->broken = r;
    return fail(c->host, status_of(r), text);
}

mnt_status cuda_check_step(cuda_context *c, cuda_result r, const char *what)
{
    if (r != 0 && !c->broken)
        c->broken = r;
    return cuda_check(c, r, what);
}

mnt_status cuda_enter(cuda_context *c)
{
    char name[200], text[CUDA_TEXT];
    if (!c->broken)
        return cuda_check(c, c->driver.push(c->primary), "cuCtxPushCurrent");
    snprintf(text, sizeof text, "cuda: the device failed before: %s",
             cuda_error_text(&c->driver, c->broken, name, sizeof name));
    return fail(c->host, MNT_DEVICE, text);
}

bool cuda_enter_to_free(cuda_context *c)
{
    return c->driver.push(c->primary) == 0;
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
    if (cuda_driver_open(&d, sentence, sizeof sentence) != MNT_OK)
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

static mnt_status find_functions(cuda_context *c)
{
    mnt_status st = MNT_OK;
    for (int k = 0; k < GPU_KERNEL_COUNT && st == MNT_OK; k++) {
        char entry[80];
        snprintf(entry, sizeof entry, "mnt_%s", gpu_kernels[k].name);
        st = cuda_check(c, c->driver.module_function(&c->function[k], c->module, entry),
                        entry);
    }
    return st;
}

/* A cubin that this driver does not take may still be had as PTX. */
static mnt_status load_module(cuda_context *c, int major, int minor)
{
    cuda_driver *d = &c->driver;
    bool fits = cuda_cubin_size > 0 && major * 10 + minor == cuda_cubin_arch;
    cuda_result r =
        fits ? d->module_load(&c->module, cuda_cubin_data, 0, NULL, NULL) : 0;
    c->cubin = fits && r == 0;
    if (!fits || (r != 0 && !lasting(r)))
        r = d->module_load(&c->module, cuda_ptx_text, 0, NULL, NULL);
    mnt_status st = cuda_check(c, r, "the kernels cannot be loaded");
    return st ? st : find_functions(c);
}

static mnt_status describe(cuda_context *c, int *major, int *minor, int *units)
{
    size_t bytes = 0;
    cuda_driver *d = &c->driver;
    mnt_status st = cuda_check(
        c, d->device_name(c->name, (int)sizeof c->name, c->device), "cuDeviceGetName");
    if (st == MNT_OK)
        st = cuda_check(c, d->device_memory(&bytes, c->device), "cuDeviceTotalMem");
    const struct {
        int attribute, *value;
    } wanted[] = { { CUDA_ATTRIBUTE_MAJOR, major },
                   { CUDA_ATTRIBUTE_MINOR, minor },
                   { CUDA_ATTRIBUTE_MULTIPROCESSORS, units } };
    for (int i = 0; i < 3 && st == MNT_OK; i++)
        st = cuda_check(
            c, d->device_attribute(wanted[i].value, wanted[i].attribute, c->device),
            "cuDeviceGetAttribute");
    c->memory_bytes = bytes;
    if (st != MNT_OK || *major * 10 + *minor >= CUDA_OLDEST_COMPUTE)
        return st;
    char text[CUDA_TEXT];
    snprintf(text, sizeof text,
             "cuda: %s has compute %d.%d; the kernels need %d.%d or newer", c->name,
             *major, *minor, CUDA_OLDEST_COMPUTE / 10, CUDA_OLDEST_COMPUTE % 10);
    return fail(c->host, MNT_DEVICE, text);
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
    int major = 0, minor = 0, units = 0;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    st = describe(c, &major, &minor, &units);
    if (st == MNT_OK)
        st = load_module(c, major, minor);
    if (st == MNT_OK)
        st = make_queue(c);
    cuda_leave(c);
    int version = c->driver.version;
    snprintf(c->detail, sizeof c->detail,
             "compute %d.%d, %d multiprocessors, driver of CUDA %d.%d, kernels as %s",
             major, minor, units, version / 1000, version % 1000 / 10,
             c->cubin ? "cubin" : "PTX");
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
    c->force.has = GPU_NEEDS_SIMD | GPU_NEEDS_MATRIX; /* by warps */
    if (st == MNT_OK) {
        st = cuda_driver_open(&c->driver, sentence, sizeof sentence);
        if (st)
            fail(host, st, sentence);
    }
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
