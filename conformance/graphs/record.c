/* SPDX-License-Identifier: MIT */
/*
 * Steps to library calls, one small function a kind. Shapes, types and the existence of
 * gradients are compared with what the program predicts.
 */
#include "session.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool graph_failed(graph_session *s, const char *what)
{
    if (!s->error[0])
        snprintf(s->error, sizeof s->error, "%s: %.500s", what, mnt_last_error(s->dev));
    return false;
}

static size_t bytes_of(mnt_dtype dtype, mnt_shape shape)
{
    return (size_t)mnt_shape_count(shape) * mnt_dtype_size(dtype);
}

/* One function a kind; a: operands, y: results. */

typedef void (*record_fn)(graph_session *s, const graph_step *t, mnt_tensor *a[3],
                          mnt_tensor *y[2]);
#define RECORD(kind)                                                                   \
    static void record_##kind(graph_session *s, const graph_step *t, mnt_tensor *a[3], \
                              mnt_tensor *y[2])
/* The shape predicted for the step's first result. */
static mnt_shape shape_of(const graph_session *s, const graph_step *t)
{
    return s->p->values[t->out[0]].shape;
}

#define SIMPLE(kind, call)                                                             \
    RECORD(kind)                                                                       \
    {                                                                                  \
        (void)s;                                                                       \
        (void)t;                                                                       \
        (void)a;                                                                       \
        y[0] = call;                                                                   \
    }

RECORD(input)
{
    (void)a;
    const graph_value *v = &s->p->values[t->out[0]];
    y[0] = s->t[t->out[0]] = mnt_input(s->g, v->dtype, v->shape);
    if (t->p[0])
        mnt_tensor_require_grad(y[0]);
    if (y[0])
        graph_write(s, t->out[0]);
}

RECORD(constant)
{
    (void)a;
    void *x = graph_values(s, t->out[0]);
    y[0] = mnt_constant(s->g, MNT_F32, shape_of(s, t), x);
    free(x);
}

RECORD(param)
{
    (void)a;
    static const float lo[] = { 0.0f, 0.25f, -0.5f, 0.0f };
    static const float hi[] = { 0.0f, 0.0f, 0.5f, 0.5f };
    char name[24];
    snprintf(name, sizeof name, "p%d", t->out[0]);
    mnt_init init = { (mnt_init_kind)t->p[0], lo[t->p[0]], hi[t->p[0]] };
    y[0] = mnt_param(s->g, name, shape_of(s, t), init);
}

RECORD(batch)
{
    (void)a;
    mnt_batch b = mnt_batch_input(s->g, s->data, t->p[0]);
    y[0] = b.x;
    y[1] = b.y;
}

SIMPLE(fill, mnt_fill(s->g, shape_of(s, t), t->f[0]))
SIMPLE(uniform, mnt_uniform(s->g, shape_of(s, t), t->f[0], t->f[1], s->p->seed,
                            (uint32_t)t->p[0]))
SIMPLE(normal, mnt_normal(s->g, shape_of(s, t), t->f[0], t->f[1], s->p->seed,
                          (uint32_t)t->p[0]))

RECORD(matmul)
{
    if (t->p[0] || t->p[1])
        y[0] = mnt_matmul_ex(s->g, a[0], a[1], t->p[0], t->p[1]);
    else
        y[0] = mnt_matmul(s->g, a[0], a[1]);
}

RECORD(dense)
{
    char name[24];
    snprintf(name, sizeof name, "d%d", (int)t->p[1]);
    y[0] = mnt_dense(s->g, a[0], t->p[0], name);
}

static mnt_conv2d_desc geometry(const graph_step *t)
{
    return MNT_CONV2D_DESC(.stride_h = (int)t->p[0], .stride_w = (int)t->p[1],
                           .pad_h = (int)t->p[2], .pad_w = (int)t->p[3],
                           .dilation_h = (int)t->p[4], .dilation_w = (int)t->p[5],
                           .groups = (int)t->p[6]);
}

RECORD(conv2d)
{
    mnt_conv2d_desc d = geometry(t);
    y[0] = mnt_conv2d(s->g, a[0], a[1], &d);
}

RECORD(conv_layer)
{
    mnt_conv2d_desc d = geometry(t);
    char name[24];
    snprintf(name, sizeof name, "c%d", (int)t->p[10]);
    y[0] = mnt_conv_layer(s->g, a[0], t->p[7], (int)t->p[8], (int)t->p[9], name, &d);
}

