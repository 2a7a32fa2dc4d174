/* SPDX-License-Identifier: MIT */
/*
 * The force string of the GPU backends: "all=ref,matmul=tile". "all" names a variant
 * preferred by every op that has it, an op's name its only allowed variant. Tests reach
 * each launcher through it.
 */
#include "launch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT 480 /* of a failure's sentence */

typedef struct reader {
    gpu_force *force;
    const mnt_host *host;
    const char *backend;
} reader;

static mnt_status invalid(const reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static mnt_status invalid(const reader *r, const char *format, ...)
{
    char text[TEXT];
    int used = snprintf(text, sizeof text, "%.40s: force: ", r->backend);
    va_list ap;
    va_start(ap, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, ap);
    va_end(ap);
    return r->host->fail(r->host->self, MNT_INVALID, text);
}

/* Appends "word" or ", word" unless it is there; a word that does not fit becomes an
 * ellipsis. */
static void append(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);
    const char *comma = used ? ", " : "";
    if (used + strlen(comma) + strlen(word) + 5 < size)
        snprintf(text + used, size - used, "%s%s", comma, word);
    else if (used + 4 < size && strcmp(text + used - 3, "...") != 0)
        snprintf(text + used, size - used, "...");
}

/* Whether there is a variant of `op`; op MNT_OP_COUNT: of any; variant NULL: any. */
static bool has(mnt_op op, const char *variant)
{
    for (int i = 0; gpu_launchers[i]; i++)
        for (const gpu_launcher *l = gpu_launchers[i]; l->name; l++)
            if ((op == MNT_OP_COUNT || l->op == op) &&
                (!variant || strcmp(l->name, variant) == 0))
                return true;
    return false;
}

/* Whether a launcher before l has its op and name. */
static bool listed_before(const gpu_launcher *l)
{
    for (int i = 0; gpu_launchers[i]; i++)
        for (const gpu_launcher *q = gpu_launchers[i]; q->name; q++) {
            if (q == l)
                return false;
            if (q->op == l->op && strcmp(q->name, l->name) == 0)
                return true;
        }
    return false;
}

static mnt_status unknown_variant(const reader *r, mnt_op op, const char *variant)
{
    char known[TEXT / 2] = "";
    for (int i = 0; gpu_launchers[i]; i++)
        for (const gpu_launcher *l = gpu_launchers[i]; l->name; l++)
            if (l->op == op && !listed_before(l))
                append(known, sizeof known, l->name);
    return invalid(r, "%s has no variant \"%.40s\"; known: %s", mnt_op_name(op),
                   variant, known);
}

static mnt_status unknown_op(const reader *r, const char *name)
{
    char known[TEXT - 120] = "all";
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (has((mnt_op)op, NULL))
            append(known, sizeof known, mnt_op_name((mnt_op)op));
    return invalid(r, "no op \"%.40s\"; known: %s", name, known);
}

static mnt_status set_variant(const reader *r, const char *name, const char *variant)
{
    if (strcmp(name, "all") == 0) {
        if (!has(MNT_OP_COUNT, variant))
            return invalid(r, "no op has a variant \"%.40s\"", variant);
        if (gpu_relaxed(variant))
            return invalid(r, "\"%.40s\" gives up the bits: it is for ops by name",
                           variant);
        r->force->all = variant;
        return MNT_OK;
    }
    for (int op = 0; op < MNT_OP_COUNT; op++) {
        if (strcmp(name, mnt_op_name((mnt_op)op)) != 0)
            continue;
        if (!has((mnt_op)op, variant))
            return unknown_variant(r, (mnt_op)op, variant);
        r->force->op[op] = variant;
        return MNT_OK;
    }
    return unknown_op(r, name);
}

static mnt_status read_words(const reader *r, char *text)
{
    char *rest = text;
    while (rest && *rest) {
        char *word = rest;
        rest = strchr(word, ',');
        if (rest)
            *rest++ = '\0';
        char *value = strchr(word, '=');
        if (!value || value == word || !value[1])
            return invalid(r, "\"%.60s\" is not of the form name=variant", word);
        *value++ = '\0';
        mnt_status status = set_variant(r, word, value);
        if (status != MNT_OK)
            return status;
    }
    return MNT_OK;
}

mnt_status gpu_force_read(gpu_force *f, const mnt_host *host, const char *backend,
                          const char *text)
{
    *f = (gpu_force){ 0 };
    if (!text || !*text)
        return MNT_OK;
    reader r = { f, host, backend };
    size_t size = strlen(text) + 1;
    f->text = host->alloc(host->self, size);
    if (!f->text) {
        char sentence[TEXT];
        snprintf(sentence, sizeof sentence, "%.40s: no memory for the force string",
                 backend);
        return host->fail(host->self, MNT_NO_MEMORY, sentence);
    }
    memcpy(f->text, text, size);
    mnt_status status = read_words(&r, f->text);
    if (status != MNT_OK)
        gpu_force_free(f, host);
    return status;
}

void gpu_force_free(gpu_force *f, const mnt_host *host)
{
    host->free(host->self, f->text);
    *f = (gpu_force){ 0 };
}

/* "all=ref", then each variant of each op. */
const char *gpu_variant(const gpu_force *f, int i, char *buf, size_t size)
{
    if (i-- == 0) {
        snprintf(buf, size, "all=ref");
        return buf;
    }
    for (int k = 0; gpu_launchers[k]; k++)
        for (const gpu_launcher *l = gpu_launchers[k]; l->name; l++)
            if (!(l->need & ~f->has) && !listed_before(l) && i-- == 0) {
                snprintf(buf, size, "%s=%s", mnt_op_name(l->op), l->name);
                return buf;
            }
    return NULL;
}
