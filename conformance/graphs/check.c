/* SPDX-License-Identifier: MIT */
/*
 * What a graph's tensors must be to each other, whoever ran it: a view shows the
 * elements it was taken from, its gradient goes back to them, and the gradient of a
 * tensor with several readers is the sum of what each alone would send back, from the
 * last to the first (numerics E). So a defect that all runs share is seen too.
 */
#include "session.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A graph up to its backward pass, every tensor kept, after one replay. */
static bool run_once(graph_session *s)
{
    mnt_graph_desc desc = MNT_GRAPH_DESC(.eager = s->mode.eager, .keep_all = true,
                                         .no_fusion = s->mode.no_fusion);
    if (mnt_model_create(&s->model, s->dev, NULL) != MNT_OK || !graph_open_data(s) ||
        mnt_graph_create(&s->g, s->dev, s->model, &desc) != MNT_OK)
        return graph_failed(s, "check");
    if (!graph_record(s))
        return false;
    /* A forced variant may refuse this graph, too. */
    if (mnt_graph_compile(s->g) != MNT_OK)
        return graph_failed(s, "compiling");
    return ((s->mode.eager || mnt_graph_run(s->g, 1) == MNT_OK) &&
            mnt_device_wait(s->dev) == MNT_OK) ||
           graph_failed(s, "check");
}

static void close_session(graph_session *s)
{
    mnt_graph_destroy(s->g);
    mnt_dataset_close(s->data);
    mnt_model_destroy(s->model);
}

/* NULL after a failure; freed by the caller. */
static void *read_whole(graph_session *s, mnt_tensor *t)
{
    size_t bytes = (size_t)mnt_tensor_count(t) * mnt_dtype_size(mnt_tensor_dtype(t));
    void *x = kit_alloc(bytes);
    if (mnt_tensor_read(t, x, bytes) == MNT_OK)
        return x;
    graph_failed(s, "check");
    free(x);
    return NULL;
}

/* Which element of x the view's element e shows. */
static int64_t source(const graph_step *t, const mnt_shape *x, const mnt_shape *y,
                      int64_t e)
{
    int64_t at[MNT_MAX_DIMS] = { 0 }, from[MNT_MAX_DIMS] = { 0 };
    if (t->kind == GRAPH_reshape || t->kind == GRAPH_flatten ||
        t->kind == GRAPH_contiguous)
        return e;
    for (int i = y->ndim - 1; i >= 0; e /= y->dim[i], i--)
        at[i] = e % y->dim[i];
    for (int i = 0; i < x->ndim; i++) {
        if (t->kind == GRAPH_permute)
            from[t->p[i]] = at[i];
        else if (t->kind == GRAPH_broadcast)
            from[i] = x->dim[i] == 1 ? 0 : at[y->ndim - x->ndim + i];
        else
            from[i] = at[i];
    }
    if (t->kind == GRAPH_slice)
        from[t->p[0] < 0 ? t->p[0] + x->ndim : t->p[0]] += t->p[1];
    int64_t flat = 0;
    for (int i = 0; i < x->ndim; i++)
        flat = flat * x->dim[i] + from[i];
    return flat;
}

static bool disagree(graph_session *s, const graph_step *t, const char *what,
                     mnt_shape shape, mnt_dtype dtype, const void *want,
                     const void *got)
{
    char at[96], text[160];
    int64_t i = kit_difference(dtype, want, got, mnt_shape_count(shape));
    if (i < 0)
        return false;
    snprintf(s->error, sizeof s->error, "check: %s of v%d = %s at %.80s: %.150s", what,
             t->out[0], graph_kind_name(t->kind),
             kit_index_text(at, sizeof at, shape, i),
             kit_element_text(text, sizeof text, dtype, want, got, i));
    return true;
}

/* The operand's elements in the view's order, or the view's in the operand's. */
static void *moved(const graph_program *p, const graph_step *t, const char *from,
                   bool back)
{
    const graph_value *x = &p->values[t->in[0]], *y = &p->values[t->out[0]];
    size_t size = mnt_dtype_size(x->dtype);
    char *to = kit_alloc((size_t)mnt_shape_count(back ? x->shape : y->shape) * size);
    for (int64_t e = 0; e < mnt_shape_count(y->shape); e++) {
        size_t k = (size_t)source(t, &x->shape, &y->shape, e), i = (size_t)e;
        memcpy(to + (back ? k : i) * size, from + (back ? i : k) * size, size);
    }
    return to;
}

/* Slots of steps before backward that read v and send a gradient back. */
static int uses(const graph_program *p, int v)
{
    int n = 0;
    for (int i = 0; i < p->count && p->steps[i].kind != GRAPH_backward; i++) {
        const graph_step *t = &p->steps[i];
        if (!t->present || !(graph_kind_flags(t->kind) & GRAPH_GRAD) ||
            !p->values[t->out[0]].needs || !p->values[t->out[0]].has)
            continue;
        for (int k = 0; k < t->n_in; k++)
            n += t->in[k] == v;
    }
    return n;
}

