/* SPDX-License-Identifier: MIT */
/*
 * The case engine. A kit_op knows how to record one op through the public API, what
 * the oracle says about it, and how to draw random cases of it. A case is one line of
 * text ("m=5 n=7 k=33 ta=1 view=sliced") and everything in it is a function of that
 * text; the engine makes data, runs forward and backward on any device, and compares
 * bits with another device's or values with the oracle's bounds.
 *
 * Text of a case: key=value words. {a,b,c} expands to one case each. Keys of the
 * engine: v, v1, v2        values of input 0, 1, 2 (kit_fill); else uniform in [-1, 1)
 *   view, view1      how an input lies in memory: plain, offset<N>, transposed, sliced,
 *                    stretched
 *   param=1          input 1 is a parameter of a model (packed copies may be kept)
 *   grad=0           forward only
 *   dy=              values of the upstream gradient (kit_fill); else random, never 1
 *   replays=N        of a KIT_STATE op (5); of the others, where it exceeds 3
 *   queued=1         a KIT_STATE op: all replays in one submission, the last y is read
 *   bad=R:V, bad2    row R of the labels or the index is V: a number, min, max or limit
 *   salt=N           the same case with other values
 */
#ifndef KIT_H
#define KIT_H

#include "../oracle/oracle.h"
#include "base.h"

#include <mnt/backend.h>

#define KIT_MAX_IN   4
#define KIT_TEXT     320
#define KIT_SENTENCE 640

typedef struct kit_op kit_op;

typedef struct kit_in {
    mnt_dtype dtype;
    mnt_shape shape;
    const char *param; /* name of a model's parameter; NULL: an input */
    bool grad;         /* its gradient is compared */
    bool fed;          /* KIT_STATE: new values before each replay; no view */
    int64_t limit;     /* i32: values in [0, limit) */

    /* Made by kit_case_init(). An element i of the op's operand is base[map[i]]; of a
     * fed input, replay r has base + r * count, or base in all if they are queued. */
    char values[24], view[24];
    mnt_shape base_shape;
    void *base;
    void *good; /* base without what bad= put there; NULL: the same */
    int64_t *map;
} kit_in;

typedef struct kit_case {
    const kit_op *op;
    char text[KIT_TEXT];
    int n;
    kit_in in[KIT_MAX_IN];
    bool backward; /* the op has a gradient and every value is finite */
    bool queued;
    int replays;
    void *held; /* what the op's open() made, during a run */
} kit_case;

/* A text under construction, for generate(). */
typedef struct kit_text {
    char s[KIT_TEXT];
    int64_t work; /* most multiply-adds (elements, where there are none) of the case */
} kit_text;

#define KIT_MOVES 1u /* bits are kept, subnormals too */
#define KIT_STATE 2u /* y changes from replay to replay: all of them are read */
#define KIT_FEW   4u /* a simple move: fewer cases are enough */
#define KIT_DENSE 8u /* refuses strided views; an offset is allowed */

struct kit_op {
    const char *name;
    unsigned flags;
    /* Fills dtype, shape, grad, limit, param, fed of each input; returns how many. */
    int (*inputs)(const kit_case *c, kit_in in[]);
    /* Returns y. A KIT_STATE op may record whatever makes y, gradients and optimizer
     * included. */
    mnt_tensor *(*record)(mnt_graph *g, mnt_tensor *const in[], const kit_case *c);
    /* KIT_STATE: fed inputs and y have the replays as their first dimension. NULL:
     * compared with the reference set only. Where a fault is expected, nothing is
     * stacked: once with the bad rows, once with the good ones. */
    ora (*forward)(const kit_case *c, const ora in[]);
    /* Fills dx of the inputs marked grad; NULL: no gradient. */
    void (*backward)(const kit_case *c, const ora in[], const ora *dy, ora dx[]);
    /* Appends the op's own words of a random case; the engine adds v, view, ... */
    void (*generate)(kit_text *t, kit_rng *r);
    /* The failure that a wait must report after the first replay; the sentence must
     * contain `part`. NULL or MNT_OK: none. */
    mnt_status (*fault)(const kit_case *c, char *part, size_t size);
    /* What record() needs beside tensors, before and after a run: c->held. */
    mnt_status (*open)(mnt_device *dev, kit_case *c);
    void (*close)(kit_case *c);
};

/* The ops, ended by NULL, and a lookup: NULL if there is none. */
extern const kit_op *const kit_ops[];
/* By row of ops.def: the kit op whose cases reach it. */
extern const kit_op *const kit_of_row[MNT_OP_COUNT];
const kit_op *kit_op_find(const char *name);

