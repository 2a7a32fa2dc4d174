/* SPDX-License-Identifier: MIT */
/*
 * The same kind of checks through the public API: a device with an allocator that
 * counts, sticky like the rig; and a small training of everything at once (data set,
 * noise, convolutions, pooling, loss, optimizer, totals) whose state can be compared.
 * On a device without convolutions it has dense layers only.
 */
#ifndef CONTRACT_API_H
#define CONTRACT_API_H

#include "../kit/base.h"
#include "contract.h"

#include <mnt/mnt.h>

#include <stdatomic.h>

typedef struct api {
    const contract_subject *subject;
    contract_outcome outcome;
    char *text;
    size_t size;
    atomic_long alive; /* host allocations of all devices */
    bool asked, dense; /* train_open(): whether the subject lacks convolutions */
} api;

/* The outcome of a body; also looks for host memory that was not freed. */
contract_outcome api_run(const contract_subject *s, char *text, size_t size,
                         void (*body)(api *a));

#define API_CHECK(id)                                                                  \
    static void body_##id(api *a);                                                     \
    contract_outcome contract_##id(const contract_subject *s, char *text, size_t size) \
    {                                                                                  \
        return api_run(s, text, size, body_##id);                                      \
    }                                                                                  \
    static void body_##id(api *a)

bool api_stopped(const api *a);
bool api_fail(api *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool api_expect(api *a, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A failure unless the call succeeded; the sentence is the device's. UNSUPPORTED is no
 * failure but leaves the check out: that a backend lacks a row is said elsewhere. */
bool api_ok(api *a, const mnt_device *dev, mnt_status status, const char *call);
/* The subject's device; NULL after a failure. */
mnt_device *api_device(api *a);
mnt_device *api_device_of(api *a, const contract_subject *s);
/* Bits of two arrays. */
bool api_same(api *a, const char *what, mnt_dtype dtype, const void *want,
              const void *got, int64_t count);

/* ---- a graph by hand ---- */

mnt_graph *api_graph(api *a, mnt_device *dev, mnt_model *m, const mnt_graph_desc *desc);
void api_compile(api *a, mnt_device *dev, mnt_graph *g);
void api_run_graph(api *a, mnt_device *dev, mnt_graph *g, int64_t n);
/* A constant with values by seed. */
mnt_tensor *api_random(api *a, mnt_graph *g, mnt_shape shape, uint64_t seed);
/* What the tensor holds; the caller frees. */
void *api_read(api *a, mnt_device *dev, mnt_tensor *t);

/* ---- the training ---- */

typedef struct train_way {
    mnt_graph_desc graph;
    bool profile;
    bool other_order; /* the parameters are created by another graph, backwards */
    int batch;        /* 0: 6 */
} train_way;

typedef struct train {
    api *a;
    mnt_device *dev;
    mnt_model *m;
    mnt_dataset *d;
    mnt_graph *g;
    mnt_tensor *loss, *total, *right, *noise;
} train;

/* All that a training leaves behind. */
typedef struct train_state {
    float *v;
    int64_t count;
    int parts;
    struct {
        char name[48];
        int64_t first;
    } part[24];
} train_state;

void train_open(api *a, train *t, mnt_device *dev, const train_way *way);
void train_run(train *t, int64_t n);
train_state train_read(train *t);
void train_close(train *t);
void train_free(train_state *s);
/* A failure unless both are the same bits. */
void train_same(api *a, const char *what, const train_state *want,
                const train_state *got);
/* A whole training on a device of its own: n replays in one piece. */
train_state train_whole(api *a, const contract_subject *s, const train_way *way,
                        int64_t n);

#endif
