/* SPDX-License-Identifier: MIT */
/*
 * Graphs: creation, recording of nodes, and the immediate execution that eager graphs
 * and parameter initialisation use. Gradients are in backward.c, planning in plan.c,
 * replay in run.c.
 */
#include "core.h"

void mnt_graph_desc_init(mnt_graph_desc *desc)
{
    if (desc)
        *desc = MNT_GRAPH_DESC(.eager = false);
}

mnt_status mnt_graph_create(mnt_graph **out, mnt_device *dev, mnt_model *model,
                            const mnt_graph_desc *desc)
{
    if (!out || !dev)
        return mnti_fail(dev, MNT_INVALID, "graph_create: an argument is NULL");
    *out = NULL;
    if (model && model->dev != dev)
        return mnti_fail(dev, MNT_INVALID,
                         "graph_create: the model is another device's");
    mnt_graph_desc d = MNT_GRAPH_DESC(.eager = false);
    if (desc && !mnti_desc_read(&d, sizeof d, desc))
        return mnti_fail(dev, MNT_INVALID,
                         "graph_create: the desc's size field is wrong");
    mnt_graph *g = mnti_alloc(dev, sizeof *g);
    char *name = mnti_strdup(dev, d.name ? d.name : "");
    if (!g || !name) {
        mnti_free(dev, g);
        mnti_free(dev, name);
        return mnti_fail(dev, MNT_NO_MEMORY, "graph_create: no memory");
    }
    g->dev = dev;
    g->model = model;
    g->eager = d.eager;
    g->keep_all = d.keep_all;
    g->no_fusion = d.no_fusion;
    g->guard = d.guard;
    g->name = name;
    g->next = dev->graphs;
    dev->graphs = g;
    *out = g;
    return MNT_OK;
}

static void unlink_graph(mnt_graph *g)
{
    for (mnt_graph **p = &g->dev->graphs; *p; p = &(*p)->next)
        if (*p == g) {
            *p = g->next;
            return;
        }
}

void mnt_graph_destroy(mnt_graph *g)
{
    if (!g)
        return;
    mnt_device *dev = g->dev;
    if (mnti_sync_graph(g))
        mnti_log(dev, MNT_LOG_WARN, "graph_destroy: %s", dev->error);
    unlink_graph(g);
    if (g->prepared)
        dev->backend->discard(dev->ctx, g->prepared);
    for (int i = 0; i < g->param_count; i++) {
        mnt_tensor *w = g->params[i]->param->w;
        if (w->grad && w->grad->graph == g)
            w->grad = NULL;
    }
    while (g->tensors) {
        mnt_tensor *t = g->tensors;
        g->tensors = t->next;
        mnti_tensor_free(t);
    }
    mnti_buffer_free(dev, g->arena, g->arena_bytes);
    mnti_free(dev, g->cmds);
    mnti_free(dev, g->cmd_node);
    mnti_free(dev, g->params);
    mnti_free(dev, g->nodes);
    mnti_free(dev, g->name);
    mnti_free(dev, g);
}

mnt_status mnt_graph_status(const mnt_graph *g)
{
    return g ? g->status : MNT_INVALID;
}

mnt_tensor *mnti_graph_fail(mnt_graph *g, mnt_status status, const char *format, ...)
{
    if (g->status)
        return NULL; /* the first failure is the one to report */
    va_list ap;
    va_start(ap, format);
    vsnprintf(g->error, sizeof g->error, format, ap);
    va_end(ap);
    g->status = status;
    mnti_fail(g->dev, status, "%s", g->error);
    return NULL;
}

bool mnti_graph_accepts(mnt_graph *g, mnt_op op, mnt_tensor *const in[], int n_in)
{
    if (!g || g->status)
        return false;
    const char *name = op == MNTI_VIEW ? "view" : mnt_op_name(op);
    if (g->compiled) {
        mnti_graph_fail(g, MNT_STATE, "%s: the graph is already compiled", name);
        return false;
    }
    for (int i = 0; i < n_in; i++) {
        if (!in[i])
            mnti_graph_fail(g, MNT_INVALID, "%s: operand %d is NULL", name, i);
        else if (in[i]->dev != g->dev)
            mnti_graph_fail(g, MNT_INVALID, "%s: operand %d is another device's", name,
                            i);
        else if (in[i]->graph && in[i]->graph != g)
            mnti_graph_fail(g, MNT_INVALID, "%s: operand %d is another graph's", name,
                            i);
        else if (!in[i]->graph && in[i]->param) /* has no gradient of this graph */
            mnti_graph_fail(g, MNT_INVALID,
                            "%s: operand %d is the model's own tensor %.128s; "
                            "mnt_param() gives it to a graph",
                            name, i, mnt_tensor_name(in[i]));
        if (g->status)
            return false;
    }
    return true;
}