SIMPLE(bias_add, mnt_bias_add(s->g, a[0], a[1]))
SIMPLE(add, mnt_add(s->g, a[0], a[1]))
SIMPLE(sub, mnt_sub(s->g, a[0], a[1]))
SIMPLE(mul, mnt_mul(s->g, a[0], a[1]))
SIMPLE(div, mnt_div(s->g, a[0], a[1]))
SIMPLE(scale, mnt_scale(s->g, a[0], t->f[0]))
SIMPLE(relu, mnt_relu(s->g, a[0]))
SIMPLE(sum, mnt_sum(s->g, a[0], (int)t->p[0]))
SIMPLE(mean, mnt_mean(s->g, a[0], (int)t->p[0]))
SIMPLE(argmax, mnt_argmax(s->g, a[0], (int)t->p[0]))
SIMPLE(softmax, mnt_softmax(s->g, a[0]))
SIMPLE(cross_entropy, mnt_cross_entropy(s->g, a[0], a[1]))
SIMPLE(accuracy_count, mnt_accuracy_count(s->g, a[0], a[1]))

RECORD(max_pool2d)
{
    mnt_window_desc d =
        MNT_WINDOW_DESC(.kernel_h = (int)t->p[0], .kernel_w = (int)t->p[1],
                        .stride_h = (int)t->p[2], .stride_w = (int)t->p[3],
                        .pad_h = (int)t->p[4], .pad_w = (int)t->p[5]);
    y[0] = mnt_max_pool2d(s->g, a[0], t->p[6] ? NULL : &d);
}

static mnt_window_desc patches(const graph_step *t)
{
    return MNT_WINDOW_DESC(.kernel_h = (int)t->p[0], .kernel_w = (int)t->p[1],
                           .stride_h = (int)t->p[2], .stride_w = (int)t->p[3],
                           .pad_h = (int)t->p[4], .pad_w = (int)t->p[5],
                           .dilation_h = (int)t->p[6], .dilation_w = (int)t->p[7]);
}

RECORD(im2col)
{
    mnt_window_desc d = patches(t);
    y[0] = mnt_im2col(s->g, a[0], &d);
}

RECORD(col2im)
{
    mnt_window_desc d = patches(t);
    y[0] = mnt_col2im(s->g, a[0], shape_of(s, t), &d);
}

RECORD(reshape)
{
    mnt_shape shape = shape_of(s, t);
    if (t->p[0])
        shape.dim[t->p[0] - 1] = -1;
    y[0] = mnt_reshape(s->g, a[0], shape);
}

SIMPLE(flatten, mnt_flatten(s->g, a[0]))

RECORD(permute)
{
    int order[MNT_MAX_DIMS];
    for (int i = 0; i < MNT_MAX_DIMS; i++)
        order[i] = (int)t->p[i];
    y[0] = mnt_permute(s->g, a[0], order);
}

SIMPLE(slice, mnt_slice(s->g, a[0], (int)t->p[0], t->p[1], t->p[2]))
SIMPLE(broadcast, mnt_broadcast(s->g, a[0], shape_of(s, t)))
SIMPLE(contiguous, mnt_contiguous(s->g, a[0]))
SIMPLE(cast, mnt_cast(s->g, a[0], s->p->values[t->out[0]].dtype, t->p[0]))
SIMPLE(gather, mnt_gather(s->g, a[0], a[1], s->p->values[t->out[0]].dtype, t->p[0]))
SIMPLE(accumulate, mnt_accumulate(s->g, a[0]))
SIMPLE(gradient, mnt_tensor_grad(a[0]))

RECORD(backward)
{
    (void)y;
    mnt_backward(s->g, a[0], t->n_in > 1 ? a[1] : NULL);
}

/* A rate that changes within the first steps. */
static mnt_schedule schedule_of(kit_rng *r)
{
    mnt_schedule none = { .points = 0 };
    if (kit_below(r, 2))
        return none;
    return (mnt_schedule){ .points = 3,
                           .step = { 0, 1 + kit_below(r, 2), 5 },
                           .factor = { 0.5f, 1.0f, 0.1f } };
}

RECORD(optimizer)
{
    (void)t;
    (void)a;
    (void)y;
    static const float rates[] = { 0.1f, 0.01f, 0.003f };
    const char *name = s->p->opt;
    kit_rng r = graph_rng(s->p, "optimizer", 0);
    float lr = rates[kit_below(&r, 3)], decay = kit_below(&r, 3) ? 0.0f : 0.01f;
    mnt_schedule schedule = schedule_of(&r);
    if (!strcmp(name, "adam") || !strcmp(name, "adamw")) {
        mnt_adam_desc d =
            MNT_ADAM_DESC(.lr = lr, .weight_decay = decay, .decoupled = name[4] != '\0',
                          .schedule = schedule);
        mnt_adam(s->g, &d);
        return;
    }
    bool plain = !strcmp(name, "sgd");
    mnt_sgd_desc d =
        MNT_SGD_DESC(.lr = lr, .momentum = plain ? 0.0f : 0.9f, .weight_decay = decay,
                     .nesterov = !strcmp(name, "nesterov"), .schedule = schedule);
    mnt_sgd(s->g, &d);
}

static const record_fn records[GRAPH_KIND_COUNT] = {
#define ROW(kind, flags, words) record_##kind,
    GRAPH_KINDS(ROW)
#undef ROW
};

