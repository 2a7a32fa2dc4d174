/* SPDX-License-Identifier: MIT */
/*
 * What an image (a shared object made from shaders) and the simulator know of each other.
 * The image exports one struct sim_library; the simulator gives it a struct sim_services
 * when it loads it. C and C++ and without any other header, because nothing of C may
 * meet the shaders' `using namespace metal`.
 */
#ifndef SIM_ABI_H
#define SIM_ABI_H

#ifdef __cplusplus
extern "C" {
#endif

#define SIM_ABI_VERSION    1
#define SIM_MAX_BINDINGS   31   /* buffer indices 0 .. 30, as in Metal */
#define SIM_MAX_THREADS    1024 /* of a threadgroup */
#define SIM_MAX_SIMD_WIDTH 64
#define SIM_SLOT_BYTES     16 /* the largest value that a simdgroup function takes */

/* mem_flags, with Metal's values. */
#define SIM_MEM_DEVICE      1u
#define SIM_MEM_THREADGROUP 2u

/* What an image was built for: sim_library.kind. */
enum sim_kind { SIM_PLAIN, SIM_RACE, SIM_ASAN };

/* Where in the shader something stands. */
typedef struct sim_site {
    const char *file;
    unsigned line, column;
} sim_site;

/* A parameter that is bound: a pointer to elements, or a reference to one struct. */
typedef struct sim_param {
    const char *name;
    unsigned index; /* of the binding */
    unsigned bytes; /* of an element */
    unsigned alignment;
    unsigned char reference; /* constant T & */
    unsigned char writable;
    unsigned line;
} sim_param;

/* A threadgroup array of a kernel: its place in the threadgroup's memory. */
typedef struct sim_array {
    const char *name;
    unsigned long offset, bytes;
    unsigned line;
} sim_array;
#define SIM_MAX_ARRAYS 32

/* What the threads of a dispatch have in common. */
typedef struct sim_call {
    void *const *buffer;         /* by index, offset already added */
    const unsigned long *length; /* bytes from there to the end, by index */
    unsigned groups, threads, simd_width;
} sim_call;

/* Who runs on an operating system's thread at this moment. The simulator keeps it; an
 * image that runs many threads of a group in a loop sets `index` when it has been
 * built to be watched. */
typedef struct sim_view {
    const sim_call *call;
    const char *kernel;
    unsigned group, index; /* threadgroup, and thread in it */
    unsigned worker;
    /* Barriers passed by this group, for [0] device and [1] threadgroup memory ... */
    unsigned epoch[2];
    /* ... and by each of its simdgroups. */
    unsigned simd_epoch[SIM_MAX_THREADS / 8][2];
    unsigned long dispatch; /* a serial number */
    /* Memory of the simulator that an image's entry points read: no kernel's business. */
    const char *own[2];
    unsigned long own_bytes[2];
} sim_view;

/* Runs threads of one group: order[first .. first+count), or first .. first+count-1. A
 * kernel with collective functions is called for one thread at a time. */
typedef void sim_threads(const sim_call *call, sim_view *view, void *memory,
                         unsigned group, unsigned first, unsigned count,
                         const unsigned *order);

typedef struct sim_entry {
    const char *name;
    const char *file;
    unsigned line;
    /* 1: may call a barrier or a simdgroup function; 2: knows simdgroups. */
    unsigned char collective;
    unsigned max_threads; /* [[max_total_threads_per_threadgroup]], or 0 */
    unsigned params;
    const sim_param *param;
    sim_threads *run;
    unsigned (*arrays)(sim_array *out); /* NULL: none; returns their number */
} sim_entry;

/* What the lanes of a simdgroup deposited: lane l's value is at slot[l]. */
typedef struct sim_lanes {
    unsigned long long active; /* bit l: lane l took part */
    const unsigned char (*slot)[SIM_SLOT_BYTES];
    unsigned lane; /* the asking thread's own */
} sim_lanes;

typedef struct sim_services {
    void (*barrier)(unsigned flags, const sim_site *site);
    void (*exchange)(sim_lanes *out, const void *value, unsigned bytes, unsigned op,
                     const sim_site *site);
    void (*simd_barrier)(unsigned flags, const sim_site *site);
    unsigned (*lane)(void);
    /* Ends the dispatch with an error; does not return. */
    void (*fail)(const char *text, const sim_site *site);
    /* Notes a fault and goes on; the dispatch is an error at its end. */
    void (*report)(const char *text, const sim_site *site);
    const sim_view *(*view)(void);
} sim_services;

typedef struct sim_library {
    unsigned abi;
    unsigned kind;
    const char *source_hash; /* crc32 and length of the flattened source, in hex */
    unsigned entries;
    const sim_entry *entry;
    void (*bind)(const sim_services *services);
    /* Threadgroup memory of a group about to start: watched images forget what was in
     * it and guard the gaps between arrays. NULL: nothing to do. */
    void (*memory)(sim_view *view, void *memory, unsigned long bytes,
                   const sim_array *array, unsigned arrays);
    /* Before the first and after the last thread of a dispatch, on one thread. */
    void (*dispatch)(const sim_call *call, const sim_entry *entry, int begins);
} sim_library;

#define SIM_LIBRARY_SYMBOL "mnt_sim_library"

#ifdef __cplusplus
}
#endif

#endif
