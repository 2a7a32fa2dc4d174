/* SPDX-License-Identifier: MIT */
/*
 * From a text to a program: nodes one after the other, each from a generator of its
 * own, then the end (backward, gradients as values, optimizer, nodes around them). At
 * last what is skipped leaves, with everything that needs it.
 */
#include "program.h"

#include <stdlib.h>
#include <string.h>

static const graph_maker *const families[] = {
    graph_leaf_makers,    graph_elementwise_makers, graph_view_makers,
    graph_product_makers, graph_image_makers,       graph_loss_makers,
};
#define FAMILIES (sizeof families / sizeof *families)

static const graph_maker *draw_maker(graph_program *p)
{
    int total = 0;
    for (size_t f = 0; f < FAMILIES; f++)
        for (const graph_maker *m = families[f]; m->name; m++)
            total += m->weight;
    int64_t at = kit_below(&p->rng, total);
    for (size_t f = 0; f < FAMILIES; f++)
        for (const graph_maker *m = families[f]; m->name; m++)
            if ((at -= m->weight) < 0)
                return m;
    return NULL;
}

/* A node: the first of some makers that finds what it needs. */
static void make_node(graph_program *p, const char *part, int i, int bit)
{
    p->rng = graph_rng(p, part, i);
    p->node = bit;
    for (int tries = 0; tries < 12; tries++) {
        int steps = p->count, values = p->value_count;
        double work = p->work;
        if (steps > GRAPH_MAX_STEPS - 24 || values > GRAPH_MAX_VALUES - 24)
            return;
        if (draw_maker(p)->make(p))
            break;
        p->count = steps;
        p->value_count = values;
        p->work = work;
    }
    p->node = -1;
}

static bool is_leaf_of_gradients(const graph_program *p, const graph_value *v)
{
    const graph_step *s = &p->steps[v->step];
    return v->needs && s->present && (s->kind == GRAPH_param || s->kind == GRAPH_input);
}

/* Marks what a backward from step `at`'s first operand reaches. */
static void reach(graph_program *p, int at)
{
    for (int i = 0; i < p->value_count; i++)
        p->values[i].has = false;
    p->values[p->steps[at].in[0]].has = true;
    for (int s = at; s-- > 0;) {
        const graph_step *step = &p->steps[s];
        if (!step->present || !(graph_kind_flags(step->kind) & GRAPH_GRAD))
            continue;
        const graph_value *y = &p->values[step->out[0]];
        for (int i = 0; i < step->n_in && y->has && y->needs; i++)
            if (p->values[step->in[i]].needs)
                p->values[step->in[i]].has = true;
    }
}

/* B4 of docs/numerics.md: such gradients are not defined to the bit. */
static bool tainted_convolution(const graph_program *p)
{
    for (int s = 0; s < p->count; s++) {
        const graph_step *step = &p->steps[s];
        if (step->kind != GRAPH_conv2d && step->kind != GRAPH_conv_layer)
            continue;
        for (int i = 0; i < step->n_in; i++)
            if (p->values[step->in[i]].tainted)
                return true;
    }
    return false;
}

static void make_gradients(graph_program *p)
{
    int values = p->value_count;
    for (int i = 0; i < values && p->count < GRAPH_MAX_STEPS - 64; i++) {
        const graph_value *x = &p->values[i];
        if (!x->has || !is_leaf_of_gradients(p, x) || graph_chance(p, 50))
            continue;
        mnt_shape shape = x->shape;
        graph_append(p, GRAPH_gradient, i, -1, -1);
        graph_value *g = &p->values[graph_result_of(p, MNT_F32, shape, 12)];
        g->tainted = true;
        g->needs = g->plain = false;
    }
}

static void make_end(graph_program *p)
{
    if (!p->end[0] || tainted_convolution(p))
        return;
    p->rng = graph_rng(p, "end", 0);
    int steps = p->count, values = p->value_count;
    int y = graph_loss(p, p->end);
    if (y < 0 || !p->values[y].needs) {
        p->count = steps;
        p->value_count = values;
        return;
    }
    int dy = strcmp(p->end, "dy") ? -1 : graph_operand(p, p->values[y].shape);
    graph_append(p, GRAPH_backward, y, dy, -1);
    reach(p, p->count - 1);
    make_gradients(p);
    for (int i = 0; i < p->mid; i++)
        make_node(p, "mid", i, GRAPH_MAX_NODES + i);
    if (p->opt[0])
        graph_append(p, GRAPH_optimizer, -1, -1, -1);
    for (int i = 0; i < p->late; i++)
        make_node(p, "late", i, GRAPH_MAX_NODES + GRAPH_MAX_AFTER + i);
}

static bool skipped(const graph_program *p, const graph_step *s)
{
    return s->node >= 0 && (p->skip >> s->node & 1);
}

