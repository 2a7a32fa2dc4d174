/* SPDX-License-Identifier: MIT */
/*
 * The training loop. An epoch is one submission unless something wants to look inside
 * it: a live line, metrics_log.csv, checkpoints by step. Then it is cut at steps that
 * depend on the options alone, so that what is written can be compared between runs.
 * Everything that a later run needs is in run_state and the model.
 */
#include "common/train.h"

#include "common/checkpoint.h"
#include "common/evaluate.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/recipe.h"
#include "common/report.h"
#include "common/summary.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct trainer {
    session *s;
    step_graph step;
    evaluator test;
    run_state state;
    metrics epochs, log;
    progress progress;
    size_t first_row;       /* rows of epochs before this run */
    int64_t per_epoch, end; /* steps */
    int64_t log_every;
    int64_t saved;                  /* step of the last checkpoint, -1: none */
    double seconds, other;          /* of this run: training; evaluation and files */
    double epoch_seconds;           /* training in this epoch and run */
    int64_t started, epoch_started; /* steps */
    double test_accuracy;           /* NAN until measured */
    char ckpt[OUTPUT_PATH];         /* "": none */
} trainer;

static mnt_status choose_paths(trainer *t)
{
    const options *o = t->s->opt;
    char name[64];
    int n = 0;
    if (o->ckpt != NULL) {
        n = snprintf(t->ckpt, sizeof t->ckpt, "%s", o->ckpt);
    } else if (o->out != NULL) {
        snprintf(name, sizeof name, "%s.safetensors", t->s->app->name);
        if (!output_path(t->ckpt, o->out, name))
            return session_io(t->s, o->out);
    }
    if (n >= OUTPUT_PATH)
        return session_fail(t->s, MNT_INVALID, "--ckpt: the path is too long");
    return MNT_OK;
}

/* Model and state: fresh, or from the checkpoint. */
static mnt_status start_model(trainer *t)
{
    session *s = t->s;
    t->state = (run_state){ .best = -1 };
    mnt_status st =
        s->opt->resume
            ? checkpoint_resume(s, &t->state, t->ckpt)
            : mnt_model_create(&s->model, s->dev,
                               &(mnt_model_desc){ .size = sizeof(mnt_model_desc),
                                                  .seed = s->opt->seed });
    if (st == MNT_OK)
        st = session_data(s, s->dev, MNT_TRAIN, &s->train);
    if (st == MNT_OK)
        st = session_data(s, s->dev, MNT_TEST, &s->test);
    if (st == MNT_OK && s->opt->resume)
        st = checkpoint_check_data(s, t->ckpt);
    recipe_defaults(s->opt, s->app);
    return st;
}

static void plan_steps(trainer *t)
{
    const options *o = t->s->opt;
    t->per_epoch = mnt_dataset_batches(t->s->train, o->batch);
    t->end = t->per_epoch * o->epochs;
    if (o->steps > 0 && o->steps < t->end)
        t->end = o->steps;
    t->started = t->state.step;
    t->saved = o->resume ? t->state.step : -1;
    t->test_accuracy = NAN;
    /* A look inside an epoch is free where run() computes, and costs a GPU an idle
     * moment. */
    bool look = t->progress.live || t->s->info.threads > 0;
    t->log_every = o->log_every > 0 ? o->log_every
                   : look           ? (t->per_epoch + 19) / 20
                                    : t->per_epoch;
}

static mnt_status open_outputs(trainer *t)
{
    session *s = t->s;
    const options *o = s->opt;
    if (o->out != NULL && !output_mkdir(o->out))
        return session_io(s, o->out);
    if (t->ckpt[0] != '\0' && !output_can_write(t->ckpt))
        return session_io(s, t->ckpt);
    if (o->ckpt_best != NULL && !output_can_write(o->ckpt_best))
        return session_io(s, o->ckpt_best);
    mnt_status st = metrics_begin(s, &t->epochs);
    return st == MNT_OK ? metrics_begin(s, &t->log) : st;
}

/* Everything that can fail on bad input happens here, before any file is touched. */
static mnt_status prepare(trainer *t)
{
    session *s = t->s;
    const options *o = s->opt;
    mnt_status st = choose_paths(t);
    if (st == MNT_OK)
        st = start_model(t);
    if (st == MNT_OK)
        st = step_graph_create(&t->step, s->dev, s->model, s->train, s->app, o, false);
    if (st == MNT_OK)
        st = evaluator_create(&t->test, s->dev, s->model, s->test, s->app, false);
    if (st != MNT_OK)
        return st;
    t->progress = progress_begin(o->epochs);
    plan_steps(t);
    int64_t from = o->resume ? t->state.step : -1;
    st = metrics_load(s, &t->epochs, o->out, "metrics_train.csv", from, t->per_epoch);
    if (st == MNT_OK)
        st = metrics_load(s, &t->log, o->out, "metrics_log.csv", from, 1);
    t->first_row = t->epochs.count;
    return st == MNT_OK ? open_outputs(t) : st;
}

