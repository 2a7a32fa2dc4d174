/* SPDX-License-Identifier: MIT */
/*
 * Finding the driver. The library's name is the one that every Linux driver installs;
 * MNT_CUDA_DRIVER names another, for tests of what happens without one.
 */
#include "driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cuda_error_text(const cuda_driver *d, cuda_result r, char *buf, size_t size)
{
    const char *name = NULL, *text = NULL;
    if (d->error_name(r, &name) != 0 || !name)
        name = "unknown error";
    if (d->error_text(r, &text) != 0 || !text)
        text = "no description";
    snprintf(buf, size, "%s (%s)", name, text);
    return buf;
}

static mnt_status look_up(cuda_driver *d, char *sentence, size_t size)
{
    const struct {
        const char *symbol;
        size_t at;
    } rows[] = {
#define ROW(name, symbol, params) { #symbol, offsetof(cuda_driver, name) },
        CUDA_FUNCTIONS(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void *p = dlsym(d->library, rows[i].symbol);
        if (!p) {
            snprintf(sentence, size,
                     "cuda: the driver is too old: it has no function %s",
                     rows[i].symbol);
            return MNT_DEVICE;
        }
        memcpy((char *)d + rows[i].at, &p, sizeof p);
    }
    return MNT_OK;
}

static mnt_status start(cuda_driver *d, char *sentence, size_t size)
{
    char text[160];
    cuda_result r = d->init(0);
    if (r == 0)
        r = d->driver_version(&d->version);
    if (r != 0) {
        snprintf(sentence, size, "cuda: the driver does not start: %s",
                 cuda_error_text(d, r, text, sizeof text));
        return r == CUDA_NO_DEVICE ? MNT_NOT_FOUND : MNT_DEVICE;
    }
    if (d->version < CUDA_OLDEST_DRIVER) {
        snprintf(sentence, size,
                 "cuda: the driver is of CUDA %d.%d; the kernels need %d.%d or newer",
                 d->version / 1000, d->version % 1000 / 10, CUDA_OLDEST_DRIVER / 1000,
                 CUDA_OLDEST_DRIVER % 1000 / 10);
        return MNT_DEVICE;
    }
    return MNT_OK;
}

mnt_status cuda_driver_open(cuda_driver *d, char *sentence, size_t size)
{
    const char *path = getenv("MNT_CUDA_DRIVER");
    *d = (cuda_driver){ 0 };
    d->library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!d->library) {
        snprintf(sentence, size, "cuda: there is no driver: %.200s", dlerror());
        return MNT_NOT_FOUND;
    }
    mnt_status st = look_up(d, sentence, size);
    if (st == MNT_OK)
        st = start(d, sentence, size);
    if (st)
        cuda_driver_close(d);
    return st;
}

void cuda_driver_close(cuda_driver *d)
{
    if (d->library)
        dlclose(d->library);
    *d = (cuda_driver){ 0 };
}
