/* SPDX-License-Identifier: MIT */
/*
 * Files: reading regular files piece by piece, and replacing a file atomically. Every
 * sentence starts with `where` and the path.
 */
#ifndef MNTI_FILE_H
#define MNTI_FILE_H

#include "core.h"

typedef struct mnti_file {
    mnt_device *dev;
    const char *where, *path; /* borrowed */
    int fd;
    uint64_t size; /* in: of the file when opened; out: written so far */
    char *temp;    /* out only: the name being written */
} mnti_file;

mnt_status mnti_file_open(mnti_file *f, mnt_device *dev, const char *where,
                          const char *path);
/* All of `bytes`, or FORMAT if the file has shrunk. */
mnt_status mnti_file_read(mnti_file *f, void *data, size_t bytes);
void mnti_file_close(mnti_file *f);

/*
 * Writing: create, write, patch (of bytes already written), and then either commit or
 * abandon. Until commit has renamed the temporary file, `path` is untouched; abandon
 * removes the temporary file. A failed commit has abandoned.
 */
mnt_status mnti_file_create(mnti_file *f, mnt_device *dev, const char *where,
                            const char *path);
mnt_status mnti_file_write(mnti_file *f, const void *data, size_t bytes);
mnt_status mnti_file_patch(mnti_file *f, uint64_t offset, const void *data,
                           size_t bytes);
mnt_status mnti_file_commit(mnti_file *f);
void mnti_file_abandon(mnti_file *f);

#endif
