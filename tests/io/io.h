/* SPDX-License-Identifier: MIT */
/*
 * For the tests of files: a backend that only stores bytes and can be told to fail, an
 * allocator that fails at a chosen call and counts what is alive, folders of one's own.
 */
#ifndef TESTS_IO_H
#define TESTS_IO_H

#include "support.h"

/* The backend "store": host memory, no kernels. Reads, writes and allocations fail
 * (DEVICE, DEVICE, NO_MEMORY) when their countdown reaches 0; -1: never. */
typedef struct io_store_faults {
    int reads, writes, allocs;
} io_store_faults;
extern io_store_faults io_faults;

typedef struct io_heap {
    long fail_at; /* the call that fails, from 0; -1: none */
    long calls, alive;
} io_heap;

/* A device on the store backend; with `heap`, its memory goes through it. */
mnt_device *io_open(io_heap *heap);

/* A new folder; io_remove_folder() deletes it with all files in it. */
void io_folder(char path[256]);
void io_remove_folder(const char *path);
int io_count_files(const char *path);
void io_join(char out[512], const char *folder, const char *name);
void io_write(const char *path, const void *data, size_t bytes);
/* gzip of data, as one member; returns the size; the caller frees *out. */
size_t io_gzip(const void *data, size_t bytes, uint8_t **out);

#endif
