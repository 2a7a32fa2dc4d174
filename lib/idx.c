/* SPDX-License-Identifier: MIT */
/*
 * The IDX reader. A source hands out the next bytes of the array, whether they come
 * from a file or from memory, plain or through zlib; the reader above it asks for
 * exactly what the header promises and then for one byte more, which must not exist.
 * That last question also makes zlib check the gzip CRC and length.
 */
#define _POSIX_C_SOURCE 200809L
#include "idx.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZLIB_CONST
#include <zlib.h>

#define CHUNK       16384u     /* bytes read from a file at a time */
#define FIRST_ALLOC (1u << 20) /* memory taken on the header's word alone */
#define PATH_SHOWN  "%.300s"   /* leaves room for the reason */
#define GZIP_ONLY   (15 + 16)  /* inflateInit2: 32 KiB window, gzip wrapper */

typedef struct source {
    mnt_device *dev;
    const char *name;
    int fd;              /* -1: memory */
    const uint8_t *next; /* bytes not yet consumed: in `buffer` or the caller's */
    size_t left;
    bool gzip, member_end; /* member_end: between two gzip members */
    z_stream z;
    uint8_t buffer[CHUNK];
} source;

static mnt_status malformed(const source *s, const char *reason)
{
    return mnti_fail(s->dev, MNT_FORMAT, PATH_SHOWN ": %s", s->name, reason);
}

/* Makes left > 0 unless the input is at its end. */
static mnt_status fill(source *s)
{
    while (s->left == 0 && s->fd >= 0) {
        ssize_t n = read(s->fd, s->buffer, CHUNK);
        if (n == 0)
            return MNT_OK;
        if (n < 0 && errno != EINTR)
            return mnti_fail(s->dev, MNT_IO, PATH_SHOWN ": read failed: %s", s->name,
                             strerror(errno));
        if (n > 0) {
            s->next = s->buffer;
            s->left = (size_t)n;
        }
    }
    return MNT_OK;
}

static voidpf z_alloc(voidpf dev, uInt items, uInt size)
{
    if (size && items > SIZE_MAX / size)
        return Z_NULL;
    return mnti_alloc(dev, (size_t)items * size);
}

static void z_free(voidpf dev, voidpf p)
{
    mnti_free(dev, p);
}

static mnt_status source_start(source *s)
{
    mnt_status st = fill(s);
    if (st)
        return st;
    if (s->left < 2 || s->next[0] != 0x1f || s->next[1] != 0x8b)
        return MNT_OK;
    s->z.zalloc = z_alloc;
    s->z.zfree = z_free;
    s->z.opaque = s->dev;
    if (inflateInit2(&s->z, GZIP_ONLY) != Z_OK)
        return mnti_fail(s->dev, MNT_NO_MEMORY, PATH_SHOWN ": no memory to unpack it",
                         s->name);
    s->gzip = true;
    return MNT_OK;
}

static void source_end(source *s)
{
    if (s->gzip)
        inflateEnd(&s->z);
    if (s->fd >= 0)
        close(s->fd);
}

static mnt_status plain_read(source *s, uint8_t *out, size_t want, size_t *got)
{
    *got = 0;
    while (*got < want) {
        mnt_status st = fill(s);
        if (st || s->left == 0)
            return st;
        size_t n = s->left < want - *got ? s->left : want - *got;
        memcpy(out + *got, s->next, n);
        s->next += n;
        s->left -= n;
        *got += n;
    }
    return MNT_OK;
}

/* One call of inflate() over what is at hand. */
static mnt_status gzip_step(source *s)
{
    if (s->member_end && inflateReset(&s->z) != Z_OK)
        return malformed(s, "the gzip stream cannot be reset");
    s->member_end = false;
    uInt given = s->left < UINT32_MAX ? (uInt)s->left : UINT32_MAX;
    s->z.next_in = s->next;
    s->z.avail_in = given;
    int rc = inflate(&s->z, Z_NO_FLUSH);
    s->next += given - s->z.avail_in;
    s->left -= given - s->z.avail_in;
    s->member_end = rc == Z_STREAM_END;
    if (rc == Z_OK || rc == Z_STREAM_END)
        return MNT_OK;
    if (rc == Z_MEM_ERROR)
        return mnti_fail(s->dev, MNT_NO_MEMORY, PATH_SHOWN ": no memory to unpack it",
                         s->name);
    return mnti_fail(s->dev, MNT_FORMAT, PATH_SHOWN ": damaged gzip data: %.80s",
                     s->name, s->z.msg ? s->z.msg : "not a gzip stream");
}

static mnt_status gzip_read(source *s, uint8_t *out, size_t want, size_t *got)
{
    *got = 0;
    while (*got < want) {
        mnt_status st = fill(s);
        if (st)
            return st;
        if (s->left == 0)
            return s->member_end ? MNT_OK : malformed(s, "the gzip stream ends early");
        uInt room = want - *got < FIRST_ALLOC ? (uInt)(want - *got) : FIRST_ALLOC;
        s->z.next_out = out + *got;
        s->z.avail_out = room;
        st = gzip_step(s);
        *got += room - s->z.avail_out;
        if (st)
            return st;
    }
    return MNT_OK;
}

