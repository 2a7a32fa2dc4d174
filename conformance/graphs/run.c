/* SPDX-License-Identifier: MIT */
/*
 * Runs a program through the public API: one replay, results, perhaps other inputs, a
 * written parameter and a second graph of the model, the other replays, results. An
 * eager run records the graph once a replay.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* State that an eager graph loses when it is recorded again. Random numbers go on from
 * the model's step, so an optimizer carries them, unless a fault holds it back. */
static bool eager_possible(const graph_program *p, bool backward)
{
    bool random = graph_holds(p, GRAPH_uniform) || graph_holds(p, GRAPH_normal);
    bool steps = backward && graph_holds(p, GRAPH_optimizer) && !p->fault;
    if (random && p->twin && p->replays > 1)
        return false;
    return p->replays == 1 || (!graph_holds(p, GRAPH_accumulate) && (!random || steps));
}

bool graph_eager(const char *text)
{
    graph_program *p = graph_build(text);
    bool yes = eager_possible(p, true);
    graph_program_free(p);
    return yes;
}

static bool read_tensor(graph_session *s, graph_result *r, const char *name, int phase,
                        int value, mnt_tensor *t)
{
    mnt_dtype dtype = mnt_tensor_dtype(t);
    mnt_shape shape = mnt_tensor_shape(t);
    void *x = graph_result_add(r, name, phase, value, dtype, shape);
    mnt_status st =
        mnt_tensor_read(t, x, (size_t)mnt_shape_count(shape) * mnt_dtype_size(dtype));
    char what[64];
    snprintf(what, sizeof what, "reading %.40s", name);
    return st == MNT_OK || graph_failed(s, what);
}

/* Waits; a fault that the text asks for becomes part of the result. */
static bool settle(graph_session *s, graph_result *r, int phase)
{
    mnt_status st = mnt_device_wait(s->dev);
    if (st == MNT_LABEL && s->p->fault) {
        const char *said = mnt_last_error(s->dev);
        size_t n = strlen(said);
        memcpy(graph_result_add(r, "fault", phase, -1, MNT_U8, MNT_SHAPE((int64_t)n)),
               said, n);
        st = mnt_device_wait(s->dev);
    }
    return st == MNT_OK || graph_failed(s, "waiting");
}

static bool read_values(graph_session *s, graph_result *r, int phase)
{
    const graph_program *p = s->p;
    bool ok = true;
    for (int i = 0; ok && i < p->value_count; i++) {
        char name[32];
        graph_kind kind = p->steps[p->values[i].step].kind;
        snprintf(name, sizeof name, "%sv%d", s->forward ? "twin " : "", i);
        if (s->t[i] && graph_reads(p, i))
            ok = read_tensor(s, r, name, phase, i, s->t[i]);
        if (kind != GRAPH_input || !s->t[i] || s->forward)
            continue;
        snprintf(name, sizeof name, "gradient of v%d", i);
        if (ok && mnt_tensor_grad(s->t[i]))
            ok = read_tensor(s, r, name, phase, i, mnt_tensor_grad(s->t[i]));
    }
    return ok;
}

static bool read_model(graph_session *s, graph_result *r, int phase)
{
    bool ok = true;
    mnt_tensor *t;
    for (int i = 0; ok && (t = mnt_graph_param(s->g, i)) != NULL; i++) {
        char name[48];
        snprintf(name, sizeof name, "gradient of %.30s", mnt_tensor_name(t));
        if (mnt_tensor_grad(t))
            ok = read_tensor(s, r, name, phase, -1, mnt_tensor_grad(t));
    }
    for (int i = 0; ok && (t = mnt_model_param(s->model, i)) != NULL; i++)
        ok = read_tensor(s, r, mnt_tensor_name(t), phase, -1, t);
    int64_t step = mnt_model_step(s->model);
    memcpy(graph_result_add(r, "step", phase, -1, MNT_U8, MNT_SHAPE(8)), &step, 8);
    return ok;
}

static bool finish(graph_session *s, graph_result *r, int phase)
{
    return settle(s, r, phase) && read_values(s, r, phase) &&
           (s->forward || read_model(s, r, phase)) &&
           (!s->mode.guard || s->mode.eager || mnt_graph_check_guards(s->g) == MNT_OK ||
            graph_failed(s, "guards"));
}

/* Op and kernel of every command, each pair once. */
static void note_kernels(mnt_graph *g, kit_kernel ran[KIT_MAX_RAN], int *count)
{
    for (int i = 0; ran && i < mnt_graph_command_count(g); i++) {
        mnt_op_timing t = { .size = sizeof t };
        kit_kernel k = { MNT_OP_COUNT, "" };
        if (mnt_graph_timing(g, i, &t) != MNT_OK || !t.op)
            continue;
        for (int op = 0; op < MNT_OP_COUNT; op++)
            if (!strcmp(t.op, mnt_op_name((mnt_op)op)))
                k.op = (mnt_op)op;
        snprintf(k.name, sizeof k.name, "%.39s", t.kernel ? t.kernel : "");
        int at = 0;
        while (at < *count && (ran[at].op != k.op || strcmp(ran[at].name, k.name) != 0))
            at++;
        if (at == *count && at < KIT_MAX_RAN && k.op != MNT_OP_COUNT)
            ran[(*count)++] = k;
    }
}

