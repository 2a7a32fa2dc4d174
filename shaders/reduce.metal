/* SPDX-License-Identifier: MIT */
/*
 * Reductions: sum, mean and argmax over strided axes (rule D), bias gradients, and the
 * sum over samples that ends them and the weight gradients of convolutions (C6).
 *
 * A sum of more than 4096 elements takes several dispatches of the same kernel: blocks
 * to partial sums, and those to the total. The number of blocks is the problem's.
 */
#include "common.h"

/* Of a column: threads, and lanes of rule D that each of them holds. */
#define WORKERS (MNT_GROUP / MNT_COLUMNS)
#define LANES   (MNT_ROW_LANES / WORKERS)

/* Where the sum of a block goes: to y, or to the list of partial sums. */
static inline int64_t reduce_to(constant mnt_reduce_args &p, int64_t output,
                                int64_t block)
{
    if (p.blocks > 1)
        return output * p.blocks + block;
    return dims_at(p.kept_dim, p.kept_y, p.kept_ndim, output);
}

/* Element j of one output's, from place `at`. */
struct term_reduced {
    device const float *x;
    constant mnt_reduce_args *p;
    int64_t at;
    float add(float s, int64_t j)
    {
        return s + x[at + dims_at(p->reduced_dim, p->reduced_x, p->reduced_ndim, j)];
    }
};

/*
 * 32 threads a (output, block) pair, eight pairs a threadgroup; a thread is one lane.
 * Lane 0 writes the pair's sum. Threads past the last pair sum nothing but meet the others.
 */
template <typename Meeting>
kernel void sum_blocks(device const float *x [[buffer(0)]],
                       device float *y [[buffer(1)]],
                       constant mnt_reduce_args &p [[buffer(2)]],
                       uint group [[threadgroup_position_in_grid]],
                       uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    uint lane = tid % MNT_ROW_LANES;
    int64_t pair = int64_t(group) * MNT_GROUP_ROWS + tid / MNT_ROW_LANES;
    int64_t output = quotient(pair, p.blocks), block = pair - output * p.blocks;
    bool in = output < p.outputs;
    float s = 0.0f;
    if (in) {
        term_reduced t;
        t.x = x;
        t.p = &p;
        t.at = dims_at(p.kept_dim, p.kept_x, p.kept_ndim, output);
        int64_t end = lesser(p.length, (block + 1) * MNT_SUM_BLOCK);
        for (int64_t i = block * MNT_SUM_BLOCK + lane; i < end; i += MNT_ROW_LANES)
            s = t.add(s, i);
    }
    s = Meeting::tree(share + (tid - lane), lane, s);
    if (in && lane == 0)
        y[reduce_to(p, output, block)] =
            p.divide != 0 && p.blocks == 1 ? s / p.divisor : s;
}

template [[host_name(
    "reduce_sum")]] kernel decltype(sum_blocks<in_memory>) sum_blocks<in_memory>;
template [[host_name("reduce_sum_simd")]] kernel decltype(sum_blocks<in_simdgroup>)
    sum_blocks<in_simdgroup>;

/* The same for one block: a thread an output. Best where outputs are many and short. */
kernel void reduce_sum_narrow(device const float *x [[buffer(0)]],
                              device float *y [[buffer(1)]],
                              constant mnt_reduce_args &p [[buffer(2)]],
                              uint group [[threadgroup_position_in_grid]],
                              uint tid [[thread_index_in_threadgroup]])
{
    int64_t output = int64_t(group) * MNT_GROUP + tid;
    if (output >= p.outputs)
        return;
    term_reduced t;
    t.x = x;
    t.p = &p;
    t.at = dims_at(p.kept_dim, p.kept_x, p.kept_ndim, output);
    float s = thread_sum(t, p.length);
    y[reduce_to(p, output, 0)] = p.divide != 0 ? s / p.divisor : s;
}

/*
 * The same where neighbouring outputs are neighbours in memory and reduced elements are
 * not: 32 outputs a threadgroup, and eight threads an output, each with four lanes. One
 * reduced dim. Thread 0 of an output's eight writes.
 */
kernel void reduce_sum_columns(device const float *x [[buffer(0)]],
                               device float *y [[buffer(1)]],
                               constant mnt_reduce_args &p [[buffer(2)]],
                               uint group [[threadgroup_position_in_grid]],
                               uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_ROW_LANES][MNT_COLUMNS];
    uint column = tid % MNT_COLUMNS, worker = tid / MNT_COLUMNS;
    int64_t part = quotient(group, p.blocks), block = int64_t(group) - part * p.blocks;
    int64_t output = part * MNT_COLUMNS + column;
    bool in = output < p.outputs;
    float s[LANES];
    for (uint k = 0; k < LANES; k++)
        s[k] = 0.0f;
    if (in) {
        int64_t at = dims_at(p.kept_dim, p.kept_x, p.kept_ndim, output);
        int64_t end = lesser(p.length, (block + 1) * MNT_SUM_BLOCK);
        for (int64_t i = block * MNT_SUM_BLOCK + worker * LANES; i < end;
             i += MNT_ROW_LANES)
            for (uint k = 0; k < LANES; k++)
                if (i + k < end)
                    s[k] = s[k] + x[at + (i + k) * p.reduced_x[0]];
    }
    for (uint k = 0; k < LANES; k++)
        share[worker * LANES + k][column] = s[k];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint h = MNT_ROW_LANES / 2; h > 0; h /= 2) {
        for (uint l = worker; l < h; l += WORKERS)
            share[l][column] = share[l][column] + share[l + h][column];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (in && worker == 0) {
        float total = share[0][column];
        y[reduce_to(p, output, block)] =
            p.divide != 0 && p.blocks == 1 ? total / p.divisor : total;
    }
}

