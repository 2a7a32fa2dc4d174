/* SPDX-License-Identifier: MIT */
#include "common/checkpoint.h"

#include "common/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FACT_TEXT 64

static const char *optimizer_name(run_optimizer o)
{
    return o == OPT_SGD ? "sgd" : "adam";
}

static mnt_status put(session *s, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static mnt_status put(session *s, const char *key, const char *format, ...)
{
    char text[FACT_TEXT];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return mnt_model_set_meta(s->model, key, text);
}

static mnt_status put_real(session *s, const char *key, float x)
{
    char text[REAL_TEXT];
    real_text(text, x);
    return mnt_model_set_meta(s->model, key, text);
}

static mnt_status put_recipe(session *s)
{
    const options *o = s->opt;
    mnt_status st = put(s, "run.model", "%s", s->app->name);
    if (st == MNT_OK)
        st = put(s, "run.data", "%s", s->data_name);
    if (st == MNT_OK)
        st = put(s, "run.batch", "%" PRId64, o->batch);
    if (st == MNT_OK)
        st = put(s, "run.optimizer", "%s", optimizer_name(o->optimizer));
    if (st == MNT_OK)
        st = put_real(s, "run.lr", o->lr);
    if (st == MNT_OK)
        st = put_real(s, "run.momentum", o->momentum);
    if (st == MNT_OK)
        st = put_real(s, "run.weight_decay", o->weight_decay);
    return st;
}

mnt_status checkpoint_save(session *s, const run_state *state, int64_t steps_per_epoch,
                           const char *path)
{
    uint32_t bits;
    memcpy(&bits, &state->loss_sum, sizeof bits);
    mnt_status st = put_recipe(s);
    if (st == MNT_OK)
        st = put(s, "run.epoch", "%" PRId64, state->step / steps_per_epoch);
    if (st == MNT_OK)
        st = put(s, "run.loss_sum", "%08" PRIx32, bits);
    if (st == MNT_OK)
        st = put(s, "run.correct", "%" PRId32, state->correct);
    if (st == MNT_OK)
        st = put(s, "run.best", "%" PRId64, state->best);
    return st == MNT_OK ? mnt_model_save(s->model, path) : st;
}

static mnt_status check_name(session *s, const char *path)
{
    const char *name = mnt_model_get_meta(s->model, "run.model");
    if (name != NULL && strcmp(name, s->app->name) != 0)
        return session_fail(s, MNT_MISMATCH, "%s: a checkpoint of %s, not of %s", path,
                            name, s->app->name);
    return MNT_OK;
}

mnt_status checkpoint_load(session *s, const char *path)
{
    mnt_status st = mnt_model_load(&s->model, s->dev, path);
    return st == MNT_OK ? check_name(s, path) : st;
}

/* A fact of the file, or a failure that names it. */
static mnt_status get(session *s, const char *path, const char *key, const char **out)
{
    *out = mnt_model_get_meta(s->model, key);
    if (*out == NULL)
        return session_fail(s, MNT_MISMATCH,
                            "%s: has no %s, so it is not a run of %s to resume", path,
                            key, s->app->name);
    return MNT_OK;
}

static mnt_status get_int(session *s, const char *path, const char *key, int base,
                          int64_t *out)
{
    const char *text;
    char *end;
    mnt_status st = get(s, path, key, &text);
    if (st != MNT_OK)
        return st;
    *out = strtoll(text, &end, base);
    if (end == text || *end != '\0')
        return session_fail(s, MNT_FORMAT, "%s: %s is '%s', not a number", path, key,
                            text);
    return MNT_OK;
}

static mnt_status other(session *s, const char *path, const char *option,
                        const char *theirs, const char *ours)
{
    return session_fail(s, MNT_MISMATCH,
                        "%s: was trained with --%s %s and cannot be resumed with %s",
                        path, option, theirs, ours);
}

/* Takes a real option from the file unless it was given; then both must agree. */
static mnt_status agree_real(session *s, const char *path, const char *key,
                             const char *option, unsigned bit, float *value)
{
    const char *text;
    char *end, ours[REAL_TEXT];
    mnt_status st = get(s, path, key, &text);
    if (st != MNT_OK)
        return st;
    float theirs = strtof(text, &end);
    if (end == text || *end != '\0')
        return session_fail(s, MNT_FORMAT, "%s: %s is '%s', not a number", path, key,
                            text);
    real_text(ours, *value);
    if ((s->opt->given & bit) != 0 && theirs != *value)
        return other(s, path, option, text, ours);
    *value = theirs;
    return MNT_OK;
}

static mnt_status agree_optimizer(session *s, const char *path)
{
    const char *text;
    mnt_status st = get(s, path, "run.optimizer", &text);
    if (st != MNT_OK)
        return st;
    const char *ours = optimizer_name(s->opt->optimizer);
    if ((s->opt->given & GIVEN_OPTIMIZER) != 0 && strcmp(text, ours) != 0)
        return other(s, path, "optimizer", text, ours);
    s->opt->optimizer = strcmp(text, "adam") == 0 ? OPT_ADAM : OPT_SGD;
    return MNT_OK;
}

static mnt_status agree_whole(session *s, const char *path)
{
    options *o = s->opt;
    char theirs[FACT_TEXT], ours[FACT_TEXT];
    int64_t batch = 0;
    uint64_t seed = mnt_model_seed(s->model);
    mnt_status st = get_int(s, path, "run.batch", 10, &batch);
    if (st != MNT_OK)
        return st;
    if ((o->given & GIVEN_BATCH) != 0 && batch != o->batch) {
        snprintf(theirs, sizeof theirs, "%" PRId64, batch);
        snprintf(ours, sizeof ours, "%" PRId64, o->batch);
        return other(s, path, "batch", theirs, ours);
    }
    if ((o->given & GIVEN_SEED) != 0 && seed != o->seed) {
        snprintf(theirs, sizeof theirs, "%" PRIu64, seed);
        snprintf(ours, sizeof ours, "%" PRIu64, o->seed);
        return other(s, path, "seed", theirs, ours);
    }
    if (batch < 1)
        return session_fail(s, MNT_FORMAT, "%s: run.batch is %" PRId64, path, batch);
    o->batch = batch;
    o->seed = seed;
    return MNT_OK;
}

mnt_status checkpoint_resume(session *s, run_state *state, const char *path)
{
    options *o = s->opt;
    int64_t bits = 0, correct = 0;
    mnt_status st = checkpoint_load(s, path);
    if (st == MNT_OK)
        st = agree_whole(s, path);
    if (st == MNT_OK)
        st = agree_optimizer(s, path);
    if (st == MNT_OK)
        st = agree_real(s, path, "run.lr", "lr", GIVEN_LR, &o->lr);
    if (st == MNT_OK)
        st = agree_real(s, path, "run.momentum", "momentum", GIVEN_MOMENTUM,
                        &o->momentum);
    if (st == MNT_OK)
        st = agree_real(s, path, "run.weight_decay", "weight-decay", GIVEN_WEIGHT_DECAY,
                        &o->weight_decay);
    if (st == MNT_OK)
        st = get_int(s, path, "run.loss_sum", 16, &bits);
    if (st == MNT_OK)
        st = get_int(s, path, "run.correct", 10, &correct);
    if (st == MNT_OK)
        st = get_int(s, path, "run.best", 10, &state->best);
    if (st != MNT_OK)
        return st;
    uint32_t word = (uint32_t)bits;
    memcpy(&state->loss_sum, &word, sizeof word);
    state->correct = (int32_t)correct;
    state->step = mnt_model_step(s->model);
    o->given |= GIVEN_LR | GIVEN_OPTIMIZER; /* the file's, not the defaults */
    return MNT_OK;
}

mnt_status checkpoint_check_data(session *s, const char *path)
{
    const char *text;
    mnt_status st = get(s, path, "run.data", &text);
    if (st == MNT_OK && strcmp(text, s->data_name) != 0)
        return session_fail(s, MNT_MISMATCH,
                            "%s: was trained on %s and cannot be resumed on %s", path,
                            text, s->data_name);
    return st;
}
