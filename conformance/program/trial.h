/* SPDX-License-Identifier: MIT */
/*
 * One case and what became of it on one device: the kit ops and the random graphs look
 * the same from here on.
 */
#ifndef TRIAL_H
#define TRIAL_H

#include "../graphs/graphs.h"
#include "plan.h"

typedef struct trial {
    const plan_case *what;
    kit_case c; /* of a kit op */
    bool graph, backward;
    mnt_dtype dtype; /* of input 0; of a graph f32 */
} trial;

typedef struct outcome {
    bool ok, unsupported;
    char error[KIT_SENTENCE]; /* why it is not ok */
    uint64_t ops;             /* bit i: the program held a command of op i */
    kit_kernel ran[KIT_MAX_RAN];
    int ran_count;
    kit_result r;
    graph_result *g;
} outcome;

void trial_begin(trial *t, const plan_case *what);
void trial_end(trial *t);
void trial_run(const trial *t, mnt_device *dev, kit_mode mode, outcome *o);
void outcome_free(outcome *o);

/* Same bits; got without gradients is compared in y alone. */
bool trial_same(const trial *t, const char *where, const outcome *want,
                const outcome *got, kit_verdict *v);
/* Inside the oracle's bounds; of a graph nothing is said. */
bool trial_right(const trial *t, const char *where, const outcome *got, kit_verdict *v);

#endif
