/* SPDX-License-Identifier: MIT */
/*
 * Device memory. Uploads go through pinned staging memory in pieces, on the stream, so
 * that the caller's data may be reused at once and nothing waits for the kernels that
 * were submitted before; only the next use of the staging memory waits for the last.
 */
#include "cuda.h"

#include <string.h>

mnt_status cuda_allocate(cuda_context *c, uint64_t bytes, cuda_buffer *out)
{
    size_t size = bytes ? (size_t)bytes : 1;
    *out = (cuda_buffer){ 0, bytes };
    mnt_status st = cuda_check(c, c->driver.mem_alloc(&out->ptr, size), "cuMemAlloc");
    if (st)
        return st;
    st = cuda_check(c, c->driver.mem_zero(out->ptr, 0, size, c->stream), "cuMemsetD8");
    if (st)
        cuda_release(c, out);
    return st;
}

void cuda_release(cuda_context *c, cuda_buffer *b)
{
    if (b->ptr) {
        c->driver.stream_wait(c->stream); /* for what uses it */
        c->driver.mem_free(b->ptr);
    }
    b->ptr = 0;
}

mnt_status cuda_alloc_buffer(void *ctx, uint64_t bytes, void **buffer)
{
    cuda_context *c = ctx;
    *buffer = NULL;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    cuda_buffer *b = c->host->alloc(c->host->self, sizeof *b);
    if (!b)
        st =
            c->host->fail(c->host->self, MNT_NO_MEMORY, "cuda: no memory for a buffer");
    else
        st = cuda_allocate(c, bytes, b);
    cuda_leave(c);
    if (st)
        c->host->free(c->host->self, b);
    else
        *buffer = b;
    return st;
}

void cuda_release_buffer(void *ctx, void *buffer)
{
    cuda_context *c = ctx;
    if (!buffer)
        return;
    if (cuda_enter_to_free(c)) {
        cuda_release(c, buffer);
        cuda_leave(c);
    }
    c->host->free(c->host->self, buffer);
}

static mnt_status upload(cuda_context *c, cuda_ptr to, const char *data, uint64_t bytes)
{
    cuda_driver *d = &c->driver;
    mnt_status st = MNT_OK;
    while (bytes > 0 && st == MNT_OK) {
        size_t n = bytes < CUDA_STAGING ? (size_t)bytes : CUDA_STAGING;
        if (c->staging_pending)
            st = cuda_check(c, d->event_wait(c->staged), "cuEventSynchronize");
        if (st)
            break;
        memcpy(c->staging, data, n);
        st =
            cuda_check(c, d->upload(to, c->staging, n, c->stream), "cuMemcpyHtoDAsync");
        if (st == MNT_OK)
            st = cuda_check(c, d->event_record(c->staged, c->stream), "cuEventRecord");
        c->staging_pending = true;
        to += n;
        data += n;
        bytes -= n;
    }
    return st;
}

mnt_status cuda_write(void *ctx, void *buffer, uint64_t offset, const void *data,
                      uint64_t bytes)
{
    cuda_context *c = ctx;
    const cuda_buffer *b = buffer;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    st = upload(c, b->ptr + offset, data, bytes);
    cuda_leave(c);
    return st;
}

static mnt_status wait_entered(cuda_context *c)
{
    c->flying_count = 0;
    return cuda_check(c, c->driver.stream_wait(c->stream), "cuStreamSynchronize");
}

mnt_status cuda_read(void *ctx, void *buffer, uint64_t offset, void *data,
                     uint64_t bytes)
{
    cuda_context *c = ctx;
    const cuda_buffer *b = buffer;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    if (bytes > 0)
        st = cuda_check(
            c, c->driver.download(data, b->ptr + offset, (size_t)bytes, c->stream),
            "cuMemcpyDtoHAsync");
    if (st == MNT_OK)
        st = wait_entered(c);
    cuda_leave(c);
    return st;
}

mnt_status cuda_wait(void *ctx)
{
    cuda_context *c = ctx;
    mnt_status st = cuda_enter(c);
    if (st)
        return st;
    st = wait_entered(c);
    cuda_leave(c);
    return st;
}
