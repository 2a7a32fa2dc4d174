/* SPDX-License-Identifier: MIT */
/*
 * Moves: copy, fill, cast, gather, batch_index. Elements travel as unsigned integers of
 * their size, so that every bit arrives; only a cast that converts loads a number.
 *
 * The elementwise pattern of threads: a threadgroup covers 1024 neighbouring elements of
 * the result, a thread four of them, 256 apart, none beyond the count.
 */
#include "common.h"

/* ---- conversions ---- */

static inline int32_t to_i32(float x)
{
    if (x >= 0x1p31f)
        return 0x7fffffff;
    if (x < -0x1p31f)
        return -0x7fffffff - 1;
    return x == x ? int32_t(x) : 0;
}

static inline uint8_t to_u8(int32_t x)
{
    return x < 0 ? uint8_t(0) : x > 255 ? uint8_t(255) : uint8_t(x);
}

/* The same type on both sides: the bits. */
template <typename T> static inline void convert(thread T &y, T x, int)
{
    y = x;
}

static inline void convert(thread float &y, uint8_t x, int unit)
{
    y = unit != 0 ? mnt_unit_u8(x) : float(x);
}

static inline void convert(thread float &y, int32_t x, int)
{
    y = float(x);
}

static inline void convert(thread int32_t &y, uint8_t x, int)
{
    y = x;
}

static inline void convert(thread int32_t &y, float x, int)
{
    y = to_i32(x);
}

static inline void convert(thread uint8_t &y, int32_t x, int)
{
    y = to_u8(x);
}

static inline void convert(thread uint8_t &y, float x, int)
{
    y = to_u8(to_i32(x));
}

/* ---- copy, fill ---- */

template <typename T>
kernel void copy_view(device const T *x [[buffer(0)]], device T *y [[buffer(1)]],
                      constant mnt_view_args &p [[buffer(2)]],
                      uint group [[threadgroup_position_in_grid]],
                      uint tid [[thread_index_in_threadgroup]])
{
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        if (i >= p.count)
            return;
        int64_t at[2];
        view_at(p, i, 2, at);
        y[at[1]] = x[at[0]];
    }
}

/* The low bits of p.bits everywhere in the view. */
template <typename T>
kernel void fill_view(device T *y [[buffer(0)]],
                      constant mnt_view_args &p [[buffer(1)]],
                      uint group [[threadgroup_position_in_grid]],
                      uint tid [[thread_index_in_threadgroup]])
{
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        if (i >= p.count)
            return;
        int64_t at[1];
        view_at(p, i, 1, at);
        y[at[0]] = T(p.bits);
    }
}

template [[host_name("copy_8")]] kernel decltype(copy_view<uint8_t>) copy_view<uint8_t>;
template
    [[host_name("copy_16")]] kernel decltype(copy_view<uint16_t>) copy_view<uint16_t>;
template
    [[host_name("copy_32")]] kernel decltype(copy_view<uint32_t>) copy_view<uint32_t>;
template [[host_name("fill_8")]] kernel decltype(fill_view<uint8_t>) fill_view<uint8_t>;
template
    [[host_name("fill_32")]] kernel decltype(fill_view<uint32_t>) fill_view<uint32_t>;

/* ---- cast, gather ---- */

template <typename From, typename To>
kernel void cast_flat(device const From *x [[buffer(0)]], device To *y [[buffer(1)]],
                      constant mnt_cast_args &p [[buffer(2)]],
                      uint group [[threadgroup_position_in_grid]],
                      uint tid [[thread_index_in_threadgroup]])
{
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    From v[MNT_ITEMS];
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        v[k] = i < p.count ? x[i] : From(0);
    }
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        if (i < p.count) {
            To r;
            convert(r, v[k], p.unit);
            y[i] = r;
        }
    }
}

/* The lowest bad index goes into the fault word, unless an earlier command wrote one. All
 * threads of one group; `lowest` has MNT_GROUP elements. */
static inline void report_index(device const int32_t *index, int64_t count,
                                int64_t limit, device uint32_t *fault, uint32_t kind,
                                uint32_t id, threadgroup int64_t *lowest, uint tid)
{
    int64_t bad = first_outside(index, count, limit, tid);
    bad = group_lowest(lowest, tid, bad);
    if (tid == 0 && bad < count && fault[0] == 0) {
        fault[1] = id;
        fault[2] = uint32_t(bad);
        fault[3] = uint32_t(index[bad]);
        fault[0] = kind;
    }
}

/*
 * y[i, k] = table[index[i], k]; zeros where the index is out of the table, which the first
 * threadgroup then reports. Reads are bounded by that check. A thread's indices, then its
 * elements, are on their way together: elements that are not there read the first.
 */
