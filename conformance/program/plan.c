/* SPDX-License-Identifier: MIT */
/*
 * The list of cases: the table, and random ones of each op. Each op's cases are
 * shuffled, then the ops take turns, so that a run that is cut short has seen all ops
 * alike and no case depends on its neighbours.
 */
#include "plan.h"

#include "../contract/contract.h"
#include "../graphs/graphs.h"
#include "case_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct table_row {
    const char *op, *text;
} table_row;

static const table_row rows[] = {
#define CASE(op, text) { #op, text },
#include "../cases.def"
#undef CASE
};

static int kit_op_count(void)
{
    int n = 0;
    while (kit_ops[n])
        n++;
    return n;
}

int plan_op_count(void)
{
    return kit_op_count() + 2;
}

const kit_op *plan_kit_op(int op)
{
    return op < kit_op_count() ? kit_ops[op] : NULL;
}

bool plan_is_graph(int op)
{
    return op == kit_op_count();
}

bool plan_is_contract(int op)
{
    return op == kit_op_count() + 1;
}

const char *plan_op_name(int op)
{
    if (op < 0 || op >= plan_op_count())
        return NULL;
    const kit_op *kit = plan_kit_op(op);
    return kit ? kit->name : plan_is_graph(op) ? "graph" : "contract";
}

int plan_op_index(const char *name)
{
    const char *known;
    for (int i = 0; (known = plan_op_name(i)); i++)
        if (strcmp(known, name) == 0)
            return i;
    return -1;
}

/* ---- lists ---- */

typedef struct builder {
    plan *p;
    int op;
    int32_t *seen; /* open addressing: number of a case + 1; 0: free */
    size_t slots;
} builder;

static void *grown(void *p, size_t bytes)
{
    void *q = realloc(p, bytes);
    if (!q)
        kit_die("out of memory: %zu bytes", bytes);
    return q;
}

static size_t slot_of(const builder *b, int op, const char *text)
{
    uint64_t h = kit_hash(text, strlen(text)) + (uint64_t)op * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(h % b->slots);
    for (;; at = (at + 1) % b->slots) {
        if (b->seen[at] == 0)
            return at;
        const plan_case *c = &b->p->cases[b->seen[at] - 1];
        if (c->op == op && strcmp(c->text, text) == 0)
            return at;
    }
}

static void rehash(builder *b)
{
    free(b->seen);
    b->slots = b->slots ? 2 * b->slots : 1 << 12;
    b->seen = kit_alloc(b->slots * sizeof *b->seen);
    for (int i = 0; i < b->p->count; i++)
        b->seen[slot_of(b, b->p->cases[i].op, b->p->cases[i].text)] = i + 1;
}

/* False if the case is there already. */
static bool add(builder *b, const char *text)
{
    plan *p = b->p;
    if (strlen(text) >= KIT_TEXT)
        kit_die("%s: case too long: %s", plan_op_name(b->op), text);
    if ((size_t)p->count * 2 >= b->slots)
        rehash(b);
    size_t at = slot_of(b, b->op, text);
    if (b->seen[at])
        return false;
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 1 << 10;
        p->cases = grown(p->cases, (size_t)p->room * sizeof *p->cases);
    }
    plan_case *c = &p->cases[p->count++];
    c->op = b->op;
    strcpy(c->text, text);
    b->seen[at] = p->count;
    return true;
}

static void add_expanded(void *ctx, const char *text)
{
    add(ctx, text);
}

/* Where a text was drawn before, the same geometry gets other values. */
static void add_random(builder *b, int n, uint64_t seed)
{
    const kit_op *op = plan_kit_op(b->op);
    const char *name = plan_op_name(b->op);
    kit_rng r = { kit_hash(name, strlen(name)) ^ (seed * 0x9e3779b97f4a7c15u) };
    if (op && !op->generate)
        return;
    for (int i = 0; i < n; i++) {
        char text[KIT_TEXT] = "";
        if (op)
            kit_generate(op, &r, text);
        else
            graph_generate(text, &r);
        size_t used = strlen(text);
        for (int k = 0; !add(b, text) && op && k < 8 && used + 16 < KIT_TEXT; k++)
            snprintf(text + used, sizeof text - used, "%ssalt=%d", used ? " " : "",
                     (int)kit_below(&r, 1 << 20));
    }
}

