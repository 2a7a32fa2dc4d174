/* SPDX-License-Identifier: MIT */
/*
 * Compile: from nodes to the backend's program. Fuse, find how long each storage lives,
 * give planned storages places in one arena so that two share bytes only if they are
 * never alive together, join neighbouring optimizer commands, find dependency levels.
 */
#include "plan.h"
#include "core.h"

#define MOST   ((uint64_t)1 << 62) /* bytes of an arena; keeps sums from wrapping */
#define GUARD  64u  /* bytes of poison before and after each tensor in guard mode */
#define POISON 0xff /* as f32 a NaN, as an index out of every range */

static uint64_t padded(uint64_t bytes)
{
    return (bytes + MNTI_ALIGN - 1) / MNTI_ALIGN * MNTI_ALIGN;
}

static int live_nodes(const mnt_graph *g)
{
    int n = 0;
    for (int i = 0; i < g->count; i++)
        n += g->nodes[i].op != MNTI_VIEW && !g->nodes[i].dead;
    return n;
}

static mnt_status list_commands(mnt_graph *g)
{
    int n = live_nodes(g);
    g->cmds = mnti_alloc(g->dev, (size_t)n * sizeof *g->cmds);
    g->cmd_node = mnti_alloc(g->dev, (size_t)n * sizeof *g->cmd_node);
    if (!g->cmds || !g->cmd_node)
        return mnti_fail(g->dev, MNT_NO_MEMORY, "compile: no memory for %d commands",
                         n);
    for (int i = 0; i < g->count; i++)
        if (g->nodes[i].op != MNTI_VIEW && !g->nodes[i].dead)
            g->cmd_node[g->cmd_count++] = i;
    return MNT_OK;
}

static void touch(mnt_tensor *t, int cmd)
{
    if (!t || !t->storage->planned)
        return;
    mnti_storage *s = t->storage;
    if (s->first < 0)
        s->first = cmd;
    s->last = cmd;
}

static void find_lifetimes(mnt_graph *g)
{
    for (int c = 0; c < g->cmd_count; c++) {
        const mnti_node *node = &g->nodes[g->cmd_node[c]];
        for (int i = 0; i < MNT_MAX_IN; i++)
            touch(node->in[i], c);
        for (int i = 0; i < MNT_MAX_OUT; i++)
            touch(node->out[i], c);
    }
}

/* A result that no command reads is what the user recorded the graph for: keep it. */
static void keep_results(mnt_graph *g)
{
    for (int c = 0; c < g->cmd_count; c++) {
        const mnti_node *node = &g->nodes[g->cmd_node[c]];
        for (int o = 0; o < MNT_MAX_OUT; o++)
            if (node->out[o] && (g->keep_all || node->out[o]->storage->last == c))
                node->out[o]->storage->keep = true;
    }
}

/* Planned storages that need a place, each once. */
typedef struct placement {
    mnti_storage **list;
    int count;
    uint64_t *span; /* bytes each takes, guard bands included */
} placement;

static mnt_status collect(mnt_graph *g, placement *p)
{
    int most = 0;
    for (mnt_tensor *t = g->tensors; t; t = t->next)
        most++;
    p->list = mnti_alloc(g->dev, (size_t)most * sizeof *p->list);
    p->span = mnti_alloc(g->dev, (size_t)most * sizeof *p->span);
    if (!p->list || !p->span)
        return mnti_fail(g->dev, MNT_NO_MEMORY, "compile: no memory for the plan");
    for (mnt_tensor *t = g->tensors; t; t = t->next) {
        mnti_storage *s = t->storage;
        if (!s->planned || s->first < 0 || s->offset == UINT64_MAX)
            continue;
        s->offset = UINT64_MAX; /* seen; not yet placed */
        p->list[p->count++] = s;
    }
    return MNT_OK;
}

/* Larger first; among equals the one that is needed first. */
static void sort_by_size(placement *p)
{
    for (int i = 1; i < p->count; i++) {
        mnti_storage *s = p->list[i];
        int j = i;
        for (; j > 0; j--) {
            const mnti_storage *o = p->list[j - 1];
            if (o->bytes > s->bytes || (o->bytes == s->bytes && o->first <= s->first))
                break;
            p->list[j] = p->list[j - 1];
        }
        p->list[j] = s;
    }
}

