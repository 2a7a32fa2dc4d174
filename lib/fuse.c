/* SPDX-License-Identifier: MIT */
/*
 * Fusion: patterns of recorded nodes become one fused node where the backend supports
 * it. A fused op gives the same bits as the nodes it replaces (docs/numerics.md), so
 * fusing is a matter of speed alone. A tensor that the user keeps is never fused away.
 */
#include "core.h"

static bool reads(const mnti_node *node, const mnt_tensor *t)
{
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (node->in[i] == t)
            return true;
    return false;
}

/* The producer of t as its first output, -1 if none. */
static int producer(const mnt_graph *g, const mnt_tensor *t)
{
    for (int i = 0; i < g->count; i++)
        if (!g->nodes[i].dead && g->nodes[i].op != MNTI_VIEW && g->nodes[i].out[0] == t)
            return i;
    return -1;
}

/* The next live reader of t after node `from`, -1 if none. */
static int next_reader(const mnt_graph *g, const mnt_tensor *t, int from)
{
    for (int i = from + 1; i < g->count; i++)
        if (!g->nodes[i].dead && reads(&g->nodes[i], t))
            return i;
    return -1;
}

static bool may_vanish(const mnt_graph *g, const mnt_tensor *t)
{
    return !g->keep_all && t->storage->planned && !t->storage->keep;
}

/* The one node that reads t, of the given op; -1 if there are others or t is kept. */
static int sole_reader(const mnt_graph *g, const mnt_tensor *t, mnt_op op)
{
    if (!may_vanish(g, t))
        return -1;
    int i = next_reader(g, t, -1);
    if (i < 0 || g->nodes[i].op != op || next_reader(g, t, i) >= 0)
        return -1;
    return i;
}

static bool supported(mnt_graph *g, const mnti_node *node)
{
    mnt_cmd cmd;
    mnti_make_cmd(node, 0, &cmd);
    return g->dev->backend->supports(g->dev->ctx, &cmd);
}

static void kill_node(mnti_node *node)
{
    node->dead = true;
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (node->out[i] && node->out[i]->storage->planned)
            node->out[i]->storage->dead = true;
}

/* Puts `fused` in the place of node `at`; the nodes of chain[0..n) vanish. */
static void replace(mnt_graph *g, int at, const mnti_node *fused, const int *chain,
                    int n)
{
    mnt_tensor *out = fused->out[0];
    for (int i = 0; i < n; i++) {
        const mnt_tensor *t = g->nodes[chain[i]].out[0];
        if (!out->name && t->name) /* a layer's name survives its fusion */
            mnt_tensor_set_name(out, t->name);
        kill_node(&g->nodes[chain[i]]);
    }
    g->nodes[at] = *fused;
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (fused->out[i])
            fused->out[i]->storage->dead = false;
}

/* Whether a node between `from` and `to`, neither included, writes what `node` reads: a
 * parameter that an optimizer updates, a running total. The node may then not be moved
 * from one place to the other. */
static bool written_between(const mnt_graph *g, const mnti_node *node, int from, int to)
{
    for (int i = from + 1; i < to; i++)
        for (int o = 0; o < MNT_MAX_OUT && !g->nodes[i].dead; o++) {
            const mnt_tensor *w =
                g->nodes[i].op == MNTI_VIEW ? NULL : g->nodes[i].out[o];
            for (int k = 0; k < MNT_MAX_IN && w; k++)
                if (node->in[k] && node->in[k]->storage == w->storage)
                    return true;
        }
    return false;
}

/* matmul + bias_add (+ relu) -> dense */
static void fuse_dense(mnt_graph *g, int i)
{
    const mnti_node mm = g->nodes[i];
    int bias = mm.op == MNT_OP_ID_matmul && mm.out[0]->shape.ndim == 2
                   ? sole_reader(g, mm.out[0], MNT_OP_ID_bias_add)
                   : -1;
    if (bias < 0 || g->nodes[bias].in[0] != mm.out[0])
        return;
    mnti_node fused = mm;
    fused.op = MNT_OP_ID_dense;
    fused.in[2] = g->nodes[bias].in[1];
    fused.out[0] = g->nodes[bias].out[0];
    int chain[3] = { i, bias, -1 }, n = 2, last = bias;
    int relu = sole_reader(g, fused.out[0], MNT_OP_ID_relu);
    if (relu >= 0) {
        fused.args.matmul.relu = true;
        fused.out[0] = g->nodes[relu].out[0];
        chain[n++] = last = relu;
    }
    if (!written_between(g, &fused, i, last) && supported(g, &fused))
        replace(g, last, &fused, chain, n);
}

