/* SPDX-License-Identifier: MIT */
/*
 * The data that goes into a graph: inputs, constants, a written parameter, the data set.
 * All of it is a function of the text and of the session's set.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static size_t bytes_of(mnt_dtype dtype, mnt_shape shape)
{
    return (size_t)mnt_shape_count(shape) * mnt_dtype_size(dtype);
}

/* Out of range in the first replay: the only input that may be, and only if asked. */
static void spoil(int32_t *x, int64_t n, int64_t limit, kit_rng *r)
{
    const int32_t bad[] = { -1, (int32_t)limit, INT32_MIN, INT32_MAX };
    x[kit_below(r, n)] = bad[kit_below(r, 4)];
}

/* Values of input `value`, a function of the text and the set. */
void *graph_values(const graph_session *s, int value)
{
    const graph_program *p = s->p;
    const graph_value *v = &p->values[value];
    const graph_step *step = &p->steps[v->step];
    bool fed = step->kind == GRAPH_input && (p->feed || p->fault);
    int set = fed ? s->set : 0;
    kit_rng r = graph_rng(p, "values", 2 * value + set);
    int64_t n = mnt_shape_count(v->shape);
    void *x = kit_alloc(bytes_of(v->dtype, v->shape));
    if (v->dtype == MNT_F32) {
        static const char *const mild[] = { "random", "random", "ties", "equal" };
        bool own = step->kind == GRAPH_input && step->p[1];
        kit_fill(x, n, own ? p->v : mild[kit_below(&r, 4)], &r);
        return x;
    }
    for (int64_t i = 0; i < n; i++)
        if (v->dtype == MNT_U8)
            ((uint8_t *)x)[i] = (uint8_t)kit_below(&r, 256);
        else
            ((int32_t *)x)[i] = (int32_t)kit_below(&r, v->limit);
    if (p->fault && set == 0 && v->dtype == MNT_I32 && v->shape.ndim == 1 && n > 0 &&
        kit_below(&r, 3) < 2)
        spoil(x, n, v->limit, &r);
    return x;
}

bool graph_write(graph_session *s, int value)
{
    const graph_value *v = &s->p->values[value];
    void *x = graph_values(s, value);
    mnt_status st = mnt_tensor_write(s->t[value], x, bytes_of(v->dtype, v->shape));
    free(x);
    return st == MNT_OK || graph_failed(s, "writing an input");
}

bool graph_write_inputs(graph_session *s)
{
    bool ok = true;
    for (int i = 0; ok && i < s->p->value_count; i++) {
        const graph_step *step = &s->p->steps[s->p->values[i].step];
        if (step->present && step->kind == GRAPH_input && s->t[i])
            ok = graph_write(s, i);
    }
    return ok;
}

bool graph_open_data(graph_session *s)
{
    const graph_program *p = s->p;
    if (!graph_holds(p, GRAPH_batch))
        return true;
    int64_t each = mnt_shape_count(p->sample);
    uint8_t *x = kit_alloc((size_t)(p->samples * each));
    uint8_t *y = kit_alloc((size_t)p->samples);
    kit_rng r = graph_rng(p, "data", 0);
    for (int64_t i = 0; i < p->samples * each; i++)
        x[i] = (uint8_t)kit_below(&r, 256);
    for (int64_t i = 0; i < p->samples; i++)
        y[i] = (uint8_t)kit_below(&r, p->classes);
    mnt_status st = mnt_dataset_create(&s->data, s->dev, x, p->sample, y, p->samples,
                                       (int)p->classes);
    if (st == MNT_OK && kit_below(&r, 2))
        st = mnt_dataset_shuffle(s->data, p->seed, kit_below(&r, 4));
    if (st == MNT_OK && kit_below(&r, 3) == 0)
        st = mnt_dataset_seek(s->data, kit_below(&r, p->samples + 1));
    free(x);
    free(y);
    return st == MNT_OK || graph_failed(s, "making the data set");
}

bool graph_write_parameter(graph_session *s)
{
    mnt_tensor *t = mnt_model_param(s->model, 0);
    if (!t)
        return true;
    int64_t n = mnt_tensor_count(t);
    float *x = kit_alloc((size_t)n * sizeof *x);
    kit_rng r = graph_rng(s->p, "parameter", 0);
    kit_fill(x, n, "random", &r);
    mnt_status st = mnt_tensor_write(t, x, (size_t)n * sizeof *x);
    free(x);
    return st == MNT_OK || graph_failed(s, "writing a parameter");
}
