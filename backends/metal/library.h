/* SPDX-License-Identifier: MIT */
/*
 * What the build embedded: the metallib (size 0 where Apple's metal compiler was
 * missing) and the one-file source of all kernels.
 */
#ifndef METAL_LIBRARY_H
#define METAL_LIBRARY_H

#include <stddef.h>

extern const unsigned char metal_library_data[];
extern const size_t metal_library_size;
extern const char metal_source_text[];
extern const size_t metal_source_size;

#endif
