/* SPDX-License-Identifier: MIT */
/*
 * The driver interface: kernels and graphs.
 */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

/* CUDA_KERNEL_NODE_PARAMS, the first version. */
typedef struct kernel_node {
    const function *function;
    unsigned grid[3], block[3], shared;
    void **params, **extra;
} kernel_node;

/* ---- kernels ---- */

static int shape_ok(const function *f, const unsigned g[3], const unsigned b[3],
                    unsigned shared)
{
    unsigned long long threads = (unsigned long long)b[0] * b[1] * b[2];
    if (g[0] == 0 || g[1] == 0 || g[2] == 0 || threads == 0 || g[0] > 0x7fffffffu ||
        threads > 1024 || shared > 48u << 10)
        return misuse(CUDA_ERROR_INVALID_VALUE,
                      "%s: a launch of %u x %u x %u blocks of %llu threads", f->name,
                      g[0], g[1], g[2], threads);
    if (g[1] != 1 || g[2] != 1 || b[1] != 1 || b[2] != 1 || shared != 0)
        return misuse(CUDA_ERROR_INVALID_VALUE,
                      "%s: more than one dimension, or dynamic shared memory: not "
                      "simulated",
                      f->name);
    return 0;
}

/* The parameters are copied at once, as many bytes as the kernel declares. */
static int fill_parameters(launch *l, const function *f, void **params)
{
    const sim_entry *e = sim_function_entry(f->code);
    l->function = f;
    for (unsigned i = 0; i < e->params; i++) {
        const sim_param *p = sim_function_param(f->code, i);
        if (!p || !params[i])
            return misuse(CUDA_ERROR_INVALID_VALUE, "%s: parameter %u is missing",
                          f->name, i);
        if (!p->reference)
            memcpy(&l->pointer[l->pointers++], params[i], sizeof *l->pointer);
        else if (p->bytes <= sizeof l->args && i + 1 == e->params)
            memcpy(l->args, params[i], l->args_bytes = p->bytes);
        else
            return misuse(CUDA_ERROR_INVALID_VALUE,
                          "%s: parameter %u: %u bytes, not simulated", f->name, i,
                          p->bytes);
    }
    return 0;
}

static int queue_launch(stream *s, const launch *l)
{
    op *o = op_make(OP_KERNEL, 0);
    launch *own = malloc(sizeof *own);
    if (!o || !own) {
        free(o);
        free(own);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *own = *l;
    o->launch = own;
    stream_add(s, o);
    return 0;
}

static int launch_fill(launch *l, const function *f, const unsigned grid[3],
                       const unsigned block[3], unsigned shared, void **params,
                       void **extra)
{
    if (!function_find(f, current()))
        return bad_handle("a launch", "function");
    if (!params || extra)
        return misuse(CUDA_ERROR_INVALID_VALUE, "%s: parameters without a list",
                      f->name);
    int r = shape_ok(f, grid, block, shared);
    l->groups = grid[0];
    l->threads = block[0];
    return r ? r : fill_parameters(l, f, params);
}

EXPORT int cuLaunchKernel(const function *f, unsigned gx, unsigned gy, unsigned gz,
                          unsigned tx, unsigned ty, unsigned tz, unsigned shared,
                          stream *s, void **params, void **extra)
{
    const unsigned grid[3] = { gx, gy, gz }, block[3] = { tx, ty, tz };
    launch l = { 0 };
    int r = enter("cuLaunchKernel", CURRENT);
    if (r == 0)
        r = stream_ok("cuLaunchKernel", s);
    if (r == 0)
        r = launch_fill(&l, f, grid, block, shared, params, extra);
    return leave(r ? r : queue_launch(s, &l));
}

/* ---- graphs ---- */

EXPORT int cuGraphCreate(graph **out, unsigned flags)
{
    int r = enter("cuGraphCreate", CURRENT);
    if (r == 0 && flags != 0)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "cuGraphCreate with flags %u", flags);
    graph *g = r == 0 ? graph_make(GRAPH) : NULL;
    if (r == 0 && !g)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (g)
        *out = g;
    return leave(r);
}

