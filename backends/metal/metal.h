/* SPDX-License-Identifier: MIT */
/*
 * Inside the metal backend: the C face of its Objective-C files. metal.c is the vtable
 * and knows no Metal; the .m files own every Metal object, by manual retain and
 * release, and hand out plain pointers. Each function drains its own autorelease pool.
 *
 *   gpu.m       device, library, pipelines
 *   memory.m    buffers, and the copies in and out
 *   commands.m  the queue: encoding, at most METAL_IN_FLIGHT command buffers, waiting
 *
 * Failures are stored with host->fail(), so the returned status has its sentence.
 */
#ifndef METAL_H
#define METAL_H

#include "../gpu/gpu.h"

#define METAL_IN_FLIGHT 3

typedef struct metal_gpu metal_gpu;
typedef struct metal_buffer metal_buffer;

/* ---- gpu.m ---- */

/* Devices of this machine. */
int metal_gpu_count(void);
/* Opens device `index` with the library named by MNT_METALLIB, else the embedded one,
 * else the embedded source. The library must hold every kernel of shaders/kernels.def.
 */
mnt_status metal_gpu_open(metal_gpu **out, const mnt_host *host, int index);
void metal_gpu_close(metal_gpu *gpu);
/* "Apple M2 Max"; "embedded metallib, unified memory, SIMD width 32". */
const char *metal_gpu_name(const metal_gpu *gpu);
const char *metal_gpu_detail(const metal_gpu *gpu);
uint64_t metal_gpu_memory(const metal_gpu *gpu);
/* What the device has of that which some variants need: gpu_need. */
unsigned metal_gpu_has(const metal_gpu *gpu);
/* Makes the kernel's pipeline if it is not there; *out says what it may run. DEVICE if it
 * cannot be made. */
mnt_status metal_gpu_fit(metal_gpu *gpu, gpu_kernel kernel, gpu_fit *out);

/* ---- memory.m ---- */
mnt_status metal_buffer_create(metal_gpu *gpu, uint64_t bytes, metal_buffer **out);
/* Work that was submitted keeps the memory until it is done. */
void metal_buffer_release(metal_buffer *b);
/* After all that was submitted; does not wait. */
mnt_status metal_buffer_write(metal_gpu *gpu, metal_buffer *b, uint64_t offset,
                              const void *data, uint64_t bytes);
/* Waits. */
mnt_status metal_buffer_read(metal_gpu *gpu, metal_buffer *b, uint64_t offset,
                             void *data, uint64_t bytes);

/* ---- commands.m ---- */

/* Encodes dispatches [first, first + count) `times` times into one command buffer and
 * commits it; `scratch` stands for bindings without a buffer. Waits only when
 * METAL_IN_FLIGHT are under way. */
mnt_status metal_commit(metal_gpu *gpu, const gpu_program *p, int first, int count,
                        int64_t times, metal_buffer *scratch);
/* Waits for all and reports the first failure of work, again at every call. */
mnt_status metal_wait(metal_gpu *gpu);
/* Ends the device's work with a failure of its own, as if work had failed. */
void metal_break(metal_gpu *gpu, mnt_status status, const char *what);
/* Of the command buffer that finished last, on the device's clock. */
gpu_span metal_last_span(const metal_gpu *gpu);

#endif
