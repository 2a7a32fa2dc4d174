/* SPDX-License-Identifier: MIT */
/*
 * Runs and compares a kit case or a graph behind one face.
 */
#include "trial.h"

#include <stdio.h>
#include <string.h>

void trial_begin(trial *t, const plan_case *what)
{
    *t = (trial){ .what = what, .graph = plan_is_graph(what->op), .dtype = MNT_F32 };
    if (t->graph) {
        t->backward = true;
        return;
    }
    kit_case_init(&t->c, plan_kit_op(what->op), what->text);
    t->backward = t->c.backward;
    if (t->c.n > 0)
        t->dtype = t->c.in[0].dtype;
}

void trial_end(trial *t)
{
    if (!t->graph)
        kit_case_free(&t->c);
}

static void run_graph(const trial *t, mnt_device *dev, kit_mode mode, outcome *o)
{
    static const char compiling[] = "compiling: ";
    o->ok = graph_run(dev, t->what->text, mode, &o->g, o->error, sizeof o->error,
                      o->ran, &o->ran_count);
    /* A backend refuses a program in prepare(), that is when the graph is compiled. */
    o->unsupported = !o->ok && strncmp(o->error, compiling, sizeof compiling - 1) == 0;
    for (int i = 0; i < o->ran_count; i++)
        o->ops |= (uint64_t)1 << o->ran[i].op;
}

void trial_run(const trial *t, mnt_device *dev, kit_mode mode, outcome *o)
{
    *o = (outcome){ .ok = false };
    if (t->graph) {
        run_graph(t, dev, mode, o);
        return;
    }
    o->ok = kit_run(dev, &t->c, mode, &o->r);
    o->ops = o->r.ops;
    o->ran_count = o->r.ran_count;
    memcpy(o->ran, o->r.ran, sizeof o->ran);
    if (o->ok)
        return;
    o->unsupported = o->r.status == MNT_UNSUPPORTED;
    if (o->r.status)
        snprintf(o->error, sizeof o->error, "%s: %.580s", mnt_status_name(o->r.status),
                 o->r.error);
    else
        snprintf(o->error, sizeof o->error, "%s", o->r.error);
}

void outcome_free(outcome *o)
{
    if (o->g)
        graph_free(o->g);
    kit_result_free(&o->r);
    *o = (outcome){ .ok = false };
}

bool trial_same(const trial *t, const char *where, const outcome *want,
                const outcome *got, kit_verdict *v)
{
    if (t->graph)
        return graph_same(t->what->text, where, want->g, got->g, v);
    kit_result w = want->r;
    if (!got->r.backward) {
        memset(w.grad, 0, sizeof w.grad);
        w.after = NULL;
    }
    return kit_same(&t->c, where, &w, &got->r, v);
}

bool trial_right(const trial *t, const char *where, const outcome *got, kit_verdict *v)
{
    *v = (kit_verdict){ .ok = true };
    return t->graph || kit_right(&t->c, where, &got->r, v);
}