static mnt_status write_totals(trainer *t)
{
    mnt_status st = mnt_tensor_write(t->step.loss_sum, &t->state.loss_sum,
                                     sizeof t->state.loss_sum);
    return st == MNT_OK ? mnt_tensor_write(t->step.correct, &t->state.correct,
                                           sizeof t->state.correct)
                        : st;
}

/* Waits for the steps queued and brings the state up to them. */
static mnt_status read_state(trainer *t)
{
    run_state *state = &t->state;
    mnt_status st =
        mnt_tensor_read(t->step.loss_sum, &state->loss_sum, sizeof state->loss_sum);
    if (st == MNT_OK)
        st = mnt_tensor_read(t->step.correct, &state->correct, sizeof state->correct);
    state->step = mnt_model_step(t->s->model);
    return st;
}

static mnt_status save(trainer *t)
{
    if (t->ckpt[0] == '\0' || t->saved == t->state.step)
        return MNT_OK;
    t->saved = t->state.step;
    return checkpoint_save(t->s, &t->state, t->per_epoch, t->ckpt);
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Steps to the next place where somebody looks. */
static int64_t slice(const trainer *t)
{
    int64_t step = t->state.step, in = step % t->per_epoch;
    int64_t every = t->s->opt->ckpt_every;
    int64_t n = min_of(t->end - step, t->per_epoch - in);
    n = min_of(n, t->log_every - in % t->log_every);
    return every > 0 ? min_of(n, every - step % every) : n;
}

/* Metrics from step `first` to now, given the totals there. */
static metrics_row row_since(const trainer *t, int64_t first, float loss_sum,
                             int64_t correct, double seconds)
{
    double steps = (double)(t->state.step - first);
    double images = steps * (double)t->s->opt->batch;
    return (metrics_row){
        .epoch = (t->state.step - 1) / t->per_epoch + 1,
        .step = t->state.step,
        .loss = ((double)t->state.loss_sum - (double)loss_sum) / steps,
        .train_accuracy = (double)(t->state.correct - correct) / images,
        .test_accuracy = NAN,
        .images_per_second = seconds > 0.0 ? images / seconds : 0.0,
        .seconds = seconds,
    };
}

static double time_left(const trainer *t)
{
    int64_t done = t->state.step - t->started;
    double all = t->seconds + t->other;
    return done > 0 ? all * (double)(t->end - t->state.step) / (double)done : -1.0;
}

/* The row of the whole epoch: totals cover it all, the time only this run's part. */
static metrics_row epoch_row(const trainer *t)
{
    int64_t first = (t->state.step - 1) / t->per_epoch * t->per_epoch;
    metrics_row row = row_since(t, first, 0.0f, 0, t->epoch_seconds);
    double images =
        (double)(t->state.step - t->epoch_started) * (double)t->s->opt->batch;
    row.images_per_second = t->epoch_seconds > 0.0 ? images / t->epoch_seconds : 0.0;
    return row;
}

static mnt_status run_slice(trainer *t)
{
    run_state before = t->state;
    double start = clock_seconds();
    mnt_status st = mnt_graph_run(t->step.g, slice(t));
    if (st != MNT_OK && st != MNT_INTERRUPTED)
        return st;
    mnt_status after = read_state(t);
    double took = clock_seconds() - start;
    t->seconds += took;
    t->epoch_seconds += took;
    if (st != MNT_OK || after != MNT_OK)
        return after != MNT_OK ? after : st;
    metrics_row row = row_since(t, before.step, before.loss_sum, before.correct, took);
    metrics_row sofar = epoch_row(t);
    progress_live(&t->progress, &sofar,
                  (double)(t->state.step - (sofar.epoch - 1) * t->per_epoch) /
                      (double)t->per_epoch,
                  time_left(t));
    return metrics_add(t->s, &t->log, &row);
}

/* Ends an epoch, or the run inside one: test accuracy, row, best model. */
static mnt_status finish_epoch(trainer *t)
{
    session *s = t->s;
    int64_t right = 0;
    double start = clock_seconds();
    metrics_row row = epoch_row(t);
    mnt_status st = evaluate_correct(&t->test, &right);
    if (st != MNT_OK)
        return st;
    row.test_accuracy = (double)right / (double)t->test.count;
    t->test_accuracy = row.test_accuracy;
    if (t->state.step % t->per_epoch == 0) {
        t->state.loss_sum = 0.0f;
        t->state.correct = 0;
        bool better = right > t->state.best;
        if (better)
            t->state.best = right;
        if (better && s->opt->ckpt_best != NULL)
            st = checkpoint_save(s, &t->state, t->per_epoch, s->opt->ckpt_best);
        if (st == MNT_OK && s->opt->ckpt_every == 0)
            st = save(t);
    }
    t->other += clock_seconds() - start;
    progress_epoch(&t->progress, &row, time_left(t));
    return st == MNT_OK ? metrics_add(s, &t->epochs, &row) : st;
}

/* Order of samples and running totals at the state's step, also inside an epoch. */
static mnt_status enter_epoch(trainer *t)
{
    session *s = t->s;
    int64_t epoch = t->state.step / t->per_epoch;
    t->epoch_seconds = 0.0;
    t->epoch_started = t->state.step;
    mnt_status st = mnt_dataset_shuffle(s->train, s->opt->seed, epoch + 1);
    if (st == MNT_OK)
        st = mnt_dataset_seek(s->train,
                              (t->state.step - epoch * t->per_epoch) * s->opt->batch);
    return st == MNT_OK ? write_totals(t) : st;
}

static mnt_status train_epoch(trainer *t)
{
    int64_t every = t->s->opt->ckpt_every;
    int64_t stop = min_of((t->state.step / t->per_epoch + 1) * t->per_epoch, t->end);
    mnt_status st = enter_epoch(t);
    while (st == MNT_OK && t->state.step < stop) {
        st = run_slice(t);
        if (st == MNT_OK && session_interrupted())
            st = MNT_INTERRUPTED;
        /* At the end of an epoch the checkpoint waits for the test accuracy. */
        if (st == MNT_OK && every > 0 && t->state.step % every == 0 &&
            t->state.step < stop)
            st = save(t);
    }
    if (st == MNT_OK)
        st = finish_epoch(t);
    if (st == MNT_OK && every > 0 && t->state.step % every == 0)
        st = save(t);
    return st;
}

/* Ctrl-C in the evaluation leaves an epoch whose steps are done and whose row is not.
 */
static mnt_status finish_pending(trainer *t)
{
    if (t->state.step == 0 || t->state.step % t->per_epoch != 0 ||
        t->state.loss_sum == 0.0f)
        return MNT_OK;
    t->epoch_started = t->state.step;
    t->saved = -1;
    return finish_epoch(t);
}

/* Ctrl-C: the step is whole, so its state is one that a checkpoint can hold. */
static mnt_status interrupted(trainer *t)
{
    progress_clear(&t->progress);
    if (t->state.step == t->started)
        return session_fail(t->s, MNT_INTERRUPTED,
                            "interrupted before a step; nothing was saved");
    mnt_status st = save(t);
    if (st != MNT_OK)
        return st;
    if (t->ckpt[0] == '\0')
        return session_fail(t->s, MNT_INTERRUPTED,
                            "interrupted after step %" PRId64
                            "; nothing was saved, as there is no --ckpt",
                            t->state.step);
    return session_fail(t->s, MNT_INTERRUPTED,
                        "interrupted after step %" PRId64
                        "; %s holds it and --resume goes on from there",
                        t->state.step, t->ckpt);
}

static mnt_status report(trainer *t)
{
    session *s = t->s;
    mnt_status st = MNT_OK;
    if (isnan(t->test_accuracy)) {
        int64_t right = 0;
        st = evaluate_correct(&t->test, &right);
        t->test_accuracy = (double)right / (double)t->test.count;
    }
    if (st != MNT_OK)
        return st;
    printf("test accuracy %.2f%% of %" PRId64 " images\n", 100.0 * t->test_accuracy,
           t->test.count);
    if (s->opt->out != NULL) {
        st = summary_write(s, t->epochs.rows + t->first_row,
                           t->epochs.count - t->first_row, t->per_epoch * s->opt->batch,
                           t->test_accuracy);
        if (st == MNT_OK)
            st = chart_write(s, &t->epochs, &t->log);
    }
    if (st == MNT_OK && (s->opt->out != NULL || s->opt->profile))
        st = profile_report(s);
    return st;
}

static void announce(const trainer *t)
{
    const options *o = t->s->opt;
    char where[256];
    session_describe(&t->s->info, where, sizeof where);
    printf("%s: %s; on %s; data %s; batch %" PRId64 ", %s, lr %g, seed %" PRIu64 "\n",
           t->s->app->name, t->s->app->network, where, t->s->data_name, o->batch,
           o->optimizer == OPT_SGD ? "sgd" : "adam", (double)o->lr, o->seed);
    if (o->resume)
        printf("resumed at step %" PRId64 " of %" PRId64 "\n", t->state.step, t->end);
    fflush(stdout);
}

static mnt_status train_all(trainer *t)
{
    announce(t);
    mnt_status st = session_interrupted() ? MNT_INTERRUPTED : finish_pending(t);
    while (st == MNT_OK && t->state.step < t->end)
        st = train_epoch(t);
    if (st == MNT_INTERRUPTED)
        return interrupted(t);
    return st == MNT_OK ? save(t) : st;
}

mnt_status train_run(session *s)
{
    trainer t = { .s = s };
    mnt_status st = prepare(&t);
    if (st == MNT_OK)
        st = train_all(&t);
    if (st == MNT_OK)
        st = report(&t);
    progress_clear(&t.progress);
    evaluator_destroy(&t.test);
    step_graph_destroy(&t.step);
    metrics_free(&t.epochs);
    metrics_free(&t.log);
    return st;
}
