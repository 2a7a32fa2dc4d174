/* SPDX-License-Identifier: MIT */
/*
 * A model: named parameters, the optimizer's state for them, and the step counter, so
 * that training, evaluation and a checkpoint share one thing. Layers find or create
 * parameters by name; a model loaded from a file never invents a missing one.
 */
#ifndef MNT_MODEL_H
#define MNT_MODEL_H

#include <mnt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mnt_model_desc {
    size_t size;
    uint64_t seed; /* of initialisation; recorded in checkpoints */
} mnt_model_desc;
#ifndef __cplusplus
#define MNT_MODEL_DESC(...)                                                            \
    ((mnt_model_desc){ .size = sizeof(mnt_model_desc), .seed = 1, __VA_ARGS__ })
#endif
MNT_API void mnt_model_desc_init(mnt_model_desc *desc);

/* An empty model. Ownership: destroy after its graphs, before its device. */
MNT_API MNT_CHECK mnt_status mnt_model_create(mnt_model **out, mnt_device *dev,
                                              const mnt_model_desc *desc);
MNT_API void mnt_model_destroy(mnt_model *m);

/* How a new parameter starts. Values are drawn on the device by the same counter-based
 * generator everywhere; the stream is the crc32 of the name, so the order of creation
 * does not matter. */
typedef enum mnt_init_kind {
    MNT_INIT_ZERO,
    MNT_INIT_CONSTANT, /* a */
    MNT_INIT_UNIFORM,  /* [a, b) */
    MNT_INIT_NORMAL    /* mean a, standard deviation b */
} mnt_init_kind;
typedef struct mnt_init {
    mnt_init_kind kind;
    float a, b;
} mnt_init;

/*
 * Finds the f32 parameter `name` or creates it. Errors (sticky in g): SHAPE if it
 * exists with another shape; NOT_FOUND if the model was loaded from a file without it;
 * STATE if the graph has no model; INVALID for an empty name, one over 128 bytes, with
 * bytes below space, not UTF-8 or starting with "__opt."; NO_MEMORY. Ownership: the
 * model's.
 */
MNT_API mnt_tensor *mnt_param(mnt_graph *g, const char *name, mnt_shape shape,
                              mnt_init init);

MNT_API int mnt_model_param_count(const mnt_model *m);
/* The i-th parameter in order of name, or NULL. mnt_tensor_name(), _read(), _write().
 */
MNT_API mnt_tensor *mnt_model_param(const mnt_model *m, int i);
/* The parameter of that name, or NULL. */
MNT_API mnt_tensor *mnt_model_find(const mnt_model *m, const char *name);
/* Optimizer steps taken. Waits for queued work. */
MNT_API int64_t mnt_model_step(mnt_model *m);
MNT_API uint64_t mnt_model_seed(const mnt_model *m);

/*
 * Facts of the caller's own that a checkpoint carries (batch size, epoch, ...): a key
 * of 1 to 64 bytes of [a-z0-9_.], a value of at most 4096 bytes of UTF-8. NULL removes.
 * mnt_model_get_meta returns NULL when the key is absent; the text is the model's.
 */
MNT_API MNT_CHECK mnt_status mnt_model_set_meta(mnt_model *m, const char *key,
                                                const char *value);
MNT_API const char *mnt_model_get_meta(const mnt_model *m, const char *key);

/*
 * Writes parameters, optimizer state, step, seed and meta as a safetensors file: to a
 * temporary file in the same folder, fsync, rename, fsync of the folder, so that `path`
 * is the old file or the new one, never less. The bytes are a function of the model's
 * state alone. Of a model that was on a device with a variant forced that gives up the bits
 * (backend.h), or was loaded from such a file, the metadata say libmnt.relaxed. Errors: IO
 * with the system's reason (the old file is intact); NO_MEMORY.
 */
MNT_API MNT_CHECK mnt_status mnt_model_save(mnt_model *m, const char *path);

/*
 * A model from a file. Errors: IO; FORMAT (truncated, damaged, not safetensors);
 * MISMATCH for another numerics version or a file without libmnt's metadata; nothing is
 * created.
 */
MNT_API MNT_CHECK mnt_status mnt_model_load(mnt_model **out, mnt_device *dev,
                                            const char *path);

#ifdef __cplusplus
}
#endif
#endif
