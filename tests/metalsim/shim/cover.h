/* SPDX-License-Identifier: MIT */
/*
 * The file through which an image of the kind cover says what ran: METALSIM_COVER names
 * it, every process that loads the image maps it, and what one of them adds all see. An
 * edge is a way into a basic block of the compiled shaders; by dispatch it is known which
 * kernel took it.
 */
#ifndef COVER_H
#define COVER_H

#include <stdint.h>

#define COVER_MAGIC    "METALCOV"
#define COVER_FILE_ENV "METALSIM_COVER"
#define COVER_NAME     56
/* Behind a kernel's edges: dispatches of one threadgroup, and of several. */
#define COVER_EXTRA 2

typedef struct cover_kernel {
    char name[COVER_NAME];
    uint32_t line;
    uint32_t reserved;
} cover_kernel;

typedef struct cover_edge {
    uint64_t pc;    /* from the image's beginning */
    uint32_t owner; /* the kernel in whose code it lies; COVER_NOBODY: none */
    uint32_t reserved;
} cover_edge;
#define COVER_NOBODY 0xffffffffu

/* Then follow cover_kernel[kernels], cover_edge[edges] and, for each kernel, a byte for
 * each edge and COVER_EXTRA more: 1 if a dispatch of the kernel took it. */
typedef struct cover_header {
    char magic[8];
    uint32_t kernels, edges;
} cover_header;

static inline uint64_t cover_hits_offset(const cover_header *h)
{
    return sizeof *h + (uint64_t)h->kernels * sizeof(cover_kernel) +
           (uint64_t)h->edges * sizeof(cover_edge);
}

static inline uint64_t cover_row_bytes(const cover_header *h)
{
    return (uint64_t)h->edges + COVER_EXTRA;
}

static inline uint64_t cover_file_bytes(const cover_header *h)
{
    return cover_hits_offset(h) + (uint64_t)h->kernels * cover_row_bytes(h);
}

#endif
