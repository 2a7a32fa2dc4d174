/* SPDX-License-Identifier: MIT */
/*
 * Runs one case through the public API: inputs and their views, the op, the backward
 * pass with a given upstream gradient, compile, replays, results. Notes which kernels
 * the backend chose.
 */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct session {
    mnt_device *dev;
    kit_case *c;
    kit_mode mode;
    mnt_model *model;
    mnt_graph *g;
    mnt_tensor *base[KIT_MAX_IN], *in[KIT_MAX_IN];
    mnt_tensor *y, *grad[KIT_MAX_IN];
    int replay; /* the next one */
} session;

static size_t bytes_of(const mnt_tensor *t)
{
    return (size_t)mnt_tensor_count(t) * mnt_dtype_size(mnt_tensor_dtype(t));
}

static mnt_tensor *make_view(mnt_graph *g, mnt_tensor *t, const kit_in *in)
{
    const mnt_shape *s = &in->shape;
    if (strncmp(in->view, "offset", 6) == 0) {
        int64_t start = atoll(in->view + 6);
        t = mnt_slice(g, t, 0, start, mnt_shape_count(*s));
        return mnt_reshape(g, t, *s);
    }
    if (!strcmp(in->view, "transposed")) {
        int order[MNT_MAX_DIMS];
        for (int d = 0; d < s->ndim; d++)
            order[d] = s->ndim - 1 - d;
        return mnt_permute(g, t, order);
    }
    if (!strcmp(in->view, "sliced")) {
        for (int d = 0; d < s->ndim; d++)
            t = mnt_slice(g, t, d, 1 + d % 2, s->dim[d]);
        return t;
    }
    return strcmp(in->view, "stretched") ? t : mnt_broadcast(g, t, *s);
}

static mnt_status write_inputs(session *s, bool params)
{
    for (int i = 0; i < s->c->n; i++) {
        const kit_in *in = &s->c->in[i];
        if (!s->base[i] || (in->param != NULL) != params)
            continue;
        const char *set = in->base;
        size_t bytes = bytes_of(s->base[i]);
        mnt_status st = mnt_tensor_write(
            s->base[i], in->fed ? set + (size_t)s->replay * bytes : set, bytes);
        if (st)
            return st;
    }
    return MNT_OK;
}

static mnt_status record(session *s)
{
    const kit_case *c = s->c;
    for (int i = 0; i < c->n; i++) {
        const kit_in *in = &c->in[i];
        mnt_init init = { .kind = MNT_INIT_ZERO };
        if (in->param)
            s->base[i] = mnt_param(s->g, in->param, in->shape, init);
        else
            s->base[i] = mnt_input(s->g, in->dtype, in->base_shape);
        if (in->grad && s->mode.backward && !in->param)
            mnt_tensor_require_grad(s->base[i]);
    }
    mnt_status st = write_inputs(s, false);
    if (st == MNT_OK && s->mode.eager)
        st = write_inputs(s, true);
    if (st)
        return st;
    for (int i = 0; i < c->n; i++)
        s->in[i] = make_view(s->g, s->base[i], &c->in[i]);
    s->y = c->op->record(s->g, s->in, c);
    if (!s->y)
        return mnt_graph_status(s->g);
    mnt_tensor_keep(s->y);
    if (!s->mode.backward)
        return MNT_OK;
    mnt_tensor *dy = mnt_input(s->g, MNT_F32, mnt_tensor_shape(s->y));
    int64_t n = mnt_tensor_count(s->y);
    float *v = kit_alloc((size_t)n * sizeof *v);
    kit_upstream(c, v, n);
    st = mnt_tensor_write(dy, v, (size_t)n * sizeof *v);
    free(v);
    mnt_backward(s->g, s->y, dy);
    for (int i = 0; i < c->n; i++) {
        s->grad[i] = c->in[i].grad ? mnt_tensor_grad(s->base[i]) : NULL;
        mnt_tensor_keep(s->grad[i]);
    }
    return st ? st : mnt_graph_status(s->g);
}

