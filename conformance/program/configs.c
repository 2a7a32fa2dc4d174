/* SPDX-License-Identifier: MIT */
/*
 * From settings and variants to configurations, and a configuration in words.
 */
#include "configs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool wanted(const options *o, const config *c)
{
    return !o->mode || strcmp(o->mode, config_mode(c)) == 0;
}

static void add(config_list *l, const options *o, config c)
{
    if (!wanted(o, &c))
        return;
    c.device = -1;
    for (int i = 0; i < l->count && c.device < 0; i++)
        if (l->c[i].threads == c.threads && strcmp(l->c[i].force, c.force) == 0)
            c.device = l->c[i].device;
    if (c.device < 0)
        c.device = l->devices++;
    l->c[l->count++] = c;
}

/* The first of a setting's modes to survive --mode makes its tuples. */
static void add_setting(config_list *l, const options *o, const subject *s, int i,
                        int many)
{
    const kit_mode modes[] = {
        { .guard = true, .backward = true },
        { .guard = true, .backward = true, .no_fusion = true },
        { .backward = true },
        { .backward = true, .eager = true },
        { .guard = true },
    };
    const int threads[] = { many, 1, 1, 1, many };
    int first = l->count;
    /* Eager graphs and inference are the library's work: once is enough. */
    int n = i == 0 ? 5 : 3;
    for (int k = 0; k < n; k++) {
        config c = { .mode = modes[k],
                     .threads = s->threads ? threads[k] : 0,
                     .setting = i,
                     .variant = -1 };
        if (k == 2 && c.threads == many)
            continue;
        snprintf(c.force, sizeof c.force, "%s", s->setting[i].force);
        add(l, o, c);
    }
    if (l->count > first)
        l->c[first].counted = true;
}

static void add_variant(config_list *l, const options *o, const subject *s, int i,
                        int many)
{
    const subject_variant *v = &s->variant[i];
    const char *force = s->setting[v->setting].force;
    if (v->choices < 2)
        return;
    for (int unfused = 0; unfused < 2; unfused++) {
        config c = { .mode = { .guard = true, .backward = true, .no_fusion = unfused },
                     .threads = s->threads ? many : 0,
                     .setting = v->setting,
                     .variant = i,
                     .counted = true };
        snprintf(c.force, sizeof c.force, "%s%s%s=%s", force, *force ? "," : "",
                 mnt_op_name(v->op), v->name);
        add(l, o, c);
    }
}

void configs_make(config_list *l, const options *o, const subject *s)
{
    int most = 5 * s->settings + 2 * s->variants;
    int many = o->threads ? o->threads : OPTIONS_THREADS;
    *l = (config_list){ .c = kit_alloc((size_t)most * sizeof *l->c) };
    for (int i = 0; i < s->settings; i++)
        add_setting(l, o, s, i, many);
    for (int i = 0; i < s->variants; i++)
        add_variant(l, o, s, i, many);
}

void configs_free(config_list *l)
{
    free(l->c);
    *l = (config_list){ 0 };
}

const char *config_mode(const config *c)
{
    return c->mode.eager ? "eager" : c->mode.no_fusion ? "unfused" : "fused";
}

const char *config_name(const subject *s, const config *c, char *buf, size_t size)
{
    char threads[32] = "";
    if (c->threads)
        snprintf(threads, sizeof threads, ", %d thread%s", c->threads,
                 c->threads > 1 ? "s" : "");
    snprintf(buf, size, "%s (%s%s%s%s%s)", s->backend, c->force, *c->force ? ", " : "",
             config_mode(c), c->mode.backward ? "" : ", inference", threads);
    return buf;
}

/* Appends a word as a shell reads it. */
static void put_word(char *buf, size_t size, const char *word)
{
    size_t n = strlen(buf);
    bool plain = *word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU"
                                       "VWXYZ0123456789_-+./=,") == strlen(word);
    n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? " " : "", plain ? "" : "'");
    for (; *word && n + 6 < size; word++) {
        const char one[2] = { *word, '\0' };
        n += (size_t)snprintf(buf + n, size - n, "%s", *word == '\'' ? "'\\''" : one);
    }
    if (!plain && n < size)
        snprintf(buf + n, size - n, "'");
}

static void put_option(char *buf, size_t size, const char *name, const char *value)
{
    put_word(buf, size, name);
    put_word(buf, size, value);
}

const char *config_command(const options *o, const subject *s, const config *c,
                           const char *op, const char *text, char *buf, size_t size)
{
    char line[KIT_TEXT + 40], number[16];
    *buf = '\0';
    put_word(buf, size, o->program);
    if (o->plugin)
        put_option(buf, size, "--plugin", o->plugin);
    else
        put_option(buf, size, "--backend", s->backend);
    if (o->device) {
        snprintf(number, sizeof number, "%d", o->device);
        put_option(buf, size, "--device", number);
    }
    if (o->big)
        put_word(buf, size, "--big");
    if (c) {
        put_option(buf, size, "--force", c->force);
        put_option(buf, size, "--mode", config_mode(c));
    } else if (o->force) { /* the contract's checks run under it, too */
        put_option(buf, size, "--force", o->force);
    }
    if (o->threads) {
        snprintf(number, sizeof number, "%d", o->threads);
        put_option(buf, size, "--threads", number);
    }
    snprintf(line, sizeof line, "%s %s", op, text);
    put_option(buf, size, "--case", line);
    return buf;
}
