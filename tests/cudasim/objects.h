/* SPDX-License-Identifier: MIT */
/*
 * Inside the simulated CUDA driver: its objects, and what its files know of each other.
 *
 *   control.c   configuration, faults, reports, entering and leaving a call
 *   module.c    PTX and cubins: which kernels, for which devices
 *   memory.c    device and pinned memory
 *   stream.c    queued work and when it runs
 *   graph.c     nodes and their order
 *   entry_*.c   the functions of the driver interface
 *
 * One mutex is held during every call. Work is queued and runs when somebody waits for
 * it, as late as the interface allows, so what forgets to wait reads old data.
 */
#ifndef CUDASIM_OBJECTS_H
#define CUDASIM_OBJECTS_H

#include "../metalsim/guard.h"
#include "cudasim.h"

/* CUresult, with its values. */
#define CUDASIM_ERRORS(X)                                                              \
    X(SUCCESS, 0, "no error")                                                          \
    X(ERROR_INVALID_VALUE, 1, "invalid argument")                                      \
    X(ERROR_OUT_OF_MEMORY, 2, "out of memory")                                         \
    X(ERROR_NOT_INITIALIZED, 3, "initialization error")                                \
    X(ERROR_DEINITIALIZED, 4, "driver shutting down")                                  \
    X(ERROR_STUB_LIBRARY, 34, "CUDA driver is a stub library")                         \
    X(ERROR_DEVICE_UNAVAILABLE, 46, "CUDA-capable device(s) is/are busy")              \
    X(ERROR_NO_DEVICE, 100, "no CUDA-capable device is detected")                      \
    X(ERROR_INVALID_DEVICE, 101, "invalid device ordinal")                             \
    X(ERROR_INVALID_IMAGE, 200, "device kernel image is invalid")                      \
    X(ERROR_INVALID_CONTEXT, 201, "invalid device context")                            \
    X(ERROR_NO_BINARY_FOR_GPU, 209, "no kernel image is available for this device")    \
    X(ERROR_ECC_UNCORRECTABLE, 214, "uncorrectable ECC error encountered")             \
    X(ERROR_INVALID_PTX, 218, "a PTX JIT compilation failed")                          \
    X(ERROR_UNSUPPORTED_PTX_VERSION, 222, "the PTX is of a newer toolchain")           \
    X(ERROR_INVALID_HANDLE, 400, "invalid resource handle")                            \
    X(ERROR_NOT_FOUND, 500, "named symbol not found")                                  \
    X(ERROR_NOT_READY, 600, "device not ready")                                        \
    X(ERROR_ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")          \
    X(ERROR_LAUNCH_OUT_OF_RESOURCES, 701, "too many resources requested for launch")   \
    X(ERROR_LAUNCH_TIMEOUT, 702, "the launch timed out and was terminated")            \
    X(ERROR_MISALIGNED_ADDRESS, 716, "misaligned address")                             \
    X(ERROR_LAUNCH_FAILED, 719, "unspecified launch failure")                          \
    X(ERROR_SYSTEM_DRIVER_MISMATCH, 803, "driver and library versions differ")         \
    X(ERROR_UNKNOWN, 999, "unknown error")

enum cuda_errors {
#define CUDASIM_ENUM(name, value, text) CUDA_##name = (value),
    CUDASIM_ERRORS(CUDASIM_ENUM)
#undef CUDASIM_ENUM
};

#define EXPORT     __attribute__((visibility("default")))
#define MAX_PARAMS 31
#define MAX_ARGS   4096 /* bytes of all parameters, as the interface has it */

typedef enum object_kind {
    CONTEXT,
    MODULE,
    STREAM,
    EVENT,
    GRAPH,
    EXEC,
    KINDS
} object_kind;

typedef struct context context;

/* The head of each object; the list of live ones is how handles are checked. */
typedef struct object {
    object_kind kind;
    struct object *next;
    context *owner; /* NULL: it is a context */
} object;

struct context {
    object head;
    int device, retained;
    int broken; /* the error that every call reports from now on */
    sim_engine *engine;
};

typedef struct function {
    struct module *module;
    const sim_function *code;
    char name[96];
} function;

typedef struct module {
    object head;
    int count;
    function function[];
} module;

typedef struct launch {
    const function *function;
    unsigned groups, threads;
    int pointers;
    uint64_t pointer[MAX_PARAMS];
    unsigned args_bytes;
    _Alignas(16) unsigned char args[512];
} launch;

typedef struct node {
    launch launch;             /* function NULL: an empty node */
    int waits;                 /* for so many others */
    int *before, before_count; /* the nodes that wait for this one */
} node;

typedef struct graph { /* or an executable one */
    object head;
    uint64_t id;
    int queued; /* launches that have not run */
    int count, capacity;
    node *node;
} graph;

typedef struct event {
    object head;
    bool timed;
    uint64_t recorded, done; /* serial numbers of records */
    int queued;              /* records that have not happened */
    uint64_t ns;             /* when it was done last */
} event;

typedef enum op_kind {
    OP_KERNEL,
    OP_GRAPH,
    OP_UPLOAD,
    OP_DOWNLOAD,
    OP_SET,
    OP_EVENT
} op_kind;

typedef struct op {
    struct op *next;
    op_kind kind;
    launch *launch;
    graph *graph;
    event *event;
    uint64_t serial;
    uint64_t device; /* address */
    void *host;      /* pinned, or own[] */
    unsigned char value;
    size_t bytes;
    unsigned char own[]; /* what an upload from pageable memory took with it */
} op;

typedef struct stream {
    object head;
    op *first, **last;
} stream;

/* ---- control.c ---- */
typedef enum call_needs {
    NOTHING = 0,
    STARTED = 1, /* cuInit() has succeeded */
    CURRENT = 2, /* a context is current and not broken */
    RELEASES = 4 /* with CURRENT: happens also if it is broken */
} call_needs;
/* Takes the mutex. Not 0: the call ends with that. leave() takes what enter() or the
 * call itself said and gives the mutex back. */
int enter(const char *call, call_needs needs);
int leave(int result);
/* The fault that is planned for this time, or 0. */
int planned(const char *call);
const cudasim_config *config(void);
/* The context that is current, or NULL; push and pop keep the thread's stack. */
context *current(void);
bool push(context *c);
context *pop(void);
void set_started(void);
/* Says what rule was broken; returns the result, for a call to return. */
int misuse(int result, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern cudasim_counts counts; /* those since the process began */

/* Adds a live object; object_find() NULL if p is none of that kind, or of another
 * context than the current one. */
void object_add(object *o, object_kind kind, context *owner);
void object_remove(object *o);
void *object_find(const void *p, object_kind kind);
object *object_next(const object *after, object_kind kind, const context *owner);

/* ---- module.c ---- */
/* 0 and the module, or what cuModuleLoadData() returns. */
int module_make(context *c, const void *image, module **out);
const function *function_find(const void *p, const context *c);

/* ---- memory.c ---- */
typedef struct memory {
    struct memory *next;
    const context *owner;
    guard *guard;
    uint64_t address; /* of device memory; 0: pinned */
    bool fresh;       /* nobody has written it, its pages are zeros */
    char name[64];
} memory;
int memory_make(context *c, size_t bytes, bool pinned, memory **out);
void memory_free(memory *m);
/* Device memory that holds [address, address + bytes), or NULL. */
memory *memory_at(uint64_t address, size_t bytes);
memory *memory_starting(uint64_t address);
memory *pinned_at(const void *p, size_t bytes);
/* Whether [p, p + bytes) has a part in pinned memory. */
bool pinned_near(const void *p, size_t bytes);
int memory_count(const context *owner, bool pinned); /* owner NULL: all */
/* Frees all of a context. */
void memory_free_all(const context *owner);

/* ---- stream.c ---- */
op *op_make(op_kind kind, size_t own_bytes);
void stream_add(stream *s, op *o);
/* Runs what is queued: all, or until `until` has been recorded. The context's error. */
int stream_run(stream *s, const event *until);
void stream_drop(stream *s);
/* The same of all streams of a context: in a broken one nothing queued ever happens. */
void context_drop(context *c);
/* Whether queued work reads or writes the memory. */
bool memory_queued(const memory *m);
/* The stream where the event's last record waits, or NULL. */
stream *event_stream(const event *e);
int kernel_run(context *c, const launch *l);

/* ---- graph.c ---- */
graph *graph_make(object_kind kind);
void graph_free(graph *g);
/* The place of a node by its handle, -1 if it is none of this graph's. */
int graph_index(const graph *g, uint64_t handle);
/* A node after others; launch NULL: an empty one. False without memory. */
bool graph_add(graph *g, const launch *l, const uint64_t *after, size_t count,
               uint64_t *handle);
/* An executable graph. */
graph *graph_copy(const graph *from);
int graph_run(context *c, const graph *g);

/* ---- entry_work.c ---- */
int bad_handle(const char *call, const char *what);
int stream_ok(const char *call, const stream *s);

#endif