/* Reads a tensor; where a previous reading is there, the bits must be the same. */
static bool read_again(mnt_tensor *t, void **kept, const char *what, kit_result *r)
{
    void *p = kit_alloc(bytes_of(t));
    r->status = mnt_tensor_read(t, p, bytes_of(t));
    if (r->status || !*kept) {
        free(*kept);
        *kept = p;
        return r->status == MNT_OK;
    }
    int64_t i = kit_difference(mnt_tensor_dtype(t), *kept, p, mnt_tensor_count(t));
    free(p);
    if (i < 0)
        return true;
    snprintf(r->error, sizeof r->error,
             "%s differs from replay to replay at element %lld", what, (long long)i);
    return false;
}

static bool read_results(session *s, kit_result *r)
{
    bool ok = read_again(s->y, &r->y, "y", r);
    for (int i = 0; ok && i < s->c->n; i++) {
        void *p = r->grad[i];
        if (s->grad[i])
            ok = read_again(s->grad[i], &p, "a gradient", r);
        r->grad[i] = p;
    }
    return ok;
}

static bool library(kit_result *r, mnt_status st)
{
    r->status = st;
    return st == MNT_OK;
}

/* An op whose result changes: y of every replay, one behind the other; of the last one
 * where all are queued at once, of the first where each call is executed at once. */
static bool replay_state(session *s, kit_result *r)
{
    size_t bytes = bytes_of(s->y);
    bool eager = s->mode.eager, queued = s->c->queued && !eager;
    r->first = queued ? s->c->replays - 1 : 0;
    r->replays = queued || eager ? 1 : s->c->replays;
    r->shape = kit_stacked(s->c, r->shape);
    r->shape.dim[0] = r->replays;
    r->y = kit_alloc((size_t)r->replays * bytes);
    bool ok = true;
    for (; ok && s->replay < r->replays; s->replay++) {
        char *y = (char *)r->y + (size_t)s->replay * bytes;
        if (!eager)
            ok = library(r, write_inputs(s, false)) &&
                 library(r, mnt_graph_run(s->g, queued ? s->c->replays : 1));
        ok = ok && library(r, mnt_tensor_read(s->y, y, bytes));
    }
    for (int i = 0; ok && i < s->c->n; i++)
        if (s->c->in[i].param) {
            r->param[i] = kit_alloc(bytes_of(s->base[i]));
            ok = library(
                r, mnt_tensor_read(s->base[i], r->param[i], bytes_of(s->base[i])));
        }
    return ok;
}

/* A replay with good rows must work as if there had never been bad ones. */
static bool replay_good(session *s, kit_result *r)
{
    kit_result *next = r->after = kit_alloc(sizeof *next);
    *next =
        (kit_result){ .dtype = r->dtype, .shape = r->shape, .backward = r->backward };
    bool ok = true;
    for (int i = 0; ok && i < s->c->n; i++)
        if (s->c->in[i].good)
            ok = library(next, mnt_tensor_write(s->base[i], s->c->in[i].good,
                                                bytes_of(s->base[i])));
    ok = ok && library(next, mnt_graph_run(s->g, 1)) && read_results(s, next);
    if (!ok) {
        r->status = next->status;
        memcpy(r->error, next->error, sizeof r->error);
    }
    return ok;
}

/* The failure that the case expects; its sentence becomes part of the result. */
static bool replay_fault(session *s, kit_result *r)
{
    char part[96] = "";
    mnt_status want = s->c->op->fault(s->c, part, sizeof part);
    if (!s->mode.eager && !library(r, mnt_graph_run(s->g, s->c->replays)))
        return false;
    mnt_status st = mnt_device_wait(s->dev);
    char said[KIT_SENTENCE] = "";
    if (st)
        snprintf(said, sizeof said, "%.600s", mnt_last_error(s->dev));
    if (st != want || !strstr(said, part)) {
        snprintf(r->error, sizeof r->error,
                 "a wait must say %s and \"%s\", it said %s \"%.300s\"",
                 mnt_status_name(want), part, mnt_status_name(st), said);
        return false;
    }
    memcpy(r->error, said, sizeof said);
    r->status = MNT_OK;
    return read_results(s, r) && (s->mode.eager || replay_good(s, r));
}

