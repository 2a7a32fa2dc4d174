/* SPDX-License-Identifier: MIT */
/*
 * Of the standard library what the GPU backends may use. Memory comes from the host.
 */
#ifndef DARWIN_STDLIB_H
#define DARWIN_STDLIB_H

#include <stddef.h>

char *getenv(const char *name);
void qsort(void *base, size_t count, size_t size,
           int (*compare)(const void *, const void *));

#endif
