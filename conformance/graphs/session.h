/* SPDX-License-Identifier: MIT */
/* A program on its way into the library: the graph, its tensors, values for inputs. */
#ifndef GRAPH_SESSION_H
#define GRAPH_SESSION_H

#include "program.h"

#define GRAPH_MAX_USES 16

typedef struct graph_session graph_session;
struct graph_session {
    mnt_device *dev;
    const graph_program *p;
    kit_mode mode;
    mnt_model *model;
    mnt_dataset *data; /* NULL: no batch steps */
    mnt_graph *g;
    mnt_tensor *t[GRAPH_MAX_VALUES];
    bool forward;        /* nothing from the backward pass on: the twin */
    int set;             /* which values inputs get: 0 in the first replay, else 1 */
    bool until_backward; /* nothing after it */
    /* Each reader of value `split` (-1: none) gets an input of its own in its place. */
    int split, uses;
    const void *split_value;
    mnt_tensor *use[GRAPH_MAX_USES];
    int use_order[GRAPH_MAX_USES]; /* the reverse of that in which gradients meet */
    graph_session *twin;           /* NULL: none yet */
    char error[KIT_SENTENCE];
};

/* Records every present step on s->g; false with the sentence in s->error. */
bool graph_record(graph_session *s);
/* Values of an input or constant, a function of the text and the set; freed by the
 * caller. graph_write() writes them. */
void *graph_values(const graph_session *s, int value);
bool graph_write(graph_session *s, int value);
/* Writes the values of the session's set to every input. */
bool graph_write_inputs(graph_session *s);
/* Creates the data set if the program has batch steps. */
bool graph_open_data(graph_session *s);
/* New values for the first parameter of the model, if there is one. */
bool graph_write_parameter(graph_session *s);
bool graph_failed(graph_session *s, const char *what);

/* check.c: false with the sentence if the graph's tensors contradict each other. */
bool graph_check(mnt_device *dev, const graph_program *p, kit_mode mode,
                 char error[KIT_SENTENCE]);

/* ---- results (result.c) ---- */
graph_result *graph_result_new(void);
/* A zeroed array at the end; value: of the program, -1: none. Its name is "name@phase".
 */
void *graph_result_add(graph_result *r, const char *name, int phase, int value,
                       mnt_dtype dtype, mnt_shape shape);

#endif