static bool together(const mnti_storage *a, const mnti_storage *b)
{
    int a_end = a->keep ? INT32_MAX : a->last, b_end = b->keep ? INT32_MAX : b->last;
    return a->first <= b_end && b->first <= a_end;
}

/* The lowest place for list[i] among those of list[0..i) that live at the same time. */
static uint64_t lowest_place(const placement *p, int i, uint64_t from)
{
    uint64_t at = from;
    for (bool moved = true; moved;) {
        moved = false;
        for (int j = 0; j < i; j++) {
            const mnti_storage *o = p->list[j];
            if (together(p->list[i], o) && at < o->offset + p->span[j] &&
                o->offset < at + p->span[i]) {
                at = o->offset + p->span[j];
                moved = true;
            }
        }
    }
    return at;
}

/*
 * Gradients of parameters come first and lie as the parameters do in the model's block,
 * so that an optimizer command can run over many at once. Returns the bytes they take.
 */
static uint64_t place_gradients(mnt_graph *g)
{
    uint64_t end = 0;
    if (!g->model || g->guard)
        return 0;
    for (int i = 0; i < g->model->count; i++) {
        const mnti_param *p = g->model->params[i];
        for (int k = 0; k < g->param_count; k++) {
            const mnt_tensor *dw = g->params[k]->grad;
            if (g->params[k]->param != p || !dw || !dw->storage->planned ||
                dw->storage->bytes != p->w->storage->bytes || dw->start != 0 ||
                dw->storage->first < 0 || dw->storage->offset != UINT64_MAX)
                continue;
            if (end > MOST - padded(dw->storage->bytes))
                continue; /* place() says that it is too much */
            dw->storage->offset = end;
            end += padded(dw->storage->bytes);
        }
    }
    return end;
}

static mnt_status place(mnt_graph *g)
{
    placement p = { 0 };
    mnt_status st = collect(g, &p);
    uint64_t base = st == MNT_OK ? place_gradients(g) : 0;
    uint64_t end = base;
    if (st == MNT_OK) {
        int rest = 0;
        g->unplanned_bytes = base;
        for (int i = 0; i < p.count; i++)
            if (p.list[i]->offset == UINT64_MAX)
                p.list[rest++] = p.list[i];
        p.count = rest;
        sort_by_size(&p);
    }
    for (int i = 0; i < p.count && st == MNT_OK; i++) {
        mnti_storage *s = p.list[i];
        p.span[i] = padded(s->bytes) + (g->guard ? 2 * GUARD : 0);
        s->offset = lowest_place(&p, i, base);
        if (s->offset > MOST - p.span[i]) {
            st = mnti_fail(g->dev, MNT_NO_MEMORY,
                           "compile: the tensors take over 2^62 bytes");
            break;
        }
        if (s->offset + p.span[i] > end)
            end = s->offset + p.span[i];
        if (g->unplanned_bytes <= UINT64_MAX - p.span[i])
            g->unplanned_bytes += p.span[i];
    }
    if (st == MNT_OK)
        st = mnti_buffer_alloc(g->dev, end, "compile: arena", &g->arena);
    if (st == MNT_OK)
        g->arena_bytes = end;
    for (int i = 0; i < p.count && g->guard; i++)
        p.list[i]->offset += GUARD;
    mnti_free(g->dev, p.list);
    mnti_free(g->dev, p.span);
    for (mnt_tensor *t = g->tensors; t && st == MNT_OK; t = t->next)
        if (t->storage->planned && t->storage->first >= 0)
            t->storage->buffer = g->arena;
    return st;
}

static bool adjacent(const mnt_operand *a, const mnt_operand *b)
{
    if (!a->buffer || !b->buffer)
        return !a->buffer && !b->buffer;
    return a->buffer == b->buffer &&
           a->offset + padded((uint64_t)a->dim[0] * 4) == b->offset;
}

/* Whether b goes on where a ends, in every vector operand. */
static bool joins(const mnt_cmd *a, const mnt_cmd *b)
{
    if (a->op != b->op || (a->op != MNT_OP_ID_sgd && a->op != MNT_OP_ID_adam))
        return false;
    int vectors = a->op == MNT_OP_ID_sgd ? 3 : 4;
    for (int i = 0; i < vectors; i++)
        if (!adjacent(&a->in[i], &b->in[i]))
            return false;
    return memcmp(&a->args.optim, &b->args.optim, sizeof a->args.optim) == 0;
}

