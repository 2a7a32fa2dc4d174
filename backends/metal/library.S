/* SPDX-License-Identifier: MIT */
/*
 * The kernels as bytes: the metallib, if one was built, and the one-file source. The
 * names of the files come from the build.
 */
#if defined(__APPLE__)
#define SYMBOL(name) _##name
#define HIDDEN .private_extern
        .section __TEXT,__const
#else
#define SYMBOL(name) name
#define HIDDEN .hidden
        .section .rodata
#endif

        .globl SYMBOL(metal_library_data)
        HIDDEN SYMBOL(metal_library_data)
        .p2align 6
SYMBOL(metal_library_data):
#if defined(METAL_LIBRARY_FILE)
        .incbin METAL_LIBRARY_FILE
#endif
library_end:
        .byte 0

        .globl SYMBOL(metal_source_text)
        HIDDEN SYMBOL(metal_source_text)
        .p2align 6
SYMBOL(metal_source_text):
        .incbin METAL_SOURCE_FILE
source_end:
        .byte 0

        .globl SYMBOL(metal_library_size)
        HIDDEN SYMBOL(metal_library_size)
        .p2align 3
SYMBOL(metal_library_size):
        .quad library_end - SYMBOL(metal_library_data)

        .globl SYMBOL(metal_source_size)
        HIDDEN SYMBOL(metal_source_size)
        .p2align 3
SYMBOL(metal_source_size):
        .quad source_end - SYMBOL(metal_source_text)

#if defined(__linux__)
        .section .note.GNU-stack,"",@progbits
#endif
