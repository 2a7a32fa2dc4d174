/* SPDX-License-Identifier: MIT */
/*
 * Random cases: the op draws its geometry, the engine adds how the inputs lie in memory
 * and what values they hold. Only words that mean something for an input are added, so
 * that every text is a legal case.
 */
#include "kit.h"

#include <stdio.h>
#include <string.h>

/* Mostly small enough for a millisecond; a few reach over a kernel's threshold. */
static int64_t draw_work(kit_rng *r)
{
    int64_t k = kit_below(r, 32);
    return k == 0 ? 400000 : k < 4 ? 50000 : k < 20 ? 12000 : k < 28 ? 2000 : 200;
}

static void add_view(kit_text *t, const kit_case *c, int i, kit_rng *r)
{
    static const char *const strided[] = { "transposed", "sliced", "stretched" };
    int64_t k = kit_below(r, 5);
    char key[16] = "view";
    if (i)
        snprintf(key, sizeof key, "view%d", i);
    if (k < 2 || (c->op->flags & KIT_DENSE) || c->in[i].shape.ndim == 0)
        kit_append(t, " %s=offset%d", key, (int)(1 + kit_below(r, 7)));
    else
        kit_append(t, " %s=%s", key, strided[k - 2]);
}

static void add_values(kit_text *t, int i, kit_rng *r)
{
    static const char *const patterns[] = { "ties",  "zeros", "special", "subnormal",
                                            "large", "huge",  "wide",    "equal",
                                            "ones",  "ninf",  "nan",     "inf",
                                            "near",  "holes" };
    const char *v =
        patterns[kit_below(r, (int64_t)(sizeof patterns / sizeof *patterns))];
    if (i)
        kit_append(t, " v%d=%s", i, v);
    else
        kit_append(t, " v=%s", v);
}

/* Whether the op's own words already say it. */
static bool has_word(const kit_case *c, const char *key, int i)
{
    char word[16];
    snprintf(word, sizeof word, i ? "%s%d" : "%s", key, i);
    return kit_has(c, word);
}

/* In a third of the cases inputs are views, in a third their values are special: one
 * input, sometimes all. */
static void add_words(kit_text *t, const kit_case *c, kit_rng *r)
{
    bool views = kit_below(r, 3) == 0, values = kit_below(r, 3) == 0;
    bool all = kit_below(r, 4) == 0;
    int64_t one = kit_below(r, c->n);
    for (int i = 0; i < c->n; i++) {
        const kit_in *in = &c->in[i];
        bool param = in->param || (i == 1 && kit_int(c, "param", 0));
        if (!all && i != one)
            continue;
        if (views && !param && !in->fed && !has_word(c, "view", i))
            add_view(t, c, i, r);
        if (values && in->dtype == MNT_F32 && !has_word(c, "v", i))
            add_values(t, i, r);
    }
}

void kit_generate(const kit_op *op, kit_rng *r, char text[KIT_TEXT])
{
    static const char *const dy[] = { "zeros", "large", "wide", "ties" };
    kit_text t = { .s = "", .work = draw_work(r) };
    kit_case c = { .op = op };
    if (!op->generate)
        kit_die("%s: no random cases", op->name);
    op->generate(&t, r);
    strcpy(c.text, t.s);
    c.n = op->inputs(&c, c.in);
    add_words(&t, &c, r);
    int64_t k = kit_below(r, 12);
    if (op->backward && k == 0)
        kit_append(&t, " grad=0");
    else if (op->backward && k == 1)
        kit_append(&t, " dy=%s", dy[kit_below(r, 4)]);
    const char *s = t.s + strspn(t.s, " ");
    memcpy(text, s, strlen(s) + 1);
}
