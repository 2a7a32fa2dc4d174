/* SPDX-License-Identifier: MIT */
/*
 * The case engine: oracle, case table, engine. A kit_op knows how to record one op
 * through the public API and what the oracle says about it; a case is one line of text
 * ("m=5 n=7 k=33 ta=1 view=sliced"); the engine makes data, runs forward and backward
 * on any device and compares bits with another device, or values with the oracle's
 * bounds.
 *
 * Text of a case: key=value words. {a,b,c} expands to one case each. Keys of the
 * engine: v, v1, v2        values of input 0, 1, 2 (kit_fill); else uniform in [-1, 1)
 *   view, view1      how an input lies in memory: plain, offset<N>, transposed, sliced,
 *                    stretched
 *   param=1          input 1 is a parameter of a model (packed copies may be kept)
 *   grad=0           forward only
 */
#ifndef TESTS_KIT_H
#define TESTS_KIT_H

#include "../oracle/oracle.h"
#include "support.h"

#include <mnt/backend.h>

#define KIT_MAX_IN  4
#define KIT_MAX_OPS 48
#define KIT_TEXT    192

typedef struct kit_op kit_op;

typedef struct kit_in {
    mnt_dtype dtype;
    mnt_shape shape;
    const char *param; /* name of a model's parameter; NULL: an input */
    bool grad;         /* its gradient is compared */
    int64_t limit;     /* i32: values in [0, limit) */

    /* Made by kit_case_init(). An element i of the op's operand is base[map[i]]. */
    char values[24], view[24];
    mnt_shape base_shape;
    void *base;
    int64_t *map;
} kit_in;

typedef struct kit_case {
    const kit_op *op;
    char text[KIT_TEXT];
    int n;
    kit_in in[KIT_MAX_IN];
    bool backward; /* the op has a gradient and every value is finite */
} kit_case;

struct kit_op {
    const char *name;
    /* Fills dtype, shape, grad, limit, param of each input; returns how many. */
    int (*inputs)(const kit_case *c, kit_in in[]);
    mnt_tensor *(*record)(mnt_graph *g, mnt_tensor *const in[], const kit_case *c);
    ora (*forward)(const kit_case *c, const ora in[]);
    /* Fills dx of the inputs marked grad; NULL: no gradient. */
    void (*backward)(const kit_case *c, const ora in[], const ora *dy, ora dx[]);
    bool moves; /* bits are kept, subnormals too */
};

extern const kit_op kit_matmul, kit_dense, kit_add, kit_sub, kit_mul, kit_scale,
    kit_relu, kit_bias_add, kit_reuse, kit_sum, kit_mean, kit_argmax, kit_softmax,
    kit_cross_entropy, kit_accuracy_count, kit_conv2d, kit_conv_block, kit_im2col,
    kit_col2im, kit_max_pool2d, kit_copy, kit_view, kit_reshape, kit_flatten, kit_cast,
    kit_gather, kit_fill_op;
/* The table of ops, ended by NULL, and a lookup that fails the test. */
extern const kit_op *const kit_ops[];
const kit_op *kit_op_find(const char *name);

/* ---- text of a case ---- */
int64_t kit_int(const kit_case *c, const char *key, int64_t otherwise);
double kit_num(const kit_case *c, const char *key, double otherwise);
/* The word behind key=, or `otherwise`, in buf. */
const char *kit_word(const kit_case *c, const char *key, const char *otherwise,
                     char buf[24]);
/* "2x3" -> [2,3]; "scalar" -> []; fails the test when the key is missing. */
mnt_shape kit_shape(const kit_case *c, const char *key);
bool kit_has(const kit_case *c, const char *key);
typedef void (*kit_text_fn)(void *ctx, const char *text);
void kit_expand(const char *pattern, kit_text_fn fn, void *ctx);

/* ---- data ---- */
void kit_case_init(kit_case *c, const kit_op *op, const char *text);
void kit_case_free(kit_case *c);
/* An f32 array by pattern name: random ties zeros special nan inf ninf subnormal large
 * huge equal ones spaced wide. */
void kit_fill(float *x, int64_t n, const char *pattern, sup_rng *r);
/* The operand as the oracle sees it; subnormals are flushed unless the op moves. */
ora kit_operand(const kit_case *c, int i);
/* Upstream gradient: random, a few zeros, never 1. */
void kit_upstream(const kit_case *c, float *dy, int64_t n);

/* ---- running ---- */
typedef struct kit_mode {
    bool eager, no_fusion, guard, backward;
} kit_mode;
typedef struct kit_result {
    mnt_dtype dtype;
    mnt_shape shape;
    void *y;
    float *grad[KIT_MAX_IN]; /* of the base; NULL: none */
    bool backward;           /* gradients were asked for */
    uint64_t ops;            /* bit i: a command of op i was in the program */
    char error[256];
} kit_result;
/* Runs three replays (one if eager) that must agree. OK, or the failing status with
 * the sentence in r->error. */
mnt_status kit_run(mnt_device *dev, const kit_case *c, kit_mode mode, kit_result *r);
void kit_result_free(kit_result *r);

/* ---- checking: false after printing what differs, where, and the case ---- */
bool kit_same(const kit_case *c, const char *where, const kit_result *want,
              const kit_result *got);
bool kit_right(const kit_case *c, const char *where, const kit_result *got);
/* First element of `got` outside the oracle's bounds, -1 if none. */
int64_t kit_outside(const ora *want, mnt_dtype dtype, const void *got, bool moves);
/* A gradient of an operand gathered into its base. */
ora kit_to_base(const kit_in *in, const ora *dx);

/* ---- coverage: what the backend ran, by command op and kernel name ---- */
uint64_t kit_note_kernels(mnt_graph *g); /* the set of ops, as kit_result.ops */
bool kit_op_ran(const char *op);
bool kit_kernel_ran(const char *op, const char *kernel_part);
void kit_print_kernels(void);

#endif
