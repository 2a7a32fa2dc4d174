/* SPDX-License-Identifier: MIT */
/*
 * The force string: "isa=avx2,all=ref,matmul=packed". "isa" picks the instruction set,
 * "all" a variant preferred by every op that has it, an op's name its only allowed
 * variant. Tests reach each kernel through it.
 */
#include "driver.h"

#include "isa.h"
#include "memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static mnt_status invalid(const cpu_context *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static mnt_status invalid(const cpu_context *ctx, const char *format, ...)
{
    char text[CPU_TEXT];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return ctx->host->fail(ctx->host->self, MNT_INVALID, text);
}

/* Appends "word" or ", word"; a word that does not fit becomes an ellipsis. */
static void append(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);
    const char *comma = used ? ", " : "";
    if (used + strlen(comma) + strlen(word) + 5 < size)
        snprintf(text + used, size - used, "%s%s", comma, word);
    else if (used + 4 < size && strcmp(text + used - 3, "...") != 0)
        snprintf(text + used, size - used, "...");
}

/* Whether the instruction set has a kernel `variant` of `op`; op MNT_OP_COUNT: of any;
 * variant NULL: any. */
static bool has(const cpu_isa *isa, mnt_op op, const char *variant)
{
    for (const cpu_kernel_list *list = isa->lists; *list; list++)
        for (const cpu_kernel *k = *list; k->name; k++)
            if ((op == MNT_OP_COUNT || k->op == op) &&
                (!variant || strcmp(k->name, variant) == 0))
                return true;
    return false;
}

static mnt_status unknown_variant(const cpu_context *ctx, mnt_op op,
                                  const char *variant)
{
    char known[CPU_TEXT / 2] = "";
    for (const cpu_kernel_list *list = ctx->isa->lists; *list; list++)
        for (const cpu_kernel *k = *list; k->name; k++)
            if (k->op == op && !strstr(known, k->name))
                append(known, sizeof known, k->name);
    return invalid(ctx, "force: %s has no variant \"%.40s\" on %s; known: %s",
                   mnt_op_name(op), variant, ctx->isa->name, known);
}

static mnt_status unknown_op(const cpu_context *ctx, const char *name)
{
    char known[CPU_TEXT - 80] = "isa, all";
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (has(ctx->isa, (mnt_op)op, NULL))
            append(known, sizeof known, mnt_op_name((mnt_op)op));
    return invalid(ctx, "force: no op \"%.40s\"; known: %s", name, known);
}

static mnt_status set_isa(cpu_context *ctx, const char *name)
{
    char known[128] = "";
    const cpu_isa *isa;
    for (int i = 0; (isa = cpu_isa_at(i)); i++) {
        if (strcmp(isa->name, name) == 0) {
            ctx->isa = isa;
            return MNT_OK;
        }
        append(known, sizeof known, isa->name);
    }
    return invalid(ctx, "force: isa=%.40s is no instruction set here; known: %s", name,
                   known);
}

static mnt_status set_variant(cpu_context *ctx, const char *name, const char *variant)
{
    if (strcmp(name, "all") == 0) {
        if (!has(ctx->isa, MNT_OP_COUNT, variant))
            return invalid(ctx, "force: no op has a variant \"%.40s\" on %s", variant,
                           ctx->isa->name);
        ctx->force.all = variant;
        return MNT_OK;
    }
    for (int op = 0; op < MNT_OP_COUNT; op++) {
        if (strcmp(name, mnt_op_name((mnt_op)op)) != 0)
            continue;
        if (!has(ctx->isa, (mnt_op)op, NULL))
            break;
        if (!has(ctx->isa, (mnt_op)op, variant))
            return unknown_variant(ctx, (mnt_op)op, variant);
        ctx->force.op[op] = variant;
        return MNT_OK;
    }
    return unknown_op(ctx, name);
}

/* Variants are looked up in the chosen instruction set, so "isa" is read in a first
 * pass. Each pass cuts its own copy of the text into words. */
static mnt_status read_words(cpu_context *ctx, char *text, bool isa_pass)
{
    char *rest = text;
    while (rest && *rest) {
        char *word = rest;
        rest = strchr(word, ',');
        if (rest)
            *rest++ = '\0';
        char *value = strchr(word, '=');
        if (!value || value == word || !value[1])
            return invalid(ctx, "force: \"%.60s\" is not of the form name=variant",
                           word);
        *value++ = '\0';
        bool is_isa = strcmp(word, "isa") == 0;
        mnt_status status = MNT_OK;
        if (is_isa && isa_pass)
            status = set_isa(ctx, value);
        else if (!is_isa && !isa_pass)
            status = set_variant(ctx, word, value);
        if (status != MNT_OK)
            return status;
    }
    return MNT_OK;
}

mnt_status cpu_force_read(cpu_context *ctx, const char *text)
{
    ctx->isa = cpu_isa_at(0);
    if (!text || !*text)
        return MNT_OK;
    size_t size = strlen(text) + 1;
    ctx->force.text = cpu_alloc(ctx->host, 2 * size);
    if (!ctx->force.text)
        return ctx->host->fail(ctx->host->self, MNT_NO_MEMORY,
                               "cpu: no memory for the force string");
    memcpy(ctx->force.text, text, size);
    memcpy(ctx->force.text + size, text, size);
    mnt_status status = read_words(ctx, ctx->force.text, true);
    if (status == MNT_OK)
        status = read_words(ctx, ctx->force.text + size, false);
    return status;
}

/* Whether a kernel before k in the lists has its op and name. */
static bool listed_before(const cpu_isa *isa, const cpu_kernel *k)
{
    for (const cpu_kernel_list *list = isa->lists; *list; list++)
        for (const cpu_kernel *q = *list; q->name; q++) {
            if (q == k)
                return false;
            if (q->op == k->op && strcmp(q->name, k->name) == 0)
                return true;
        }
    return false;
}

/* Instruction sets, "all=ref", then each variant of the chosen instruction set. */
const char *cpu_variant(void *ctx, int i)
{
    cpu_context *c = ctx;
    const cpu_isa *isa;
    for (int k = 0; (isa = cpu_isa_at(k)); k++)
        if (i-- == 0) {
            snprintf(c->variant, sizeof c->variant, "isa=%s", isa->name);
            return c->variant;
        }
    if (i-- == 0)
        return "all=ref";
    for (const cpu_kernel_list *list = c->isa->lists; *list; list++)
        for (const cpu_kernel *k = *list; k->name; k++)
            if (!listed_before(c->isa, k) && i-- == 0) {
                snprintf(c->variant, sizeof c->variant, "%s=%s", mnt_op_name(k->op),
                         k->name);
                return c->variant;
            }
    return NULL;
}
