/* SPDX-License-Identifier: MIT */
/*
 * The library's own structures and helpers; nothing here is visible outside lib/.
 *
 * One idea to read the rest: a tensor is a shape over a *storage*. A storage is either
 * persistent (has its buffer from the start: inputs, parameters, running totals) or
 * planned (gets its place in the graph's arena at compile, and only while it is alive).
 * Views are tensors that share a storage. A graph is a list of nodes over tensors;
 * compile turns live nodes into the backend's commands.
 */
#ifndef MNTI_CORE_H
#define MNTI_CORE_H

#include <mnt/backend.h>
#include <mnt/mnt.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define MNTI_ALIGN      64u /* bytes between tensors in one buffer */
#define MNTI_ERROR_TEXT 512

/* ---- device.c, status.c ---- */

struct mnt_device {
    const mnt_backend *backend;
    void *ctx;
    mnt_host host;
    mnt_allocator allocator;
    mnt_log_fn log;
    void *log_user;
    atomic_bool stop; /* set by mnt_device_interrupt() */
    atomic_bool told; /* the backend has been told to stop */
    bool said;        /* the backend has stored a sentence for the call it is in */
    bool relaxed;     /* a variant that gives up the bits is forced */
    char detail[256]; /* what the backend says of it, and that */
    uint64_t allocated, peak;
    mnt_graph *graphs; /* all graphs, for fault words and versions */
    mnt_status failed; /* of the failure whose sentence is `error` */
    char error[MNTI_ERROR_TEXT];
};

/* Stores the sentence (device's, or the thread's when dev is NULL) and returns status.
 */
