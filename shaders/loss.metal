/* SPDX-License-Identifier: MIT */
/*
 * Softmax, cross entropy and accuracy over rows of logits: the row's maximum, then sums
 * by rule D. Each kernel comes thrice. Wide: 32 threads a row, eight rows a threadgroup, a
 * thread is a lane; threads past the last row repeat that row, because all meet at the
 * barriers, and write nothing. Simd: the same, but a row's threads are a simdgroup and meet
 * without barriers. Narrow, for rows of at most 4096 and best of few elements: a thread a
 * row.
 *
 * Scalars (the loss, the count, the fault word) come from a second dispatch over the
 * rows' results.
 */
#include "common.h"

struct row_place {
    int64_t row;      /* clamped to the last */
    uint lane, first; /* of the row's threads in the group */
    bool in;
};

template <typename Meeting>
static inline row_place row_of(int64_t rows, uint group, uint tid)
{
    const uint lanes = Meeting::lanes;
    row_place r;
    r.lane = tid % lanes;
    r.first = tid - r.lane;
    r.row = int64_t(group) * (MNT_GROUP / lanes) + tid / lanes;
    r.in = r.row < rows;
    r.row = r.in ? r.row : rows - 1;
    return r;
}

struct term_exp {
    device const float *z;
    float top;
    float add(float s, int64_t j)
    {
        return s + mnt_expf(z[j] - top);
    }
};

struct term_product {
    device const float *a, *b;
    float add(float s, int64_t j)
    {
        return mnt_fmaf(a[j], b[j], s);
    }
};

struct term_value {
    device const float *x;
    float add(float s, int64_t j)
    {
        return s + x[j];
    }
};

template <typename Meeting>
static inline best row_best(device const float *z, int64_t n, row_place r,
                            threadgroup float *share, threadgroup int64_t *indices)
{
    best b = best_none();
    for (int64_t j = r.lane; j < n; j += Meeting::lanes)
        best_offer(b, z[j], j);
    return Meeting::most(share + r.first, indices + r.first, r.lane, b);
}

/* Maximum and sum of exp(z - max) of a row. */
struct row_softmax {
    float top, sum;
};

template <typename Meeting>
static inline row_softmax softmax_of(device const float *z, int64_t n, row_place r,
                                     threadgroup float *share,
                                     threadgroup int64_t *indices)
{
    row_softmax s;
    s.top = row_best<Meeting>(z, n, r, share, indices).value;
    term_exp t;
    t.z = z;
    t.top = s.top;
    s.sum = Meeting::sum(t, n, share + r.first, r.lane);
    return s;
}

