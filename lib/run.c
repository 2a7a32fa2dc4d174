/* SPDX-License-Identifier: MIT */
/*
 * Replay of compiled graphs, waiting, fault words, guard bands, timing.
 */
#include "core.h"
#include "plan.h"

/* What the command of a fault says; `cmd` is of the compiled graph or an eager node. */
static mnt_status fault_status(mnt_graph *g, const uint32_t word[4])
{
    mnt_operand z = { 0 };
    mnt_op op = MNT_OP_COUNT;
    if (g->eager && word[1] < (uint32_t)g->count) {
        op = g->nodes[word[1]].op;
        z = mnti_operand(g->nodes[word[1]].in[0]);
    } else if (!g->eager && word[1] < (uint32_t)g->cmd_count) {
        op = g->cmds[word[1]].op;
        z = g->cmds[word[1]].in[0];
    }
    if ((word[0] != MNT_FAULT_LABEL && word[0] != MNT_FAULT_INDEX) ||
        op == MNT_OP_COUNT)
        return mnti_fail(g->dev, MNT_DEVICE,
                         "backend %s: the fault word is %u of command %u, which means "
                         "nothing",
                         g->dev->backend->name, word[0], word[1]);
    if (op == MNT_OP_ID_cross_entropy_both)
        op = MNT_OP_ID_cross_entropy; /* what the user recorded */
    if (word[0] == MNT_FAULT_LABEL)
        return mnti_fail(g->dev, MNT_LABEL,
                         "%s: label %d of row %u is not in [0, %lld)", mnt_op_name(op),
                         (int)(int32_t)word[3], word[2], (long long)z.dim[1]);
    return mnti_fail(g->dev, MNT_LABEL, "%s: index %d of row %u is not in [0, %lld)",
                     mnt_op_name(op), (int)(int32_t)word[3], word[2],
                     (long long)z.dim[0]);
}

static mnt_status look_at_fault(mnt_graph *g)
{
    uint32_t word[4];
    const uint32_t zero[4] = { 0 };
    mnt_device *dev = g->dev;
    mnt_operand o = mnti_operand(g->fault);
    mnt_status st =
        MNTI_CALL(dev, read, dev->ctx, o.buffer, o.offset, word, sizeof word);
    if (st == MNT_OK && word[0] != MNT_FAULT_NONE)
        st = MNTI_CALL(dev, write, dev->ctx, o.buffer, o.offset, zero, sizeof zero);
    if (st)
        g->ran = true; /* what the fault word says is still to be reported */
    return st || word[0] == MNT_FAULT_NONE ? st : fault_status(g, word);
}

static mnt_status look_if_ran(mnt_graph *g)
{
    bool ran = g->ran;
    g->ran = false;
    return ran && g->fault ? look_at_fault(g) : MNT_OK;
}

mnt_status mnti_sync(mnt_device *dev)
{
    mnt_status st = MNTI_CALL(dev, wait, dev->ctx);
    for (mnt_graph *g = dev->graphs; g && st == MNT_OK; g = g->next)
        st = look_if_ran(g);
    return st;
}

mnt_status mnti_sync_graph(mnt_graph *g)
{
    mnt_status st = MNTI_CALL(g->dev, wait, g->dev->ctx);
    return st ? st : look_if_ran(g);
}

mnt_status mnti_submit(mnt_device *dev, void *prepared, int64_t n, int64_t *done)
{
    int64_t count = 0;
    mnt_status st = MNTI_CALL(dev, submit, dev->ctx, prepared, n, &count);
    *done = count < 0 ? 0 : count > n ? n : count;
    if (st == MNT_OK && count != n)
        return mnti_fail(
            dev, MNT_DEVICE,
            "backend %s: submit() succeeded with %lld of %lld replays done",
            dev->backend->name, (long long)count, (long long)n);
    if (st == MNT_INTERRUPTED && !atomic_exchange(&dev->told, false))
        return mnti_fail(dev, MNT_DEVICE,
                         "backend %s: submit() stopped as interrupted, but nobody "
                         "interrupted it",
                         dev->backend->name);
    return st;
}