mnt_status mnti_fail(mnt_device *dev, mnt_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
mnt_status mnti_vfail(mnt_device *dev, mnt_status status, const char *format,
                      va_list ap);
void mnti_log(mnt_device *dev, mnt_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Calls a slot that returns a status: whatever a backend answers, a failure is a status
 * of the list and has a sentence. Programs are submitted by mnti_submit() only. */
#define MNTI_CALL(dev, slot, ...)                                                      \
    ((dev)->said = false, mnti_judge((dev), (dev)->backend->slot(__VA_ARGS__), #slot))
mnt_status mnti_judge(mnt_device *dev, mnt_status status, const char *slot);

/* Host memory through the device's allocator; zeroed; NULL on failure (no sentence). */
void *mnti_alloc(mnt_device *dev, size_t bytes);
void *mnti_realloc(mnt_device *dev, void *p, size_t bytes);
void mnti_free(mnt_device *dev, void *p);
char *mnti_strdup(mnt_device *dev, const char *s);

/* Device memory, zeroed, counted. On failure the sentence names `what`. */
mnt_status mnti_buffer_alloc(mnt_device *dev, uint64_t bytes, const char *what,
                             void **buffer);
void mnti_buffer_free(mnt_device *dev, void *buffer, uint64_t bytes);

/* registry.c: the i-th backend, NULL past the end; by name, NULL if unknown. */
const mnt_backend *mnti_backend_at(int i);
const mnt_backend *mnti_backend_find(const char *name);
/* device.c: the vtable's supports(). If it is no, `why` becomes ": sentence" where the
 * backend gave one, else "". */
bool mnti_supports(mnt_device *dev, const mnt_cmd *cmd, char why[MNTI_ERROR_TEXT]);

/* Reads a desc of an older, smaller size over defaults. false if size is impossible. */
bool mnti_desc_read(void *out, size_t size, const void *desc);

/* ---- tensors (tensor.c) ---- */

typedef struct mnti_storage {
    mnt_device *dev;
    void *buffer;    /* NULL until placed */
    uint64_t offset; /* bytes */
    uint64_t bytes;
    bool planned;    /* lives in a graph's arena */
    bool owned;      /* the buffer is this storage's alone: free it with it */
    bool keep;       /* planned, but never reused within a run */
    bool dead;       /* fused away: nothing writes it */
    int first, last; /* commands between which it is alive; plan.c */
    int refs;
    uint64_t *version; /* parameters only */
} mnti_storage;

typedef struct mnti_param mnti_param;

struct mnt_tensor {
    mnt_device *dev;
    mnt_graph *graph; /* NULL: a model's or a data set's */
    mnti_storage *storage;
    mnt_dtype dtype;
    mnt_shape shape;
    int64_t stride[MNT_MAX_DIMS]; /* elements */
    int64_t start;                /* element 0, in elements from the storage's offset */
    bool needs_grad;
    bool leaf;         /* a parameter, or marked by mnt_tensor_require_grad() */
    mnt_tensor *grad;  /* a model's own tensor: that of the last mnt_backward() */
    mnti_param *param; /* of a parameter and of its stand-ins in graphs */
    char *name;        /* NULL: none */
    mnt_tensor *next;  /* in its owner's list */
};

/*
 * A tensor with persistent memory of its own, zeroed. graph NULL: the caller owns it
 * (mnti_tensor_free). NULL after a failure; the sentence is stored.
 */
mnt_tensor *mnti_tensor_persistent(mnt_device *dev, mnt_graph *graph, mnt_dtype dtype,
                                   mnt_shape shape);
/* A tensor over `storage` (one more reference), contiguous from `start`. NULL: memory.
 */
mnt_tensor *mnti_tensor_over(mnt_device *dev, mnt_graph *graph, mnti_storage *storage,
                             mnt_dtype dtype, mnt_shape shape, int64_t start);
void mnti_tensor_free(mnt_tensor *t);
mnti_storage *mnti_storage_new(mnt_device *dev, uint64_t bytes, bool planned);
void mnti_storage_release(mnti_storage *s);
bool mnti_contiguous(const mnt_tensor *t);
uint64_t mnti_tensor_bytes(const mnt_tensor *t);
/* "[32,784]" into buf; returns buf. */
typedef struct mnti_text {
    char s[160];
} mnti_text;
mnti_text mnti_shape_text(mnt_shape shape);
void mnti_row_major(mnt_shape shape, int64_t stride[MNT_MAX_DIMS]);
/* The operand of a placed tensor; of an unplaced one, buffer is NULL. */
mnt_operand mnti_operand(const mnt_tensor *t);

/* ---- models (model.c, optimizer.c) ---- */

/* Whether s is well-formed UTF-8 (RFC 3629); safetensors.c. */
bool mnti_utf8(const char *s);

typedef enum mnti_optimizer {
    MNTI_OPT_NONE,
    MNTI_OPT_SGD,
    MNTI_OPT_ADAM
} mnti_optimizer;

struct mnti_param {
    mnt_model *model;
    mnt_tensor *w;
    mnt_tensor *m, *v; /* optimizer state, f32 of w's shape; NULL: none yet */
    mnt_init init;
    bool placed; /* has memory and its first values */
};

typedef struct mnti_meta {
    char *key, *value;
} mnti_meta;

struct mnt_model {
    mnt_device *dev;
    uint64_t seed;
    bool loaded;         /* from a file: never invents parameters */
    bool relaxed;        /* its values may come from variants that give up the bits */
    mnti_param **params; /* sorted by name; the pointers stay */
    int count, capacity;
    mnti_meta *metas; /* sorted by key */
    int meta_count;
    mnti_optimizer optimizer;
    mnt_args_optim optim; /* of the optimizer that last recorded; checkpointed */
    mnt_tensor *state;    /* u32 [MNT_STATE_WORDS], see backend.h */
    uint64_t version;     /* of every parameter */
    struct mnti_segment { /* flat blocks that hold parameters and their m, v */
        void *buffer;
        uint64_t bytes;
        struct mnti_segment *next;
    } * segments;
};

/* Whether a parameter may have this name; INVALID with the sentence stored. */
mnt_status mnti_param_name(mnt_device *dev, const char *name);
/* Adds a parameter without placing it; NULL after a failure with the sentence stored.
 */
mnti_param *mnti_model_add(mnt_model *m, const char *name, mnt_shape shape,
                           mnt_init init);
mnti_param *mnti_model_param(const mnt_model *m, const char *name);
/* Gives memory and first values to parameters that have none yet. */
mnt_status mnti_model_place(mnt_model *m);
/* Gives every parameter the state that `kind` needs (sgd without momentum: none). */
mnt_status mnti_model_optimizer(mnt_model *m, mnti_optimizer kind,
                                const mnt_args_optim *args);

/* ---- graphs (graph.c, backward.c, plan.c, fuse.c, dump.c) ---- */

/* A node records a command, or, with op MNT_OP_COUNT, that out[0] is a view of in[0].
 */
#define MNTI_VIEW MNT_OP_COUNT

typedef enum mnti_view_kind {
    MNTI_RESHAPE,
    MNTI_PERMUTE,
    MNTI_SLICE,
    MNTI_BROADCAST
} mnti_view_kind;

typedef struct mnti_view {
    mnti_view_kind kind;
    int order[MNT_MAX_DIMS]; /* permute */
    int axis;                /* slice */
    int64_t begin;           /* slice */
} mnti_view;

typedef struct mnti_node {
    mnt_op op;
    mnt_tensor *in[MNT_MAX_IN];
    mnt_tensor *out[MNT_MAX_OUT];
    mnt_args args;
    mnti_view view; /* of an MNTI_VIEW */
    bool dead;      /* replaced by fusion */
} mnti_node;

struct mnt_graph {
    mnt_device *dev;
    mnt_model *model;
    bool eager, keep_all, no_fusion, guard;
    char *name;
    mnt_status status; /* first failure of recording */
    char error[MNTI_ERROR_TEXT];
    mnti_node *nodes;
    int count, capacity;
    mnt_tensor *tensors; /* owned */
    mnt_tensor **params; /* stand-ins for the model's parameters, by first use */
    int param_count, param_capacity;
    mnt_tensor *fault;   /* u32 [4] */
    mnt_tensor *counter; /* u32 [2]: replays, for random ops; NULL: none used */
    mnt_tensor *one;     /* f32 []: the upstream gradient of a loss */
    bool backward_done, optimizer_done, compiled, writes_params;
    /* plan */
    void *arena;
    uint64_t arena_bytes, unplanned_bytes;
    mnt_cmd *cmds;
    int *cmd_node; /* node of each command */
    int cmd_count;
    void *prepared;
    int64_t replays;
    bool ran;        /* since the fault word was last looked at */
    mnt_graph *next; /* of the device */
};

/* Records the graph's first failure; returns NULL so that ops can `return` it. */
mnt_tensor *mnti_graph_fail(mnt_graph *g, mnt_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A planned output tensor (persistent in an eager graph). NULL after failure. */
mnt_tensor *mnti_graph_tensor(mnt_graph *g, mnt_dtype dtype, mnt_shape shape);
/* Appends a node (and executes it in an eager graph). Copies operands that the op wants
 * contiguous. Returns false after failure. */
bool mnti_record(mnt_graph *g, mnt_op op, mnt_tensor *const in[], int n_in,
                 mnt_tensor *const out[], int n_out, mnt_args args);
bool mnti_record_view(mnt_graph *g, mnt_tensor *x, mnt_tensor *y,
                      const mnti_view *view);
/* True if ops may go on: g is there and clean, every tensor is non-NULL and g's. */
bool mnti_graph_accepts(mnt_graph *g, mnt_op op, mnt_tensor *const in[], int n_in);
/* The persistent tensors that some commands share, made on first use; NULL: failure. */
mnt_tensor *mnti_graph_fault(mnt_graph *g);
mnt_tensor *mnti_graph_counter(mnt_graph *g);
/* Executes one node at once: the way of eager graphs and of parameter initialisation.
 */
mnt_status mnti_execute(mnt_device *dev, const mnti_node *node, uint32_t id);
/* The backend's command for a node, as far as its tensors are placed. */
void mnti_make_cmd(const mnti_node *node, uint32_t id, mnt_cmd *cmd);
/* submit(), with *done made sure of: in [0, n], and n if the status is OK. */
mnt_status mnti_submit(mnt_device *dev, void *prepared, int64_t n, int64_t *done);
/* Waits and turns fault words and backend failures into a status. */
mnt_status mnti_sync(mnt_device *dev);
/* The same for one graph; what others met is left for them to report. */
mnt_status mnti_sync_graph(mnt_graph *g);

/* Gradient rules by op; NULL: none. dy is the gradient of out[0] (never NULL). */
typedef void (*mnti_grad_fn)(mnt_graph *g, const mnti_node *node, mnt_tensor *dy);
extern const mnti_grad_fn mnti_grad[MNT_OP_COUNT];
/* Adds `dx` to the gradient of x, if x wants one. */
void mnti_add_grad(mnt_graph *g, mnt_tensor *x, mnt_tensor *dx);

/* Replaces patterns of nodes by fused ones the backend supports. */
mnt_status mnti_fuse(mnt_graph *g);

/* ---- arithmetic of an op, for profiles (cost.c) ---- */
double mnti_cmd_flops(const mnt_cmd *cmd);
double mnti_cmd_bytes(const mnt_cmd *cmd);

#endif