static int after_ok(const graph *g, const uint64_t *after, size_t count)
{
    if (!object_find(g, GRAPH))
        return bad_handle("cuGraphAddNode", "graph");
    if ((count > 0) != (after != NULL))
        return misuse(CUDA_ERROR_INVALID_VALUE,
                      "cuGraphAddNode: %zu dependencies at %p", count,
                      (const void *)after);
    for (size_t i = 0; i < count; i++) {
        if (graph_index(g, after[i]) < 0)
            return misuse(CUDA_ERROR_INVALID_VALUE,
                          "cuGraphAddNode: dependency %zu is no node of the graph", i);
        for (size_t k = 0; k < i; k++)
            if (after[k] == after[i])
                return misuse(CUDA_ERROR_INVALID_VALUE,
                              "cuGraphAddNode: dependency %zu comes twice", i);
    }
    return 0;
}

EXPORT int cuGraphAddKernelNode(uint64_t *made, graph *g, const uint64_t *after,
                                size_t count, const kernel_node *p)
{
    launch l = { 0 };
    int r = enter("cuGraphAddKernelNode", CURRENT);
    if (r == 0)
        r = after_ok(g, after, count);
    if (r == 0)
        r = launch_fill(&l, p->function, p->grid, p->block, p->shared, p->params,
                        p->extra);
    if (r == 0)
        r = graph_add(g, &l, after, count, made) ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
    return leave(r);
}

EXPORT int cuGraphAddEmptyNode(uint64_t *made, graph *g, const uint64_t *after,
                               size_t count)
{
    int r = enter("cuGraphAddEmptyNode", CURRENT);
    if (r == 0)
        r = after_ok(g, after, count);
    if (r == 0)
        r = graph_add(g, NULL, after, count, made) ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
    return leave(r);
}

EXPORT int cuGraphInstantiateWithFlags(graph **out, graph *g, unsigned long long flags)
{
    int r = enter("cuGraphInstantiateWithFlags", CURRENT);
    if (r == 0 && (flags != 0 || !object_find(g, GRAPH)))
        r = bad_handle("cuGraphInstantiateWithFlags", "graph");
    graph *e = r == 0 ? graph_copy(g) : NULL;
    if (r == 0 && !e)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (e)
        *out = e;
    return leave(r);
}

EXPORT int cuGraphLaunch(graph *e, stream *s)
{
    int r = enter("cuGraphLaunch", CURRENT);
    if (r == 0)
        r = stream_ok("cuGraphLaunch", s);
    if (r == 0 && !object_find(e, EXEC))
        r = bad_handle("cuGraphLaunch", "executable graph");
    op *o = r == 0 ? op_make(OP_GRAPH, 0) : NULL;
    if (r == 0 && !o)
        r = CUDA_ERROR_OUT_OF_MEMORY;
    if (o) {
        o->graph = e;
        stream_add(s, o);
        counts.graph_launches++;
    }
    return leave(r);
}

static int destroy(const char *call, graph *g, object_kind kind)
{
    int r = enter(call, CURRENT | RELEASES);
    if (r == 0 && !object_find(g, kind))
        r = bad_handle(call, "graph");
    if (r == 0 && g->queued > 0 && !current()->broken)
        r = misuse(CUDA_ERROR_INVALID_VALUE, "%s: it is queued %d times", call,
                   g->queued);
    if (r == 0 && g->queued > 0)
        context_drop(g->head.owner);
    if (r == 0)
        graph_free(g);
    return leave(r);
}

EXPORT int cuGraphExecDestroy(graph *e)
{
    return destroy("cuGraphExecDestroy", e, EXEC);
}

EXPORT int cuGraphDestroy(graph *g)
{
    return destroy("cuGraphDestroy", g, GRAPH);
}
