/* SPDX-License-Identifier: MIT */
/*
 * Record once, replay: mnt_<op>() calls append commands to a graph, mnt_backward() and
 * an optimizer append more, mnt_graph_compile() plans them, mnt_graph_run() replays
 * them.
 *
 * Recording is sticky: the first failure stays in the graph, the op returns NULL, every
 * op accepts NULL, and compile reports that first failure. So a network can be written
 * without a check on every line. An op recorded on a compiled graph is such a failure too:
 * it makes later runs of that graph fail.
 */
#ifndef MNT_GRAPH_H
#define MNT_GRAPH_H

#include <mnt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mnt_graph_desc {
    size_t size;
    bool eager;       /* execute each op when it is recorded; same bits as replay */
    bool keep_all;    /* every tensor stays readable after a run (more memory) */
    bool no_fusion;   /* run the commands as recorded; same bits as fused */
    bool guard;       /* debugging: poison planned memory before each run and put guard
                         bands around every tensor; mnt_graph_check_guards() looks */
    const char *name; /* for dumps and messages; copied */
} mnt_graph_desc;

#ifndef __cplusplus
#define MNT_GRAPH_DESC(...)                                                            \
    ((mnt_graph_desc){ .size = sizeof(mnt_graph_desc), __VA_ARGS__ })
#endif
MNT_API void mnt_graph_desc_init(mnt_graph_desc *desc);

/*
 * A graph on a device. `model` holds the parameters that layers find or create by name;
 * NULL for a graph that has none. Errors: INVALID, NO_MEMORY.
 * Ownership: the caller destroys it before the model and the device. Its tensors belong
 * to it and die with it.
 */
MNT_API MNT_CHECK mnt_status mnt_graph_create(mnt_graph **out, mnt_device *dev,
                                              mnt_model *model,
                                              const mnt_graph_desc *desc);
MNT_API void mnt_graph_destroy(mnt_graph *g);

/*
 * Plans what was recorded: fuses, assigns memory, prepares the backend. Returns the
 * first failure of recording if there was one. Errors: UNSUPPORTED naming op and shapes
 * when the backend lacks an op; STATE when called twice; NO_MEMORY. An eager graph
 * needs no compile; there it only reports the first failure.
 */
MNT_API MNT_CHECK mnt_status mnt_graph_compile(mnt_graph *g);

/*
 * Queues n replays and does not wait (a CPU backend may do the work inside the call).
 * Errors: STATE before compile; INVALID for n < 0; INTERRUPTED after
 * mnt_device_interrupt() (the replays done so far count, mnt_graph_replays()); LABEL
 * and DEVICE as reported by the device.
 */
MNT_API MNT_CHECK mnt_status mnt_graph_run(mnt_graph *g, int64_t n);

/* Replays completed since creation; waits for queued ones. */
MNT_API int64_t mnt_graph_replays(mnt_graph *g);
/* The first failure of recording, or MNT_OK. The sentence is in mnt_last_error(). */
MNT_API mnt_status mnt_graph_status(const mnt_graph *g);

/*
 * Records the gradients of `y` with respect to every parameter and every tensor marked
 * by mnt_tensor_require_grad() that it depends on. `dy` is the upstream gradient, the
 * shape of y; NULL means 1 and then y must have one element. Call it once per graph.
 * A gradient that nothing flows into does not exist: mnt_tensor_grad() returns NULL.
 */
MNT_API void mnt_backward(mnt_graph *g, mnt_tensor *y, mnt_tensor *dy);

/* The parameters that this graph uses, in order of first use; NULL past the end. Their
 * mnt_tensor_grad() is this graph's gradient, readable after a run without keeping. */
MNT_API mnt_tensor *mnt_graph_param(const mnt_graph *g, int i);

/* Memory of the plan, in bytes: planned arena, and what the same tensors would take
 * without reuse. Zero before compile. */
MNT_API void mnt_graph_memory(const mnt_graph *g, uint64_t *arena, uint64_t *unplanned);

/* With desc.guard: OK, or STATE naming the tensor whose guard band was overwritten.
 * Without: STATE saying so. */
MNT_API MNT_CHECK mnt_status mnt_graph_check_guards(mnt_graph *g);

/*
 * Writes the commands, one a line, with shapes, arguments and (after compile) memory
 * offsets, to a NUL-terminated string that the caller frees with mnt_free(dev, text).
 * Errors: NO_MEMORY.
 */
MNT_API MNT_CHECK mnt_status mnt_graph_dump(const mnt_graph *g, char **text);
/* Frees memory handed out by the library with the device's allocator. */
MNT_API void mnt_free(mnt_device *dev, void *p);

/*
 * An input: persistent memory, zero at first, filled by mnt_tensor_write(). Any dtype.
 */
MNT_API mnt_tensor *mnt_input(mnt_graph *g, mnt_dtype dtype, mnt_shape shape);
/* An input that starts with `data`, mnt_shape_count(shape) elements, copied. */
MNT_API mnt_tensor *mnt_constant(mnt_graph *g, mnt_dtype dtype, mnt_shape shape,
                                 const void *data);

MNT_API mnt_dtype mnt_tensor_dtype(const mnt_tensor *t);
MNT_API mnt_shape mnt_tensor_shape(const mnt_tensor *t);
MNT_API int64_t mnt_tensor_count(const mnt_tensor *t); /* elements; 0 for NULL */
/* A parameter's name, the name given by mnt_tensor_set_name(), or "". */
MNT_API const char *mnt_tensor_name(const mnt_tensor *t);
MNT_API void mnt_tensor_set_name(mnt_tensor *t, const char *name);
/* Keeps a tensor's memory after a run so that it can be read. Before compile. */
MNT_API void mnt_tensor_keep(mnt_tensor *t);
/* Asks mnt_backward() for the gradient of an input. Before the ops that use it. */
MNT_API void mnt_tensor_require_grad(mnt_tensor *t);
/* The gradient that mnt_backward() recorded for t, or NULL. Keep it to read it, unless
 * t is a parameter or was marked by mnt_tensor_require_grad(). For a model's own tensor
 * (mnt_model_param()) it is that of the graph whose backward was recorded last, NULL once
 * that graph is destroyed; mnt_graph_param() tells graphs apart. */
MNT_API mnt_tensor *mnt_tensor_grad(const mnt_tensor *t);

/*
 * Copies a whole tensor to or from the host in row-major order; `bytes` must be its
 * size. Both are ordered after the replays already queued; read waits for them. Errors:
 * SHAPE if bytes differ; STATE for a tensor whose memory the plan reuses (keep it), or
 * one not yet planned; LABEL, DEVICE from the work waited for.
 */
MNT_API MNT_CHECK mnt_status mnt_tensor_write(mnt_tensor *t, const void *data,
                                              size_t bytes);
MNT_API MNT_CHECK mnt_status mnt_tensor_read(mnt_tensor *t, void *data, size_t bytes);

/*
 * Prints a tensor's head, with shape, dtype and a slice of at most `limit` values a
 * dim, to a string that the caller frees with mnt_free(). Errors: as mnt_tensor_read().
 */
MNT_API MNT_CHECK mnt_status mnt_tensor_format(mnt_tensor *t, int64_t limit,
                                               char **text);

#ifdef __cplusplus
}
#endif
#endif
