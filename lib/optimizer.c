/* SPDX-License-Identifier: MIT */
/*
 * Recording of optimizers: one command that advances step, rate and bias corrections on
 * the device, then one a parameter. The planner joins neighbours into long vectors.
 */
#include "core.h"

void mnt_sgd_desc_init(mnt_sgd_desc *desc)
{
    if (desc)
        *desc = MNT_SGD_DESC(.lr = 0.1f);
}

void mnt_adam_desc_init(mnt_adam_desc *desc)
{
    if (desc)
        *desc = MNT_ADAM_DESC(.lr = 1e-3f);
}

static bool finite_in(mnt_graph *g, const char *op, const char *what, float value,
                      float lo, float hi)
{
    if (value >= lo && value <= hi)
        return true;
    mnti_graph_fail(g, MNT_INVALID, "%s: %s is %g, not in [%g, %g]", op, what,
                    (double)value, (double)lo, (double)hi);
    return false;
}

#define BIG 3e38f

static bool schedule_ok(mnt_graph *g, const char *op, const mnt_schedule *s)
{
    if (s->points < 0 || s->points > MNT_MAX_SCHEDULE) {
        mnti_graph_fail(g, MNT_INVALID, "%s: the schedule has %d points, not 0 to %d",
                        op, s->points, MNT_MAX_SCHEDULE);
        return false;
    }
    for (int i = 0; i < s->points; i++) {
        if (s->step[i] < 0 || (i > 0 && s->step[i] <= s->step[i - 1])) {
            mnti_graph_fail(
                g, MNT_INVALID,
                "%s: step %d of the schedule is %lld; steps must rise from 0", op, i,
                (long long)s->step[i]);
            return false;
        }
        if (!finite_in(g, op, "a factor of the schedule", s->factor[i], 0.0f, BIG))
            return false;
    }
    return true;
}

static bool ready(mnt_graph *g, const char *op)
{
    if (!mnti_graph_accepts(g, MNT_OP_ID_optimizer_step, NULL, 0))
        return false;
    if (!g->model)
        mnti_graph_fail(g, MNT_STATE, "%s: the graph has no model", op);
    else if (!g->backward_done)
        mnti_graph_fail(g, MNT_STATE, "%s: mnt_backward() must come before it", op);
    else if (g->optimizer_done)
        mnti_graph_fail(g, MNT_STATE, "%s: the graph has an optimizer already", op);
    return g->status == MNT_OK;
}

/* x as a vector, NULL if there is none */
static mnt_tensor *vector(mnt_graph *g, mnt_tensor *x)
{
    x = x ? mnt_contiguous(g, x) : NULL;
    return x ? mnt_reshape(g, x, MNT_SHAPE(-1)) : NULL;
}

static void record_update(mnt_graph *g, mnt_tensor *param, const mnt_args *args,
                          mnt_tensor *fault)
{
    const mnti_param *p = param->param;
    mnt_tensor *w = vector(g, param), *dw = vector(g, param->grad);
    mnt_tensor *m = vector(g, p->m), *v = vector(g, p->v), *state = g->model->state;
    if (!w || !dw)
        return;
    if (args->optim.adam) {
        mnt_tensor *in[] = { w, dw, m, v, state, fault }, *out[] = { w, m, v };
        mnti_record(g, MNT_OP_ID_adam, in, 6, out, 3, *args);
    } else {
        if (args->optim.momentum == 0.0f)
            v = NULL;
        mnt_tensor *in[] = { w, dw, v, state, fault }, *out[] = { w, v };
        mnti_record(g, MNT_OP_ID_sgd, in, 5, out, 2, *args);
    }
}

static int by_name(const mnt_tensor *a, const mnt_tensor *b)
{
    return strcmp(mnt_tensor_name(a), mnt_tensor_name(b));
}

