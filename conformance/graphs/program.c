/* SPDX-License-Identifier: MIT */
/*
 * What makers stand on: draws, picks among live values, steps and their results, and
 * the questions that a runner asks of a finished program.
 */
#include "program.h"

#include <string.h>

typedef struct kind_info {
    const char *name, *words;
    unsigned flags;
} kind_info;

static const kind_info kinds[GRAPH_KIND_COUNT] = {
#define ROW(kind, flags, words) { #kind, words, flags },
    GRAPH_KINDS(ROW)
#undef ROW
};

const char *graph_kind_name(graph_kind kind)
{
    return kinds[kind].name;
}

const char *graph_kind_words(graph_kind kind)
{
    return kinds[kind].words;
}

unsigned graph_kind_flags(graph_kind kind)
{
    return kinds[kind].flags;
}

kit_rng graph_rng(const graph_program *p, const char *purpose, int i)
{
    kit_rng r = { p->seed };
    kit_rng mixed = { kit_next(&r) ^ kit_hash(purpose, strlen(purpose)) };
    kit_rng own = { kit_next(&mixed) + (uint64_t)i * 0x632be59bd9b4e019u };
    kit_next(&own);
    return own;
}

bool graph_chance(graph_program *p, int percent)
{
    return kit_below(&p->rng, 100) < percent;
}

int64_t graph_draw(graph_program *p, int64_t lo, int64_t hi)
{
    return lo + kit_below(&p->rng, hi - lo + 1);
}

int64_t graph_size(graph_program *p, int64_t lo, int64_t hi, int64_t big)
{
    return graph_draw(p, lo, p->big && graph_chance(p, 50) ? big : hi);
}

int graph_log2(int64_t n)
{
    int b = 0;
    while (((int64_t)1 << b) < n)
        b++;
    return b;
}

bool graph_equal(mnt_shape a, mnt_shape b)
{
    bool same = a.ndim == b.ndim;
    for (int i = 0; same && i < a.ndim; i++)
        same = a.dim[i] == b.dim[i];
    return same;
}

bool graph_is_f32(const graph_value *v)
{
    return v->dtype == MNT_F32;
}

bool graph_is_matrix(const graph_value *v)
{
    return v->dtype == MNT_F32 && v->shape.ndim == 2;
}

bool graph_is_image(const graph_value *v)
{
    return v->dtype == MNT_F32 && v->shape.ndim == 4;
}

int graph_pick(graph_program *p, graph_fits fits)
{
    int list[GRAPH_MAX_VALUES], n = 0;
    for (int i = 0; i < p->value_count; i++)
        if (!p->values[i].hidden && fits(&p->values[i]))
            list[n++] = i;
    if (n == 0)
        return -1;
    int64_t back = graph_chance(p, 45) ? 0 : kit_below(&p->rng, n);
    if (back > 2 && graph_chance(p, 50))
        back = kit_below(&p->rng, 3);
    return list[n - 1 - back];
}

graph_step *graph_append(graph_program *p, graph_kind kind, int a, int b, int c)
{
    if (p->count == GRAPH_MAX_STEPS)
        kit_die("graph: '%s' has too many steps", p->words.text);
    graph_step *s = &p->steps[p->count++];
    *s = (graph_step){ .kind = kind, .node = p->node, .present = true };
    const int in[3] = { a, b, c };
    while (s->n_in < 3 && in[s->n_in] >= 0) {
        s->in[s->n_in] = in[s->n_in];
        s->n_in++;
    }
    return s;
}

int graph_result_of(graph_program *p, mnt_dtype dtype, mnt_shape shape, int bound)
{
    if (p->value_count == GRAPH_MAX_VALUES)
        kit_die("graph: '%s' has too many values", p->words.text);
    graph_step *s = &p->steps[p->count - 1];
    graph_value *v = &p->values[p->value_count];
    *v = (graph_value){ .dtype = dtype, .shape = shape, .bound = bound };
    v->step = p->count - 1;
    v->plain = !(kinds[s->kind].flags & GRAPH_VIEW);
    for (int i = 0; i < s->n_in; i++) {
        v->tainted |= p->values[s->in[i]].tainted;
        v->needs |= p->values[s->in[i]].needs && (kinds[s->kind].flags & GRAPH_GRAD);
    }
    if (v->tainted)
        v->bound = GRAPH_MAX_BOUND;
    s->out[s->n_out++] = p->value_count;
    return p->value_count++;
}

int graph_op(graph_program *p, graph_kind kind, int a, int b, mnt_shape shape,
             int bound, double work)
{
    int64_t n = mnt_shape_count(shape);
    bool wild = p->values[a].tainted || (b >= 0 && p->values[b].tainted);
    work += (double)n;
    if (n < 0 || n > p->most || (!wild && bound > GRAPH_MAX_BOUND) ||
        p->work + work > p->most_work)
        return -1;
    p->work += work;
    graph_append(p, kind, a, b, -1);
    return graph_result_of(p, MNT_F32, shape, bound);
}

bool graph_holds(const graph_program *p, graph_kind kind)
{
    for (int s = 0; s < p->count; s++)
        if (p->steps[s].present && p->steps[s].kind == kind)
            return true;
    return false;
}

bool graph_reads(const graph_program *p, int value)
{
    const graph_value *v = &p->values[value];
    const graph_step *s = &p->steps[v->step];
    return s->present && (p->all || v->keep || v->readers == 0 ||
                          s->kind == GRAPH_input || s->kind == GRAPH_accumulate);
}

/* The library keeps the result of a command that no command reads by itself; of a view
 * it cannot know. */
bool graph_keeps(const graph_program *p, int value)
{
    const graph_value *v = &p->values[value];
    const graph_step *s = &p->steps[v->step];
    bool view = kinds[s->kind].flags & GRAPH_VIEW;
    return s->present && (v->keep || (v->readers == 0 && view));
}
