/* SPDX-License-Identifier: MIT */
/*
 * Texts: random ones, smaller ones that still fail, and what one of them records.
 */
#include "program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS 7
#define FAULT 5
#define CHECK 6

/* The words of a text, so that one can be changed. */
typedef struct words {
    uint64_t seed, skip;
    int nodes, mid, late, replays;
    char end[24], opt[24], v[24];
    int flag[FLAGS];
} words;

static const char *const flags[FLAGS] = { "keep", "all",   "feed", "write",
                                          "twin", "fault", "check" };

static words read_words(const char *text)
{
    graph_program *p = graph_build(text);
    words w = { .seed = p->seed, .skip = p->skip, .nodes = p->nodes, .mid = p->mid };
    w.late = p->late;
    w.replays = p->replays;
    memcpy(w.end, p->end, sizeof w.end);
    memcpy(w.opt, p->opt, sizeof w.opt);
    memcpy(w.v, p->v, sizeof w.v);
    const bool set[FLAGS] = { p->keep, p->all,   p->feed, p->write,
                              p->twin, p->fault, p->check };
    for (int i = 0; i < FLAGS; i++)
        w.flag[i] = set[i];
    graph_program_free(p);
    return w;
}

static void write_words(char text[KIT_TEXT], const words *w)
{
    kit_text t = { 0 };
    snprintf(t.s, sizeof t.s, "seed=%" PRIu64 " nodes=%d", w->seed, w->nodes);
    if (w->end[0])
        kit_append(&t, " end=%s", w->end);
    if (w->mid)
        kit_append(&t, " mid=%d", w->mid);
    if (w->opt[0])
        kit_append(&t, " opt=%s", w->opt);
    if (w->late)
        kit_append(&t, " late=%d", w->late);
    if (w->replays > 1)
        kit_append(&t, " replays=%d", w->replays);
    if (strcmp(w->v, "random") != 0)
        kit_append(&t, " v=%s", w->v);
    for (int i = 0; i < FLAGS; i++)
        if (w->flag[i])
            kit_append(&t, " %s=1", flags[i]);
    if (w->skip)
        kit_append(&t, " skip=%" PRIx64, w->skip);
    memcpy(text, t.s, KIT_TEXT);
}

static const char *one_of(const char *const *list, int n, kit_rng *r)
{
    return list[kit_below(r, n)];
}

void graph_generate(char text[KIT_TEXT], kit_rng *r)
{
    static const char *const ends[] = { "ce", "ce", "sum", "mean", "two", "two", "dy" };
    static const char *const opts[] = { "sgd", "momentum", "nesterov", "adam",
                                        "adamw" };
    static const char *const mild[] = { "ties", "zeros", "equal", "subnormal",
                                        "large" };
    static const char *const wild[] = { "special", "nan", "inf", "huge", "wide" };
    words w = { .seed = kit_next(r) >> 24, .v = "random" };
    w.nodes = (int)(2 + kit_below(r, kit_below(r, 4) ? 14 : 34));
    w.replays = (int)(1 + kit_below(r, 4));
    if (kit_below(r, 4)) {
        strcpy(w.end, one_of(ends, 7, r));
        w.mid = kit_below(r, 3) ? 0 : (int)kit_below(r, 5);
        if (kit_below(r, 3))
            strcpy(w.opt, one_of(opts, 5, r));
        w.late = kit_below(r, 3) ? 0 : (int)kit_below(r, 6);
    }
    if (kit_below(r, 4) == 0)
        strcpy(w.v, kit_below(r, 2) ? one_of(mild, 5, r) : one_of(wild, 5, r));
    const int odds[FLAGS] = { 2, 12, 2, 4, 4, 12, 3 };
    for (int i = 0; i < FLAGS; i++)
        w.flag[i] = kit_below(r, odds[i]) == 0;
    w.flag[CHECK] = w.flag[CHECK] && !w.flag[FAULT];
    write_words(text, &w);
}

typedef struct trial {
    mnt_device *ref, *dev;
    kit_mode mode;
    words best;
    int left; /* runs that are still allowed */
} trial;

static bool differs(trial *t, const words *w)
{
    char text[KIT_TEXT], a[KIT_SENTENCE], b[KIT_SENTENCE];
    kit_mode plain = { .no_fusion = true, .backward = t->mode.backward };
    graph_result *want = NULL, *got = NULL;
    kit_verdict v;
    if (t->left-- <= 0)
        return false;
    write_words(text, w);
    bool first = graph_run(t->ref, text, plain, &want, a, sizeof a, NULL, NULL);
    bool second = graph_run(t->dev, text, t->mode, &got, b, sizeof b, NULL, NULL);
    bool yes = first != second || !graph_same(text, "", want, got, &v);
    if (!first && !second)
        yes = true;
    graph_free(want);
    graph_free(got);
    return yes;
}

static bool try_words(trial *t, const words *w)
{
    if (!differs(t, w))
        return false;
    t->best = *w;
    return true;
}

