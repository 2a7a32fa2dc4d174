/* SPDX-License-Identifier: MIT */
/*
 * Which cases run, and in which order. A case is an op's number and a text: the kit
 * ops, then "graph" (a random whole graph) and "contract" (a check of the vtable).
 * The list is a function of the options alone.
 */
#ifndef PLAN_H
#define PLAN_H

#include "options.h"

#define PLAN_MAX_OPS 96

typedef struct plan_case {
    int op;
    char text[KIT_TEXT];
} plan_case;

typedef struct plan {
    plan_case *cases;
    int count, room;
} plan;

/* Kit ops, graph, contract; plan_op_name() is NULL past the last. */
int plan_op_count(void);
const char *plan_op_name(int op);
int plan_op_index(const char *name); /* -1: none */
const kit_op *plan_kit_op(int op);   /* NULL: graph, contract */
bool plan_is_graph(int op);
bool plan_is_contract(int op);

/* False after a sentence on standard error: --case is not a case, or --cases cannot be
 * read or has a line that is none. */
bool plan_make(plan *p, const options *o);
void plan_free(plan *p);

#endif
