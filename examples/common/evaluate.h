/* SPDX-License-Identifier: MIT */
/*
 * Counts right answers over a whole data set, the remainder included: one graph for
 * whole batches and, where the count does not divide, one for the rest. Both record the
 * same forward function on the same parameters; the count stays on the device until the
 * end.
 */
#ifndef EVALUATE_H
#define EVALUATE_H

#include "common/run.h"

#define EVALUATE_BATCH 500
#define CLASSES        10

typedef struct eval_part {
    mnt_graph *g;
    mnt_tensor *correct;       /* i32, running total */
    mnt_tensor *guess, *label; /* i32 [batch], kept when asked for */
    int64_t batch, replays;
} eval_part;

typedef struct evaluator {
    mnt_dataset *data;
    eval_part part[2];
    int parts;
    int64_t count;
} evaluator;

/* keep_guesses: for evaluate_confusion(). evaluator_destroy() after failure, too. */
mnt_status evaluator_create(evaluator *e, mnt_device *dev, mnt_model *model,
                            mnt_dataset *data, const run_app *app, bool keep_guesses);
void evaluator_destroy(evaluator *e);

/* How many samples of the whole set are right. */
mnt_status evaluate_correct(evaluator *e, int64_t *correct);
/* table[label][guess] over the whole set. */
mnt_status evaluate_confusion(evaluator *e, int64_t table[CLASSES][CLASSES]);

#endif