/* ---- order ---- */

static void shuffle(plan_case *c, int n, kit_rng *r)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)kit_below(r, i + 1);
        plan_case t = c[i];
        c[i] = c[j];
        c[j] = t;
    }
}

/* The cases of one op lie together; begin[op] is the first. */
static void take_turns(plan *p, const int begin[], int ops, uint64_t seed)
{
    plan_case *out = kit_alloc((size_t)p->count * sizeof *out);
    kit_rng r = { seed };
    int n = 0;
    for (int op = 0; op < ops; op++)
        shuffle(p->cases + begin[op], begin[op + 1] - begin[op], &r);
    for (int turn = 0; n < p->count; turn++)
        for (int op = 0; op < ops; op++)
            if (begin[op] + turn < begin[op + 1])
                out[n++] = p->cases[begin[op] + turn];
    free(p->cases);
    p->cases = out;
    p->room = p->count;
}

static bool wanted(const options *o, int op)
{
    for (int i = 0; i < o->op_count; i++)
        if (strcmp(o->op[i], plan_op_name(op)) == 0)
            return true;
    return o->op_count == 0;
}

static void add_op(builder *b, const options *o)
{
    const char *name = plan_op_name(b->op);
    for (int i = 0; plan_is_contract(b->op) && contract_checks[i].name; i++)
        add(b, contract_checks[i].name);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].op, name) == 0)
            kit_expand(rows[i].text, add_expanded, b);
    if (!plan_is_contract(b->op))
        add_random(b, o->generated, o->seed);
}

static void take_share(plan *p, const options *o)
{
    int n = 0;
    for (int i = o->share - 1; i < p->count; i += o->shares)
        p->cases[n++] = p->cases[i];
    p->count = n;
}

/* ---- given lines ---- */

static bool add_line(builder *b, const char *where, const char *line)
{
    const char *text = case_line_check(where, line, &b->op);
    if (text)
        kit_expand(text, add_expanded, b);
    return text != NULL;
}

/* The whole text, NULL after a sentence. All of it at once: lines are tried in children,
 * and a child that ends moves the place in a file that is open. */
static char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t used = 0, room = 0, got = 1;
    while (f && got > 0) {
        room = room ? 2 * room : 1 << 16;
        text = grown(text, room + 1);
        got = fread(text + used, 1, room - used, f);
        used += got;
        if (used < room)
            break;
    }
    if (!f || ferror(f)) {
        complain("--cases: %s: %s", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    if (text)
        text[used] = '\0';
    return text;
}

/* Empty lines and those that begin with # say nothing. */
static bool add_file(builder *b, const char *path)
{
    char *text = read_text(path), where[300];
    bool ok = text != NULL;
    int number = 0;
    for (char *line = text, *next; ok && *line; line = next) {
        size_t end = strcspn(line, "\n");
        next = line + end + (line[end] != '\0');
        while (end > 0 && strchr(" \t\r", line[end - 1]))
            end--;
        line[end] = '\0';
        snprintf(where, sizeof where, "%.260s:%d", path, ++number);
        if (*line && *line != '#')
            ok = add_line(b, where, line);
    }
    free(text);
    if (ok && b->p->count == 0) {
        complain("--cases: %s: there is no case in it", path);
        ok = false;
    }
    return ok;
}

bool plan_make(plan *p, const options *o)
{
    *p = (plan){ 0 };
    builder b = { .p = p };
    int begin[PLAN_MAX_OPS + 1] = { 0 }, ops = plan_op_count();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!kit_op_find(rows[i].op))
            kit_die("cases.def: no op %s", rows[i].op);
    if (ops > PLAN_MAX_OPS)
        kit_die("more than %d ops", PLAN_MAX_OPS);
    if (o->line || o->cases) {
        bool ok = o->line ? add_line(&b, "--case", o->line) : add_file(&b, o->cases);
        free(b.seen);
        take_share(p, o);
        return ok;
    }
    for (b.op = 0; b.op < ops; b.op++) {
        begin[b.op] = p->count;
        if (wanted(o, b.op))
            add_op(&b, o);
    }
    begin[ops] = p->count;
    free(b.seen);
    take_turns(p, begin, ops, o->seed);
    take_share(p, o);
    return true;
}

void plan_free(plan *p)
{
    free(p->cases);
    *p = (plan){ 0 };
}
