/* SPDX-License-Identifier: MIT */
#include "common/recipe.h"

#include <math.h>
#include <stdio.h>

/* Factors of the peak rate at these epochs, linear between: up, level, down by the end
 * of the third epoch, and a tail that longer runs spend refining. */
static const float epoch_at[] = { 0.0f, 0.6f, 1.5f, 3.0f, 10.0f };
static const float factor_at[] = { 0.05f, 1.0f, 1.0f, 0.02f, 0.005f };
enum { POINTS = sizeof epoch_at / sizeof epoch_at[0] };

static mnt_schedule schedule(int64_t steps_per_epoch)
{
    mnt_schedule s = { 0 };
    for (int i = 0; i < POINTS; i++) {
        int64_t step = (int64_t)(epoch_at[i] * (float)steps_per_epoch);
        if (s.points > 0 && step <= s.step[s.points - 1])
            continue; /* a tiny data set: steps must rise */
        s.step[s.points] = step;
        s.factor[s.points++] = factor_at[i];
    }
    return s;
}

/*
 * Rates are chosen at a batch of 256. Steps of a smaller batch are noisier: sgd's rate
 * falls with the batch, adam's with its root, for its steps are already normalised. A
 * larger batch allows less than the root promises, as fewer steps warm up.
 */
void recipe_defaults(options *opt, const run_app *app)
{
    float ratio = (float)opt->batch / 256.0f;
    if ((opt->given & GIVEN_OPTIMIZER) == 0)
        opt->optimizer = (opt->given & GIVEN_MOMENTUM) != 0 ? OPT_SGD : app->optimizer;
    if ((opt->given & GIVEN_LR) != 0)
        return;
    if (opt->optimizer == OPT_SGD)
        opt->lr = app->sgd_lr * (ratio < 1.0f ? ratio : fminf(sqrtf(ratio), 1.5f));
    else
        opt->lr = app->adam_lr * fminf(sqrtf(ratio), 1.5f);
}

static void optimize(mnt_graph *g, const options *o, int64_t steps_per_epoch)
{
    mnt_schedule plan = schedule(steps_per_epoch);
    if (o->optimizer == OPT_SGD)
        mnt_sgd(g, &MNT_SGD_DESC(.lr = o->lr, .momentum = o->momentum,
                                 .nesterov = o->momentum > 0.0f,
                                 .weight_decay = o->weight_decay, .schedule = plan));
    else
        mnt_adam(g, &MNT_ADAM_DESC(.lr = o->lr, .beta1 = 0.8f, .beta2 = 0.99f,
                                   .weight_decay = o->weight_decay, .decoupled = true,
                                   .schedule = plan));
}

/* Names for profiles, dumps and comparisons. */
static void name_tensors(const step_graph *s, const mnt_model *model)
{
    char name[160];
    mnt_tensor_set_name(s->batch.x, "batch.x");
    mnt_tensor_set_name(s->batch.y, "batch.y");
    mnt_tensor_set_name(s->logits, "logits");
    mnt_tensor_set_name(s->loss, "loss");
    for (int i = 0; i < mnt_model_param_count(model); i++) {
        mnt_tensor *w = mnt_model_param(model, i);
        snprintf(name, sizeof name, "%s.grad", mnt_tensor_name(w));
        mnt_tensor_set_name(mnt_tensor_grad(w), name);
    }
}

mnt_status step_graph_create(step_graph *out, mnt_device *dev, mnt_model *model,
                             mnt_dataset *data, const run_app *app, const options *opt,
                             bool keep_all)
{
    *out = (step_graph){ 0 };
    mnt_status st = mnt_graph_create(
        &out->g, dev, model, &MNT_GRAPH_DESC(.name = "train", .keep_all = keep_all));
    if (st != MNT_OK)
        return st;
    mnt_graph *g = out->g;
    out->batch = mnt_batch_input(g, data, opt->batch);
    out->logits = app->forward(g, out->batch.x);
    out->loss = mnt_cross_entropy(g, out->logits, out->batch.y);
    out->loss_sum = mnt_accumulate(g, out->loss);
    out->correct = mnt_accumulate(g, mnt_accuracy_count(g, out->logits, out->batch.y));
    mnt_backward(g, out->loss, NULL);
    name_tensors(out, model);
    optimize(g, opt, mnt_dataset_batches(data, opt->batch));
    return mnt_graph_compile(g);
}

void step_graph_destroy(step_graph *s)
{
    mnt_graph_destroy(s->g);
    *s = (step_graph){ 0 };
}
