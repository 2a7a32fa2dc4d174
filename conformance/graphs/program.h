/* SPDX-License-Identifier: MIT */
/*
 * A graph as data, before any library call: steps over numbered values. graph_build()
 * makes it from a text; makers (make_*.c) draw one node each, with a generator of
 * random numbers of its own, from the values that are there. Nothing here touches a
 * device, so shapes and the existence of gradients are predicted, not asked for.
 */
#ifndef GRAPH_PROGRAM_H
#define GRAPH_PROGRAM_H

#include "graphs.h"

#define GRAPH_MAX_NODES  40
#define GRAPH_MAX_AFTER  8 /* mid, late */
#define GRAPH_MAX_STEPS  448
#define GRAPH_MAX_VALUES 512
#define GRAPH_MAX_BOUND  24 /* log2 of the largest magnitude */

#define GRAPH_LEAF 1u /* reads nothing */
#define GRAPH_VIEW 2u /* its result lies in its operand's memory, or may */
#define GRAPH_GRAD 4u /* has a gradient */

/* ORDER: record.c's table. kind, flags, names of the integers. */
#define GRAPH_KINDS(X)                                                                 \
    X(input, GRAPH_LEAF, "grad")                                                       \
    X(constant, GRAPH_LEAF, "")                                                        \
    X(param, GRAPH_LEAF, "init")                                                       \
    X(batch, GRAPH_LEAF, "batch")                                                      \
    X(fill, GRAPH_LEAF, "")                                                            \
    X(uniform, GRAPH_LEAF, "stream")                                                   \
    X(normal, GRAPH_LEAF, "stream")                                                    \
    X(matmul, GRAPH_GRAD, "tx tw")                                                     \
    X(dense, GRAPH_GRAD, "out layer")                                                  \
    X(conv2d, GRAPH_GRAD, "sh sw ph pw dh dw groups")                                  \
    X(conv_layer, GRAPH_GRAD, "sh sw ph pw dh dw groups out kh kw layer")              \
    X(bias_add, GRAPH_GRAD, "")                                                        \
    X(add, GRAPH_GRAD, "")                                                             \
    X(sub, GRAPH_GRAD, "")                                                             \
    X(mul, GRAPH_GRAD, "")                                                             \
    X(div, GRAPH_GRAD, "")                                                             \
    X(scale, GRAPH_GRAD, "")                                                           \
    X(relu, GRAPH_GRAD, "")                                                            \
    X(sum, GRAPH_GRAD, "axis")                                                         \
    X(mean, GRAPH_GRAD, "axis")                                                        \
    X(argmax, 0u, "axis")                                                              \
    X(softmax, GRAPH_GRAD, "")                                                         \
    X(cross_entropy, GRAPH_GRAD, "")                                                   \
    X(accuracy_count, 0u, "")                                                          \
    X(max_pool2d, GRAPH_GRAD, "kh kw sh sw ph pw default")                             \
    X(im2col, GRAPH_GRAD, "kh kw sh sw ph pw dh dw")                                   \
    X(col2im, GRAPH_GRAD, "kh kw sh sw ph pw dh dw")                                   \
    X(reshape, GRAPH_GRAD | GRAPH_VIEW, "infer")                                       \
    X(flatten, GRAPH_GRAD | GRAPH_VIEW, "")                                            \
    X(permute, GRAPH_GRAD | GRAPH_VIEW, "order")                                       \
    X(slice, GRAPH_GRAD | GRAPH_VIEW, "axis start length")                             \
    X(broadcast, GRAPH_GRAD | GRAPH_VIEW, "")                                          \
    X(contiguous, GRAPH_GRAD | GRAPH_VIEW, "")                                         \
    X(cast, GRAPH_GRAD, "unit")                                                        \
    X(gather, 0u, "unit")                                                              \
    X(accumulate, 0u, "")                                                              \
    X(backward, 0u, "")                                                                \
    X(gradient, GRAPH_VIEW, "")                                                        \
    X(optimizer, 0u, "")

typedef enum graph_kind {
#define GRAPH_ENUM(kind, flags, names) GRAPH_##kind,
    GRAPH_KINDS(GRAPH_ENUM)
#undef GRAPH_ENUM
        GRAPH_KIND_COUNT
} graph_kind;