template <typename From, typename To>
kernel void gather(device const From *table [[buffer(0)]],
                   device const int32_t *index [[buffer(1)]],
                   device To *y [[buffer(2)]], device uint32_t *fault [[buffer(3)]],
                   constant mnt_gather_args &p [[buffer(4)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint tid [[thread_index_in_threadgroup]])
{
    threadgroup int64_t lowest[MNT_GROUP];
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    int64_t column[MNT_ITEMS];
    int32_t from[MNT_ITEMS];
    From v[MNT_ITEMS];
#pragma unroll
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = lesser(first + k * MNT_GROUP, p.count - 1);
        int64_t row = quotient(i, p.width);
        column[k] = i - row * p.width;
        from[k] = index[row];
    }
#pragma unroll
    for (int k = 0; k < MNT_ITEMS; k++) {
        bool in = from[k] >= 0 && from[k] < p.rows;
        v[k] = p.rows > 0 ? table[in ? from[k] * p.width + column[k] : 0] : From(0);
    }
#pragma unroll
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        To r = To(0);
        if (from[k] >= 0 && from[k] < p.rows)
            convert(r, v[k], p.unit);
        if (i < p.count)
            y[i] = r;
    }
    if (group == 0 && p.guarded != 0)
        report_index(index, p.indices, p.rows, fault, p.kind, p.id, lowest, tid);
}

template [[host_name("cast_u8_f32")]] kernel decltype(cast_flat<uint8_t, float>)
    cast_flat<uint8_t, float>;
template [[host_name("cast_i32_f32")]] kernel decltype(cast_flat<int32_t, float>)
    cast_flat<int32_t, float>;
template [[host_name("cast_u8_i32")]] kernel decltype(cast_flat<uint8_t, int32_t>)
    cast_flat<uint8_t, int32_t>;
template [[host_name("cast_f32_i32")]] kernel decltype(cast_flat<float, int32_t>)
    cast_flat<float, int32_t>;
template [[host_name("cast_i32_u8")]] kernel decltype(cast_flat<int32_t, uint8_t>)
    cast_flat<int32_t, uint8_t>;
template [[host_name("cast_f32_u8")]] kernel decltype(cast_flat<float, uint8_t>)
    cast_flat<float, uint8_t>;

template [[host_name(
    "gather_8")]] kernel decltype(gather<uint8_t, uint8_t>) gather<uint8_t, uint8_t>;
template [[host_name("gather_32")]] kernel decltype(gather<uint32_t, uint32_t>)
    gather<uint32_t, uint32_t>;
template [[host_name(
    "gather_u8_f32")]] kernel decltype(gather<uint8_t, float>) gather<uint8_t, float>;
template [[host_name(
    "gather_i32_f32")]] kernel decltype(gather<int32_t, float>) gather<int32_t, float>;
template [[host_name("gather_u8_i32")]] kernel decltype(gather<uint8_t, int32_t>)
    gather<uint8_t, int32_t>;
template [[host_name(
    "gather_f32_i32")]] kernel decltype(gather<float, int32_t>) gather<float, int32_t>;
template [[host_name("gather_i32_u8")]] kernel decltype(gather<int32_t, uint8_t>)
    gather<int32_t, uint8_t>;
template [[host_name(
    "gather_f32_u8")]] kernel decltype(gather<float, uint8_t>) gather<float, uint8_t>;

/* The report alone. One threadgroup. */
kernel void index_fault(device const int32_t *index [[buffer(0)]],
                        device uint32_t *fault [[buffer(1)]],
                        constant mnt_fault_args &p [[buffer(2)]],
                        uint tid [[thread_index_in_threadgroup]])
{
    threadgroup int64_t lowest[MNT_GROUP];
    report_index(index, p.count, p.limit, fault, p.kind, p.id, lowest, tid);
}

/*
 * index[i] = permutation[(cursor + i) mod n]; then the cursor moves on. One threadgroup:
 * the barrier keeps the cursor until every thread has read it (it is read and written in
 * place). A cursor outside [0, n) counts modulo n.
 */
kernel void batch_index(device const int32_t *permutation [[buffer(0)]],
                        device const int32_t *cursor [[buffer(1)]],
                        device int32_t *index [[buffer(2)]],
                        device int32_t *cursor_after [[buffer(3)]],
                        constant mnt_batch_args &p [[buffer(4)]],
                        uint tid [[thread_index_in_threadgroup]])
{
    int64_t at = int64_t(cursor[0]) % p.count;
    at = at < 0 ? at + p.count : at;
    threadgroup_barrier(mem_flags::mem_device);
    for (int64_t i = tid; i < p.batch; i += MNT_GROUP)
        index[i] = permutation[(at + i) % p.count];
    if (tid == 0)
        cursor_after[0] = int32_t((at + p.batch) % p.count);
}