/* ---- text of a case ---- */
int64_t kit_int(const kit_case *c, const char *key, int64_t otherwise);
double kit_num(const kit_case *c, const char *key, double otherwise);
/* The word behind key=, or `otherwise`, in buf. */
const char *kit_word(const kit_case *c, const char *key, const char *otherwise,
                     char buf[24]);
/* "2x3" -> [2,3]; "scalar" -> []; ends the process when the key is missing. */
mnt_shape kit_shape(const kit_case *c, const char *key);
bool kit_has(const kit_case *c, const char *key);
typedef void (*kit_text_fn)(void *ctx, const char *text);
void kit_expand(const char *pattern, kit_text_fn fn, void *ctx);
/* Appends " key=...", as printf does. */
void kit_append(kit_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* " key=2x3" of a shape. */
void kit_append_shape(kit_text *t, const char *key, mnt_shape shape);
/* A random case of an op that has generate(): its words, and values and views for some
 * of the inputs. A function of *r alone; the library accepts every one of them. */
void kit_generate(const kit_op *op, kit_rng *r, char text[KIT_TEXT]);

/* ---- data ---- */
void kit_case_init(kit_case *c, const kit_op *op, const char *text);
void kit_case_free(kit_case *c);
/* An f32 array by pattern name: random ties zeros special nan nan<place> inf ninf holes
 * (-inf and few others) subnormal large huge equal ones near (1e4 +- 0.01) away (from 0)
 * spaced wide. */
void kit_fill(float *x, int64_t n, const char *pattern, kit_rng *r);
/* [replays, shape]. */
mnt_shape kit_stacked(const kit_case *c, mnt_shape shape);
/* The operand as the oracle sees it; subnormals are flushed unless the op moves. */
ora kit_operand(const kit_case *c, int i);
/* The same without what bad= put there. */
ora kit_operand_good(const kit_case *c, int i);
/* The lowest row of i32 input i that is outside [0, limit), and its value; -1: none. */
int64_t kit_bad_row(const kit_case *c, int i, int32_t *value);
/* Upstream gradient: random, a few zeros, never 1; or as dy= says. */
void kit_upstream(const kit_case *c, float *dy, int64_t n);

/* ---- running ---- */
typedef struct kit_mode {
    bool eager, no_fusion, guard, backward;
} kit_mode;

typedef struct kit_kernel {
    mnt_op op;
    char name[40]; /* the variant, as the backend's timing calls it */
} kit_kernel;
#define KIT_MAX_RAN 48

typedef struct kit_result {
    mnt_dtype dtype;
    mnt_shape shape;
    void *y;
    int first, replays; /* KIT_STATE: y is [replays, ...], the first one is `first` */
    float *grad[KIT_MAX_IN];  /* of the base; NULL: none */
    float *param[KIT_MAX_IN]; /* KIT_STATE: parameters after the last replay */
    struct kit_result *after; /* of an expected fault: the good replay behind it */
    bool backward;            /* gradients were asked for */
    uint64_t ops;             /* bit i: a command of op i was in the program */
    kit_kernel ran[KIT_MAX_RAN];
    int ran_count;
    mnt_status status; /* what the library said */
    char error
        [KIT_SENTENCE]; /* why kit_run() is false; or an expected fault's sentence */
} kit_result;
/* Runs the case's replays (one if eager), which must agree bit by bit unless the op is
 * KIT_STATE. Where a fault is expected, the bad replays and then a good one. False if a call failed (r->status), replays differ, or an expected fault
 * did not come; r->error says which. */
bool kit_run(mnt_device *dev, const kit_case *c, kit_mode mode, kit_result *r);
void kit_result_free(kit_result *r);

/* ---- checking ---- */
typedef struct kit_verdict {
    bool ok;
    char text[KIT_SENTENCE]; /* op, case, where, tensor, shape, first element */
    double ulp;              /* worst error against the oracle, in units of the last
                                place of the exact value (normal, finite ones) */
    double share;            /* worst error as a share of its bound */
} kit_verdict;
bool kit_same(const kit_case *c, const char *where, const kit_result *want,
              const kit_result *got, kit_verdict *v);
bool kit_right(const kit_case *c, const char *where, const kit_result *got,
               kit_verdict *v);
/* First element of `got` outside the oracle's bounds, -1 if none. */
int64_t kit_outside(const ora *want, mnt_dtype dtype, const void *got, bool moves);
/* A gradient of an operand gathered into its base. */
ora kit_to_base(const kit_in *in, const ora *dx);

#endif
