/* SPDX-License-Identifier: MIT */
/*
 * The vtable of the cuda backend.
 */
#include "cuda.h"

static void info(void *ctx, mnt_backend_info *out)
{
    const cuda_context *c = ctx;
    out->name = c->name;
    out->detail = c->detail;
    out->threads = 0;
    out->memory_bytes = c->memory_bytes;
}

static bool supports(void *ctx, const mnt_cmd *cmd)
{
    const cuda_context *c = ctx;
    return gpu_supports(&c->force, c->host, cmd);
}

static void profile(void *ctx, bool on)
{
    cuda_context *c = ctx;
    c->profile = on;
}

static const char *variant(void *ctx, int i)
{
    cuda_context *c = ctx;
    return gpu_variant(&c->force, i, c->variant, sizeof c->variant);
}

const mnt_backend cuda_backend = {
    .size = sizeof(mnt_backend),
    .abi = MNT_BACKEND_ABI,
    .name = "cuda",
    .devices = cuda_devices,
    .open = cuda_open,
    .close = cuda_close,
    .info = info,
    .alloc = cuda_alloc_buffer,
    .release = cuda_release_buffer,
    .write = cuda_write,
    .read = cuda_read,
    .supports = supports,
    .prepare = cuda_prepare,
    .submit = cuda_submit,
    .discard = cuda_discard,
    .wait = cuda_wait,
    .profile = profile,
    .timing = cuda_timing,
    .variant = variant,
};