mnt_tensor *mnti_graph_tensor(mnt_graph *g, mnt_dtype dtype, mnt_shape shape)
{
    mnt_device *dev = g->dev;
    int64_t count = mnt_shape_count(shape);
    if (count < 0)
        return mnti_graph_fail(g, MNT_SHAPE, "a result of shape %s is not possible",
                               mnti_shape_text(shape).s);
    mnt_tensor *t = NULL;
    if (g->eager) {
        t = mnti_tensor_persistent(dev, g, dtype, shape);
    } else {
        mnti_storage *s =
            mnti_storage_new(dev, (uint64_t)count * mnt_dtype_size(dtype), true);
        t = s ? mnti_tensor_over(dev, g, s, dtype, shape, 0) : NULL;
        mnti_storage_release(s);
    }
    return t ? t : mnti_graph_fail(g, dev->failed, "%s", dev->error);
}

void mnti_make_cmd(const mnti_node *node, uint32_t id, mnt_cmd *cmd)
{
    *cmd = (mnt_cmd){ .op = node->op, .id = id, .args = node->args, .label = "" };
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (node->in[i])
            cmd->in[i] = mnti_operand(node->in[i]);
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (node->out[i])
            cmd->out[i] = mnti_operand(node->out[i]);
    if (node->out[0] && node->out[0]->name)
        cmd->label = node->out[0]->name;
}

mnt_status mnti_execute(mnt_device *dev, const mnti_node *node, uint32_t id)
{
    mnt_cmd cmd;
    mnti_make_cmd(node, id, &cmd);
    char why[MNTI_ERROR_TEXT];
    if (!mnti_supports(dev, &cmd, why))
        return mnti_fail(dev, MNT_UNSUPPORTED, "%s: %s does not run it%s",
                         mnt_op_name(node->op), dev->backend->name, why);
    const mnt_program program = { .size = sizeof program, .cmds = &cmd, .count = 1 };
    void *prepared = NULL;
    mnt_status st = MNTI_CALL(dev, prepare, dev->ctx, &program, &prepared);
    if (st)
        return st;
    /* mnt_device_interrupt() is meant for mnt_graph_run(): it is put off until then. */
    bool stop = false;
    int64_t done = 0;
    do {
        stop = atomic_exchange(&dev->stop, false) || st == MNT_INTERRUPTED || stop;
        st = mnti_submit(dev, prepared, 1, &done);
    } while (st == MNT_INTERRUPTED && done == 0);
    if (stop)
        atomic_store(&dev->stop, true);
    dev->backend->discard(dev->ctx, prepared);
    return st;
}

static mnti_node *append(mnt_graph *g)
{
    if (g->count == g->capacity) {
        int capacity = g->capacity ? 2 * g->capacity : 64;
        mnti_node *nodes =
            mnti_realloc(g->dev, g->nodes, (size_t)capacity * sizeof *nodes);
        if (!nodes) {
            mnti_graph_fail(g, MNT_NO_MEMORY, "graph: no memory for %d nodes",
                            capacity);
            return NULL;
        }
        g->nodes = nodes;
        g->capacity = capacity;
    }
    mnti_node *node = &g->nodes[g->count++];
    memset(node, 0, sizeof *node);
    return node;
}

bool mnti_record_view(mnt_graph *g, mnt_tensor *x, mnt_tensor *y, const mnti_view *view)
{
    mnti_node *node = append(g);
    if (!node)
        return false;
    node->op = MNTI_VIEW;
    node->in[0] = x;
    node->out[0] = y;
    node->view = *view;
    y->needs_grad = x->needs_grad;
    return true;
}

