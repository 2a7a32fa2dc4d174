/* SPDX-License-Identifier: MIT */
/*
 * Ground for every other header: version, status codes, data types, shapes, and the
 * two rules that hold everywhere.
 *
 * Errors: a call that can fail returns mnt_status; 0 is success, failures are negative.
 * mnt_last_error() gives one sentence naming the op, shape, file or option. Nothing a
 * caller or a file can cause ends the process.
 *
 * Descriptors: an options struct starts with its own size and is made by its macro,
 * MNT_..._DESC(.field = value), which fills size and defaults. NULL means all defaults.
 * A caller compiled against an older, smaller struct stays accepted.
 */
#ifndef MNT_BASE_H
#define MNT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(MNT_STATIC)
#define MNT_API
#elif defined(_WIN32)
#error "libmnt has not been ported to Windows"
#else
#define MNT_API __attribute__((visibility("default")))
#endif

#define MNT_CHECK __attribute__((warn_unused_result))

/* The MNT_..._DESC macros set a default that the caller's own initialiser may override;
 * compilers warn about that pattern, which here is the purpose. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides"
#elif !defined(__cplusplus)
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MNT_VERSION_MAJOR 0
#define MNT_VERSION_MINOR 1
#define MNT_VERSION_PATCH 0
#define MNT_VERSION       "0.1.0"

/* The version of the bit-exactness contract (docs/numerics.md). Stored in checkpoints.
 */
#define MNT_NUMERICS_VERSION 1

/* The library's version at run time, "major.minor.patch". Static storage. */
MNT_API const char *mnt_version(void);

/* ORDER: name, value, text. The one list of status codes. */
#define MNT_STATUS_LIST(X)                                                             \
    X(OK, 0, "success")                                                                \
    X(INVALID, -1, "invalid argument")                                                 \
    X(NO_MEMORY, -2, "out of memory")                                                  \
    X(SHAPE, -3, "shapes do not fit")                                                  \
    X(DTYPE, -4, "data types do not fit")                                              \
    X(UNSUPPORTED, -5, "not supported by this backend")                                \
    X(NOT_FOUND, -6, "not found")                                                      \
    X(IO, -7, "input or output failed")                                                \
    X(FORMAT, -8, "malformed file")                                                    \
    X(MISMATCH, -9, "file does not belong to this model")                              \
    X(LABEL, -10, "label out of range")                                                \
    X(STATE, -11, "call out of order")                                                 \
    X(INTERRUPTED, -12, "interrupted")                                                 \
    X(DEVICE, -13, "device failed")                                                    \
    X(ABI, -14, "binary interface versions differ")                                    \
    X(LIMIT, -15, "a limit was exceeded")

typedef enum mnt_status {
#define MNT_STATUS_ENUM(name, value, text) MNT_##name = (value),
    MNT_STATUS_LIST(MNT_STATUS_ENUM)
#undef MNT_STATUS_ENUM
} mnt_status;

/* "MNT_SHAPE" and the like; "unknown status" for a value outside the list. Static. */
MNT_API const char *mnt_status_name(mnt_status status);
/* The general meaning of a status; the particular one is in mnt_last_error(). Static.
 */
MNT_API const char *mnt_status_text(mnt_status status);

/* ORDER: name, value, bytes per element, safetensors name. */
#define MNT_DTYPE_LIST(X)                                                              \
    X(F32, 0, 4, "F32")                                                                \
    X(F16, 1, 2, "F16")                                                                \
    X(I32, 2, 4, "I32")                                                                \
    X(U8, 3, 1, "U8")                                                                  \
    X(U32, 4, 4, "U32")

typedef enum mnt_dtype {
#define MNT_DTYPE_ENUM(name, value, bytes, st) MNT_##name = (value),
    MNT_DTYPE_LIST(MNT_DTYPE_ENUM)
#undef MNT_DTYPE_ENUM
        MNT_DTYPE_COUNT
} mnt_dtype;

/* Bytes per element; 0 for a value outside the list. */
MNT_API size_t mnt_dtype_size(mnt_dtype dtype);
/* "f32", "i32", ...; "?" for a value outside the list. Static. */
MNT_API const char *mnt_dtype_name(mnt_dtype dtype);

#define MNT_MAX_DIMS 6

/*
 * A row-major shape; dim[ndim-1] varies fastest. ndim 0 is a scalar of one element, a
 * dim of 0 an empty tensor. Images are NCHW, convolution weights [out, in, kh, kw].
 */
typedef struct mnt_shape {
    int ndim;
    int64_t dim[MNT_MAX_DIMS];
} mnt_shape;

#ifndef __cplusplus
/* MNT_SHAPE(32, 784): a shape from 1 to MNT_MAX_DIMS dims. */
#define MNT_SHAPE(...)                                                                 \
    ((mnt_shape){ .ndim = (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), \
                  .dim = { __VA_ARGS__ } })
#endif

/* Elements of a shape: the product of its dims, 1 for ndim 0; -1 if it overflows or a
 * dim is negative or ndim is out of range. */
MNT_API int64_t mnt_shape_count(mnt_shape shape);

typedef struct mnt_device mnt_device;
typedef struct mnt_model mnt_model;
typedef struct mnt_graph mnt_graph;
typedef struct mnt_tensor mnt_tensor;
typedef struct mnt_dataset mnt_dataset;

#ifdef __cplusplus
}

#include <initializer_list>
/* C++ has no compound literals: MNT_SHAPE there is this function. */
inline mnt_shape mnt_make_shape(std::initializer_list<int64_t> dims)
{
    mnt_shape s = {};
    for (int64_t d : dims) {
        if (s.ndim < MNT_MAX_DIMS)
            s.dim[s.ndim] = d;
        s.ndim++;
    }
    return s;
}
#define MNT_SHAPE(...) mnt_make_shape({ __VA_ARGS__ })
#endif

#endif