static bool replay(session *s, kit_result *r)
{
    char part[96];
    if (s->c->op->fault && s->c->op->fault(s->c, part, sizeof part) != MNT_OK)
        return replay_fault(s, r);
    if (s->c->op->flags & KIT_STATE)
        return replay_state(s, r);
    bool ok = s->mode.eager || library(r, mnt_graph_run(s->g, 1));
    ok = ok && read_results(s, r);
    if (s->c->replays > 1 && !s->mode.eager)
        ok = ok && library(r, mnt_graph_run(s->g, s->c->replays - 1)) &&
             read_results(s, r);
    return ok;
}

static void note_kernels(mnt_graph *g, kit_result *r);

static bool run(session *s, kit_result *r)
{
    mnt_graph_desc desc =
        MNT_GRAPH_DESC(.eager = s->mode.eager, .no_fusion = s->mode.no_fusion,
                       .guard = s->mode.guard);
    if (s->c->op->open && !library(r, s->c->op->open(s->dev, s->c)))
        return false;
    if (!library(r, mnt_model_create(&s->model, s->dev, NULL)) ||
        !library(r, mnt_graph_create(&s->g, s->dev, s->model, &desc)) ||
        !library(r, record(s)) || !library(r, mnt_graph_compile(s->g)))
        return false;
    if (!s->mode.eager) {
        note_kernels(s->g, r);
        if (!library(r, write_inputs(s, true)))
            return false;
    }
    r->dtype = mnt_tensor_dtype(s->y);
    r->shape = mnt_tensor_shape(s->y);
    return replay(s, r) && (!s->mode.guard || library(r, mnt_graph_check_guards(s->g)));
}

bool kit_run(mnt_device *dev, const kit_case *c, kit_mode mode, kit_result *r)
{
    kit_case mine = *c;
    session s = { .dev = dev, .c = &mine, .mode = mode };
    s.mode.backward = mode.backward && c->backward;
    *r = (kit_result){ .backward = s.mode.backward };
    bool ok = run(&s, r);
    if (!ok && r->status)
        snprintf(r->error, sizeof r->error, "%.600s", mnt_last_error(dev));
    mnt_graph_destroy(s.g);
    mnt_model_destroy(s.model);
    if (c->op->close)
        c->op->close(&mine);
    return ok;
}

void kit_result_free(kit_result *r)
{
    free(r->y);
    for (int i = 0; i < KIT_MAX_IN; i++) {
        free(r->grad[i]);
        free(r->param[i]);
    }
    if (r->after)
        kit_result_free(r->after);
    free(r->after);
    *r = (kit_result){ 0 };
}

_Static_assert(MNT_OP_COUNT <= 64, "a set of ops is one word");

/* Op and kernel of every command, each pair once. */
static void note_kernels(mnt_graph *g, kit_result *r)
{
    for (int i = 0; i < mnt_graph_command_count(g); i++) {
        mnt_op_timing t = { .size = sizeof t };
        if (mnt_graph_timing(g, i, &t) != MNT_OK || !t.op)
            continue;
        kit_kernel k = { MNT_OP_COUNT, "" };
        for (int op = 0; op < MNT_OP_COUNT; op++)
            if (!strcmp(t.op, mnt_op_name((mnt_op)op)))
                k.op = (mnt_op)op;
        if (k.op == MNT_OP_COUNT)
            continue;
        snprintf(k.name, sizeof k.name, "%.39s", t.kernel ? t.kernel : "");
        r->ops |= (uint64_t)1 << k.op;
        int at = 0;
        while (at < r->ran_count &&
               (r->ran[at].op != k.op || strcmp(r->ran[at].name, k.name) != 0))
            at++;
        if (at == r->ran_count && at < KIT_MAX_RAN)
            r->ran[r->ran_count++] = k;
    }
}
