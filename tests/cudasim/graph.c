/* SPDX-License-Identifier: MIT */
/*
 * Graphs: nodes and what each waits for. A launch runs them in a random order among
 * those that the dependencies allow, another one each time.
 */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

graph *graph_make(object_kind kind)
{
    static uint64_t made;
    graph *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->id = ++made;
    object_add(&g->head, kind, current());
    return g;
}

void graph_free(graph *g)
{
    object_remove(&g->head);
    for (int i = 0; i < g->count; i++)
        free(g->node[i].before);
    free(g->node);
    free(g);
}

/* Handles of nodes are no addresses: the graph's number and the node's place, from 1. */
int graph_index(const graph *g, uint64_t handle)
{
    uint64_t i = handle & 0xffffffffu;
    return handle >> 32 == g->id && i > 0 && i <= (uint64_t)g->count ? (int)i - 1 : -1;
}

static node *new_node(graph *g)
{
    if (g->count == g->capacity) {
        int capacity = g->capacity ? 2 * g->capacity : 16;
        node *more = realloc(g->node, (size_t)capacity * sizeof *more);
        if (!more)
            return NULL;
        g->node = more;
        g->capacity = capacity;
    }
    node *n = &g->node[g->count++];
    memset(n, 0, sizeof *n);
    return n;
}

/* Node i is one of those before node `to`. */
static bool add_before(node *n, int to)
{
    int *more = realloc(n->before, (size_t)(n->before_count + 1) * sizeof *more);
    if (!more)
        return false;
    n->before = more;
    n->before[n->before_count++] = to;
    return true;
}

bool graph_add(graph *g, const launch *l, const uint64_t *after, size_t count,
               uint64_t *handle)
{
    node *n = new_node(g);
    if (!n)
        return false;
    n->waits = (int)count;
    if (l)
        n->launch = *l;
    for (size_t i = 0; i < count; i++)
        if (!add_before(&g->node[graph_index(g, after[i])], g->count - 1))
            return false;
    *handle = g->id << 32 | (uint64_t)g->count;
    return true;
}

graph *graph_copy(const graph *from)
{
    graph *g = graph_make(EXEC);
    for (int i = 0; g && i < from->count; i++) {
        node *n = new_node(g);
        bool ok = n != NULL;
        if (ok) {
            n->launch = from->node[i].launch;
            n->waits = from->node[i].waits;
        }
        for (int k = 0; ok && k < from->node[i].before_count; k++)
            ok = add_before(n, from->node[i].before[k]);
        if (!ok) {
            graph_free(g);
            return NULL;
        }
    }
    return g;
}

static uint64_t random_number(void)
{
    static uint64_t state;
    state =
        (state + config()->seed) * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return state >> 33;
}

int graph_run(context *c, const graph *g)
{
    size_t n = (size_t)g->count;
    int *ready = malloc((2 * n + 1) * sizeof *ready), *waits = ready + n, count = 0;
    int result = ready ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; ready && i < g->count; i++) {
        waits[i] = g->node[i].waits;
        if (waits[i] == 0)
            ready[count++] = i;
    }
    while (count > 0 && result == 0) {
        int at = (int)(random_number() % (uint64_t)count);
        const node *next = &g->node[ready[at]];
        ready[at] = ready[--count];
        if (next->launch.function)
            result = kernel_run(c, &next->launch);
        for (int k = 0; k < next->before_count; k++)
            if (--waits[next->before[k]] == 0)
                ready[count++] = next->before[k];
    }
    free(ready);
    return result;
}
