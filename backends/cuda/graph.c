/* SPDX-License-Identifier: MIT */
/*
 * Replays as a CUDA graph: a node a dispatch. The dispatches of a command follow one
 * another; commands of one level stand side by side, and a level waits for all of the
 * level before it, the first of a replay for all of the replay before.
 *
 *   level 0      level 1           level 2
 *   a1 -> a2 -+--> b1 -> b2 -> b3 -+-> d1
 *             +--> c1 -------------+
 */
#include "cuda.h"

/* Where more edges would lie between two levels, a node that does nothing joins them. */
#define MOST_EDGES 32

void cuda_launch_of(const cuda_context *c, const cuda_program *p, const gpu_dispatch *d,
                    cuda_launch *l)
{
    for (int i = 0; i < d->bound; i++) {
        const cuda_buffer *b = d->buffer[i].buffer;
        l->bound[i] = (b ? b->ptr : p->scratch.ptr) + d->buffer[i].offset;
        l->params[i] = &l->bound[i];
    }
    union {
        const unsigned char *in;
        void *out;
    } args = { d->args };
    l->params[d->bound] = args.out;
    l->function = c->function[d->kernel];
    l->groups = d->groups;
    l->threads = (unsigned)gpu_kernels[d->kernel].threads;
}

/* A graph that grows. `ends`: the nodes that the next level waits for. */
typedef struct growing {
    cuda_context *c;
    const cuda_program *p;
    cuda_graph graph;
    cuda_graph_node *ends, *next;
    int end_count;
} growing;

static mnt_status add(growing *g, const gpu_dispatch *d, const cuda_graph_node *after,
                      int count, cuda_graph_node *node)
{
    cuda_launch l;
    cuda_launch_of(g->c, g->p, d, &l);
    const cuda_kernel_node n = { .function = l.function,
                                 .grid = { l.groups, 1, 1 },
                                 .block = { l.threads, 1, 1 },
                                 .params = l.params };
    return cuda_check(g->c,
                      g->c->driver.graph_kernel(node, g->graph, count ? after : NULL,
                                                (size_t)count, &n),
                      gpu_kernels[d->kernel].name);
}

static mnt_status join(growing *g, int heads)
{
    if (g->end_count < 2 || g->end_count * heads <= MOST_EDGES)
        return MNT_OK;
    cuda_graph_node node;
    mnt_status st = cuda_check(
        g->c, g->c->driver.graph_empty(&node, g->graph, g->ends, (size_t)g->end_count),
        "cuGraphAddEmptyNode");
    if (st == MNT_OK) {
        g->ends[0] = node;
        g->end_count = 1;
    }
    return st;
}

/* The commands order[first..end) of one level. */
static mnt_status add_level(growing *g, int first, int end)
{
    const gpu_program *program = g->p->program;
    int heads = 0, count = 0;
    for (int i = first; i < end; i++)
        heads += program->cmds[program->order[i]].count > 0;
    mnt_status st = join(g, heads);
    for (int i = first; i < end && st == MNT_OK; i++) {
        const gpu_cmd *cmd = &program->cmds[program->order[i]];
        for (int k = 0; k < cmd->count && st == MNT_OK; k++) {
            cuda_graph_node before = g->next[count]; /* of this command */
            st = add(g, &program->dispatches[cmd->first + k], k ? &before : g->ends,
                     k ? 1 : g->end_count, &g->next[count]);
        }
        count += cmd->count > 0;
    }
    if (count > 0) {
        cuda_graph_node *old = g->ends;
        g->ends = g->next;
        g->next = old;
        g->end_count = count;
    }
    return st;
}

static mnt_status add_replay(growing *g)
{
    const gpu_program *program = g->p->program;
    mnt_status st = MNT_OK;
    for (int i = 0, end; i < program->cmd_count && st == MNT_OK; i = end) {
        int level = program->cmds[program->order[i]].level;
        end = i + 1;
        while (end < program->cmd_count &&
               program->cmds[program->order[end]].level == level)
            end++;
        st = add_level(g, i, end);
    }
    return st;
}

mnt_status cuda_graph_make(cuda_context *c, const cuda_program *p, int64_t replays,
                           cuda_graph_exec *out)
{
    const mnt_host *host = c->host;
    cuda_driver *d = &c->driver;
    size_t nodes = (size_t)p->program->cmd_count + 1;
    growing g = { .c = c, .p = p };
    cuda_graph_node *list = host->alloc(host->self, 2 * nodes * sizeof *list);
    if (!list)
        return host->fail(host->self, MNT_NO_MEMORY, "cuda: no memory for a graph");
    g.ends = list;
    g.next = list + nodes;
    mnt_status st = cuda_check(c, d->graph_create(&g.graph, 0), "cuGraphCreate");
    for (int64_t i = 0; i < replays && st == MNT_OK; i++)
        st = add_replay(&g);
    if (st == MNT_OK)
        st = cuda_check(c, d->graph_instantiate(out, g.graph, 0), "cuGraphInstantiate");
    if (g.graph)
        d->graph_destroy(g.graph);
    host->free(host->self, list);
    return st;
}
