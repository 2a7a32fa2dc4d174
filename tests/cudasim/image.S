/* SPDX-License-Identifier: MIT */
/*
 * The image of the kernels that the simulator runs, as bytes. The build names the file.
 */
        .section .rodata

        .globl cudasim_image_data
        .hidden cudasim_image_data
        .p2align 6
cudasim_image_data:
        .incbin CUDASIM_IMAGE_FILE
image_end:
        .byte 0

        .globl cudasim_image_size
        .hidden cudasim_image_size
        .p2align 3
cudasim_image_size:
        .quad image_end - cudasim_image_data

        .section .note.GNU-stack,"",@progbits