static void extend(mnt_operand *a, const mnt_operand *b)
{
    if (a->buffer && a->ndim == 1)
        a->dim[0] = (int64_t)(b->offset - a->offset) / 4 + b->dim[0];
}

static void build_commands(mnt_graph *g)
{
    int n = 0;
    for (int c = 0; c < g->cmd_count; c++) {
        mnt_cmd cmd;
        mnti_make_cmd(&g->nodes[g->cmd_node[c]], (uint32_t)n, &cmd);
        if (n > 0 && !g->guard && joins(&g->cmds[n - 1], &cmd)) {
            mnt_cmd *a = &g->cmds[n - 1];
            int vectors = a->op == MNT_OP_ID_sgd ? 3 : 4;
            for (int i = 0; i < vectors; i++)
                extend(&a->in[i], &cmd.in[i]);
            for (int i = 0; i < MNT_MAX_OUT; i++)
                extend(&a->out[i], &cmd.out[i]);
            a->label = "";
            continue;
        }
        g->cmds[n] = cmd;
        g->cmd_node[n++] = g->cmd_node[c];
    }
    g->cmd_count = n;
}

/* Bytes an operand may touch; strides are never negative. */
static bool overlap(const mnt_operand *a, const mnt_operand *b)
{
    if (!a->buffer || a->buffer != b->buffer)
        return false;
    uint64_t end[2];
    const mnt_operand *o[2] = { a, b };
    for (int k = 0; k < 2; k++) {
        int64_t extent = 1;
        for (int i = 0; i < o[k]->ndim; i++)
            extent += (o[k]->dim[i] > 0 ? o[k]->dim[i] - 1 : 0) * o[k]->stride[i];
        end[k] = o[k]->offset + (uint64_t)extent * mnt_dtype_size(o[k]->dtype);
    }
    return a->offset < end[1] && b->offset < end[0];
}

/* Read after write, write after read, or write after write. */
static bool depends(const mnt_cmd *later, const mnt_cmd *earlier)
{
    for (int o = 0; o < MNT_MAX_OUT; o++) {
        const mnt_operand *w = &earlier->out[o], *r = &later->out[o];
        for (int i = 0; i < MNT_MAX_IN; i++)
            if (overlap(w, &later->in[i]) || overlap(r, &earlier->in[i]))
                return true;
        for (int i = 0; i < MNT_MAX_OUT; i++)
            if (overlap(w, &later->out[i]))
                return true;
    }
    return false;
}

static void find_levels(mnt_graph *g)
{
    for (int c = 0; c < g->cmd_count; c++)
        for (int e = 0; e < c; e++)
            if (g->cmds[c].level <= g->cmds[e].level &&
                depends(&g->cmds[c], &g->cmds[e]))
                g->cmds[c].level = g->cmds[e].level + 1;
}

static mnt_status check_support(mnt_graph *g)
{
    mnt_device *dev = g->dev;
    for (int c = 0; c < g->cmd_count; c++) {
        const mnt_cmd *cmd = &g->cmds[c];
        char why[MNTI_ERROR_TEXT];
        if (mnti_supports(dev, cmd, why))
            continue;
        const mnti_node *node = &g->nodes[g->cmd_node[c]];
        return mnti_fail(dev, MNT_UNSUPPORTED, "%s: %s has no kernel for %s -> %s%s",
                         mnt_op_name(cmd->op), dev->backend->name,
                         node->in[0] ? mnti_shape_text(node->in[0]->shape).s : "[]",
                         node->out[0] ? mnti_shape_text(node->out[0]->shape).s : "[]",
                         why);
    }
    return MNT_OK;
}