/* *got < want only at the end of the input. */
static mnt_status source_read(source *s, uint8_t *out, size_t want, size_t *got)
{
    return s->gzip ? gzip_read(s, out, want, got) : plain_read(s, out, want, got);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static mnt_status read_header(source *s, const mnti_idx_want *want, mnti_idx *idx)
{
    uint8_t head[4 + 4 * MNTI_IDX_MAX_DIMS];
    size_t size = 4 + 4 * (size_t)want->ndim, got;
    mnt_status st = source_read(s, head, size, &got);
    if (st)
        return st;
    uint32_t magic = 0x0800u + (uint32_t)want->ndim;
    if (got >= 4 && big_endian(head) != magic)
        return mnti_fail(s->dev, MNT_FORMAT,
                         PATH_SHOWN ": the magic number is %08x, expected %08x "
                                    "(unsigned bytes, %d dims)",
                         s->name, (unsigned)big_endian(head), (unsigned)magic,
                         want->ndim);
    if (got < size)
        return mnti_fail(s->dev, MNT_FORMAT,
                         PATH_SHOWN ": ends inside the header, after %zu of %zu bytes",
                         s->name, got, size);
    idx->ndim = want->ndim;
    idx->bytes = 1;
    for (int i = 0; i < want->ndim; i++) {
        uint64_t dim = big_endian(head + 4 + 4 * i);
        idx->dim[i] = (int64_t)dim;
        if (want->dim[i] && idx->dim[i] != want->dim[i])
            return mnti_fail(s->dev, MNT_FORMAT,
                             PATH_SHOWN ": dim %d is %lld, expected %lld", s->name, i,
                             (long long)dim, (long long)want->dim[i]);
        if (dim == 0 || idx->bytes > MNTI_IDX_MAX_BYTES / dim)
            return mnti_fail(
                s->dev, MNT_FORMAT,
                PATH_SHOWN ": dim %d is %lld; an array has 1 to %llu bytes", s->name, i,
                (long long)dim, (unsigned long long)MNTI_IDX_MAX_BYTES);
        idx->bytes *= dim;
    }
    return MNT_OK;
}

/* Reads the array, doubling the memory as bytes turn up, up to the header's size. */
static mnt_status read_data(source *s, mnti_idx *idx)
{
    size_t total = (size_t)idx->bytes, have = 0, room = 0;
    while (have < total) {
        room = room == 0 ? FIRST_ALLOC : 2 * room;
        room = room < total ? room : total;
        uint8_t *grown = mnti_realloc(s->dev, idx->data, room);
        if (!grown)
            return mnti_fail(s->dev, MNT_NO_MEMORY,
                             PATH_SHOWN ": no memory for %zu bytes", s->name, room);
        idx->data = grown;
        size_t got;
        mnt_status st = source_read(s, grown + have, room - have, &got);
        if (st)
            return st;
        have += got;
        if (have < room)
            return mnti_fail(s->dev, MNT_FORMAT,
                             PATH_SHOWN ": ends after %zu of %zu bytes of data",
                             s->name, have, total);
    }
    return MNT_OK;
}

static mnt_status read_all(source *s, const mnti_idx_want *want, mnti_idx *out)
{
    *out = (mnti_idx){ 0 };
    mnti_idx idx = { 0 };
    mnt_status st = source_start(s);
    if (st == MNT_OK)
        st = read_header(s, want, &idx);
    if (st == MNT_OK)
        st = read_data(s, &idx);
    if (st == MNT_OK) {
        uint8_t extra;
        size_t got;
        st = source_read(s, &extra, 1, &got);
        if (st == MNT_OK && got > 0)
            st = mnti_fail(s->dev, MNT_FORMAT,
                           PATH_SHOWN ": holds more than the %llu bytes of data that "
                                      "its header promises",
                           s->name, (unsigned long long)idx.bytes);
    }
    if (st)
        mnti_free(s->dev, idx.data);
    else
        *out = idx;
    source_end(s);
    return st;
}

mnt_status mnti_idx_parse(mnt_device *dev, const char *name, const void *bytes,
                          size_t size, const mnti_idx_want *want, mnti_idx *out)
{
    source s = { .dev = dev, .name = name, .fd = -1, .next = bytes, .left = size };
    return read_all(&s, want, out);
}

mnt_status mnti_idx_read(mnt_device *dev, const char *path, const mnti_idx_want *want,
                         mnti_idx *out)
{
    *out = (mnti_idx){ 0 };
    /* O_NONBLOCK: a pipe of that name must not hold us up before fstat() sees it. */
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR;
        return mnti_fail(dev, absent ? MNT_NOT_FOUND : MNT_IO, PATH_SHOWN ": %s", path,
                         strerror(errno));
    }
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return mnti_fail(dev, MNT_IO, PATH_SHOWN ": not a regular file", path);
    }
    source s = { .dev = dev, .name = path, .fd = fd };
    return read_all(&s, want, out);
}

void mnti_idx_free(mnt_device *dev, mnti_idx *idx)
{
    mnti_free(dev, idx->data);
    *idx = (mnti_idx){ 0 };
}
