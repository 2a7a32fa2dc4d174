/* SPDX-License-Identifier: MIT */
/*
 * The probe on an NVIDIA GPU: loads probe.ptx (second argument of the build) through
 * the CUDA driver, found at run time; no toolkit is needed to build this.
 */
#include "probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef PROBE_PTX
#define PROBE_PTX "probe.ptx"
#endif

typedef unsigned long long cu_ptr;
typedef struct cu_module *cu_module;
typedef struct cu_function *cu_function;
typedef struct cu_context *cu_context;

static int (*cu_init)(unsigned);
static int (*cu_device_get)(int *, int);
static int (*cu_device_name)(char *, int, int);
static int (*cu_retain)(cu_context *, int);
static int (*cu_set_current)(cu_context);
static int (*cu_load)(cu_module *, const void *);
static int (*cu_get)(cu_function *, cu_module, const char *);
static int (*cu_alloc)(cu_ptr *, size_t);
static int (*cu_free)(cu_ptr);
static int (*cu_to)(cu_ptr, const void *, size_t);
static int (*cu_from)(void *, cu_ptr, size_t);
static int (*cu_launch)(cu_function, unsigned, unsigned, unsigned, unsigned, unsigned,
                        unsigned, unsigned, void *, void **, void **);
static cu_module module;

static int find(void *so)
{
    static const struct {
        const char *name;
        void *slot;
    } entries[] = {
        { "cuInit", &cu_init },
        { "cuDeviceGet", &cu_device_get },
        { "cuDeviceGetName", &cu_device_name },
        { "cuDevicePrimaryCtxRetain", &cu_retain },
        { "cuCtxSetCurrent", &cu_set_current },
        { "cuModuleLoadData", &cu_load },
        { "cuModuleGetFunction", &cu_get },
        { "cuMemAlloc_v2", &cu_alloc },
        { "cuMemFree_v2", &cu_free },
        { "cuMemcpyHtoD_v2", &cu_to },
        { "cuMemcpyDtoH_v2", &cu_from },
        { "cuLaunchKernel", &cu_launch },
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if ((*(void **)entries[i].slot = dlsym(so, entries[i].name)) == NULL)
            return 1;
    return 0;
}

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? calloc(1, 1 << 20) : NULL;
    if (text && fread(text, 1, (1 << 20) - 1, f) == 0) {
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    return text;
}

const char *probe_open(const char **why)
{
    static char name[100];
    void *so = dlopen("libcuda.so.1", RTLD_NOW);
    int dev = 0;
    cu_context context = NULL;
    char *ptx = read_text(PROBE_PTX);
    *why = !so ? "no CUDA driver" : !ptx ? "cannot read " PROBE_PTX : NULL;
    if (*why)
        return NULL;
    if (find(so) || cu_init(0) || cu_device_get(&dev, 0) || cu_retain(&context, dev) ||
        cu_set_current(context) || cu_device_name(name, sizeof name, dev))
        *why = "the CUDA driver has no usable device";
    else if (cu_load(&module, ptx))
        *why = "the driver rejects " PROBE_PTX;
    free(ptx);
    return *why ? NULL : name;
}

int probe_run(enum probe_kernel id, const uint32_t *in, size_t in_words, uint32_t *out,
              size_t out_words, uint32_t n, uint32_t threads)
{
    static const char *const names[] = {
#define NAME(name) "k_" #name,
        PROBE_KERNELS(NAME)
#undef NAME
    };
    cu_ptr d_in = 0, d_out = 0;
    cu_function f = NULL;
    void *args[] = { &d_in, &d_out, &n, &threads };
    int bad =
        cu_get(&f, module, names[id]) || cu_alloc(&d_in, 4 * in_words) ||
        cu_alloc(&d_out, 4 * out_words) || cu_to(d_in, in, 4 * in_words) ||
        cu_launch(f, (threads + 127) / 128, 1, 1, 128, 1, 1, 0, NULL, args, NULL) ||
        cu_from(out, d_out, 4 * out_words);
    cu_free(d_in);
    cu_free(d_out);
    return bad;
}