static mnt_status compile(mnt_graph *g)
{
    mnt_device *dev = g->dev;
    mnt_status st = g->model ? mnti_model_place(g->model) : MNT_OK;
    if (st)
        return st;
    if (g->counter) {
        mnt_tensor *c = g->counter;
        if (!mnti_record(g, MNT_OP_ID_advance, &c, 1, &c, 1, (mnt_args){ 0 }))
            return g->status;
    }
    if (!g->no_fusion && (st = mnti_fuse(g)) != MNT_OK)
        return st;
    if ((st = list_commands(g)) != MNT_OK)
        return st;
    find_lifetimes(g);
    keep_results(g);
    if ((st = place(g)) != MNT_OK)
        return st;
    build_commands(g);
    find_levels(g);
    if ((st = check_support(g)) != MNT_OK)
        return st;
    const mnt_program program = { .size = sizeof program,
                                  .cmds = g->cmds,
                                  .count = g->cmd_count };
    st = MNTI_CALL(dev, prepare, dev->ctx, &program, &g->prepared);
    if (st)
        g->prepared = NULL; /* nothing to discard, whatever was left there */
    return st;
}

mnt_status mnt_graph_compile(mnt_graph *g)
{
    if (!g)
        return mnti_fail(NULL, MNT_INVALID, "graph_compile: the graph is NULL");
    if (g->status)
        return mnti_fail(g->dev, g->status, "%s", g->error);
    if (g->compiled)
        return mnti_fail(g->dev, MNT_STATE, "graph_compile: it was compiled before");
    if (g->eager)
        return MNT_OK;
    mnt_status st = compile(g);
    if (st) {
        char text[MNTI_ERROR_TEXT];
        snprintf(text, sizeof text, "%s", g->dev->error);
        mnti_graph_fail(g, st, "%s", text);
        return st;
    }
    g->compiled = true;
    return MNT_OK;
}

void mnt_graph_memory(const mnt_graph *g, uint64_t *arena, uint64_t *unplanned)
{
    if (arena)
        *arena = g ? g->arena_bytes : 0;
    if (unplanned)
        *unplanned = g ? g->unplanned_bytes : 0;
}

mnt_status mnti_plan_poison(mnt_graph *g)
{
    mnt_device *dev = g->dev;
    unsigned char block[4096];
    memset(block, POISON, sizeof block);
    for (uint64_t at = 0; at < g->arena_bytes; at += sizeof block) {
        uint64_t n = g->arena_bytes - at;
        mnt_status st = MNTI_CALL(dev, write, dev->ctx, g->arena, at, block,
                                  n < sizeof block ? n : sizeof block);
        if (st)
            return st;
    }
    return MNT_OK;
}

static mnt_status check_band(mnt_graph *g, const mnt_tensor *t, uint64_t at,
                             bool before)
{
    unsigned char band[GUARD];
    mnt_status st = MNTI_CALL(g->dev, read, g->dev->ctx, g->arena, at, band, GUARD);
    for (unsigned i = 0; i < GUARD && st == MNT_OK; i++)
        if (band[i] != POISON)
            st = mnti_fail(g->dev, MNT_STATE,
                           "check_guards: byte %u %s tensor %s %s was overwritten",
                           before ? GUARD - i : i, before ? "before" : "after",
                           t->name ? t->name : "without a name",
                           mnti_shape_text(t->shape).s);
    return st;
}

/* The bands of a tensor whose place was never shared are still poison; others may have
 * been written by a rightful later owner and are passed over. */
static bool shared_place(const mnt_graph *g, const mnti_storage *s)
{
    for (const mnt_tensor *t = g->tensors; t; t = t->next) {
        const mnti_storage *o = t->storage;
        if (o != s && o->planned && o->first >= 0 && !together(o, s) &&
            o->offset < s->offset + padded(s->bytes) + 2 * GUARD &&
            s->offset < o->offset + padded(o->bytes) + 2 * GUARD)
            return true;
    }
    return false;
}

mnt_status mnt_graph_check_guards(mnt_graph *g)
{
    if (!g || !g->guard || !g->compiled)
        return mnti_fail(g ? g->dev : NULL, MNT_STATE,
                         "check_guards: the graph was not compiled with .guard");
    mnt_status st = MNTI_CALL(g->dev, wait, g->dev->ctx);
    for (const mnt_tensor *t = g->tensors; t && st == MNT_OK; t = t->next) {
        const mnti_storage *s = t->storage;
        if (!s->planned || s->first < 0 || shared_place(g, s))
            continue;
        st = check_band(g, t, s->offset - GUARD, true);
        if (st == MNT_OK)
            st = check_band(g, t, s->offset + s->bytes, false);
    }
    return st;
}
