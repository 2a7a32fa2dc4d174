/* SPDX-License-Identifier: MIT */
/*
 * The kernels as bytes: PTX, and a cubin for one architecture if ptxas was there. The
 * names of the files come from the build.
 */
        .section .rodata

        .globl cuda_ptx_text
        .hidden cuda_ptx_text
        .p2align 6
cuda_ptx_text:
        .incbin CUDA_PTX_FILE
        .byte 0

        .globl cuda_cubin_data
        .hidden cuda_cubin_data
        .p2align 6
cuda_cubin_data:
#if defined(CUDA_CUBIN_FILE)
        .incbin CUDA_CUBIN_FILE
#endif
cubin_end:
        .byte 0

        .globl cuda_cubin_size
        .hidden cuda_cubin_size
        .p2align 3
cuda_cubin_size:
        .quad cubin_end - cuda_cubin_data

        .globl cuda_cubin_arch
        .hidden cuda_cubin_arch
        .p2align 2
cuda_cubin_arch:
#if defined(CUDA_CUBIN_FILE)
        .long 90
#else
        .long 0
#endif

        .section .note.GNU-stack,"",@progbits
