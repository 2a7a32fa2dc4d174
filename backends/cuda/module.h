/* SPDX-License-Identifier: MIT */
/*
 * The kernels as the build embedded them: PTX text, ended by a zero byte, and a cubin
 * (size 0 where ptxas was missing) for one architecture, 90 for compute 9.0.
 */
#ifndef CUDA_MODULE_H
#define CUDA_MODULE_H

#include <stddef.h>

extern const char cuda_ptx_text[];
extern const unsigned char cuda_cubin_data[];
extern const size_t cuda_cubin_size;
extern const int cuda_cubin_arch;

#endif
