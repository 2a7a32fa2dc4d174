/* SPDX-License-Identifier: MIT */
/*
 * Bias gradients from threadgroup memory, and the sum over samples that ends them and the
 * weight gradients (rules C2, C3, C6). What a chain adds up is loaded by all threads of
 * the group, neighbours along memory, and then walked by one of them. A load that is not
 * wanted reads the first element: conditional ones would be waited for one by one.
 */
#include "common.h"

#define PLANES_LANES (MNT_GROUP / MNT_BIAS_PLANES) /* threads that load a plane */
#define PLANES_PITCH (MNT_BIAS_SEGMENT + 1)        /* odd: 32 chains in 32 banks */
#define PLANES_BATCH (MNT_BIAS_SEGMENT / PLANES_LANES)

#define CHUNKS_LOADS (MNT_BIAS_ROWS * MNT_BIAS_CHUNKS * MNT_BIAS_COLUMNS / MNT_GROUP)

/* Place of element i of block order in two lines of w elements. */
static inline uint bias_in_lines(uint i, uint w, bool two)
{
    uint bx = i / 4, q = i % 4;
    if (!two)
        return i;
    return 2 * bx + 1 < w ? q / 2 * w + 2 * bx + q % 2 : q * w + 2 * bx;
}

/*
 * The sums of planes of h w elements, 32 planes a threadgroup: in block order, in chunks
 * of 4096 positions, or row-major where a plane holds the winners of a pool, fewer than
 * 4096 (the host sees to that).
 * Thread t loads of plane t / 8; the first 32 threads walk a plane each and write its
 * sum. A segment is as many whole pairs of lines as fit, so that block order stays inside
 * it (the host sees to it that one pair fits), or any elements of a row-major plane.
 */
