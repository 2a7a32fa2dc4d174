/* SPDX-License-Identifier: MIT */
/*
 * The part of the CUDA driver interface that the backend uses, declared here so that
 * neither building nor running needs the CUDA toolkit: the driver's library is opened
 * at run time. Names, types and values are those of the driver's documentation
 * (CUDA Driver API reference); every function is one row of CUDA_FUNCTIONS.
 */
#ifndef CUDA_DRIVER_H
#define CUDA_DRIVER_H

#include <mnt/base.h>

typedef int cuda_result; /* CUresult; 0 is success */
typedef int cuda_device; /* CUdevice */
typedef uint64_t cuda_ptr;
typedef struct cuda_context_st *cuda_driver_context;
typedef struct cuda_module_st *cuda_module;
typedef struct cuda_function_st *cuda_function;
typedef struct cuda_stream_st *cuda_stream;
typedef struct cuda_event_st *cuda_event;
typedef struct cuda_graph_st *cuda_graph;
typedef struct cuda_graph_exec_st *cuda_graph_exec;
typedef struct cuda_graph_node_st *cuda_graph_node;

/* CUDA_KERNEL_NODE_PARAMS, the first version of it */
typedef struct cuda_kernel_node {
    cuda_function function;
    unsigned grid[3], block[3];
    unsigned shared_bytes;
    void **params;
    void **extra;
} cuda_kernel_node;

enum {
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_NOT_INITIALIZED = 3,
    CUDA_DEINITIALIZED = 4,
    CUDA_DEVICE_UNAVAILABLE = 46,
    CUDA_NO_DEVICE = 100,
    CUDA_INVALID_DEVICE = 101,
    CUDA_INVALID_CONTEXT = 201,
    CUDA_ECC_UNCORRECTABLE = 214,
    CUDA_NVLINK_UNCORRECTABLE = 220,
    CUDA_ILLEGAL_ADDRESS = 700,
    CUDA_LAUNCH_TIMEOUT = 702,
    CUDA_CONTEXT_IS_DESTROYED = 709,
    CUDA_ASSERT = 710,
    CUDA_HARDWARE_STACK_ERROR = 714,
    CUDA_LAUNCH_FAILED = 719,
    CUDA_UNKNOWN = 999
};

enum {
    CUDA_ATTRIBUTE_MULTIPROCESSORS = 16,
    CUDA_ATTRIBUTE_MAJOR = 75,
    CUDA_ATTRIBUTE_MINOR = 76
};

enum { CUDA_STREAM_NON_BLOCKING = 1, CUDA_EVENT_DEFAULT = 0, CUDA_EVENT_NO_TIMING = 2 };