template <typename Meeting>
kernel void softmax_rows(device const float *x [[buffer(0)]],
                         device float *y [[buffer(1)]],
                         constant mnt_rows_args &p [[buffer(2)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    threadgroup int64_t indices[MNT_GROUP];
    row_place r = row_of<Meeting>(p.rows, group, tid);
    device const float *z = x + r.row * p.width;
    row_softmax s = softmax_of<Meeting>(z, p.width, r, share, indices);
    for (int64_t j = r.lane; r.in && j < p.width; j += Meeting::lanes)
        y[r.row * p.width + j] = mnt_expf(z[j] - s.top) / s.sum;
}

/* dx = y (dy - sum(dy y)) */
template <typename Meeting>
kernel void softmax_rows_grad(device const float *dy [[buffer(0)]],
                              device const float *y [[buffer(1)]],
                              device float *dx [[buffer(2)]],
                              constant mnt_rows_args &p [[buffer(3)]],
                              uint group [[threadgroup_position_in_grid]],
                              uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    row_place r = row_of<Meeting>(p.rows, group, tid);
    term_product t;
    t.a = dy + r.row * p.width;
    t.b = y + r.row * p.width;
    float total = Meeting::sum(t, p.width, share + r.first, r.lane);
    for (int64_t j = r.lane; r.in && j < p.width; j += Meeting::lanes) {
        float d = t.a[j] - total;
        dx[r.row * p.width + j] = t.b[j] * d;
    }
}

template [[host_name(
    "softmax")]] kernel decltype(softmax_rows<in_memory>) softmax_rows<in_memory>;
template [[host_name("softmax_simd")]] kernel decltype(softmax_rows<in_simdgroup>)
    softmax_rows<in_simdgroup>;
template [[host_name(
    "softmax_narrow")]] kernel decltype(softmax_rows<alone>) softmax_rows<alone>;
template [[host_name("softmax_grad")]] kernel decltype(softmax_rows_grad<in_memory>)
    softmax_rows_grad<in_memory>;
template
    [[host_name("softmax_grad_simd")]] kernel decltype(softmax_rows_grad<in_simdgroup>)
        softmax_rows_grad<in_simdgroup>;
template [[host_name("softmax_grad_narrow")]] kernel decltype(softmax_rows_grad<alone>)
    softmax_rows_grad<alone>;

static inline bool label_ok(int32_t label, int64_t classes)
{
    return label >= 0 && label < classes;
}

/*
 * One pass over the logits: each row's loss (NaN where the label is out of range) and
 * its gradient (zeros there). Lane 0 writes the loss, all lanes the gradient. A kernel
 * that does not want one of them binds anything in its place.
 */
template <bool wants_loss, bool wants_grad, typename Meeting>
kernel void entropy_rows(device const float *logits [[buffer(0)]],
                         device const int32_t *labels [[buffer(1)]],
                         device const float *dloss [[buffer(2)]],
                         device float *losses [[buffer(3)]],
                         device float *dlogits [[buffer(4)]],
                         constant mnt_rows_args &p [[buffer(5)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    threadgroup int64_t indices[MNT_GROUP];
    row_place r = row_of<Meeting>(p.rows, group, tid);
    device const float *z = logits + r.row * p.width;
    int32_t label = labels[r.row];
    bool ok = label_ok(label, p.width);
    row_softmax s = softmax_of<Meeting>(z, p.width, r, share, indices);
    if (wants_loss && r.in && r.lane == 0) {
        float d = z[ok ? label : 0] - s.top;
        losses[r.row] = ok ? mnt_logf(s.sum) - d : NAN;
    }
    if (wants_grad && r.in) {
        float c = dloss[0] / p.divisor;
        for (int64_t j = r.lane; j < p.width; j += Meeting::lanes) {
            float q = mnt_expf(z[j] - s.top) / s.sum;
            float d = q - (j == label ? 1.0f : 0.0f);
            dlogits[r.row * p.width + j] = ok ? d * c : 0.0f;
        }
    }
}

template
    [[host_name("entropy_loss")]] kernel decltype(entropy_rows<true, false, in_memory>)
        entropy_rows<true, false, in_memory>;
template [[host_name(
    "entropy_loss_simd")]] kernel decltype(entropy_rows<true, false, in_simdgroup>)
    entropy_rows<true, false, in_simdgroup>;
template [[host_name(
    "entropy_loss_narrow")]] kernel decltype(entropy_rows<true, false, alone>)
    entropy_rows<true, false, alone>;
template
    [[host_name("entropy_grad")]] kernel decltype(entropy_rows<false, true, in_memory>)
        entropy_rows<false, true, in_memory>;
template [[host_name(
    "entropy_grad_simd")]] kernel decltype(entropy_rows<false, true, in_simdgroup>)
    entropy_rows<false, true, in_simdgroup>;
template [[host_name(
    "entropy_grad_narrow")]] kernel decltype(entropy_rows<false, true, alone>)
    entropy_rows<false, true, alone>;
template
    [[host_name("entropy_both")]] kernel decltype(entropy_rows<true, true, in_memory>)
        entropy_rows<true, true, in_memory>;
template [[host_name(
    "entropy_both_simd")]] kernel decltype(entropy_rows<true, true, in_simdgroup>)
    entropy_rows<true, true, in_simdgroup>;
template [[host_name(
    "entropy_both_narrow")]] kernel decltype(entropy_rows<true, true, alone>)
    entropy_rows<true, true, alone>;

/*
 * One threadgroup, at most 4096 rows: the first 32 threads make the mean of the losses,
 * all look for the lowest row with a bad label. Thread 0 writes the loss and, unless an
 * earlier command did, the fault word.
 */
kernel void entropy_finish(device const float *losses [[buffer(0)]],
                           device const int32_t *labels [[buffer(1)]],
                           device float *loss [[buffer(2)]],
                           device uint32_t *fault [[buffer(3)]],
                           constant mnt_rows_args &p [[buffer(4)]],
                           uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    threadgroup int64_t lowest[MNT_GROUP];
    row_place r = row_of<in_memory>(MNT_GROUP_ROWS, 0, tid);
    term_value t;
    t.x = losses;
    float total = in_memory::sum(t, p.rows, share + r.first, r.lane);
    int64_t bad = first_outside(labels, p.rows, p.width, tid);
    bad = group_lowest(lowest, tid, bad);
    if (tid != 0)
        return;
    loss[0] = total / p.divisor;
    if (bad < p.rows && p.guarded != 0 && fault[0] == 0) {
        fault[1] = p.id;
        fault[2] = uint32_t(bad);
        fault[3] = uint32_t(labels[bad]);
        fault[0] = 1; /* MNT_FAULT_LABEL */
    }
}

/* The sum of all threads' counts; share has MNT_GROUP elements. */
static inline int32_t group_count(threadgroup int32_t *share, uint tid, int32_t count)
{
    share[tid] = count;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint h = MNT_GROUP / 2; h > 0; h /= 2) {
        if (tid < h)
            share[tid] += share[tid + h];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    return share[0];
}

/* How many of a threadgroup's rows have their maximum at the label; thread 0 writes that
 * to counts[group]. */
template <typename Meeting>
kernel void accuracy(device const float *logits [[buffer(0)]],
                     device const int32_t *labels [[buffer(1)]],
                     device int32_t *counts [[buffer(2)]],
                     constant mnt_rows_args &p [[buffer(3)]],
                     uint group [[threadgroup_position_in_grid]],
                     uint tid [[thread_index_in_threadgroup]])
{
    threadgroup float share[MNT_GROUP];
    threadgroup int64_t indices[MNT_GROUP];
    threadgroup int32_t right[MNT_GROUP];
    row_place r = row_of<Meeting>(p.rows, group, tid);
    best b = row_best<Meeting>(logits + r.row * p.width, p.width, r, share, indices);
    bool hit = r.in && r.lane == 0 && b.index == labels[r.row];
    int32_t count = group_count(right, tid, hit ? 1 : 0);
    if (tid == 0)
        counts[group] = count;
}

template [[host_name(
    "accuracy_rows")]] kernel decltype(accuracy<in_memory>) accuracy<in_memory>;
template [[host_name("accuracy_rows_simd")]] kernel decltype(accuracy<in_simdgroup>)
    accuracy<in_simdgroup>;
template [[host_name(
    "accuracy_rows_narrow")]] kernel decltype(accuracy<alone>) accuracy<alone>;

/* The sum of `rows` counts. One threadgroup. */
kernel void accuracy_total(device const int32_t *counts [[buffer(0)]],
                           device int32_t *total [[buffer(1)]],
                           constant mnt_rows_args &p [[buffer(2)]],
                           uint tid [[thread_index_in_threadgroup]])
{
    threadgroup int32_t share[MNT_GROUP];
    int32_t count = 0;
    for (int64_t i = tid; i < p.rows; i += MNT_GROUP)
        count += counts[i];
    count = group_count(share, tid, count);
    if (tid == 0)
        total[0] = count;
}
