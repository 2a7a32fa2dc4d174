/* SPDX-License-Identifier: MIT */
/*
 * A device: one opened backend with its memory, its worker threads and its error text.
 * Everything made from a device (models, graphs, data sets) is used by one thread at a
 * time together with it; different devices are independent.
 */
#ifndef MNT_DEVICE_H
#define MNT_DEVICE_H

#include <mnt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Host memory hooks. All three or none. realloc(user, NULL, n) allocates; failures
 * return NULL and become MNT_NO_MEMORY. Alignment as malloc's.
 */
typedef struct mnt_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void *(*realloc)(void *user, void *p, size_t bytes);
    void (*free)(void *user, void *p);
    void *user;
} mnt_allocator;

typedef enum mnt_log_level { MNT_LOG_ERROR, MNT_LOG_WARN, MNT_LOG_INFO } mnt_log_level;
typedef void (*mnt_log_fn)(void *user, mnt_log_level level, const char *text);

typedef struct mnt_device_desc {
    size_t size;
    const char *backend; /* a registered name, "auto" or NULL: the first that opens */
    int index;           /* which device of that backend, 0 the first */
    int threads;         /* worker threads of a CPU backend; 0: one per processor */
    const char *force;   /* kernel variants by name, "isa=avx2,matmul=ref"; NULL: the
                            environment's MNT_FORCE, read when the device is opened */
    const mnt_allocator *allocator; /* NULL: malloc, realloc, free; copied */
    mnt_log_fn log;                 /* NULL: silence */
    void *log_user;
    bool profile; /* start with per-op timing on */
} mnt_device_desc;

#ifndef __cplusplus
#define MNT_DEVICE_DESC(...)                                                           \
    ((mnt_device_desc){ .size = sizeof(mnt_device_desc), __VA_ARGS__ })
#endif
/* Size and defaults, for C++ and for code that fills a desc step by step. */
MNT_API void mnt_device_desc_init(mnt_device_desc *desc);

/*
 * Opens a device. `desc` NULL means all defaults.
 * Errors: NOT_FOUND for an unknown backend (the sentence lists the known ones) or
 * index; INVALID for a malformed `force` or a negative count; DEVICE if the backend
 * cannot start; NO_MEMORY. With "auto" a backend that cannot open, or whose device is
 * simulated, is passed over and the reason logged; NOT_FOUND if none opens. The sentence
 * is in mnt_last_error(NULL).
 * Ownership: the caller closes it, after destroying all that was made from it.
 */
MNT_API MNT_CHECK mnt_status mnt_device_open(mnt_device **out,
                                             const mnt_device_desc *desc);
/* Waits, then frees the device. NULL is allowed. */
MNT_API void mnt_device_close(mnt_device *dev);

/*
 * The sentence of the last failure on this device, "" if none; valid until the next
 * failing call. NULL: the calling thread's last failure that had no device.
 */
MNT_API const char *mnt_last_error(const mnt_device *dev);

/* Waits until all queued work is done and reports what it met: DEVICE, LABEL, ... */
MNT_API MNT_CHECK mnt_status mnt_device_wait(mnt_device *dev);

/*
 * Asks the running mnt_graph_run() to stop at the next step boundary; it then returns
 * MNT_INTERRUPTED. Async-signal-safe, callable from any thread. A request made while
 * nothing runs stops the next run before its first step.
 */
MNT_API void mnt_device_interrupt(mnt_device *dev);

typedef struct mnt_device_info {
    size_t size;              /* in: sizeof(mnt_device_info) */
    const char *backend;      /* "cpu" */
    const char *name;         /* the processor's or GPU's own name */
    const char *detail;       /* instruction set, driver, library source, ... */
    int threads;              /* CPU worker threads, 0 where that means nothing */
    uint64_t memory_bytes;    /* device memory, 0 if unknown */
    uint64_t allocated_bytes; /* allocated now through this device */
    uint64_t peak_bytes;      /* the most allocated at one time */
} mnt_device_info;
/* Fills *info. The strings belong to the device. Errors: INVALID. */
MNT_API MNT_CHECK mnt_status mnt_device_get_info(mnt_device *dev,
                                                 mnt_device_info *info);

/*
 * The i-th choice that `force` admits on this device: "isa=avx2" for all of it,
 * "matmul=packed" for one op. NULL past the last. The string is valid until the next
 * call on the device.
 */
MNT_API const char *mnt_device_variant(mnt_device *dev, int i);

/* Registered backends, in the order that "auto" tries them. NULL past the end. Static.
 */
MNT_API int mnt_backend_count(void);
MNT_API const char *mnt_backend_name(int i);

#ifdef __cplusplus
}
#endif
#endif