/* 32 threads an output, or one; eight outputs a threadgroup, or 256; 0 where nothing is
 * reduced. Lane 0 writes. */
template <typename Meeting>
kernel void argmax(device const float *x [[buffer(0)]], device int32_t *y [[buffer(1)]],
                   constant mnt_reduce_args &p [[buffer(2)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float values[MNT_GROUP];
    threadgroup int64_t indices[MNT_GROUP];
    const uint lanes = Meeting::lanes;
    uint lane = tid % lanes;
    int64_t output = int64_t(group) * (MNT_GROUP / lanes) + tid / lanes;
    bool in = output < p.outputs;
    best b = best_none();
    if (in) {
        int64_t at = dims_at(p.kept_dim, p.kept_x, p.kept_ndim, output);
        for (int64_t i = lane; i < p.length; i += lanes)
            best_offer(
                b, x[at + dims_at(p.reduced_dim, p.reduced_x, p.reduced_ndim, i)], i);
    }
    b = Meeting::most(values + (tid - lane), indices + (tid - lane), lane, b);
    if (in && lane == 0)
        y[dims_at(p.kept_dim, p.kept_y, p.kept_ndim, output)] =
            b.index < 0 ? 0 : int32_t(b.index);
}

template
    [[host_name("reduce_argmax")]] kernel decltype(argmax<in_memory>) argmax<in_memory>;
template [[host_name(
    "reduce_argmax_simd")]] kernel decltype(argmax<in_simdgroup>) argmax<in_simdgroup>;
template
    [[host_name("reduce_argmax_narrow")]] kernel decltype(argmax<alone>) argmax<alone>;

/*
 * db of dy [N, C]: chunks of 64 rows, their sums added in order. 32 columns a
 * threadgroup; eight threads a column take eight chunks at a time, the first of them adds
 * those up.
 */
kernel void bias_rows(device const float *dy [[buffer(0)]],
                      device float *db [[buffer(1)]],
                      constant mnt_columns_args &p [[buffer(2)]],
                      uint group [[threadgroup_position_in_grid]],
                      uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[WORKERS][MNT_COLUMNS];
    uint column = tid % MNT_COLUMNS, worker = tid / MNT_COLUMNS;
    int64_t c = int64_t(group) * MNT_COLUMNS + column;
    bool in = c < p.columns;
    float y = 0.0f;
    for (int64_t base = 0; base < p.rows; base += WORKERS * MNT_BIAS_ROWS) {
        int64_t first = base + worker * MNT_BIAS_ROWS;
        int64_t end = lesser(p.rows, first + MNT_BIAS_ROWS);
        float s = 0.0f;
        for (int64_t i = first; in && i < end; i++)
            s = s + dy[i * p.columns + c];
        share[worker][column] = s;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint k = 0; worker == 0 && k < WORKERS; k++)
            if (base + k * MNT_BIAS_ROWS < p.rows)
                y = y + share[k][column];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (in && worker == 0)
        db[c] = y;
}

/*
 * The sum of a plane of h w elements, in chunks of 4096 positions; block order, or
 * row-major where the plane holds the winners of a pool. A thread takes a plane; planes
 * are [samples, channels], and so are the parts.
 */
kernel void plane_sums(device const float *dy [[buffer(0)]],
                       device float *parts [[buffer(1)]],
                       constant mnt_planes_args &p [[buffer(2)]],
                       uint group [[threadgroup_position_in_grid]],
                       uint tid [[thread_index_in_threadgroup]])
{
    int64_t plane = int64_t(group) * MNT_GROUP + tid;
    if (plane >= p.planes)
        return;
    int64_t count = p.h * p.w, at = plane * count, oy = 0, ox = 0;
    float y = 0.0f, s = 0.0f;
    for (int64_t i = 0; i < count; i++) {
        if (i > 0 && i % MNT_SUM_BLOCK == 0) {
            y = y + s;
            s = 0.0f;
        }
        s = s + dy[at + (p.in_blocks != 0 ? oy * p.w + ox : i)];
        if (p.in_blocks != 0)
            block_next(p.h, p.w, oy, ox);
    }
    parts[plane] = y + s;
}

/*
 * The sum over samples: parts [leaves, size], each the tree of 64 / width samples. A
 * thread takes one of the size elements: trees of `width` leaves, added in order.
 */
kernel void sample_tree(device const float *parts [[buffer(0)]],
                        device float *out [[buffer(1)]],
                        constant mnt_tree_args &p [[buffer(2)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint tid [[thread_index_in_threadgroup]])
{
    int64_t i = int64_t(group) * MNT_GROUP + tid;
    if (i >= p.size)
        return;
    float y = 0.0f;
    tree_sum t;
    t.count = 0;
    for (int64_t leaf = 0; leaf < p.leaves; leaf++) {
        tree_push(t, parts[leaf * p.size + i]);
        if (t.count == uint(p.width) || leaf + 1 == p.leaves)
            y = y + tree_take(t);
    }
    out[i] = y;
}
