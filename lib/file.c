/* SPDX-License-Identifier: MIT */
/*
 * Reading and atomic writing of files. A new file is written beside the old one under a
 * name of its own, flushed to the disk, renamed over the old one, and then the folder
 * is flushed: whatever happens in between, the path is the old file or the new one.
 */
#define _POSIX_C_SOURCE 200809L
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_IO     ((size_t)1 << 30) /* systems refuse more in one call */
#define TEMP_TRIES 100

static mnt_status io_failed(const mnti_file *f, const char *what, int error)
{
    return mnti_fail(f->dev, MNT_IO, "%s: %.300s: %s: %s", f->where, f->path, what,
                     strerror(error));
}

static int open_retry(const char *path, int flags, mode_t mode)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

mnt_status mnti_file_open(mnti_file *f, mnt_device *dev, const char *where,
                          const char *path)
{
    *f = (mnti_file){ .dev = dev, .where = where, .path = path, .fd = -1 };
    /* O_NONBLOCK: a pipe of that name must not hold us up before fstat() sees it. */
    f->fd = open_retry(path, O_RDONLY | O_NONBLOCK, 0);
    if (f->fd < 0)
        return io_failed(f, "cannot be opened", errno);
    struct stat info;
    if (fstat(f->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        mnti_file_close(f);
        return mnti_fail(dev, MNT_IO, "%s: %.300s: not a regular file", where, path);
    }
    f->size = (uint64_t)info.st_size;
    return MNT_OK;
}

mnt_status mnti_file_read(mnti_file *f, void *data, size_t bytes)
{
    char *at = data;
    while (bytes > 0) {
        ssize_t n = read(f->fd, at, bytes < MAX_IO ? bytes : MAX_IO);
        if (n == 0)
            return mnti_fail(f->dev, MNT_FORMAT, "%s: %.300s: ends early", f->where,
                             f->path);
        if (n < 0 && errno != EINTR)
            return io_failed(f, "cannot be read", errno);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        }
    }
    return MNT_OK;
}

void mnti_file_close(mnti_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

mnt_status mnti_file_create(mnti_file *f, mnt_device *dev, const char *where,
                            const char *path)
{
    *f = (mnti_file){ .dev = dev, .where = where, .path = path, .fd = -1 };
    size_t room = strlen(path) + 40;
    f->temp = mnti_alloc(dev, room);
    if (!f->temp)
        return mnti_fail(dev, MNT_NO_MEMORY, "%s: %.300s: no memory", where, path);
    /* Names that exist are somebody's: another thread, or a process of this number in
     * another container. They are never touched. */
    int error = EEXIST;
    for (int i = 0; i < TEMP_TRIES && f->fd < 0 && error == EEXIST; i++) {
        if (i == 0)
            snprintf(f->temp, room, "%s.tmp.%ld", path, (long)getpid());
        else
            snprintf(f->temp, room, "%s.tmp.%ld.%d", path, (long)getpid(), i);
        f->fd = open_retry(f->temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
        error = f->fd < 0 ? errno : 0;
    }
    if (f->fd >= 0)
        return MNT_OK;
    mnti_free(dev, f->temp);
    f->temp = NULL;
    return io_failed(f, "no file can be made beside it", error);
}

static mnt_status write_at(mnti_file *f, uint64_t offset, const void *data,
                           size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = pwrite(f->fd, at, bytes < MAX_IO ? bytes : MAX_IO, (off_t)offset);
        if (n == 0)
            return io_failed(f, "cannot be written", ENOSPC);
        if (n < 0 && errno != EINTR)
            return io_failed(f, "cannot be written", errno);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    return MNT_OK;
}

mnt_status mnti_file_write(mnti_file *f, const void *data, size_t bytes)
{
    mnt_status st = write_at(f, f->size, data, bytes);
    if (st == MNT_OK)
        f->size += bytes;
    return st;
}

mnt_status mnti_file_patch(mnti_file *f, uint64_t offset, const void *data,
                           size_t bytes)
{
    return write_at(f, offset, data, bytes);
}

static int flush(int fd)
{
    int rc;
    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

/* Flushes the folder that holds f->path, so that the rename survives a power cut. */
static mnt_status flush_folder(mnti_file *f)
{
    const char *slash = strrchr(f->path, '/');
    size_t n = slash ? (size_t)(slash - f->path) : 0;
    memcpy(f->temp, f->path, n); /* temp has room for the whole path */
    if (slash && n == 0)
        f->temp[n++] = '/';
    else if (!slash)
        f->temp[n++] = '.';
    f->temp[n] = '\0';
    int fd = open_retry(f->temp, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) /* a folder may be writable and not readable: nothing to flush by */
        return errno == EACCES ? MNT_OK
                               : io_failed(f, "its folder cannot be opened", errno);
    int error = flush(fd) != 0 ? errno : 0;
    close(fd);
    if (error == 0 || error == EINVAL || error == ENOTSUP || error == EBADF)
        return MNT_OK; /* a file system without that notion */
    return io_failed(f, "its folder cannot be flushed", error);
}

mnt_status mnti_file_commit(mnti_file *f)
{
    mnt_status st = MNT_OK;
    if (flush(f->fd) != 0)
        st = io_failed(f, "cannot be flushed", errno);
    if (close(f->fd) != 0 && errno != EINTR && st == MNT_OK)
        st = io_failed(f, "cannot be closed", errno);
    f->fd = -1;
    if (st == MNT_OK && rename(f->temp, f->path) != 0)
        st = io_failed(f, "cannot be replaced", errno);
    if (st) {
        mnti_file_abandon(f);
        return st;
    }
    st = flush_folder(f);
    mnti_free(f->dev, f->temp);
    f->temp = NULL;
    return st;
}

void mnti_file_abandon(mnti_file *f)
{
    mnti_file_close(f);
    if (f->temp)
        unlink(f->temp);
    mnti_free(f->dev, f->temp);
    f->temp = NULL;
}