static bool start(graph_session *s)
{
    mnt_graph_desc desc =
        MNT_GRAPH_DESC(.eager = s->mode.eager, .no_fusion = s->mode.no_fusion,
                       .guard = s->mode.guard, .keep_all = s->p->all);
    if (mnt_graph_create(&s->g, s->dev, s->model, &desc) != MNT_OK)
        return graph_failed(s, "making a graph");
    if (!graph_record(s))
        return false;
    return mnt_graph_compile(s->g) == MNT_OK || graph_failed(s, "compiling");
}

/* The forward part in a graph of its own on the same model, recorded after the first
 * replay, run then and after the last. */
static bool run_twin(graph_session *s, graph_result *r, int phase)
{
    graph_session *twin = s->twin;
    if (!twin) {
        twin = s->twin = kit_alloc(sizeof *twin);
        *twin = *s;
        twin->forward = true;
        twin->twin = NULL;
        twin->g = NULL;
    } else if (s->mode.eager) {
        mnt_graph_destroy(twin->g);
        twin->g = NULL;
    }
    bool ok = twin->g || start(twin);
    if (ok && !s->mode.eager)
        ok = mnt_graph_run(twin->g, 1) == MNT_OK || graph_failed(twin, "the twin");
    ok = ok && finish(twin, r, phase);
    memcpy(s->error, twin->error, sizeof s->error);
    return ok;
}

/* Between the first replay and the others. */
static bool interlude(graph_session *s, graph_result *r)
{
    s->set = 1;
    if (s->p->write && !graph_write_parameter(s))
        return false;
    if (s->p->twin && !run_twin(s, r, 1))
        return false;
    return s->mode.eager || graph_write_inputs(s);
}

static bool run_eager(graph_session *s, graph_result *r)
{
    bool ok = true;
    for (int i = 0; ok && i < s->p->replays; i++) {
        ok = start(s);
        if (i == 0 || i == s->p->replays - 1)
            ok = ok && finish(s, r, i == 0 ? 1 : 2);
        if (ok && i > 0 && i == s->p->replays - 1 && s->p->twin)
            ok = run_twin(s, r, 2);
        mnt_graph_destroy(s->g);
        s->g = NULL;
        if (i == 0)
            ok = ok && interlude(s, r);
    }
    return ok;
}

static bool run_replays(graph_session *s, graph_result *r, kit_kernel *ran, int *count)
{
    if (!start(s))
        return false;
    note_kernels(s->g, ran, count);
    if (mnt_graph_run(s->g, 1) != MNT_OK)
        return graph_failed(s, "running");
    if (!finish(s, r, 1) || !interlude(s, r))
        return false;
    if (s->p->replays == 1)
        return true;
    if (mnt_graph_run(s->g, s->p->replays - 1) != MNT_OK)
        return graph_failed(s, "running");
    return finish(s, r, 2) && (!s->p->twin || run_twin(s, r, 2));
}

bool graph_run(mnt_device *dev, const char *text, kit_mode mode, graph_result **r,
               char *error, size_t size, kit_kernel ran[KIT_MAX_RAN], int *ran_count)
{
    graph_program *p = graph_build(text);
    graph_session *s = kit_alloc(sizeof *s);
    int none = 0;
    *s = (graph_session){ .dev = dev, .p = p, .mode = mode, .split = -1 };
    if (ran_count)
        *ran_count = 0;
    if (mode.eager && !eager_possible(p, mode.backward))
        s->mode = (kit_mode){ .no_fusion = true, .backward = mode.backward };
    *r = graph_result_new();
    bool ok = mnt_model_create(&s->model, dev, NULL) == MNT_OK ||
              graph_failed(s, "making a model");
    ok = ok && graph_open_data(s) &&
         (s->mode.eager ? run_eager(s, *r)
                        : run_replays(s, *r, ran, ran_count ? ran_count : &none));
    ok = ok && (!p->check || graph_check(dev, p, s->mode, s->error));
    if (size)
        snprintf(error, size, "%s", ok ? "" : s->error);
    if (s->twin)
        mnt_graph_destroy(s->twin->g);
    free(s->twin);
    mnt_graph_destroy(s->g);
    mnt_dataset_close(s->data);
    mnt_model_destroy(s->model);
    graph_program_free(p);
    free(s);
    return ok;
}
