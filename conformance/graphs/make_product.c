/* SPDX-License-Identifier: MIT */
/*
 * Makers of matrix products: plain, transposed, batched, with themselves, and the chains
 * that become a dense command.
 */
#include "program.h"

#include <string.h>

static bool has_matrices(const graph_value *v)
{
    return v->dtype == MNT_F32 && v->shape.ndim >= 2;
}

/* Shape of op(x) op(w) and its costs; -1 if it is too much. */
static int product(graph_program *p, int x, int w, bool tx, bool tw)
{
    mnt_shape s = p->values[x].shape, b = p->values[w].shape;
    int n = s.ndim;
    int64_t k = s.dim[n - 1 - tx];
    s.dim[n - 2] = p->values[x].shape.dim[n - 2 + tx];
    s.dim[n - 1] = b.dim[b.ndim - 1 - tw];
    int bound = p->values[x].bound + p->values[w].bound + graph_log2(k);
    int64_t count = mnt_shape_count(s);
    int y = graph_op(p, GRAPH_matmul, x, w, s, bound, (double)count * (double)k);
    if (y >= 0) {
        p->steps[p->count - 1].p[0] = tx;
        p->steps[p->count - 1].p[1] = tw;
    }
    return y;
}

/* The second operand's shape for an inner size k. */
static mnt_shape second(graph_program *p, mnt_shape x, int64_t k, bool tw)
{
    mnt_shape s = { .ndim = 2 };
    if (x.ndim > 2 && graph_chance(p, 60)) {
        s = x;
    }
    int64_t out =
        graph_chance(p, 2) ? 0 : graph_size(p, 1, graph_chance(p, 15) ? 40 : 12, 140);
    s.dim[s.ndim - 2] = tw ? out : k;
    s.dim[s.ndim - 1] = tw ? k : out;
    return s;
}

static bool make_matmul(graph_program *p)
{
    int x = graph_pick(p, has_matrices);
    if (x < 0)
        return false;
    mnt_shape s = p->values[x].shape;
    bool tx = graph_chance(p, 25), tw = graph_chance(p, 35);
    if (graph_chance(p, 12)) /* x x^T or x^T x */
        return product(p, x, x, tx, !tx) >= 0;
    if (graph_chance(p, 30)) { /* two live tensors */
        int w = graph_pick(p, graph_is_matrix);
        int64_t k = s.dim[s.ndim - 1 - tx];
        if (w >= 0 && p->values[w].shape.dim[tw] == k)
            return product(p, x, w, tx, tw) >= 0;
        if (w >= 0 && p->values[w].shape.dim[!tw] == k)
            return product(p, x, w, tx, !tw) >= 0;
    }
    mnt_shape want = second(p, s, s.dim[s.ndim - 1 - tx], tw);
    if (mnt_shape_count(want) > p->most)
        return false;
    return product(p, x, graph_operand(p, want), tx, tw) >= 0;
}

/* matmul, bias, perhaps relu; what lies between is hidden from later nodes or not. */
static bool make_dense_by_hand(graph_program *p)
{
    int x = graph_pick(p, graph_is_matrix);
    if (x < 0)
        return false;
    mnt_shape s = p->values[x].shape;
    bool tx = graph_chance(p, 15), tw = graph_chance(p, 20);
    int64_t k = s.dim[tx ? 0 : 1], out = graph_size(p, 1, 20, 140);
    if (k * out > p->most)
        return false;
    int w = graph_operand(p, tw ? MNT_SHAPE(out, k) : MNT_SHAPE(k, out));
    int y = product(p, x, w, tx, tw);
    if (y < 0)
        return false;
    mnt_shape t = p->values[y].shape;
    p->values[y].hidden = graph_chance(p, 80);
    int b = graph_operand(p, MNT_SHAPE(out));
    int bound = p->values[y].bound > p->values[b].bound ? p->values[y].bound
                                                        : p->values[b].bound;
    int z = graph_op(p, GRAPH_bias_add, y, b, t, bound + 1, 0);
    if (z < 0 || graph_chance(p, 30))
        return z >= 0;
    p->values[z].hidden = graph_chance(p, 80);
    return graph_op(p, GRAPH_relu, z, -1, t, bound + 1, 0) >= 0;
}

/* The number of an earlier layer of the same sizes, or a new one. */
static int64_t layer_of(graph_program *p, int64_t in, int64_t out)
{
    for (int s = 0; s < p->count; s++)
        if (p->steps[s].kind == GRAPH_dense && p->steps[s].p[0] == out &&
            p->values[p->steps[s].in[0]].shape.dim[1] == in && graph_chance(p, 60))
            return p->steps[s].p[1];
    return p->count;
}

static bool make_dense(graph_program *p)
{
    int x = graph_pick(p, graph_is_matrix);
    if (x < 0)
        return false;
    const graph_value *v = &p->values[x];
    int64_t in = v->shape.dim[1],
            out = graph_size(p, 1, graph_chance(p, 10) ? 40 : 12, 140);
    if (graph_chance(p, 15) && in > 0)
        out = in;
    if (in * out > p->most)
        return false;
    int64_t layer = layer_of(p, in, out);
    mnt_shape s = MNT_SHAPE(v->shape.dim[0], out);
    int bound = v->bound + graph_log2(in) / 2 + 1;
    int y = graph_op(p, GRAPH_dense, x, -1, s, bound,
                     (double)mnt_shape_count(s) * (double)in);
    if (y < 0)
        return false;
    p->steps[p->count - 1].p[0] = out;
    p->steps[p->count - 1].p[1] = layer;
    p->values[y].needs = true;
    if (graph_chance(p, 55)) {
        p->values[y].hidden = graph_chance(p, 80);
        y = graph_op(p, GRAPH_relu, y, -1, s, bound, 0);
    }
    return y >= 0;
}

const graph_maker graph_product_makers[] = {
    { "matmul", 9, make_matmul },
    { "dense_by_hand", 8, make_dense_by_hand },
    { "dense", 7, make_dense },
    { 0 },
};
