/* SPDX-License-Identifier: MIT */
/*
 * Names and texts of status codes, data types and ops, element counts of shapes, and
 * the reading of descriptors whose size may be older than ours.
 */
#include "core.h"

const char *mnt_version(void)
{
    return MNT_VERSION;
}

const char *mnt_status_name(mnt_status status)
{
    switch (status) {
#define NAME(name, value, text)                                                        \
    case MNT_##name:                                                                   \
        return "MNT_" #name;
        MNT_STATUS_LIST(NAME)
#undef NAME
    }
    return "unknown status";
}

const char *mnt_status_text(mnt_status status)
{
    switch (status) {
#define TEXT(name, value, text)                                                        \
    case MNT_##name:                                                                   \
        return text;
        MNT_STATUS_LIST(TEXT)
#undef TEXT
    }
    return "unknown status";
}

size_t mnt_dtype_size(mnt_dtype dtype)
{
    static const size_t sizes[] = {
#define SIZE(name, value, bytes, st) [value] = (bytes),
        MNT_DTYPE_LIST(SIZE)
#undef SIZE
    };
    return (unsigned)dtype < MNT_DTYPE_COUNT ? sizes[dtype] : 0;
}

const char *mnt_dtype_name(mnt_dtype dtype)
{
    static const char *const names[] = { "f32", "f16", "i32", "u8", "u32" };
    _Static_assert(sizeof names / sizeof *names == MNT_DTYPE_COUNT, "one name a dtype");
    return (unsigned)dtype < MNT_DTYPE_COUNT ? names[dtype] : "?";
}

int64_t mnt_shape_count(mnt_shape shape)
{
    if (shape.ndim < 0 || shape.ndim > MNT_MAX_DIMS)
        return -1;
    int64_t count = 1;
    bool empty = false;
    for (int i = 0; i < shape.ndim; i++) {
        if (shape.dim[i] < 0)
            return -1;
        if (shape.dim[i] == 0)
            empty = true;
        else if (count > INT64_MAX / 16 / shape.dim[i])
            return -1; /* 16: bytes of the widest element, with room */
        else
            count *= shape.dim[i];
    }
    return empty ? 0 : count;
}

static const struct {
    const char *name;
    unsigned char in, out, flags;
} op_table[MNT_OP_COUNT] = {
#define MNT_OP(name, n_in, n_out, args, flags) { #name, n_in, n_out, flags },
#include <mnt/ops.def>
#undef MNT_OP
};

const char *mnt_op_name(mnt_op op)
{
    return (unsigned)op < MNT_OP_COUNT ? op_table[op].name : "?";
}

unsigned mnt_op_flags(mnt_op op)
{
    return (unsigned)op < MNT_OP_COUNT ? op_table[op].flags : 0;
}

int mnt_op_inputs(mnt_op op)
{
    return (unsigned)op < MNT_OP_COUNT ? op_table[op].in : 0;
}

int mnt_op_outputs(mnt_op op)
{
    return (unsigned)op < MNT_OP_COUNT ? op_table[op].out : 0;
}

int64_t mnt_operand_count(const mnt_operand *o)
{
    int64_t count = 1;
    for (int i = 0; i < o->ndim; i++)
        count *= o->dim[i];
    return count;
}

bool mnt_operand_contiguous(const mnt_operand *o)
{
    int64_t expect = 1;
    for (int i = o->ndim; i-- > 0;) {
        if (o->dim[i] != 1 && o->stride[i] != expect)
            return mnt_operand_count(o) == 0;
        expect *= o->dim[i];
    }
    return true;
}

/*
 * Every desc begins with its size. A smaller one leaves our newer fields at the
 * defaults already in `out`; a larger one is fine as long as the fields we do not know
 * are zero.
 */
bool mnti_desc_read(void *out, size_t size, const void *desc)
{
    size_t given;
    memcpy(&given, desc, sizeof given);
    if (given < sizeof given || given > 65536)
        return false;
    for (size_t i = size; i < given; i++)
        if (((const unsigned char *)desc)[i])
            return false;
    memcpy(out, desc, given < size ? given : size);
    memcpy(out, &size, sizeof size);
    return true;
}