typedef struct graph_value {
    mnt_dtype dtype;
    mnt_shape shape;
    int step;      /* its producer */
    bool plain;    /* row-major for certain */
    bool needs;    /* a gradient, if backward reaches it */
    bool has;      /* backward reaches it */
    bool tainted;  /* may hold NaN or infinities */
    bool hidden;   /* inside of a chain: later nodes do not read it */
    bool keep;     /* by mnt_tensor_keep() */
    bool name;     /* gets one by mnt_tensor_set_name() */
    int readers;   /* present steps that read it */
    int bound;     /* log2 of its largest magnitude */
    int64_t limit; /* i32: in [0, limit); 0: unknown */
} graph_value;

typedef struct graph_step {
    graph_kind kind;
    int node; /* bit of skip; -1: none */
    int n_in, n_out;
    int in[3], out[2];
    int64_t p[11];
    float f[2];
    bool present;
} graph_step;

typedef struct graph_program {
    kit_case words; /* only its text is used */
    uint64_t seed, skip;
    int nodes, mid, late, replays;
    char end[24], opt[24], v[24];
    bool keep, all, feed, write, twin, fault, check;
    bool wild;        /* convolutions take NaN too, but then have no gradient */
    bool big;         /* sizes past the tiles of fast kernels */
    int64_t most;     /* elements of a tensor */
    double most_work; /* multiply-adds of the forward part */
    graph_step *steps;
    int count;
    graph_value *values;
    int value_count;
    kit_rng rng; /* of the node being made */
    int node;
    double work;
    /* the data set of batch steps */
    int64_t samples, classes;
    mnt_shape sample;
} graph_program;

const char *graph_kind_name(graph_kind kind);
const char *graph_kind_words(graph_kind kind);
unsigned graph_kind_flags(graph_kind kind);

/* Never NULL; ends the process for a text that is none. */
graph_program *graph_build(const char *text);
void graph_program_free(graph_program *p);
/* A generator for one purpose, a function of the seed. */
kit_rng graph_rng(const graph_program *p, const char *purpose, int i);
bool graph_holds(const graph_program *p, graph_kind kind);
/* The value must be read by the runner; it must be kept for that. */
bool graph_reads(const graph_program *p, int value);
bool graph_keeps(const graph_program *p, int value);

/* ---- for makers ---- */
bool graph_chance(graph_program *p, int percent);
int64_t graph_draw(graph_program *p, int64_t lo, int64_t hi); /* [lo, hi] */
/* The same; in a big program sometimes up to `big`. */
int64_t graph_size(graph_program *p, int64_t lo, int64_t hi, int64_t big);
/* A live value that fits, the latest more often; -1: none. */
typedef bool (*graph_fits)(const graph_value *v);
int graph_pick(graph_program *p, graph_fits fits);
bool graph_is_f32(const graph_value *v);
bool graph_is_matrix(const graph_value *v);
bool graph_is_image(const graph_value *v);
/* Appends a step with its operands (ended by -1); results follow by graph_result_of().
 * The step is valid until the next append. */
graph_step *graph_append(graph_program *p, graph_kind kind, int a, int b, int c);
/* needs, tainted and the bound of operands are taken over; returns the value's number.
 */
int graph_result_of(graph_program *p, mnt_dtype dtype, mnt_shape shape, int bound);
/* One step with one f32 result; -1 if it is too large in any sense. */
int graph_op(graph_program *p, graph_kind kind, int a, int b, mnt_shape shape,
             int bound, double work);
int graph_log2(int64_t n); /* rounded up; 0 for n < 2 */
bool graph_equal(mnt_shape a, mnt_shape b);

/* make_leaf.c */
int graph_input(graph_program *p, mnt_dtype dtype, mnt_shape shape, int64_t limit);
int graph_param(graph_program *p, mnt_shape shape);
/* A parameter, input, constant or live value of that shape. */
int graph_operand(graph_program *p, mnt_shape shape);
int graph_labels(graph_program *p, int64_t count, int64_t classes);
/* make_view.c: a row-major value of another shape, same count. */
int graph_reshaped(graph_program *p, int x, mnt_shape shape);
/* make_loss.c: a scalar from something that needs a gradient; -1: none is there. */
int graph_loss(graph_program *p, const char *kind);

typedef struct graph_maker {
    const char *name;
    int weight;
    bool (*make)(graph_program *p); /* false: nothing fits; steps made are dropped */
} graph_maker;
/* Ended by a NULL name. */
extern const graph_maker graph_leaf_makers[];
extern const graph_maker graph_elementwise_makers[];
extern const graph_maker graph_view_makers[];
extern const graph_maker graph_product_makers[];
extern const graph_maker graph_image_makers[];
extern const graph_maker graph_loss_makers[];

#endif