static bool check_view(graph_session *s, const graph_step *t)
{
    const graph_program *p = s->p;
    int x = t->in[0], y = t->out[0];
    const graph_value *vx = &p->values[x], *vy = &p->values[y];
    void *a = read_whole(s, s->t[x]), *b = a ? read_whole(s, s->t[y]) : NULL;
    void *want = b ? moved(p, t, a, false) : NULL;
    bool ok = want && !disagree(s, t, "elements", vy->shape, vy->dtype, want, b);
    free(a);
    free(b);
    free(want);
    /* an alias made by contiguous() has the gradients of its other readers too */
    mnt_tensor *dx = mnt_tensor_grad(s->t[x]), *dy = mnt_tensor_grad(s->t[y]);
    if (!ok || !dx || !dy || t->kind == GRAPH_broadcast || uses(p, x) != 1 ||
        p->steps[vx->step].kind == GRAPH_contiguous)
        return ok;
    a = read_whole(s, dx);
    b = a ? read_whole(s, dy) : NULL;
    want = b ? moved(p, t, b, true) : NULL;
    ok = want && !disagree(s, t, "gradient", vx->shape, MNT_F32, want, a);
    free(a);
    free(b);
    free(want);
    return ok;
}

static bool check_views(graph_session *s)
{
    bool ok = true;
    for (int i = 0; ok && i < s->p->count; i++) {
        const graph_step *t = &s->p->steps[i];
        if (t->kind == GRAPH_backward)
            break;
        if (t->present && (graph_kind_flags(t->kind) & GRAPH_VIEW))
            ok = check_view(s, t);
    }
    return ok;
}

static float flushed(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

static bool all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* What the readers of `v` send back, each a tensor of its own, in one sum. NULL: they
 * could not be told, or are not finite. */
static float *sum_of_uses(graph_session *s, int v, const void *value)
{
    graph_session *apart = kit_alloc(sizeof *apart);
    *apart = (graph_session){ .dev = s->dev, .p = s->p, .mode = s->mode };
    apart->until_backward = true;
    apart->split = v;
    apart->split_value = value;
    int64_t n = mnt_shape_count(s->p->values[v].shape);
    float *sum = NULL;
    bool ok = run_once(apart);
    /* within a step the first operand's gradient comes first */
    for (int i = apart->uses; ok && i-- > 0;) {
        int k = apart->use_order[i];
        mnt_tensor *grad = mnt_tensor_grad(apart->use[k]);
        float *part = grad ? read_whole(apart, grad) : NULL;
        ok = (!grad || part) && (!part || all_finite(part, n));
        for (int64_t e = 0; sum && part && e < n; e++)
            sum[e] = flushed(flushed(sum[e]) + flushed(part[e]));
        if (!sum)
            sum = part;
        else
            free(part);
    }
    if (!ok) {
        free(sum);
        sum = NULL;
    }
    memcpy(s->error, apart->error, sizeof s->error);
    close_session(apart);
    free(apart);
    return sum;
}

static bool check_sum(graph_session *s, int v)
{
    const graph_value *x = &s->p->values[v];
    mnt_tensor *grad = mnt_tensor_grad(s->t[v]);
    float *got = grad ? read_whole(s, grad) : NULL;
    void *value = got ? read_whole(s, s->t[v]) : NULL;
    float *want = value && all_finite(got, mnt_shape_count(x->shape))
                      ? sum_of_uses(s, v, value)
                      : NULL;
    bool ok = !s->error[0] &&
              (!want || !disagree(s, &s->p->steps[x->step], "gradient from all readers",
                                  x->shape, MNT_F32, want, got));
    free(got);
    free(value);
    free(want);
    return ok;
}

static bool check_sums(graph_session *s)
{
    const graph_program *p = s->p;
    kit_rng r = graph_rng(p, "check", 0);
    int list[GRAPH_MAX_VALUES], n = 0;
    for (int v = 0; v < p->value_count; v++) {
        const graph_value *x = &p->values[v];
        graph_kind kind = p->steps[x->step].kind;
        bool alias = kind == GRAPH_contiguous;
        for (int i = 0; i < p->count; i++)
            alias |= p->steps[i].present && p->steps[i].kind == GRAPH_contiguous &&
                     p->steps[i].in[0] == v;
        int k = x->has && x->needs && !alias && s->t[v] ? uses(p, v) : 0;
        if (k > 1 && k <= GRAPH_MAX_USES)
            list[n++] = v;
    }
    bool ok = true;
    for (int tries = 0; ok && n > 0 && tries < 2; tries++)
        ok = check_sum(s, list[kit_below(&r, n)]);
    return ok;
}

bool graph_check(mnt_device *dev, const graph_program *p, kit_mode mode,
                 char error[KIT_SENTENCE])
{
    graph_session *s = kit_alloc(sizeof *s);
    *s = (graph_session){ .dev = dev, .p = p, .mode = mode, .split = -1 };
    s->until_backward = true;
    bool ok = run_once(s) && check_views(s) &&
              (!mode.backward || !graph_holds(p, GRAPH_backward) || check_sums(s));
    memcpy(error, s->error, KIT_SENTENCE);
    close_session(s);
    free(s);
    return ok;
}
