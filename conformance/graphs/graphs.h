/* SPDX-License-Identifier: MIT */
/*
 * Random whole graphs: ops that share tensors, branches, views of views, gradients,
 * optimizers, replays. A text determines a graph completely, so a run is a function of
 * text, device and mode, and two runs of one text must agree bit by bit.
 *
 * Words of a text (a word that is missing means the simplest):
 *   seed=N nodes=N   the forward part; the first k nodes of nodes=n are those of nodes=k
 *   end=W            backward from: ce, sum, mean, two (of two losses), dy (given dy)
 *   mid=N            nodes between mnt_backward() and the optimizer
 *   opt=W            sgd, momentum, nesterov, adam, adamw
 *   late=N           nodes after the optimizer: they read updated parameters
 *   replays=N        one, results, then the others, results
 *   v=W              values of some inputs (kit_fill)
 *   keep=1 all=1     some tensors are kept, every tensor is
 *   feed=1 write=1   inputs, a parameter are written between the first and the others
 *   twin=1           a second graph of the model runs after the first and the last
 *   fault=1          a label or an index is out of range in the first replay
 *   check=1          views and sums of gradients are checked on the host as well
 *   skip=HEX         nodes left out, with all that need them: what graph_shrink() adds
 */
#ifndef GRAPHS_H
#define GRAPHS_H

#include "../kit/kit.h"

#include <stdio.h>

/* Named arrays: kept tensors, inputs, gradients, parameters, after the first replay and
 * after the last. */
typedef struct graph_result graph_result;

void graph_generate(char text[KIT_TEXT], kit_rng *r);

/*
 * Records the graph, runs it and reads what it made. False after a failure that the
 * text does not ask for; `error` is the sentence. ran: op and kernel of every command,
 * each pair once; NULL is allowed. An eager run records the graph once a replay; where
 * state of a graph goes on from replay to replay (graph_eager() is false) the graph is
 * replayed unfused instead. Without mode.backward there is no backward, no optimizer.
 */
bool graph_run(mnt_device *dev, const char *text, kit_mode mode, graph_result **r,
               char *error, size_t size, kit_kernel ran[KIT_MAX_RAN], int *ran_count);
bool graph_eager(const char *text);
void graph_free(graph_result *r);

/* Names the first array that differs: op, shape, element. */
bool graph_same(const char *text, const char *where, const graph_result *want,
                const graph_result *got, kit_verdict *v);

/* The smallest text found whose run on dev in `mode` differs from ref's, unfused. */
void graph_shrink(mnt_device *ref, mnt_device *dev, kit_mode mode, const char *text,
                  char smaller[KIT_TEXT]);

/* What is recorded, a line each. */
void graph_describe(const char *text, FILE *out);

#endif