/* One submission; with guards one replay each, on poisoned memory. */
static mnt_status submit(mnt_graph *g, int64_t n, int64_t *done)
{
    mnt_device *dev = g->dev;
    if (!g->guard)
        return mnti_submit(dev, g->prepared, n, done);
    mnt_status st = MNT_OK;
    for (*done = 0; *done < n && st == MNT_OK;) {
        int64_t one = 0;
        st = mnti_plan_poison(g);
        if (st == MNT_OK)
            st = mnti_submit(dev, g->prepared, 1, &one);
        *done += one;
        if (one == 0)
            break;
    }
    return st;
}

mnt_status mnt_graph_run(mnt_graph *g, int64_t n)
{
    if (!g)
        return mnti_fail(NULL, MNT_INVALID, "graph_run: the graph is NULL");
    if (g->status)
        return mnti_fail(g->dev, g->status, "%s", g->error);
    if (g->eager)
        return mnti_fail(g->dev, MNT_STATE,
                         "graph_run: an eager graph has run already");
    if (!g->compiled)
        return mnti_fail(g->dev, MNT_STATE, "graph_run: the graph is not compiled");
    if (n < 0)
        return mnti_fail(g->dev, MNT_INVALID, "graph_run: %lld replays", (long long)n);
    if (n == 0)
        return MNT_OK;
    g->ran = true;
    int64_t done = 0;
    mnt_status st = submit(g, n, &done);
    g->replays += done;
    if (g->writes_params)
        g->model->version++;
    if (st == MNT_INTERRUPTED)
        return mnti_fail(g->dev, st,
                         "graph_run: interrupted after %lld of %lld replays",
                         (long long)done, (long long)n);
    return st;
}

int64_t mnt_graph_replays(mnt_graph *g)
{
    if (!g || MNTI_CALL(g->dev, wait, g->dev->ctx))
        return -1;
    return g->replays;
}

int mnt_graph_command_count(const mnt_graph *g)
{
    return g ? g->cmd_count : 0;
}

mnt_status mnt_graph_timing(mnt_graph *g, int i, mnt_op_timing *out)
{
    if (!g || !out)
        return mnti_fail(g ? g->dev : NULL, MNT_INVALID,
                         "graph_timing: an argument is NULL");
    mnt_device *dev = g->dev;
    size_t size = out->size;
    if (size < sizeof size || size > sizeof *out)
        return mnti_fail(dev, MNT_INVALID, "graph_timing: out.size is %zu, not %zu",
                         size, sizeof *out);
    if (!g->compiled)
        return mnti_fail(dev, MNT_STATE, "graph_timing: the graph is not compiled");
    if (i < 0 || i >= g->cmd_count)
        return mnti_fail(dev, MNT_INVALID, "graph_timing: command %d of %d", i,
                         g->cmd_count);
    mnt_cmd_timing *rows = mnti_alloc(dev, (size_t)g->cmd_count * sizeof *rows);
    if (!rows)
        return mnti_fail(dev, MNT_NO_MEMORY, "graph_timing: no memory");
    mnt_status st = MNTI_CALL(dev, wait, dev->ctx);
    if (st == MNT_OK)
        st = MNTI_CALL(dev, timing, dev->ctx, g->prepared, rows, g->cmd_count);
    if (st == MNT_OK) {
        const mnt_cmd *cmd = &g->cmds[i];
        const mnt_cmd_timing *t = &rows[i];
        mnt_op_timing full = { .size = size,
                               .op = mnt_op_name(cmd->op),
                               .kernel = t->kernel ? t->kernel : "",
                               .label = cmd->label,
                               .calls = t->calls,
                               .total_ns = t->total_ns,
                               .min_ns = t->min_ns,
                               .max_ns = t->max_ns,
                               .wall_ns = t->wall_ns,
                               .last_start_ns = t->last_start_ns,
                               .last_ns = t->last_ns,
                               .flops = mnti_cmd_flops(cmd),
                               .bytes = mnti_cmd_bytes(cmd) };
        memcpy(out, &full, size);
    }
    mnti_free(dev, rows);
    return st;
}

void mnt_graph_timing_reset(mnt_graph *g)
{
    if (g && g->compiled &&
        MNTI_CALL(g->dev, timing, g->dev->ctx, g->prepared, NULL, 0) != MNT_OK)
        mnti_log(g->dev, MNT_LOG_WARN, "graph_timing_reset: %s", g->dev->error);
}