static bool wrong(graph_session *s, const graph_step *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool wrong(graph_session *s, const graph_step *t, const char *format, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(s->error, sizeof s->error, "v%d = %s: %s", t->n_out ? t->out[0] : -1,
             graph_kind_name(t->kind), text);
    return false;
}

/* The graph's first failure. A command that the backend lacks is met here when it is run
 * while recording: first values of parameters, eager graphs. */
static bool stuck(graph_session *s, const graph_step *t)
{
    if (mnt_graph_status(s->g) == MNT_UNSUPPORTED)
        return graph_failed(s, "compiling");
    return wrong(s, t, "%.200s", mnt_last_error(s->dev));
}

/* Shape and type are as predicted. */
static bool check(graph_session *s, const graph_step *t, int o, mnt_tensor *y)
{
    const graph_value *v = &s->p->values[t->out[o]];
    if (!y && mnt_graph_status(s->g) != MNT_OK)
        return stuck(s, t);
    char got[96], want[96];
    if (!y)
        return wrong(s, t, "there is none");
    if (!graph_equal(v->shape, mnt_tensor_shape(y)) || v->dtype != mnt_tensor_dtype(y))
        return wrong(
            s, t, "is %s %s, expected %s %s", mnt_dtype_name(mnt_tensor_dtype(y)),
            kit_shape_text(got, sizeof got, mnt_tensor_shape(y)),
            mnt_dtype_name(v->dtype), kit_shape_text(want, sizeof want, v->shape));
    return true;
}

/* Gradients exist where a path leads from y, and nowhere else. */
static bool check_gradients(graph_session *s, const graph_step *t)
{
    for (int i = 0; i < s->p->value_count; i++) {
        const graph_value *v = &s->p->values[i];
        graph_kind kind = s->p->steps[v->step].kind;
        bool leaf = kind == GRAPH_input || kind == GRAPH_param;
        if (!s->t[i] || !leaf || i == t->in[0] || (t->n_in > 1 && i == t->in[1]))
            continue;
        bool has = mnt_tensor_grad(s->t[i]) != NULL;
        if (has != (v->needs && v->has))
            return wrong(s, t, "v%d %s a gradient", i,
                         has ? "must not have" : "has not got");
    }
    return true;
}

/* The inputs that stand for the readers of the split value. */
static bool split_uses(graph_session *s)
{
    const graph_program *p = s->p;
    s->uses = 0;
    for (int i = 0; i < p->count && s->split >= 0; i++) {
        const graph_step *t = &p->steps[i];
        int first = s->uses, n = 0;
        for (int k = 0; t->present && t->kind != GRAPH_backward && k < t->n_in; k++)
            n += t->in[k] == s->split;
        if (t->kind == GRAPH_backward || first + n > GRAPH_MAX_USES)
            break;
        for (int k = 0; k < n; k++)
            s->use_order[first + k] = first + n - 1 - k;
        s->uses += n;
    }
    for (int k = 0; k < s->uses; k++) {
        const graph_value *v = &p->values[s->split];
        s->use[k] = mnt_input(s->g, v->dtype, v->shape);
        mnt_tensor_require_grad(s->use[k]);
        if (mnt_tensor_write(s->use[k], s->split_value, bytes_of(v->dtype, v->shape)))
            return graph_failed(s, "check");
    }
    return true;
}

bool graph_record(graph_session *s)
{
    const graph_program *p = s->p;
    int used = 0;
    memset(s->t, 0, sizeof s->t);
    if (!split_uses(s))
        return false;
    for (int i = 0; i < p->count; i++) {
        const graph_step *t = &p->steps[i];
        bool backward = t->kind == GRAPH_backward;
        if (backward && (s->forward || !s->mode.backward))
            break;
        mnt_tensor *a[3] = { NULL }, *y[2] = { NULL };
        for (int k = 0; k < t->n_in; k++)
            a[k] = s->t[t->in[k]];
        if (!t->present)
            continue;
        for (int k = 0; k < t->n_in && !backward; k++)
            if (t->in[k] == s->split && used < s->uses)
                a[k] = s->use[used++];
        records[t->kind](s, t, a, y);
        for (int o = 0; o < t->n_out; o++) {
            int v = t->out[o];
            s->t[v] = y[o];
            if (!check(s, t, o, y[o]))
                return false;
            if (graph_keeps(p, v))
                mnt_tensor_keep(y[o]);
            char name[16];
            snprintf(name, sizeof name, "v%d", v);
            if (p->values[v].name)
                mnt_tensor_set_name(y[o], name);
        }
        if (s->error[0])
            return false;
        if (mnt_graph_status(s->g) != MNT_OK)
            return stuck(s, t);
        if (backward && s->split < 0 && !check_gradients(s, t))
            return false;
        if (backward && s->until_backward)
            break;
    }
    return true;
}
