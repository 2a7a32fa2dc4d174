/* SPDX-License-Identifier: MIT */
/*
 * Kit ops: optimizers. The gradient of the parameters is an input that changes with each
 * replay, so y, a parameter after the step, tells whether rate, step and corrections
 * advance on the device.
 *   sgd adam   x (the parameter's shape), lr, wd, s0.. s7 (step:factor, a schedule),
 *              mu, nesterov | b1, b2, eps, decoupled
 *              two=1: a second parameter, of shape z; show=1: y is the second one
 *              via=direct: the input is the gradient itself, else it comes from a product
 *   guarded_update   n rows, c classes, bad=, opt (sgd adam), lr, ...: logits are the
 *              parameter; a label out of range leaves it as it was
 */
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ora_optim optim_of(const kit_case *c, bool adam)
{
    ora_optim o = { .adam = adam,
                    .nesterov = kit_int(c, "nesterov", 0),
                    .decoupled = kit_int(c, "decoupled", 0),
                    .lr = kit_num(c, "lr", 0.1),
                    .momentum = kit_num(c, "mu", 0),
                    .beta1 = kit_num(c, "b1", 0.9),
                    .beta2 = kit_num(c, "b2", 0.999),
                    .eps = kit_num(c, "eps", 1e-8),
                    .weight_decay = kit_num(c, "wd", 0) };
    for (int i = 0; i < MNT_MAX_SCHEDULE; i++) {
        char key[4] = { 's', (char)('0' + i), 0 }, word[24];
        const char *colon = strchr(kit_word(c, key, "", word), ':');
        if (!colon)
            break;
        o.step[i] = atoll(word);
        o.factor[i] = atof(colon + 1);
        o.points = i + 1;
    }
    return o;
}

static void record_optimizer(mnt_graph *g, const ora_optim *o)
{
    mnt_schedule s = { .points = o->points };
    for (int i = 0; i < o->points; i++) {
        s.step[i] = o->step[i];
        s.factor[i] = (float)o->factor[i];
    }
    mnt_sgd_desc sgd = MNT_SGD_DESC(.lr = (float)o->lr, .momentum = (float)o->momentum,
                                    .weight_decay = (float)o->weight_decay,
                                    .nesterov = o->nesterov, .schedule = s);
    mnt_adam_desc adam = MNT_ADAM_DESC(.lr = (float)o->lr, .beta1 = (float)o->beta1,
                                       .beta2 = (float)o->beta2, .eps = (float)o->eps,
                                       .weight_decay = (float)o->weight_decay,
                                       .decoupled = o->decoupled, .schedule = s);
    if (o->adam)
        mnt_adam(g, &adam);
    else
        mnt_sgd(g, &sgd);
}

/* Parameters first, then a gradient each. */
static int optim_inputs(const kit_case *c, kit_in in[])
{
    static const char *const name[] = { "w.a", "w.b" };
    int n = kit_int(c, "two", 0) ? 2 : 1;
    for (int i = 0; i < n; i++) {
        mnt_shape s = kit_shape(c, i ? "z" : "x");
        in[i] = (kit_in){ .dtype = MNT_F32, .shape = s, .param = name[i] };
        in[n + i] = (kit_in){ .dtype = MNT_F32, .shape = s, .fed = true };
    }
    return 2 * n;
}

static mnt_tensor *product_sum(mnt_graph *g, mnt_tensor *w, mnt_tensor *x)
{
    return mnt_sum(g, mnt_mul(g, w, x), MNT_ALL_AXES);
}

static mnt_tensor *optim_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c,
                                bool adam)
{
    char via[24];
    bool two = kit_int(c, "two", 0);
    if (!two && !strcmp(kit_word(c, "via", "", via), "direct")) {
        mnt_backward(g, in[0], in[1]);
    } else {
        mnt_tensor *y = product_sum(g, in[0], in[two ? 2 : 1]);
        if (two)
            y = mnt_add(g, y, product_sum(g, in[1], in[3]));
        mnt_backward(g, y, NULL);
    }
    ora_optim o = optim_of(c, adam);
    record_optimizer(g, &o);
    return in[two ? kit_int(c, "show", 0) : 0];
}

static mnt_tensor *sgd_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return optim_record(g, in, c, false);
}

static mnt_tensor *adam_record(mnt_graph *g, mnt_tensor *const in[], const kit_case *c)
{
    return optim_record(g, in, c, true);
}

static ora optim_forward(const kit_case *c, const ora in[], bool adam)
{
    int n = kit_int(c, "two", 0) ? 2 : 1,
        which = n > 1 ? (int)kit_int(c, "show", 0) : 0;
    ora_optim o = optim_of(c, adam);
    const ora *all = &in[n + which];
    ora w = ora_copy(&in[which]), m = ora_new(w.shape), v = ora_new(w.shape);
    ora dw = ora_new(w.shape), y = ora_new(all->shape);
    size_t bytes = (size_t)w.count * sizeof *w.v;
    for (int i = 0; i < c->replays; i++) {
        memcpy(dw.v, all->v + i * w.count, bytes);
        ora_update(&w, &dw, &m, &v, &o, i);
        memcpy(y.v + i * w.count, w.v, bytes);
        memcpy(y.e + i * w.count, w.e, bytes);
    }
    ora_free(&w);
    ora_free(&m);
    ora_free(&v);
    ora_free(&dw);
    return y;
}

static ora sgd_forward(const kit_case *c, const ora in[])
{
    return optim_forward(c, in, false);
}

static ora adam_forward(const kit_case *c, const ora in[])
{
    return optim_forward(c, in, true);
}

/* ---- random cases ---- */