kernel void bias_planes(device const float *dy [[buffer(0)]],
                        device float *parts [[buffer(1)]],
                        constant mnt_planes_args &p [[buffer(2)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float staged[MNT_BIAS_PLANES * PLANES_PITCH];
    int64_t first_plane = int64_t(group) * MNT_BIAS_PLANES;
    uint lane = tid % PLANES_LANES, loads = tid / PLANES_LANES;
    uint count = uint(p.h * p.w), w = uint(p.w);
    uint pair = p.in_blocks != 0 ? max(2 * w, 1u) : 1;
    uint segment = MNT_BIAS_SEGMENT / pair * pair;
    bool walks = tid < MNT_BIAS_PLANES && first_plane + tid < p.planes;
    bool in = first_plane + loads < p.planes;
    device const float *from = dy + (in ? first_plane + loads : 0) * count;
    float y = 0.0f, s = 0.0f;
    uint left = MNT_SUM_BLOCK; /* of the chunk */
    for (uint first = 0; first < count; first += segment) {
        uint length = min(segment, count - first);
        float v[PLANES_BATCH];
#pragma unroll
        for (uint b = 0; b < PLANES_BATCH; b++) {
            uint i = lane + b * PLANES_LANES;
            v[b] = from[in && i < length ? first + i : 0];
        }
#pragma unroll
        for (uint b = 0; b < PLANES_BATCH; b++)
            staged[loads * PLANES_PITCH + lane + b * PLANES_LANES] = v[b];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (walks) {
            threadgroup const float *plane = staged + tid * PLANES_PITCH;
            if (p.in_blocks == 0)
#pragma unroll 8
                for (uint i = 0; i < length; i++)
                    s = s + plane[i];
            for (uint line = 0; p.in_blocks != 0 && line < length; line += pair) {
                uint end = min(pair, length - line);
                for (uint i = 0; i < end; i++) {
                    if (left == 0) {
                        y = y + s;
                        s = 0.0f;
                        left = MNT_SUM_BLOCK;
                    }
                    s = s + plane[line + bias_in_lines(i, w, end > w)];
                    left--;
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (walks)
        parts[first_plane + tid] = y + s;
}

/*
 * dy [rows, columns]: 16 columns and 256 rows a threadgroup, four chunks. All threads
 * load; 64 of them walk a chunk of a column each. Where there are no more rows, 16 of
 * them add the chunks and write db; else the chunks' sums go to parts [chunk, column].
 */
kernel void bias_chunks(device const float *dy [[buffer(0)]],
                        device float *to [[buffer(1)]],
                        constant mnt_columns_args &p [[buffer(2)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint tid [[thread_index_in_threadgroup]])
{
    /* Chunks begin 16 banks apart. */
    threadgroup float staged[MNT_BIAS_CHUNKS * (MNT_BIAS_ROWS + 1) * MNT_BIAS_COLUMNS];
    threadgroup float sums[MNT_BIAS_CHUNKS][MNT_BIAS_COLUMNS];
    uint across = uint(quotient(p.columns + MNT_BIAS_COLUMNS - 1, MNT_BIAS_COLUMNS));
    uint block = group / across;
    uint column = tid % MNT_BIAS_COLUMNS, worker = tid / MNT_BIAS_COLUMNS;
    int64_t c = int64_t(group - block * across) * MNT_BIAS_COLUMNS + column;
    int64_t first = int64_t(block) * (MNT_BIAS_CHUNKS * MNT_BIAS_ROWS);
    bool in = c < p.columns;
    float v[CHUNKS_LOADS];
#pragma unroll
    for (uint i = 0; i < CHUNKS_LOADS; i++) {
        int64_t row = first + worker + i * (MNT_GROUP / MNT_BIAS_COLUMNS);
        v[i] = dy[in && row < p.rows ? row * p.columns + c : 0];
    }
#pragma unroll
    for (uint i = 0; i < CHUNKS_LOADS; i++) {
        uint row = worker + i * (MNT_GROUP / MNT_BIAS_COLUMNS);
        staged[(row + row / MNT_BIAS_ROWS) * MNT_BIAS_COLUMNS + column] = v[i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int64_t start = first + int64_t(worker) * MNT_BIAS_ROWS;
    if (worker < MNT_BIAS_CHUNKS && in && start < p.rows) {
        int length = int(lesser(p.rows - start, MNT_BIAS_ROWS));
        threadgroup const float *chunk =
            staged + worker * (MNT_BIAS_ROWS + 1) * MNT_BIAS_COLUMNS + column;
        float s = 0.0f;
        for (int i = 0; i < length; i++)
            s = s + chunk[i * MNT_BIAS_COLUMNS];
        sums[worker][column] = s;
        if (p.rows > MNT_BIAS_CHUNKS * MNT_BIAS_ROWS)
            to[(start / MNT_BIAS_ROWS) * p.columns + c] = s;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (p.rows > MNT_BIAS_CHUNKS * MNT_BIAS_ROWS || worker != 0 || !in)
        return;
    float y = 0.0f;
    for (uint k = 0; k < MNT_BIAS_CHUNKS; k++)
        if (int64_t(k) * MNT_BIAS_ROWS < p.rows)
            y = y + sums[k][column];
    to[c] = y;
}

/*
 * The sum over samples: parts [leaves, size], each the tree of 64 / width samples, and
 * `width` of them make a tree. 8 elements a threadgroup, 32 threads an element: a thread
 * takes up to 8 neighbouring leaves of one tree, then threads of one tree are joined, then
 * the first thread adds the trees in order. Leaves that do not exist are left out.
 */
kernel void sample_blocks(device const float *parts [[buffer(0)]],
                          device float *out [[buffer(1)]],
                          constant mnt_tree_args &p [[buffer(2)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    const uint columns = MNT_SAMPLES_COLUMNS, workers = MNT_GROUP / MNT_SAMPLES_COLUMNS;
    uint column = tid % columns, worker = tid / columns;
    int64_t i = int64_t(group) * columns + column;
    bool in = i < p.size;
    uint each = min(uint(p.width), 8u);       /* leaves a thread */
    uint joined = max(uint(p.width) / 8, 1u); /* threads a tree */
    float y = 0.0f;
    for (int64_t base = 0; base < p.leaves; base += workers * each) {
        int64_t first = base + worker * each;
        float v[8];
#pragma unroll
        for (uint k = 0; k < 8; k++) {
            bool there = in && k < each && first + k < p.leaves;
            v[k] = parts[there ? (first + k) * p.size + i : 0];
        }
#pragma unroll
        for (uint h = 1; h < 8; h *= 2)
#pragma unroll
            for (uint k = 0; k < 8; k += 2 * h)
                if (k + h < each && first + k + h < p.leaves)
                    v[k] = v[k] + v[k + h];
        share[tid] = v[0];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint h = 1; h < joined; h *= 2) {
            if (worker % (2 * h) == 0 && first + h * each < p.leaves)
                share[tid] = share[tid] + share[tid + h * columns];
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        if (worker == 0)
            for (uint k = 0; k < workers && base + k * each < p.leaves; k += joined)
                y = y + share[k * columns + column];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (worker == 0 && in)
        out[i] = y;
}
