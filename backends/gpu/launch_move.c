/* SPDX-License-Identifier: MIT */
/*
 * Moves: copy, fill, cast, gather, batch_index, accumulate. Kernels are chosen by the
 * size of an element, or by the pair of types where a cast converts.
 */
#include "launch.h"

#include <string.h>

static bool is_plain(mnt_dtype dtype)
{
    return dtype == MNT_F32 || dtype == MNT_I32 || dtype == MNT_U8;
}

static gpu_kernel copy_kernel(mnt_dtype dtype)
{
    switch (mnt_dtype_size(dtype)) {
    case 1:
        return GPU_KERNEL_copy_8;
    case 2:
        return GPU_KERNEL_copy_16;
    default:
        return GPU_KERNEL_copy_32;
    }
}

static void copy(gpu_emit *e, const mnt_operand *x, const mnt_operand *y)
{
    const mnt_operand *const o[] = { x, y };
    mnt_view_args v;
    gpu_view(&v, o, 2);
    gpu_dispatch_view(e, copy_kernel(y->dtype), &v, o, 2);
}

static void launch_copy(gpu_emit *e, const mnt_cmd *cmd)
{
    copy(e, &cmd->in[0], &cmd->out[0]);
}

/* ---- fill ---- */

static bool accepts_fill(const mnt_cmd *cmd)
{
    return is_plain(cmd->out[0].dtype);
}

/* The value as the type stores it; casts saturate, a NaN is 0. */
static uint32_t fill_bits(float value, mnt_dtype dtype)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == MNT_F32)
        return bits;
    int32_t v = 0;
    if (value >= 0x1p31f)
        v = INT32_MAX;
    else if (value < -0x1p31f)
        v = INT32_MIN;
    else if (value == value)
        v = (int32_t)value;
    if (dtype == MNT_U8)
        v = v < 0 ? 0 : v > UINT8_MAX ? UINT8_MAX : v;
    return (uint32_t)v;
}

static void launch_fill(gpu_emit *e, const mnt_cmd *cmd)
{
    const mnt_operand *const o[] = { &cmd->out[0] };
    mnt_view_args v;
    gpu_view(&v, o, 1);
    v.bits = fill_bits(cmd->args.scale.value, o[0]->dtype);
    gpu_kernel kernel = o[0]->dtype == MNT_U8 ? GPU_KERNEL_fill_8 : GPU_KERNEL_fill_32;
    gpu_dispatch_view(e, kernel, &v, o, 1);
}

/* ---- cast, gather ---- */

static bool accepts_cast(const mnt_cmd *cmd)
{
    mnt_dtype from = cmd->in[0].dtype, to = cmd->out[0].dtype;
    return from == to || (is_plain(from) && is_plain(to));
}

/* Of two different plain types. */
static gpu_kernel cast_kernel(mnt_dtype from, mnt_dtype to)
{
    if (to == MNT_F32)
        return from == MNT_U8 ? GPU_KERNEL_cast_u8_f32 : GPU_KERNEL_cast_i32_f32;
    if (to == MNT_I32)
        return from == MNT_U8 ? GPU_KERNEL_cast_u8_i32 : GPU_KERNEL_cast_f32_i32;
    return from == MNT_I32 ? GPU_KERNEL_cast_i32_u8 : GPU_KERNEL_cast_f32_u8;
}

static void launch_cast(gpu_emit *e, const mnt_cmd *cmd)
{
    const mnt_operand *x = &cmd->in[0], *y = &cmd->out[0];
    if (x->dtype == y->dtype) {
        copy(e, x, y);
        return;
    }
    mnt_cast_args args = { .count = gpu_count(y), .unit = cmd->args.cast.unit };
    gpu_dispatch *d = gpu_dispatch_add(e, cast_kernel(x->dtype, y->dtype),
                                       gpu_groups(args.count, MNT_GROUP * MNT_ITEMS));
    gpu_bind(d, x);
    gpu_bind(d, y);
    gpu_args(d, &args, sizeof args);
}

