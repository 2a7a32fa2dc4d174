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
    const kit_case *c;
    kit_mode mode;
    mnt_model *model;
    mnt_graph *g;
    mnt_tensor *base[KIT_MAX_IN], *in[KIT_MAX_IN];
    mnt_tensor *y, *grad[KIT_MAX_IN];
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
        mnt_status st = mnt_tensor_write(s->base[i], in->base, bytes_of(s->base[i]));
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
    float *v = sup_alloc((size_t)n * sizeof *v);
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
static mnt_status read_again(session *s, mnt_tensor *t, void **kept, const char *what)
{
    void *p = sup_alloc(bytes_of(t));
    mnt_status st = mnt_tensor_read(t, p, bytes_of(t));
    if (st || !*kept) {
        free(*kept);
        *kept = p;
        return st;
    }
    mnt_dtype type = mnt_tensor_dtype(t);
    if (sup_difference(type, *kept, p, mnt_tensor_count(t)) >= 0)
        fail_msg("%s: case '%s': %s differs from replay to replay", s->c->op->name,
                 s->c->text, what);
    free(p);
    return MNT_OK;
}

static mnt_status replay(session *s, int64_t n, kit_result *r)
{
    mnt_status st = s->mode.eager ? MNT_OK : mnt_graph_run(s->g, n);
    if (!st)
        st = read_again(s, s->y, &r->y, "y");
    for (int i = 0; !st && i < s->c->n; i++) {
        void *p = r->grad[i];
        if (s->grad[i])
            st = read_again(s, s->grad[i], &p, "a gradient");
        r->grad[i] = p;
    }
    if (!st && s->mode.guard)
        st = mnt_graph_check_guards(s->g);
    return st;
}

mnt_status kit_run(mnt_device *dev, const kit_case *c, kit_mode mode, kit_result *r)
{
    session s = { .dev = dev, .c = c, .mode = mode };
    s.mode.backward = mode.backward && c->backward;
    *r = (kit_result){ .backward = s.mode.backward };
    mnt_graph_desc desc =
        MNT_GRAPH_DESC(.eager = mode.eager, .no_fusion = mode.no_fusion,
                       .guard = mode.guard);
    MUST(dev, mnt_model_create(&s.model, dev, NULL));
    MUST(dev, mnt_graph_create(&s.g, dev, s.model, &desc));
    mnt_status st = record(&s);
    if (!st)
        st = mnt_graph_compile(s.g);
    if (!st && !mode.eager) {
        r->ops = kit_note_kernels(s.g);
        st = write_inputs(&s, true);
    }
    if (!st) {
        r->dtype = mnt_tensor_dtype(s.y);
        r->shape = mnt_tensor_shape(s.y);
        st = replay(&s, 1, r);
    }
    if (!st && !mode.eager)
        st = replay(&s, 2, r);
    if (st)
        snprintf(r->error, sizeof r->error, "%.255s", mnt_last_error(dev));
    mnt_graph_destroy(s.g);
    mnt_model_destroy(s.model);
    return st;
}

void kit_result_free(kit_result *r)
{
    free(r->y);
    for (int i = 0; i < KIT_MAX_IN; i++)
        free(r->grad[i]);
    *r = (kit_result){ 0 };
}

/* ---- coverage ---- */

#define MAX_SEEN 512
static struct seen {
    char op[32], kernel[48];
    int64_t calls;
} seen[MAX_SEEN];
static int seen_count;

_Static_assert(MNT_OP_COUNT <= 64, "a set of ops is one word");

static uint64_t op_bit(const char *name)
{
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (!strcmp(name, mnt_op_name((mnt_op)op)))
            return (uint64_t)1 << op;
    return 0;
}

uint64_t kit_note_kernels(mnt_graph *g)
{
    uint64_t ops = 0;
    for (int i = 0; i < mnt_graph_command_count(g); i++) {
        mnt_op_timing t = { .size = sizeof t };
        if (mnt_graph_timing(g, i, &t) != MNT_OK || !t.op)
            continue;
        ops |= op_bit(t.op);
        const char *kernel = t.kernel ? t.kernel : "";
        int k = 0;
        while (k < seen_count &&
               (strcmp(seen[k].op, t.op) || strcmp(seen[k].kernel, kernel)))
            k++;
        if (k == MAX_SEEN)
            continue;
        if (k == seen_count) {
            seen_count++;
            snprintf(seen[k].op, sizeof seen[k].op, "%s", t.op);
            snprintf(seen[k].kernel, sizeof seen[k].kernel, "%s", kernel);
        }
        seen[k].calls++;
    }
    return ops;
}

bool kit_kernel_ran(const char *op, const char *part)
{
    for (int k = 0; k < seen_count; k++)
        if (!strcmp(seen[k].op, op) && strstr(seen[k].kernel, part))
            return true;
    return false;
}

bool kit_op_ran(const char *op)
{
    return kit_kernel_ran(op, "");
}

void kit_print_kernels(void)
{
    for (int k = 0; k < seen_count; k++)
        print_message("%-20s %-24s %lld\n", seen[k].op, seen[k].kernel,
                      (long long)seen[k].calls);
}