bool mnti_record(mnt_graph *g, mnt_op op, mnt_tensor *const in[], int n_in,
                 mnt_tensor *const out[], int n_out, mnt_args args)
{
    mnt_tensor *operand[MNT_MAX_IN] = { NULL };
    if (g->status)
        return false;
    for (int i = 0; i < n_in; i++) {
        operand[i] = in[i];
        if (in[i] && !(mnt_op_flags(op) & MNT_OP_STRIDED) && !mnti_contiguous(in[i]) &&
            (operand[i] = mnt_contiguous(g, in[i])) == NULL)
            return false;
    }
    for (int i = 0; i < n_out; i++)
        if (!out[i] && i == 0)
            return false;
    mnti_node *node = append(g);
    if (!node)
        return false;
    node->op = op;
    node->args = args;
    memcpy(node->in, operand, sizeof operand);
    memcpy(node->out, out, (size_t)n_out * sizeof *out);
    for (int i = 0; i < n_in && mnti_grad[op]; i++)
        if (operand[i] && operand[i]->needs_grad)
            node->out[0]->needs_grad = true;
    if (!g->eager)
        return true;
    g->ran = true;
    mnt_status st = mnti_execute(g->dev, node, (uint32_t)g->count - 1);
    if (st)
        mnti_graph_fail(g, st, "%s", g->dev->error);
    return st == MNT_OK;
}

static mnt_tensor *shared_tensor(mnt_graph *g, mnt_tensor **slot, mnt_dtype dtype,
                                 mnt_shape shape)
{
    if (*slot)
        return *slot;
    *slot = mnti_tensor_persistent(g->dev, g, dtype, shape);
    return *slot ? *slot : mnti_graph_fail(g, g->dev->failed, "%s", g->dev->error);
}

mnt_tensor *mnti_graph_fault(mnt_graph *g)
{
    return shared_tensor(g, &g->fault, MNT_U32, MNT_SHAPE(4));
}

/* Replays are counted on from the model's step, so that a resumed run draws on where
 * the interrupted one stopped. A fault that waits to be reported is left for a wait. */
mnt_tensor *mnti_graph_counter(mnt_graph *g)
{
    if (g->counter || !shared_tensor(g, &g->counter, MNT_U32, MNT_SHAPE(2)))
        return g->counter;
    uint32_t state[MNT_STATE_WORDS] = { 0 };
    mnt_operand o = mnti_operand(g->model ? g->model->state : g->counter);
    mnt_status st = MNT_OK;
    if (g->model)
        st = MNTI_CALL(g->dev, read, g->dev->ctx, o.buffer, o.offset, state,
                       sizeof state);
    const uint32_t words[2] = { state[MNT_STATE_STEP_LO], state[MNT_STATE_STEP_HI] };
    if (st == MNT_OK)
        st = mnt_tensor_write(g->counter, words, sizeof words);
    if (st)
        return mnti_graph_fail(g, st, "%s", g->dev->error);
    return g->counter;
}

mnt_tensor *mnt_input(mnt_graph *g, mnt_dtype dtype, mnt_shape shape)
{
    if (!mnti_graph_accepts(g, MNTI_VIEW, NULL, 0))
        return NULL;
    if (mnt_dtype_size(dtype) == 0)
        return mnti_graph_fail(g, MNT_DTYPE, "input: %d is no dtype", (int)dtype);
    if (mnt_shape_count(shape) < 0)
        return mnti_graph_fail(g, MNT_SHAPE, "input: shape %s is not possible",
                               mnti_shape_text(shape).s);
    mnt_tensor *t = mnti_tensor_persistent(g->dev, g, dtype, shape);
    return t ? t : mnti_graph_fail(g, g->dev->failed, "input: %.400s", g->dev->error);
}

mnt_tensor *mnt_constant(mnt_graph *g, mnt_dtype dtype, mnt_shape shape,
                         const void *data)
{
    mnt_tensor *t = mnt_input(g, dtype, shape);
    if (!t)
        return NULL;
    mnt_status st = mnt_tensor_write(t, data, mnti_tensor_bytes(t));
    return st ? mnti_graph_fail(g, st, "constant: %.400s", g->dev->error) : t;
}

void mnt_tensor_require_grad(mnt_tensor *t)
{
    if (!t || t->param)
        return;
    mnt_graph *g = t->graph;
    bool used = false;
    for (int i = 0; g && i < g->count && !t->needs_grad; i++)
        for (int k = 0; k < MNT_MAX_IN; k++)
            used |= g->nodes[i].in[k] == t;
    if (used)
        mnti_graph_fail(
            g, MNT_STATE,
            "require_grad: mark tensor '%.100s' %s before the ops that use it",
            mnt_tensor_name(t), mnti_shape_text(t->shape).s);
    else if (g && t->dtype == MNT_F32)
        t->needs_grad = t->leaf = true;
    else if (g)
        mnti_graph_fail(t->graph, MNT_DTYPE, "require_grad: tensor %s is %s, not f32",
                        mnt_tensor_name(t), mnt_dtype_name(t->dtype));
}
