/* SPDX-License-Identifier: MIT */
/*
 * Elementwise ops on f32 (and the i32 sum): arithmetic, scale, relu and its gradient.
 * bias_add and accumulate are the same kernels over other views.
 *
 * Two kernels a function: one for any strides, and _flat for operands that are whole in
 * memory or a single value. A threadgroup covers 1024 neighbouring elements, a thread
 * four of them, 256 apart, so that neighbouring threads touch neighbouring memory. A
 * thread writes the elements of y that it computes, none beyond p.count.
 */
#include "common.h"

struct fn_add {
    static float of(float a, float b)
    {
        return a + b;
    }
};

struct fn_sub {
    static float of(float a, float b)
    {
        return a - b;
    }
};

struct fn_mul {
    static float of(float a, float b)
    {
        return a * b;
    }
};

struct fn_div {
    static float of(float a, float b)
    {
        return a / b;
    }
};

/* dy, y -> dx */
struct fn_relu_grad {
    static float of(float dy, float y)
    {
        return mnt_flushf(y) > 0.0f ? mnt_flushf(dy) : 0.0f;
    }
};

/* NaN stays, -0 becomes +0. */
struct fn_relu {
    static float of(float x, float)
    {
        return x <= 0.0f ? 0.0f : mnt_flushf(x);
    }
};

/* Counts wrap, as unsigned numbers do. */
struct fn_add_words {
    static uint32_t of(uint32_t a, uint32_t b)
    {
        return a + b;
    }
};

template <typename Fn>
kernel void binary(device const float *a [[buffer(0)]],
                   device const float *b [[buffer(1)]], device float *y [[buffer(2)]],
                   constant mnt_view_args &p [[buffer(3)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint tid [[thread_index_in_threadgroup]])
{
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        if (i >= p.count)
            return;
        int64_t at[3];
        view_at(p, i, 3, at);
        y[at[2]] = Fn::of(a[at[0]], b[at[1]]);
    }
}

template <typename Fn>
kernel void unary(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
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
        y[at[1]] = Fn::of(x[at[0]], mnt_float(p.bits));
    }
}

/* Strides are 0 or 1. All loads come before the stores, so that they wait together. */
template <typename Fn, typename T>
kernel void binary_flat(device const T *a [[buffer(0)]],
                        device const T *b [[buffer(1)]], device T *y [[buffer(2)]],
                        constant mnt_view_args &p [[buffer(3)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint tid [[thread_index_in_threadgroup]])
{
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    int64_t step_a = p.stride[0][0], step_b = p.stride[1][0];
    T u[MNT_ITEMS], v[MNT_ITEMS];
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        bool in = i < p.count;
        u[k] = in ? a[i * step_a] : T(0);
        v[k] = in ? b[i * step_b] : T(0);
    }
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        if (i < p.count)
            y[i] = Fn::of(u[k], v[k]);
    }
}

template <typename Fn>
kernel void unary_flat(device const float *x [[buffer(0)]],
                       device float *y [[buffer(1)]],
                       constant mnt_view_args &p [[buffer(2)]],
                       uint group [[threadgroup_position_in_grid]],
                       uint tid [[thread_index_in_threadgroup]])
{
    int64_t first = int64_t(group) * (MNT_GROUP * MNT_ITEMS) + tid;
    int64_t step = p.stride[0][0];
    float u[MNT_ITEMS];
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        u[k] = i < p.count ? x[i * step] : 0.0f;
    }
    for (int k = 0; k < MNT_ITEMS; k++) {
        int64_t i = first + k * MNT_GROUP;
        if (i < p.count)
            y[i] = Fn::of(u[k], mnt_float(p.bits));
    }
}

template [[host_name("add")]] kernel decltype(binary<fn_add>) binary<fn_add>;
template [[host_name("sub")]] kernel decltype(binary<fn_sub>) binary<fn_sub>;
template [[host_name("mul")]] kernel decltype(binary<fn_mul>) binary<fn_mul>;
template [[host_name("div")]] kernel decltype(binary<fn_div>) binary<fn_div>;
template [[host_name(
    "relu_grad")]] kernel decltype(binary<fn_relu_grad>) binary<fn_relu_grad>;
template [[host_name("scale")]] kernel decltype(unary<fn_mul>) unary<fn_mul>;
template [[host_name("relu")]] kernel decltype(unary<fn_relu>) unary<fn_relu>;

template [[host_name("add_flat")]] kernel decltype(binary_flat<fn_add, float>)
    binary_flat<fn_add, float>;
template [[host_name("sub_flat")]] kernel decltype(binary_flat<fn_sub, float>)
    binary_flat<fn_sub, float>;
template [[host_name("mul_flat")]] kernel decltype(binary_flat<fn_mul, float>)
    binary_flat<fn_mul, float>;
template [[host_name("div_flat")]] kernel decltype(binary_flat<fn_div, float>)
    binary_flat<fn_div, float>;
template
    [[host_name("relu_grad_flat")]] kernel decltype(binary_flat<fn_relu_grad, float>)
        binary_flat<fn_relu_grad, float>;
template
    [[host_name("add_words_flat")]] kernel decltype(binary_flat<fn_add_words, uint32_t>)
        binary_flat<fn_add_words, uint32_t>;
template
    [[host_name("scale_flat")]] kernel decltype(unary_flat<fn_mul>) unary_flat<fn_mul>;
template
    [[host_name("relu_flat")]] kernel decltype(unary_flat<fn_relu>) unary_flat<fn_relu>;
