/* SPDX-License-Identifier: MIT */
/*
 * The storing backend, the failing allocator and the folders of the io tests. See io.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "io.h"

#include <dirent.h>
#include <mnt/backend.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

io_store_faults io_faults = { -1, -1, -1 };

static bool fault(int *countdown)
{
    return *countdown >= 0 && (*countdown)-- == 0;
}

static int store_devices(void)
{
    return 1;
}

static mnt_status store_open(const mnt_backend_config *config, void **ctx)
{
    *ctx = (void *)(uintptr_t)config->host;
    return MNT_OK;
}

static void store_close(void *ctx)
{
    (void)ctx;
}

static void store_info(void *ctx, mnt_backend_info *out)
{
    (void)ctx;
    out->name = "store";
    out->detail = "";
}

static mnt_status store_alloc(void *ctx, uint64_t bytes, void **buffer)
{
    (void)ctx;
    *buffer = fault(&io_faults.allocs) ? NULL : calloc(1, bytes ? (size_t)bytes : 1);
    return *buffer ? MNT_OK : MNT_NO_MEMORY;
}

static void store_release(void *ctx, void *buffer)
{
    (void)ctx;
    free(buffer);
}

/* The parentheses keep cmocka's macro fail() out. */
static mnt_status store_fault(void *ctx, const char *what)
{
    const mnt_host *host = ctx;
    return (host->fail)(host->self, MNT_DEVICE, what);
}

static mnt_status store_write(void *ctx, void *buffer, uint64_t offset,
                              const void *data, uint64_t bytes)
{
    if (fault(&io_faults.writes))
        return store_fault(ctx, "store: a write failed");
    memcpy((char *)buffer + offset, data, (size_t)bytes);
    return MNT_OK;
}

static mnt_status store_read(void *ctx, void *buffer, uint64_t offset, void *data,
                             uint64_t bytes)
{
    if (fault(&io_faults.reads))
        return store_fault(ctx, "store: a read failed");
    memcpy(data, (char *)buffer + offset, (size_t)bytes);
    return MNT_OK;
}

static bool store_supports(void *ctx, const mnt_cmd *cmd)
{
    (void)ctx;
    (void)cmd;
    return false;
}

static mnt_status store_prepare(void *ctx, const mnt_program *program, void **prepared)
{
    (void)program;
    *prepared = NULL;
    const mnt_host *host = ctx;
    return (host->fail)(host->self, MNT_UNSUPPORTED, "store: no kernels");
}

static mnt_status store_submit(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    (void)ctx;
    (void)prepared;
    (void)n;
    *done = 0;
    return MNT_UNSUPPORTED;
}

static void store_discard(void *ctx, void *prepared)
{
    (void)ctx;
    (void)prepared;
}

static mnt_status store_wait(void *ctx)
{
    (void)ctx;
    return MNT_OK;
}

static void store_profile(void *ctx, bool on)
{
    (void)ctx;
    (void)on;
}

static mnt_status store_timing(void *ctx, void *prepared, mnt_cmd_timing *rows,
                               int count)
{
    (void)ctx;
    (void)prepared;
    (void)rows;
    (void)count;
    return MNT_OK;
}

static const char *store_variant(void *ctx, int i)
{
    (void)ctx;
    (void)i;
    return NULL;
}

static const mnt_backend store = {
    .size = sizeof store,
    .abi = MNT_BACKEND_ABI,
    .name = "store",
    .devices = store_devices,
    .open = store_open,
    .close = store_close,
    .info = store_info,
    .alloc = store_alloc,
    .release = store_release,
    .write = store_write,
    .read = store_read,
    .supports = store_supports,
    .prepare = store_prepare,
    .submit = store_submit,
    .discard = store_discard,
    .wait = store_wait,
    .profile = store_profile,
    .timing = store_timing,
    .variant = store_variant,
};

static void *heap_realloc(void *user, void *p, size_t bytes)
{
    io_heap *h = user;
    if (h->calls++ == h->fail_at)
        return NULL;
    void *q = realloc(p, bytes);
    if (q && !p)
        h->alive++;
    return q;
}

static void *heap_alloc(void *user, size_t bytes)
{
    return heap_realloc(user, NULL, bytes);
}

static void heap_free(void *user, void *p)
{
    io_heap *h = user;
    h->alive--;
    free(p);
}

mnt_device *io_open(io_heap *heap)
{
    static bool registered;
    if (!registered)
        MUST(NULL, mnt_backend_register(&store));
    registered = true;
    mnt_allocator hooks = { heap_alloc, heap_realloc, heap_free, heap };
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = "store", .allocator = heap ? &hooks : NULL);
    mnt_device *dev = NULL;
    MUST(NULL, mnt_device_open(&dev, &desc));
    return dev;
}

void io_folder(char path[256])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, 256, "%s/mnt-io-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

/* Entries of a folder but "." and ".."; removes them on the way if asked to. */
static int walk(const char *path, bool remove)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        n++;
        char name[512];
        io_join(name, path, e->d_name);
        if (remove && unlink(name) != 0)
            rmdir(name);
    }
    closedir(dir);
    return n;
}

void io_remove_folder(const char *path)
{
    walk(path, true);
    rmdir(path);
}

int io_count_files(const char *path)
{
    return walk(path, false);
}

void io_join(char out[512], const char *folder, const char *name)
{
    int n = snprintf(out, 512, "%s/%s", folder, name);
    assert_in_range(n, 1, 511);
}

void io_write(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (bytes)
        assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

size_t io_gzip(const void *data, size_t bytes, uint8_t **out)
{
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    size_t room = deflateBound(&z, (uLong)bytes) + 64;
    *out = kit_alloc(room);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)bytes;
    z.next_out = *out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t size = z.total_out;
    deflateEnd(&z);
    return size;
}
