/* SPDX-License-Identifier: MIT */
/*
 * Cross entropy of few short rows in one threadgroup: logits come in together, a thread
 * makes a row from registers, and the mean of the losses and the search for labels out of
 * range follow in the same dispatch. The bits are those of loss.metal.
 */
#include "common.h"

#define ENTROPY_LOADS 8 /* of a thread, on their way at once */

/* Logits of rows [first, first + rows), row by row; `count` of them. All threads. */
static inline void entropy_stage(device const float *logits, uint count,
                                 threadgroup float *staged, uint tid)
{
    for (uint base = tid; base < count; base += ENTROPY_LOADS * MNT_GROUP) {
        float v[ENTROPY_LOADS];
#pragma unroll
        for (uint i = 0; i < ENTROPY_LOADS; i++)
            v[i] = logits[min(base + i * MNT_GROUP, count - 1)];
#pragma unroll
        for (uint i = 0; i < ENTROPY_LOADS; i++)
            if (base + i * MNT_GROUP < count)
                staged[base + i * MNT_GROUP] = v[i];
    }
}

/* exp(z - max) of a row in e, their sum by D1 (absent elements are +0) and the maximum. */
struct entropy_row {
    float e[MNT_ENTROPY_WIDTH];
    float top, sum;
};

static inline void entropy_row_of(threadgroup const float *z, int n,
                                  thread entropy_row &r)
{
    best b = best_none();
    float v[MNT_ENTROPY_WIDTH];
#pragma unroll
    for (int j = 0; j < MNT_ENTROPY_WIDTH; j++) {
        v[j] = j < n ? z[j] : 0.0f;
        if (j < n)
            best_offer(b, v[j], j);
    }
    r.top = b.value;
#pragma unroll
    for (int j = 0; j < MNT_ENTROPY_WIDTH; j++) {
        r.e[j] = j < n ? mnt_expf(v[j] - r.top) : 0.0f;
        v[j] = r.e[j];
    }
#pragma unroll
    for (int h = MNT_ENTROPY_WIDTH / 2; h > 0; h /= 2)
#pragma unroll
        for (int j = 0; j < h; j++)
            v[j] = v[j] + v[j + h];
    r.sum = v[0];
}

/*
 * One threadgroup, at most MNT_ENTROPY_ROWS rows of at most MNT_ENTROPY_WIDTH, 256 rows at
 * a time. Thread t writes the gradients of rows t, t + 256, ..; thread 0 the loss and,
 * unless an earlier command did, the fault word.
 */
template <bool wants_grad>
kernel void
entropy_group(device const float *logits [[buffer(0)]],
              device const int32_t *labels [[buffer(1)]],
              device const float *dloss [[buffer(2)]], device float *loss [[buffer(3)]],
              device float *dlogits [[buffer(4)]], device uint32_t *fault [[buffer(5)]],
              constant mnt_rows_args &p [[buffer(6)]],
              uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float staged[MNT_GROUP * MNT_ENTROPY_WIDTH];
    threadgroup float losses[MNT_ENTROPY_ROWS];
    threadgroup float share[MNT_GROUP];
    threadgroup int64_t lowest[MNT_GROUP];
    int n = int(p.width);
    uint rows = uint(p.rows);
    int64_t bad = p.rows;
    float c = wants_grad ? dloss[0] / p.divisor : 0.0f;
    for (uint first = 0; first < rows; first += MNT_GROUP) {
        uint many = min(rows - first, uint(MNT_GROUP)), row = first + tid;
        int32_t label = labels[min(row, rows - 1)];
        entropy_stage(logits + int64_t(first) * n, many * uint(n), staged, tid);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (tid < many) {
            threadgroup const float *z = staged + tid * uint(n);
            bool ok = label >= 0 && label < n;
            entropy_row r;
            entropy_row_of(z, n, r);
            float d = z[ok ? label : 0] - r.top;
            losses[row] = ok ? mnt_logf(r.sum) - d : NAN;
            if (!ok && bad == p.rows)
                bad = row;
            if (wants_grad) {
#pragma unroll
                for (int j = 0; j < MNT_ENTROPY_WIDTH; j++)
                    if (j < n) {
                        float q = r.e[j] / r.sum;
                        float g = q - (j == label ? 1.0f : 0.0f);
                        dlogits[int64_t(row) * n + j] = ok ? g * c : 0.0f;
                    }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    float s = 0.0f;
    if (tid < MNT_ROW_LANES)
        for (uint i = tid; i < rows; i += MNT_ROW_LANES)
            s = s + losses[i];
    uint lane = tid % MNT_ROW_LANES;
    s = in_memory::tree(share + (tid - lane), lane, s);
    bad = group_lowest(lowest, tid, bad);
    if (tid != 0)
        return;
    loss[0] = s / p.divisor;
    if (bad < p.rows && p.guarded != 0 && fault[0] == 0) {
        fault[1] = p.id;
        fault[2] = uint32_t(bad);
        fault[3] = uint32_t(labels[bad]);
        fault[0] = 1; /* MNT_FAULT_LABEL */
    }
}

template [[host_name(
    "entropy_group_loss")]] kernel decltype(entropy_group<false>) entropy_group<false>;
template [[host_name(
    "entropy_group_both")]] kernel decltype(entropy_group<true>) entropy_group<true>;
