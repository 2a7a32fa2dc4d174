/* SPDX-License-Identifier: MIT */
/*
 * A training run as a checkpoint: the model's file plus facts of the run in its meta
 * ("run.batch", ...). Everything written is a function of the training itself, no times
 * and no paths, so that two equal runs give equal files.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "common/session.h"

/* Running totals inside an epoch and the best epoch so far. */
typedef struct run_state {
    int64_t step;
    float loss_sum;  /* of the unfinished epoch */
    int32_t correct; /* of the unfinished epoch */
    int64_t best;    /* right test answers of the best epoch; -1: none yet */
} run_state;

/* Writes s->model with the run's facts. */
mnt_status checkpoint_save(session *s, const run_state *state, int64_t steps_per_epoch,
                           const char *path);

/*
 * Loads s->model and the run's state, and takes from the file the options that were not
 * given. MISMATCH where a given one is another than the file's.
 */
mnt_status checkpoint_resume(session *s, run_state *state, const char *path);

/* Loads s->model for evaluation. MISMATCH if another program wrote it. */
mnt_status checkpoint_load(session *s, const char *path);

/* MISMATCH if the run in the file was on other data. After session_data(). */
mnt_status checkpoint_check_data(session *s, const char *path);

#endif