/* X(name in this file, symbol of the library, parameters) */
#define CUDA_FUNCTIONS(X)                                                              \
    X(init, cuInit, (unsigned flags))                                                  \
    X(driver_version, cuDriverGetVersion, (int *version))                              \
    X(error_name, cuGetErrorName, (cuda_result r, const char **text))                  \
    X(error_text, cuGetErrorString, (cuda_result r, const char **text))                \
    X(device_count, cuDeviceGetCount, (int *n))                                        \
    X(device_get, cuDeviceGet, (cuda_device * d, int i))                               \
    X(device_name, cuDeviceGetName, (char *text, int size, cuda_device d))             \
    X(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, cuda_device d))             \
    X(device_attribute, cuDeviceGetAttribute, (int *v, int attribute, cuda_device d))  \
    X(primary_retain, cuDevicePrimaryCtxRetain,                                        \
      (cuda_driver_context * c, cuda_device d))                                        \
    X(primary_release, cuDevicePrimaryCtxRelease_v2, (cuda_device d))                  \
    X(push, cuCtxPushCurrent_v2, (cuda_driver_context c))                              \
    X(pop, cuCtxPopCurrent_v2, (cuda_driver_context * c))                              \
    X(mem_alloc, cuMemAlloc_v2, (cuda_ptr * p, size_t bytes))                          \
    X(mem_free, cuMemFree_v2, (cuda_ptr p))                                            \
    X(mem_zero, cuMemsetD8Async,                                                       \
      (cuda_ptr p, unsigned char v, size_t bytes, cuda_stream s))                      \
    X(host_alloc, cuMemAllocHost_v2, (void **p, size_t bytes))                         \
    X(host_free, cuMemFreeHost, (void *p))                                             \
    X(upload, cuMemcpyHtoDAsync_v2,                                                    \
      (cuda_ptr to, const void *from, size_t bytes, cuda_stream s))                    \
    X(download, cuMemcpyDtoHAsync_v2,                                                  \
      (void *to, cuda_ptr from, size_t bytes, cuda_stream s))                          \
    X(module_load, cuModuleLoadDataEx,                                                 \
      (cuda_module * m, const void *image, unsigned n, int *options, void **values))   \
    X(module_unload, cuModuleUnload, (cuda_module m))                                  \
    X(module_function, cuModuleGetFunction,                                            \
      (cuda_function * f, cuda_module m, const char *name))                            \
    X(launch, cuLaunchKernel,                                                          \
      (cuda_function f, unsigned gx, unsigned gy, unsigned gz, unsigned tx,            \
       unsigned ty, unsigned tz, unsigned shared, cuda_stream s, void **params,        \
       void **extra))                                                                  \
    X(stream_create, cuStreamCreate, (cuda_stream * s, unsigned flags))                \
    X(stream_destroy, cuStreamDestroy_v2, (cuda_stream s))                             \
    X(stream_wait, cuStreamSynchronize, (cuda_stream s))                               \
    X(graph_create, cuGraphCreate, (cuda_graph * g, unsigned flags))                   \
    X(graph_kernel, cuGraphAddKernelNode,                                              \
      (cuda_graph_node * node, cuda_graph g, const cuda_graph_node *after,             \
       size_t count, const cuda_kernel_node *params))                                  \
    X(graph_empty, cuGraphAddEmptyNode,                                                \
      (cuda_graph_node * node, cuda_graph g, const cuda_graph_node *after,             \
       size_t count))                                                                  \
    X(graph_instantiate, cuGraphInstantiateWithFlags,                                  \
      (cuda_graph_exec * e, cuda_graph g, unsigned long long flags))                   \
    X(graph_launch, cuGraphLaunch, (cuda_graph_exec e, cuda_stream s))                 \
    X(graph_exec_destroy, cuGraphExecDestroy, (cuda_graph_exec e))                     \
    X(graph_destroy, cuGraphDestroy, (cuda_graph g))                                   \
    X(event_create, cuEventCreate, (cuda_event * e, unsigned flags))                   \
    X(event_destroy, cuEventDestroy_v2, (cuda_event e))                                \
    X(event_record, cuEventRecord, (cuda_event e, cuda_stream s))                      \
    X(event_wait, cuEventSynchronize, (cuda_event e))                                  \
    X(event_ms, cuEventElapsedTime, (float *ms, cuda_event from, cuda_event to))

typedef struct cuda_driver {
    void *library;
    int version; /* 12040 is 12.4 */
#define FIELD(name, symbol, params) cuda_result(*name) params;
    CUDA_FUNCTIONS(FIELD)
#undef FIELD
} cuda_driver;

/* The oldest driver that all of this has been tried for, and the oldest GPUs that the
 * PTX is for: compute 7.0. */
#define CUDA_OLDEST_DRIVER  11080
#define CUDA_OLDEST_COMPUTE 70

/* Opens the driver's library and looks all functions up. With a sentence NOT_FOUND: no
 * library, or no device; DEVICE: a function is missing, cuInit failed, it is too old. */
mnt_status cuda_driver_open(cuda_driver *d, char *sentence, size_t size);
void cuda_driver_close(cuda_driver *d);
/* "CUDA_ERROR_OUT_OF_MEMORY (out of memory)" in buf. */
const char *cuda_error_text(const cuda_driver *d, cuda_result r, char *buf,
                            size_t size);

#endif
