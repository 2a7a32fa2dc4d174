/* SPDX-License-Identifier: MIT */
/*
 * The safetensors format: 8 bytes little-endian length of the header, the header (JSON:
 * tensor name -> dtype, shape, data_offsets; "__metadata__" -> strings), then the data.
 * Read strictly and without trust, from memory; written with one byte sequence for one
 * content. What a checkpoint keeps in it is checkpoint.c's business.
 */
#ifndef MNTI_SAFETENSORS_H
#define MNTI_SAFETENSORS_H

#include "core.h"

#include <jansson.h>

#define MNTI_ST_PREFIX     8u
#define MNTI_ST_MAX_HEADER ((uint64_t)16 << 20)

typedef struct mnti_st_tensor {
    const char *name, *dtype; /* "F32"; both belong to the header when read */
    mnt_shape shape;
    uint64_t begin, bytes; /* in the data */
} mnti_st_tensor;

typedef struct mnti_st {
    json_t *header;
    const json_t *meta;      /* inside header; NULL: none */
    mnti_st_tensor *tensors; /* in order of offset */
    size_t count;
    uint64_t head_bytes; /* prefix and header: where the data starts */
    uint64_t data_bytes;
} mnti_st;

/*
 * The bytes of prefix and header of a file of `file_size` bytes, from its first 8 (or
 * fewer, if it is shorter). `name` starts every sentence. Errors: FORMAT.
 */
mnt_status mnti_st_head_bytes(mnt_device *dev, const char *name, const uint8_t *first,
                              uint64_t file_size, uint64_t *head_bytes);

/*
 * Parses prefix and header (head_bytes of them) of such a file. Rejected: anything but
 * one JSON object of the exact form, duplicate keys, unknown dtypes, more than
 * MNT_MAX_DIMS dims, sizes that overflow or differ from shape times dtype, tensors that
 * overlap, leave gaps or do not cover the data. Errors: FORMAT, NO_MEMORY.
 */
mnt_status mnti_st_parse(mnt_device *dev, const char *name, const uint8_t *head,
                         uint64_t file_size, mnti_st *out);
/* The metadata string of that key, or NULL. */
const char *mnti_st_meta(const mnti_st *st, const char *key);
void mnti_st_free(mnt_device *dev, mnti_st *st);

/*
 * Prefix and header for tensors laid out as given (begin, bytes), keys sorted, padded
 * with spaces to a multiple of 8. *out is the caller's, by mnti_free(). Takes over no
 * reference to `meta`. Errors: INVALID for a name or value that is not UTF-8, LIMIT,
 * NO_MEMORY.
 */
mnt_status mnti_st_write_head(mnt_device *dev, const char *name,
                              const mnti_st_tensor *tensors, size_t count, json_t *meta,
                              char **out, size_t *bytes);

#endif
