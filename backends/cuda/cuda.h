/* SPDX-License-Identifier: MIT */
/*
 * Inside the cuda backend. One context of the library is the primary context of one
 * device, one stream, and the module with all kernels. Work goes to the stream in
 * order, so ordering needs nothing else.
 *
 *   driver.c   the driver interface, found at run time
 *   device.c   open, close, the module of kernels
 *   memory.c   buffers, pinned staging
 *   graph.c    replays as CUDA graphs
 *   submit.c   programs, launching, timing
 *   cuda.c     the vtable
 *
 * A driver error becomes a status with the error's name. Some leave the device context
 * unusable, or half of a step done: the first of those is kept, and every later call
 * reports it and changes nothing.
 */
#ifndef CUDA_H
#define CUDA_H

#include "../gpu/gpu.h"
#include "driver.h"

#define CUDA_TEXT      400
#define CUDA_IN_FLIGHT 4 /* graph launches that are not known to be done */
#define CUDA_STAGING   (1u << 20)

typedef struct cuda_buffer {
    cuda_ptr ptr;
    uint64_t bytes;
} cuda_buffer;

typedef struct cuda_context {
    const mnt_host *host;
    cuda_driver driver;
    gpu_force force;
    bool profile;
    char variant[96];

    cuda_device device;
    cuda_driver_context primary;
    cuda_stream stream;
    cuda_module module;
    bool cubin; /* else the driver compiled the PTX */
    cuda_function function[GPU_KERNEL_COUNT];
    cuda_event event[2]; /* with timing */
    char name[96], detail[160];
    uint64_t memory_bytes;

    void *staging;        /* pinned, CUDA_STAGING bytes */
    cuda_event staged;    /* the staging memory may be written again */
    bool staging_pending; /* wait for `staged` first */

    cuda_event flying[CUDA_IN_FLIGHT]; /* a ring: launches under way */
    int flying_first, flying_count;

    cuda_result broken; /* the error that ended this context; 0: none */
} cuda_context;

typedef struct cuda_program {
    gpu_program *program;
    cuda_buffer scratch;
    cuda_graph_exec one, many; /* of one replay; of `steps` replays, or NULL */
    bool began;                /* it was launched once */
    int64_t steps;
} cuda_program;

/* Stores "cuda: what: NAME (text)" and returns the status of r; OK for success. */
mnt_status cuda_check(cuda_context *c, cuda_result r, const char *what);
/* The same for calls that queue a part of a step: any error ends the context, since what
 * is in memory afterwards is no state that a program can have. */
mnt_status cuda_check_step(cuda_context *c, cuda_result r, const char *what);
/* Makes the device's context current until cuda_leave(); reports a broken one. */
mnt_status cuda_enter(cuda_context *c);
/* The same also for a broken one, to give back what is there. */
bool cuda_enter_to_free(cuda_context *c);
void cuda_leave(cuda_context *c);

/* device.c */
int cuda_devices(void);
mnt_status cuda_open(const mnt_backend_config *config, void **ctx);
void cuda_close(void *ctx);

/* memory.c; cuda_allocate() and cuda_release() want the context entered. */
mnt_status cuda_allocate(cuda_context *c, uint64_t bytes, cuda_buffer *out);
void cuda_release(cuda_context *c, cuda_buffer *b);
mnt_status cuda_alloc_buffer(void *ctx, uint64_t bytes, void **buffer);
void cuda_release_buffer(void *ctx, void *buffer);
mnt_status cuda_write(void *ctx, void *buffer, uint64_t offset, const void *data,
                      uint64_t bytes);
mnt_status cuda_read(void *ctx, void *buffer, uint64_t offset, void *data,
                     uint64_t bytes);
mnt_status cuda_wait(void *ctx);

/* A dispatch as the driver takes it; points into itself and into the dispatch. */
typedef struct cuda_launch {
    cuda_function function;
    unsigned groups, threads;
    cuda_ptr bound[GPU_MAX_BUFFERS];
    void *params[GPU_MAX_BUFFERS + 1];
} cuda_launch;

/* graph.c */
void cuda_launch_of(const cuda_context *c, const cuda_program *p, const gpu_dispatch *d,
                    cuda_launch *l);
/* An executable graph of some replays; wants the context entered. */
mnt_status cuda_graph_make(cuda_context *c, const cuda_program *p, int64_t replays,
                           cuda_graph_exec *out);

/* submit.c */
mnt_status cuda_prepare(void *ctx, const mnt_program *program, void **prepared);
void cuda_discard(void *ctx, void *prepared);
mnt_status cuda_submit(void *ctx, void *prepared, int64_t n, int64_t *done);
mnt_status cuda_timing(void *ctx, void *prepared, mnt_cmd_timing *rows, int count);

#endif