static void record_optimizer(mnt_graph *g, mnti_optimizer kind, const mnt_args *args)
{
    mnt_status st = mnti_model_optimizer(g->model, kind, &args->optim);
    if (st) {
        mnti_graph_fail(g, st, "%s", g->dev->error);
        return;
    }
    mnt_tensor *fault = mnti_graph_fault(g), *state = g->model->state;
    /* an eager step runs now: random ops recorded behind it belong to the same replay */
    if (!fault || (g->eager && !mnti_graph_counter(g)))
        return;
    mnt_tensor *in[] = { state, fault };
    if (!mnti_record(g, MNT_OP_ID_optimizer_step, in, 2, &state, 1, *args))
        return;
    /* in the order in which the model lays parameters out, so that neighbours join */
    const mnt_tensor *last = NULL;
    for (int n = 0; n < g->param_count; n++) {
        mnt_tensor *next = NULL;
        for (int i = 0; i < g->param_count; i++) {
            mnt_tensor *t = g->params[i];
            if ((!last || by_name(t, last) > 0) && (!next || by_name(t, next) < 0))
                next = t;
        }
        if (next->grad)
            record_update(g, next, args, fault);
        last = next;
    }
    g->optimizer_done = true;
    g->writes_params = true;
    if (g->eager)
        g->model->version++;
}

void mnt_sgd(mnt_graph *g, const mnt_sgd_desc *desc)
{
    if (!ready(g, "sgd"))
        return;
    mnt_sgd_desc d;
    mnt_sgd_desc_init(&d);
    if (desc && !mnti_desc_read(&d, sizeof d, desc)) {
        mnti_graph_fail(g, MNT_INVALID, "sgd: the desc's size field is wrong");
        return;
    }
    if (!finite_in(g, "sgd", "lr", d.lr, 0.0f, BIG) ||
        !finite_in(g, "sgd", "momentum", d.momentum, -BIG, BIG) ||
        !finite_in(g, "sgd", "weight_decay", d.weight_decay, -BIG, BIG) ||
        !schedule_ok(g, "sgd", &d.schedule))
        return;
    mnt_args args = { .optim = { .nesterov = d.nesterov,
                                 .lr = d.lr,
                                 .momentum = d.momentum,
                                 .weight_decay = d.weight_decay,
                                 .schedule = d.schedule } };
    record_optimizer(g, MNTI_OPT_SGD, &args);
}

void mnt_adam(mnt_graph *g, const mnt_adam_desc *desc)
{
    if (!ready(g, "adam"))
        return;
    mnt_adam_desc d;
    mnt_adam_desc_init(&d);
    if (desc && !mnti_desc_read(&d, sizeof d, desc)) {
        mnti_graph_fail(g, MNT_INVALID, "adam: the desc's size field is wrong");
        return;
    }
    if (d.beta1 == 1.0f || d.beta2 == 1.0f) {
        mnti_graph_fail(g, MNT_INVALID,
                        "adam: beta1 is %g, beta2 %g; both must be below 1",
                        (double)d.beta1, (double)d.beta2);
        return;
    }
    if (!finite_in(g, "adam", "lr", d.lr, 0.0f, BIG) ||
        !finite_in(g, "adam", "beta1", d.beta1, 0.0f, 1.0f) ||
        !finite_in(g, "adam", "beta2", d.beta2, 0.0f, 1.0f) ||
        !finite_in(g, "adam", "eps", d.eps, 0.0f, BIG) ||
        !finite_in(g, "adam", "weight_decay", d.weight_decay, -BIG, BIG) ||
        !schedule_ok(g, "adam", &d.schedule))
        return;
    mnt_args args = { .optim = { .adam = true,
                                 .decoupled = d.decoupled,
                                 .lr = d.lr,
                                 .beta1 = d.beta1,
                                 .beta2 = d.beta2,
                                 .eps = d.eps,
                                 .weight_decay = d.weight_decay,
                                 .schedule = d.schedule } };
    record_optimizer(g, MNTI_OPT_ADAM, &args);
}
