/* SPDX-License-Identifier: MIT */
/*
 * Reader of the IDX format of the MNIST files (LeCun, Cortes, Burges), plain or gzip,
 * from a file or from memory. Only arrays of unsigned bytes. Nothing in a file is
 * trusted: memory grows with the bytes that are really there, never past what the
 * header says, and the header never past MNTI_IDX_MAX_BYTES.
 */
#ifndef MNTI_IDX_H
#define MNTI_IDX_H

#include "core.h"

#define MNTI_IDX_MAX_DIMS  3
#define MNTI_IDX_MAX_BYTES ((uint64_t)1 << 30)

/* What the caller is ready to take: the number of dims, and each dim, 0 for any. */
typedef struct mnti_idx_want {
    int ndim; /* 1 to MNTI_IDX_MAX_DIMS */
    int64_t dim[MNTI_IDX_MAX_DIMS];
} mnti_idx_want;

typedef struct mnti_idx {
    int ndim;
    int64_t dim[MNTI_IDX_MAX_DIMS];
    uint64_t bytes;
    uint8_t *data; /* row-major; from mnti_alloc() */
} mnti_idx;

/*
 * Errors, with a sentence that starts with the path: NOT_FOUND if there is no such
 * file, IO, FORMAT, NO_MEMORY. *out is all zero then. gzip is recognised by its first
 * two bytes, whatever the file is called.
 */
mnt_status mnti_idx_read(mnt_device *dev, const char *path, const mnti_idx_want *want,
                         mnti_idx *out);
/* The same from memory; `name` stands for the path. */
mnt_status mnti_idx_parse(mnt_device *dev, const char *name, const void *bytes,
                          size_t size, const mnti_idx_want *want, mnti_idx *out);
void mnti_idx_free(mnt_device *dev, mnti_idx *idx);

#endif
