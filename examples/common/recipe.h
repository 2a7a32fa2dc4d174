/* SPDX-License-Identifier: MIT */
/*
 * How the programs learn: the training step as a graph, and the learning-rate schedule.
 * The schedule is a function of the step alone, not of --epochs, so that a finished run
 * can be resumed with more epochs and gives the bits of one long run.
 */
#ifndef RECIPE_H
#define RECIPE_H

#include "common/options.h"

typedef struct step_graph {
    mnt_graph *g;
    mnt_batch batch;
    mnt_tensor *logits, *loss;
    mnt_tensor *loss_sum; /* f32: sum over replays of the mean loss */
    mnt_tensor *correct;  /* i32: sum over replays of right answers */
} step_graph;

/* Optimizer and peak learning rate where they were not given. */
void recipe_defaults(options *opt, const run_app *app);

/* Records and compiles one training step. step_graph_destroy() after failure, too. */
mnt_status step_graph_create(step_graph *out, mnt_device *dev, mnt_model *model,
                             mnt_dataset *data, const run_app *app, const options *opt,
                             bool keep_all);
void step_graph_destroy(step_graph *s);

#endif