static void drop_flags(trial *t)
{
    words w = t->best;
    for (int i = 0; i < FLAGS; i++, w = t->best)
        if (w.flag[i]) {
            w.flag[i] = 0;
            try_words(t, &w);
        }
    if (strcmp(w.v, "random") != 0) {
        strcpy(w.v, "random");
        try_words(t, &w);
        w = t->best;
    }
    if (w.opt[0]) {
        w.opt[0] = '\0';
        try_words(t, &w);
        w = t->best;
    }
    if (w.end[0]) {
        w.end[0] = w.opt[0] = '\0';
        w.mid = w.late = 0;
        try_words(t, &w);
    }
}

/* The least value of a number at or above `least` that still differs. */
static void lower(trial *t, int *number, int least)
{
    words *w = kit_alloc(sizeof *w);
    size_t at = (size_t)((char *)number - (char *)&t->best);
    for (int n = least; n < *number; n++) {
        *w = t->best;
        memcpy((char *)w + at, &n, sizeof n);
        if (try_words(t, w))
            break;
    }
    free(w);
}

static void drop_nodes(trial *t)
{
    for (int bit = GRAPH_MAX_NODES + 2 * GRAPH_MAX_AFTER - 1; bit >= 0; bit--) {
        words w = t->best;
        bool there = bit < GRAPH_MAX_NODES ? bit < w.nodes
                     : bit < GRAPH_MAX_NODES + GRAPH_MAX_AFTER
                         ? bit - GRAPH_MAX_NODES < w.mid
                         : bit - GRAPH_MAX_NODES - GRAPH_MAX_AFTER < w.late;
        if (!there || (w.skip >> bit & 1))
            continue;
        w.skip |= (uint64_t)1 << bit;
        try_words(t, &w);
    }
}

void graph_shrink(mnt_device *ref, mnt_device *dev, kit_mode mode, const char *text,
                  char smaller[KIT_TEXT])
{
    trial t = { .ref = ref, .dev = dev, .mode = mode, .best = read_words(text) };
    t.left = 600;
    uint64_t before = 0;
    for (int round = 0; round < 3; round++) {
        char now[KIT_TEXT];
        drop_flags(&t);
        lower(&t, &t.best.nodes, 1);
        lower(&t, &t.best.replays, 1);
        lower(&t, &t.best.mid, 0);
        lower(&t, &t.best.late, 0);
        drop_nodes(&t);
        write_words(now, &t.best);
        uint64_t hash = kit_hash(now, strlen(now));
        if (hash == before)
            break;
        before = hash;
    }
    write_words(smaller, &t.best);
}

static void print_numbers(const graph_program *p, const graph_step *s, FILE *out)
{
    int axes = s->kind == GRAPH_permute ? p->values[s->out[0]].shape.ndim : 0;
    const char *names = graph_kind_words(s->kind);
    for (int i = 0; *names; i++) {
        int n = (int)strcspn(names, " ");
        fprintf(out, " %.*s=%" PRId64, n, names, s->p[i]);
        names += n;
        names += *names == ' ';
    }
    for (int i = 1; i < axes; i++)
        fprintf(out, ",%" PRId64, s->p[i]);
    if (s->kind == GRAPH_scale || s->kind == GRAPH_fill)
        fprintf(out, " %g", (double)s->f[0]);
    if (s->kind == GRAPH_uniform || s->kind == GRAPH_normal)
        fprintf(out, " %g, %g", (double)s->f[0], (double)s->f[1]);
}

static void print_step(const graph_program *p, const graph_step *s, FILE *out)
{
    for (int i = 0; i < s->n_out; i++)
        fprintf(out, "%sv%d", i ? ", " : "", s->out[i]);
    fprintf(out, "%s%s(", s->n_out ? " = " : "", graph_kind_name(s->kind));
    for (int i = 0; i < s->n_in; i++)
        fprintf(out, "%sv%d", i ? ", " : "", s->in[i]);
    fprintf(out, ")");
    print_numbers(p, s, out);
    for (int i = 0; i < s->n_out; i++) {
        const graph_value *v = &p->values[s->out[i]];
        char shape[96];
        fprintf(out, "%s %s %s%s", i ? "," : " ->", mnt_dtype_name(v->dtype),
                kit_shape_text(shape, sizeof shape, v->shape),
                graph_keeps(p, s->out[i])   ? " kept"
                : graph_reads(p, s->out[i]) ? " read"
                                            : "");
    }
    fprintf(out, "%s%s\n", s->kind == GRAPH_optimizer ? " " : "",
            s->kind == GRAPH_optimizer ? p->opt : "");
}

void graph_describe(const char *text, FILE *out)
{
    graph_program *p = graph_build(text);
    for (int i = 0; i < p->count; i++)
        if (p->steps[i].present)
            print_step(p, &p->steps[i], out);
    graph_program_free(p);
}