/* conv2d + bias_add (+ relu) (+ max_pool2d) -> conv2d_block */
static void fuse_conv(mnt_graph *g, int i)
{
    const mnti_node conv = g->nodes[i];
    int bias = conv.op == MNT_OP_ID_conv2d
                   ? sole_reader(g, conv.out[0], MNT_OP_ID_bias_add)
                   : -1;
    if (bias < 0 || g->nodes[bias].in[0] != conv.out[0])
        return;
    mnti_node fused = { .op = MNT_OP_ID_conv2d_block };
    fused.in[0] = conv.in[0];
    fused.in[1] = conv.in[1];
    fused.in[2] = g->nodes[bias].in[1];
    fused.args.block.conv = conv.args.conv;
    fused.out[0] = g->nodes[bias].out[0];
    int chain[4] = { i, bias }, n = 2, last = bias;
    int relu = sole_reader(g, fused.out[0], MNT_OP_ID_relu);
    if (relu >= 0) {
        fused.args.block.relu = true;
        fused.out[0] = g->nodes[relu].out[0];
        chain[n++] = last = relu;
    }
    int pool = sole_reader(g, fused.out[0], MNT_OP_ID_max_pool2d);
    if (pool >= 0) {
        mnti_node whole = fused;
        whole.args.block.pool = g->nodes[pool].args.window;
        whole.out[0] = g->nodes[pool].out[0];
        whole.out[1] = g->nodes[pool].out[1];
        chain[n] = pool;
        if (!written_between(g, &whole, i, pool) && supported(g, &whole)) {
            replace(g, pool, &whole, chain, n + 1);
            return;
        }
    }
    if (!written_between(g, &fused, i, last) && supported(g, &fused))
        replace(g, last, &fused, chain, n);
}

/* cross_entropy and its gradient -> one pass over the logits */
static void fuse_loss(mnt_graph *g, int i)
{
    const mnti_node loss = g->nodes[i];
    if (loss.op != MNT_OP_ID_cross_entropy)
        return;
    int j = -1;
    while ((j = next_reader(g, loss.in[0], j)) >= 0) {
        const mnti_node *grad = &g->nodes[j];
        if (grad->op == MNT_OP_ID_cross_entropy_grad && grad->in[1] == loss.in[1] &&
            j > i)
            break;
    }
    if (j < 0)
        return;
    const mnti_node grad = g->nodes[j];
    if (written_between(g, &grad, i - 1, j))
        return; /* the upstream gradient does not exist yet when the loss is computed */
    mnti_node fused = { .op = MNT_OP_ID_cross_entropy_both };
    fused.in[0] = loss.in[0];
    fused.in[1] = loss.in[1];
    fused.in[2] = grad.in[2];
    fused.in[3] = loss.in[2];
    fused.out[0] = loss.out[0];
    fused.out[1] = grad.out[0];
    fused.out[2] = loss.out[1];
    if (supported(g, &fused))
        replace(g, i, &fused, (int[]){ i, j }, 2);
}

/*
 * relu_grad(max_pool2d_grad(d, index), relu(..)) -> max_pool2d_grad(relu_grad(d,
 * pooled), index): the winner's value decides the gate, and where nothing won the
 * gradient is +0 either way. The large activation is then not needed in the backward
 * pass.
 */
