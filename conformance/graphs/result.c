/* SPDX-License-Identifier: MIT */
/*
 * What a run made, array by array, and the comparison of two runs.
 */
#include "session.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct array {
    char name[64];
    int value;
    mnt_dtype dtype;
    mnt_shape shape;
    void *data;
} array;

struct graph_result {
    array *list;
    int count, capacity;
};

graph_result *graph_result_new(void)
{
    return kit_alloc(sizeof(graph_result));
}

void *graph_result_add(graph_result *r, const char *name, int phase, int value,
                       mnt_dtype dtype, mnt_shape shape)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 32;
        r->list = realloc(r->list, (size_t)r->capacity * sizeof *r->list);
        if (!r->list)
            kit_die("out of memory: %d arrays", r->capacity);
    }
    array *a = &r->list[r->count++];
    *a = (array){ .value = value, .dtype = dtype, .shape = shape };
    snprintf(a->name, sizeof a->name, "%.48s@%d", name, phase);
    a->data = kit_alloc((size_t)mnt_shape_count(shape) * mnt_dtype_size(dtype));
    return a->data;
}

void graph_free(graph_result *r)
{
    for (int i = 0; r && i < r->count; i++)
        free(r->list[i].data);
    if (r)
        free(r->list);
    free(r);
}

static bool finite(const graph_result *r)
{
    for (int k = 0; k < r->count; k++) {
        const array *a = &r->list[k];
        if (a->dtype != MNT_F32)
            continue;
        for (int64_t i = 0; i < mnt_shape_count(a->shape); i++)
            if (!isfinite(((const float *)a->data)[i]))
                return false;
    }
    return true;
}

/* Gradients of convolutions are defined to the bit for finite operands (numerics B4);
 * training that has diverged is no case. */
static bool undefined(const graph_program *p, const graph_result *a,
                      const graph_result *b)
{
    bool convolution = graph_holds(p, GRAPH_conv2d) || graph_holds(p, GRAPH_conv_layer);
    return convolution && graph_holds(p, GRAPH_backward) && !(finite(a) && finite(b));
}

static bool differ(kit_verdict *v, const graph_program *p, const char *where,
                   const array *want, const array *got)
{
    char shape[96], at[96], text[160], op[48] = "";
    if (strcmp(want->name, got->name) != 0)
        snprintf(text, sizeof text, "here is %.60s instead", got->name);
    else if (want->dtype != got->dtype || !graph_equal(want->shape, got->shape))
        snprintf(text, sizeof text, "here it is %s %s", mnt_dtype_name(got->dtype),
                 kit_shape_text(at, sizeof at, got->shape));
    else {
        int64_t i = kit_difference(want->dtype, want->data, got->data,
                                   mnt_shape_count(want->shape));
        if (i < 0)
            return false;
        char element[128];
        kit_element_text(element, sizeof element, want->dtype, want->data, got->data,
                         i);
        snprintf(text, sizeof text, "at %.60s: %.90s",
                 kit_index_text(at, sizeof at, want->shape, i), element);
    }
    if (want->value >= 0)
        snprintf(op, sizeof op, " (%s)",
                 graph_kind_name(p->steps[p->values[want->value].step].kind));
    v->ok = false;
    snprintf(v->text, sizeof v->text, "graph: case '%.240s' on %.40s: %s%s %s %.120s",
             p->words.text, where, want->name, op,
             kit_shape_text(shape, sizeof shape, want->shape), text);
    return true;
}

bool graph_same(const char *text, const char *where, const graph_result *want,
                const graph_result *got, kit_verdict *v)
{
    *v = (kit_verdict){ .ok = true };
    graph_program *p = graph_build(text);
    int n = want->count < got->count ? want->count : got->count;
    for (int i = 0; i < n; i++)
        if (differ(v, p, where, &want->list[i], &got->list[i]))
            break;
    if (v->ok && want->count != got->count) {
        v->ok = false;
        snprintf(v->text, sizeof v->text,
                 "graph: case '%.240s' on %.40s: %d arrays, want %d", text, where,
                 got->count, want->count);
    }
    if (!v->ok && undefined(p, want, got))
        *v = (kit_verdict){ .ok = true };
    graph_program_free(p);
    return v->ok;
}