static const char *one_of(const char *const list[], int n, kit_rng *r)
{
    return list[kit_below(r, n)];
}

static void add_options(kit_text *t, bool adam, kit_rng *r)
{
    static const char *const lr[] = { "0.1", "0.01", "1", "0", "0.003" };
    static const char *const mu[] = { "0.9", "0.5", "0", "0.99" };
    static const char *const b1[] = { "0.9", "0", "0.5" };
    static const char *const b2[] = { "0.999", "0.5", "0.99" };
    static const char *const eps[] = { "1e-8", "1e-3", "0.1" };
    kit_append(t, " lr=%s", one_of(lr, 5, r));
    if (kit_one_in(r, 2))
        kit_append(t, " wd=%s", kit_one_in(r, 2) ? "0.01" : "0.1");
    if (adam)
        kit_append(t, " b1=%s b2=%s eps=%s decoupled=%d", one_of(b1, 3, r),
                   one_of(b2, 3, r), one_of(eps, 3, r), (int)kit_below(r, 2));
    else if (!kit_one_in(r, 3))
        kit_append(t, " mu=%s nesterov=%d", one_of(mu, 4, r), (int)kit_below(r, 2));
}

static void add_schedule(kit_text *t, kit_rng *r)
{
    static const char *const factor[] = { "1", "0.5", "0", "0.1", "2", "0.25" };
    int points = kit_one_in(r, 2) ? 0 : 1 + (int)kit_below(r, 4);
    if (kit_one_in(r, 8))
        points = MNT_MAX_SCHEDULE;
    for (int i = 0, step = 0; i < points; i++) {
        step += (i > 0) + (int)kit_below(r, 4);
        kit_append(t, " s%d=%d:%s", i, step, one_of(factor, 6, r));
    }
}

static void optim_generate(kit_text *t, bool adam, kit_rng *r)
{
    int64_t cap = t->work / 64 + 4;
    kit_append_shape(t, "x", kit_edge_shape(r, 0, 3, 0, cap));
    if (kit_one_in(r, 2)) {
        kit_append_shape(t, "z", kit_edge_shape(r, 1, 3, 0, cap));
        kit_append(t, " two=1 show=%d", (int)kit_below(r, 2));
    } else if (kit_one_in(r, 3)) {
        kit_append(t, " via=direct");
    }
    add_options(t, adam, r);
    add_schedule(t, r);
    if (kit_one_in(r, 2))
        kit_append(t, " replays=%d", 1 + (int)kit_below(r, 20));
    if (kit_one_in(r, 3))
        kit_append(t, " queued=1");
}

static void sgd_generate(kit_text *t, kit_rng *r)
{
    optim_generate(t, false, r);
}

static void adam_generate(kit_text *t, kit_rng *r)
{
    optim_generate(t, true, r);
}

const kit_op kit_sgd = {
    .name = "sgd",
    .flags = KIT_STATE,
    .inputs = optim_inputs,
    .record = sgd_record,
    .forward = sgd_forward,
    .generate = sgd_generate,
};
const kit_op kit_adam = {
    .name = "adam",
    .flags = KIT_STATE,
    .inputs = optim_inputs,
    .record = adam_record,
    .forward = adam_forward,
    .generate = adam_generate,
};

/* ---- an update behind a bad label ---- */

static bool uses_adam(const kit_case *c)
{
    char word[24];
    return !strcmp(kit_word(c, "opt", "sgd", word), "adam");
}

static int guarded_inputs(const kit_case *c, kit_in in[])
{
    int64_t n = kit_int(c, "n", 4), k = kit_int(c, "c", 10);
    in[0] = (kit_in){ .dtype = MNT_F32, .param = "logits", .shape = { 2, { n, k } } };
    in[1] = (kit_in){ .dtype = MNT_I32, .limit = k, .shape = { 1, { n } } };
    return 2;
}

static mnt_tensor *guarded_record(mnt_graph *g, mnt_tensor *const in[],
                                  const kit_case *c)
{
    mnt_backward(g, mnt_cross_entropy(g, in[0], in[1]), NULL);
    ora_optim o = optim_of(c, uses_adam(c));
    record_optimizer(g, &o);
    return in[0];
}

static ora guarded_forward(const kit_case *c, const ora in[])
{
    ora w = ora_copy(&in[0]);
    for (int64_t i = 0; i < in[1].count; i++)
        if (in[1].v[i] < 0 || in[1].v[i] >= (double)c->in[1].limit)
            return w;
    ora_optim o = optim_of(c, uses_adam(c));
    ora one = ora_new((mnt_shape){ 0 }), m = ora_new(w.shape), v = ora_new(w.shape);
    one.v[0] = 1;
    ora dw = ora_cross_entropy_grad(&in[0], &in[1], &one);
    ora_update(&w, &dw, &m, &v, &o, 0);
    ora_free(&one);
    ora_free(&m);
    ora_free(&v);
    ora_free(&dw);
    return w;
}

static void guarded_generate(kit_text *t, kit_rng *r)
{
    bool adam = kit_one_in(r, 2);
    int64_t d[2];
    kit_edges(r, d, 2, 1, t->work / 64 + 4);
    kit_append(t, " n=%d c=%d", (int)d[0], (int)d[1]);
    kit_append_bad(t, d[0], r);
    kit_append(t, " opt=%s", adam ? "adam" : "sgd");
    add_options(t, adam, r);
    add_schedule(t, r);
}

const kit_op kit_guarded_update = {
    .name = "guarded_update",
    .flags = KIT_MOVES, /* what does not move keeps its bits */
    .inputs = guarded_inputs,
    .record = guarded_record,
    .forward = guarded_forward,
    .fault = kit_label_fault,
    .generate = guarded_generate,
};