static gpu_kernel gather_kernel(mnt_dtype from, mnt_dtype to)
{
    if (from == to)
        return to == MNT_U8 ? GPU_KERNEL_gather_8 : GPU_KERNEL_gather_32;
    if (to == MNT_F32)
        return from == MNT_U8 ? GPU_KERNEL_gather_u8_f32 : GPU_KERNEL_gather_i32_f32;
    if (to == MNT_I32)
        return from == MNT_U8 ? GPU_KERNEL_gather_u8_i32 : GPU_KERNEL_gather_f32_i32;
    return from == MNT_I32 ? GPU_KERNEL_gather_i32_u8 : GPU_KERNEL_gather_f32_u8;
}

/* Operands table, index, fault -> y, fault. */
static void launch_gather(gpu_emit *e, const mnt_cmd *cmd)
{
    const mnt_operand *table = &cmd->in[0], *y = &cmd->out[0];
    const mnt_operand *fault = &cmd->out[1];
    mnt_gather_args args = { .count = gpu_count(y),
                             .width = gpu_dims(y, 1, y->ndim),
                             .rows = table->dim[0],
                             .indices = y->dim[0],
                             .unit = cmd->args.cast.unit,
                             .guarded = fault->buffer != NULL,
                             .kind = MNT_FAULT_INDEX,
                             .id = cmd->id };
    gpu_dispatch *d = gpu_dispatch_add(e, gather_kernel(table->dtype, y->dtype),
                                       gpu_groups(args.count, MNT_GROUP * MNT_ITEMS));
    gpu_bind(d, table);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, y);
    gpu_bind(d, fault);
    gpu_args(d, &args, sizeof args);
    /* Rows of no elements still have indices. */
    if (args.count == 0 && y->dim[0] > 0 && fault->buffer)
        gpu_dispatch_fault(e, cmd, &cmd->in[1], args.rows, MNT_FAULT_INDEX, fault);
}

void gpu_dispatch_fault(gpu_emit *e, const mnt_cmd *cmd, const mnt_operand *index,
                        int64_t limit, mnt_fault kind, const mnt_operand *fault)
{
    mnt_fault_args args = {
        .count = gpu_count(index), .limit = limit, .kind = (uint32_t)kind, .id = cmd->id
    };
    gpu_dispatch *d = gpu_dispatch_add(e, GPU_KERNEL_index_fault, 1);
    gpu_bind(d, index);
    gpu_bind(d, fault);
    gpu_args(d, &args, sizeof args);
}

/* Operands permutation, cursor -> index, cursor. */
static void launch_batch_index(gpu_emit *e, const mnt_cmd *cmd)
{
    mnt_batch_args args = { .count = cmd->in[0].dim[0], .batch = cmd->out[0].dim[0] };
    gpu_dispatch *d =
        gpu_dispatch_add(e, GPU_KERNEL_batch_index, args.count > 0 ? 1 : 0);
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, &cmd->out[0]);
    gpu_bind(d, &cmd->out[1]);
    gpu_args(d, &args, sizeof args);
}

static bool accepts_accumulate(const mnt_cmd *cmd)
{
    return cmd->in[0].dtype == MNT_F32 || cmd->in[0].dtype == MNT_I32;
}

/* total + x, all contiguous. */
static void launch_accumulate(gpu_emit *e, const mnt_cmd *cmd)
{
    const mnt_operand *const o[] = { &cmd->in[1], &cmd->in[0], &cmd->out[0] };
    mnt_view_args v;
    gpu_view(&v, o, 3);
    gpu_kernel kernel =
        o[0]->dtype == MNT_F32 ? GPU_KERNEL_add_flat : GPU_KERNEL_add_words_flat;
    gpu_dispatch_view(e, kernel, &v, o, 3);
}

const gpu_launcher gpu_launch_move[] = {
    { MNT_OP_ID_copy, "ref", NULL, launch_copy, NULL, GPU_ANY },
    { MNT_OP_ID_cast, "ref", accepts_cast, launch_cast, NULL, GPU_ANY },
    { MNT_OP_ID_gather, "ref", accepts_cast, launch_gather, NULL, GPU_ANY },
    { MNT_OP_ID_batch_index, "ref", NULL, launch_batch_index, NULL, GPU_ANY },
    { MNT_OP_ID_fill, "ref", accepts_fill, launch_fill, NULL, GPU_ANY },
    { MNT_OP_ID_accumulate, "ref", accepts_accumulate, launch_accumulate, NULL,
      GPU_ANY },
    { 0 },
};