static void gate_before_unpool(mnt_graph *g, int i)
{
    const mnti_node gate = g->nodes[i];
    if (gate.op != MNT_OP_ID_relu_grad)
        return;
    int unpool_at = producer(g, gate.in[0]);
    if (unpool_at < 0 || g->nodes[unpool_at].op != MNT_OP_ID_max_pool2d_grad ||
        sole_reader(g, gate.in[0], MNT_OP_ID_relu_grad) != i)
        return;
    const mnti_node unpool = g->nodes[unpool_at];
    const mnt_tensor *y = gate.in[1];
    int pool = next_reader(g, y, -1);
    if (pool < 0 || g->nodes[pool].op != MNT_OP_ID_max_pool2d ||
        g->nodes[pool].out[1] != unpool.in[1] || next_reader(g, y, pool) != i ||
        next_reader(g, y, i) >= 0)
        return;
    mnt_tensor *pooled = g->nodes[pool].out[0];
    mnt_tensor *gated = mnti_graph_tensor(g, MNT_F32, unpool.in[0]->shape);
    if (!gated)
        return;
    g->nodes[unpool_at] = (mnti_node){ .op = MNT_OP_ID_relu_grad,
                                       .in = { unpool.in[0], pooled },
                                       .out = { gated } };
    g->nodes[i] = (mnti_node){ .op = MNT_OP_ID_max_pool2d_grad,
                               .in = { gated, unpool.in[1] },
                               .out = { gate.out[0] },
                               .args = unpool.args };
    gate.in[0]->storage->dead = true;
}

/* The fused form of a reader of the unpooled gradient; op MNT_OP_COUNT if there is
 * none. */
static mnti_node sparse_form(const mnti_node *user, const mnti_node *unpool)
{
    mnt_tensor *d = unpool->in[0], *index = unpool->in[1], *dense = unpool->out[0];
    const mnt_shape *s = &dense->shape;
    mnti_node n = { .op = MNT_OP_COUNT, .out = { user->out[0] } };
    n.args.block.pool = unpool->args.window;
    if (user->op == MNT_OP_ID_bias_grad && s->dim[2] * s->dim[3] <= 4096) {
        n.op =
            MNT_OP_ID_conv2d_pool_db; /* one chunk of positions: none to tell apart */
        n.in[0] = d;
        n.in[1] = index;
        return n;
    }
    n.args.block.conv = user->args.conv;
    if (user->op == MNT_OP_ID_conv2d_dx && user->in[0] == dense &&
        user->in[1] != dense) {
        n.op = MNT_OP_ID_conv2d_pool_dx;
        n.in[0] = d;
        n.in[1] = index;
        n.in[2] = user->in[1];
    } else if (user->op == MNT_OP_ID_conv2d_dw && user->in[1] == dense &&
               user->in[0] != dense) {
        n.op = MNT_OP_ID_conv2d_pool_dw;
        n.in[0] = user->in[0];
        n.in[1] = d;
        n.in[2] = index;
    }
    return n;
}

/* max_pool2d_grad of 2x2 windows goes into all its readers, or stays. */
static void fuse_unpool(mnt_graph *g, int i)
{
    const mnti_node unpool = g->nodes[i];
    const mnt_args_window *w = &unpool.args.window;
    if (unpool.op != MNT_OP_ID_max_pool2d_grad || !may_vanish(g, unpool.out[0]) ||
        w->kernel_h != 2 || w->kernel_w != 2 || w->stride_h != 2 || w->stride_w != 2 ||
        w->pad_h || w->pad_w)
        return;
    const mnt_tensor *dense = unpool.out[0];
    for (int pass = 0; pass < 2; pass++) {
        int readers = 0;
        for (int j = next_reader(g, dense, -1); j >= 0; j = next_reader(g, dense, j)) {
            mnti_node sparse = sparse_form(&g->nodes[j], &unpool);
            if (sparse.op == MNT_OP_COUNT || (pass == 0 && !supported(g, &sparse)) ||
                written_between(g, &unpool, i, j))
                return;
            if (pass == 1)
                g->nodes[j] = sparse;
            readers++;
        }
        if (readers == 0 && pass == 0)
            return;
    }
    kill_node(&g->nodes[i]);
}

mnt_status mnti_fuse(mnt_graph *g)
{
    static void (*const patterns[])(mnt_graph *, int) = {
        fuse_dense, gate_before_unpool, fuse_conv, fuse_loss, fuse_unpool,
    };
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++)
        for (int i = 0; i < g->count; i++)
            if (!g->nodes[i].dead)
                patterns[p](g, i);
    return g->status;
}