/* A leaf of a skipped node stays while others read it. */
static void find_present(graph_program *p)
{
    bool backward = false;
    for (int s = 0; s < p->count; s++) {
        graph_step *step = &p->steps[s];
        bool leaf = graph_kind_flags(step->kind) & GRAPH_LEAF;
        step->present = leaf || !skipped(p, step);
        for (int i = 0; i < step->n_in; i++)
            step->present &= p->steps[p->values[step->in[i]].step].present;
        if (step->kind == GRAPH_backward && step->present) {
            backward = true;
            reach(p, s);
        }
        if (step->kind == GRAPH_optimizer)
            step->present = backward;
        if (step->kind == GRAPH_gradient)
            step->present = step->present && backward && p->values[step->in[0]].has;
    }
    for (int s = p->count; s-- > 0;) {
        graph_step *step = &p->steps[s];
        int readers = 0;
        for (int o = 0; o < step->n_out; o++)
            readers += p->values[step->out[o]].readers;
        if (skipped(p, step) && readers == 0)
            step->present = false;
        for (int i = 0; i < step->n_in && step->present; i++)
            p->values[step->in[i]].readers++;
    }
}

static void draw_keeps(graph_program *p)
{
    for (int i = 0; i < p->value_count; i++) {
        kit_rng r = graph_rng(p, "keep", i);
        p->values[i].keep = kit_below(&r, 100) < 18 && p->keep;
        p->values[i].name = kit_below(&r, 100) < 15;
    }
}

static void check_word(const char *text, const char *word, const char *known)
{
    const char *at = word[0] ? strstr(known, word) : known;
    size_t n = strlen(word);
    if (!at || (n && ((at > known && at[-1] != ' ') || (at[n] && at[n] != ' '))))
        kit_die("graph: '%s': '%s' is none of: %s", text, word, known);
}

static void read_text(graph_program *p, const char *text)
{
    kit_case *c = &p->words;
    if (strlen(text) >= sizeof c->text)
        kit_die("graph: text too long: %s", text);
    strcpy(c->text, text);
    p->seed = (uint64_t)kit_int(c, "seed", 1);
    p->nodes = (int)kit_int(c, "nodes", 8);
    p->mid = (int)kit_int(c, "mid", 0);
    p->late = (int)kit_int(c, "late", 0);
    p->replays = (int)kit_int(c, "replays", 1);
    if (p->nodes < 1 || p->nodes > GRAPH_MAX_NODES || p->mid < 0 ||
        p->mid > GRAPH_MAX_AFTER || p->late < 0 || p->late > GRAPH_MAX_AFTER ||
        p->replays < 1 || p->replays > 1000)
        kit_die("graph: '%s': nodes=1..%d mid=0..%d late=0..%d replays=1..1000", text,
                GRAPH_MAX_NODES, GRAPH_MAX_AFTER, GRAPH_MAX_AFTER);
    char word[24];
    p->skip = strtoull(kit_word(c, "skip", "0", word), NULL, 16);
    kit_word(c, "end", "", p->end);
    kit_word(c, "opt", "", p->opt);
    kit_word(c, "v", "random", p->v);
    check_word(text, p->end, "ce sum mean two dy");
    check_word(text, p->opt, "sgd momentum nesterov adam adamw");
    p->keep = kit_int(c, "keep", 0);
    p->all = kit_int(c, "all", 0);
    p->feed = kit_int(c, "feed", 0);
    p->write = kit_int(c, "write", 0);
    p->twin = kit_int(c, "twin", 0);
    p->fault = kit_int(c, "fault", 0);
    p->check = kit_int(c, "check", 0);
}

graph_program *graph_build(const char *text)
{
    graph_program *p = kit_alloc(sizeof *p);
    p->steps = kit_alloc(GRAPH_MAX_STEPS * sizeof *p->steps);
    p->values = kit_alloc(GRAPH_MAX_VALUES * sizeof *p->values);
    p->node = -1;
    read_text(p, text);
    kit_rng r = graph_rng(p, "frame", 0);
    p->wild = kit_below(&r, 7) == 0;
    p->big = kit_below(&r, 7) == 0;
    p->most = p->big ? 20000 : 3000;
    p->most_work = p->big ? 2e6 : 7e5;
    p->samples = 4 + kit_below(&r, 6);
    p->classes = 2 + kit_below(&r, 4);
    p->sample = kit_below(&r, 4) ? MNT_SHAPE(1 + kit_below(&r, 2), 4 + kit_below(&r, 6),
                                             4 + kit_below(&r, 6))
                                 : MNT_SHAPE(1 + kit_below(&r, 20));
    for (int i = 0; i < p->nodes; i++)
        make_node(p, "node", i, i);
    make_end(p);
    find_present(p);
    draw_keeps(p);
    return p;
}

void graph_program_free(graph_program *p)
{
    free(p->steps);
    free(p->values);
    free(p);
}
