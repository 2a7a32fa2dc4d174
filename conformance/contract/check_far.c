/* SPDX-License-Identifier: MIT */
/*
 * far-<op>: operands a few elements large inside a buffer of many gigabytes of which
 * only those places are touched. Strided rows get strides past 2^30, 2^31 and 2^32
 * elements, each operand in turn and all at once, on the first and on the last axis;
 * the other rows get byte offsets past 2^32. Wherever a 32-bit index would have landed,
 * memory is watched too.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* A stride, where the operands begin, and the buffer it takes (f32). */
typedef struct reach {
    int64_t stride;
    uint64_t base, need;
    const char *name;
} reach;

/* First those where a wrapped index still lands inside the buffer, so that the failure
 * is a sentence. */
static const reach reaches[] = {
    { (int64_t)1 << 31, 9 * GIB, 17 * GIB + 128 * MIB, "2^31, from 9 GiB on" },
    { ((int64_t)1 << 32) + 5, 64 * MIB, 16 * GIB + 128 * MIB, "2^32 + 5" },
    { ((int64_t)1 << 30) + 3, 64 * MIB, 4 * GIB + 128 * MIB, "2^30 + 3" },
    { (int64_t)1 << 31, 64 * MIB, 8 * GIB + 128 * MIB, "2^31" },
};
#define REACHES ((int)(sizeof reaches / sizeof *reaches))

/* The largest buffer that the device grants; *bytes 0 if none. */
static void *far_buffer(rig *r, uint64_t *bytes)
{
    static const uint64_t sizes[] = { 18 * GIB, 9 * GIB, 5 * GIB };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !rig_stopped(r); i++) {
        void *buffer;
        mnt_status st = rig_try_alloc(r, sizes[i], &buffer);
        *bytes = sizes[i];
        if (st == MNT_OK)
            return buffer;
        rig_expect(r, st == MNT_NO_MEMORY, "alloc of %llu bytes: %s \"%.200s\"",
                   (unsigned long long)sizes[i], mnt_status_name(st), r->host.sentence);
    }
    rig_skip(r, "no buffer of 5 GiB: \"%.200s\"", r->host.sentence);
    *bytes = 0;
    return NULL;
}

/* Shapes of a strided row's operands: x [2,3,2] where the last axis is far, [2,3,40]
 * where the first is, so that there are runs to be moved at once; or its reduction. */
static bool small_sample(sample *s, mnt_op op, bool last)
{
    if (!sample_make(s, op, 0))
        return false;
    mnt_shape shape[SAMPLE_OPERANDS];
    int64_t inner = last ? 2 : 40;
    bool reduces =
        op == MNT_OP_ID_sum || op == MNT_OP_ID_mean || op == MNT_OP_ID_argmax;
    for (int i = 0; i < SAMPLE_OPERANDS; i++)
        shape[i] = MNT_SHAPE(2, 3, inner);
    if (reduces)
        shape[MNT_MAX_IN] = MNT_SHAPE(2, inner);
    sample_reshape(s, shape);
    return true;
}

static void set_far(mnt_operand *o, bool last, int64_t stride)
{
    int axis = last ? o->ndim - 1 : 0;
    if (last)
        for (int d = 0; d < o->ndim - 1; d++)
            o->stride[d] = d == 0 ? 7 : 2;
    o->stride[axis] = stride;
}

/* Whether the caller forced a variant of this op: it need not take every geometry. */
static bool is_forced(const rig *r, mnt_op op)
{
    const char *name = mnt_op_name(op);
    size_t n = strlen(name);
    for (const char *at = r->force; at && *at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, name, n) && at[n] == '=')
            return true;
    }
    return false;
}

/* The sentence of a forced variant's first refusal, "" before. */
typedef struct refusal {
    char text[256];
} refusal;

static void refused_reach(rig *r, const sample *s, const char *where, refusal *no)
{
    if (rig_stopped(r))
        return;
    if (!is_forced(r, s->cmd.op))
        rig_fail(r, "%s is STRIDED, but refused: %s", mnt_op_name(s->cmd.op), where);
    else if (!no->text[0])
        snprintf(no->text, sizeof no->text, "%.60s: \"%.180s\"", where,
                 r->host.sentence);
}

/* Strides of the operands named by `far` (one bit each). */
static void one_reach(rig *r, sample *s, void *buffer, const reach *c, unsigned far,
                      bool last, refusal *no)
{
    char where[128], name[8];
    int only = 0;
    for (int i = 0, n = 0; i < SAMPLE_OPERANDS; i++) {
        mnt_operand *o = sample_operand(&s->cmd, i);
        if (!s->there[i])
            continue;
        mnt_shape shape = { .ndim = o->ndim };
        memcpy(shape.dim, o->dim, sizeof shape.dim);
        *o = rig_operand(buffer, c->base + (uint64_t)n++ * MIB, o->dtype, shape);
        if (far >> i & 1) {
            set_far(o, last, c->stride);
            only = i;
        }
    }
    snprintf(where, sizeof where, "stride %s on the %s axis of %s", c->name,
             last ? "last" : "first",
             far & (far - 1) ? "every operand" : sample_name(name, only));
    if (sample_taken(r, s))
        sample_check(r, s, where, 0xa5, 2);
    else
        refused_reach(r, s, where, no);
}

static void strided_axis(rig *r, mnt_op op, void *buffer, uint64_t bytes, bool last,
                         refusal *no)
{
    sample s;
    if (!small_sample(&s, op, last))
        return;
    sample_expect(r, &s);
    for (int k = 0; k < REACHES; k++) {
        unsigned all = 0;
        if (reaches[k].need > bytes)
            continue;
        for (int i = 0; i < SAMPLE_OPERANDS && !rig_stopped(r); i++)
            if (s.there[i]) {
                one_reach(r, &s, buffer, &reaches[k], 1u << i, last, no);
                all |= 1u << i;
            }
        if (all & (all - 1))
            one_reach(r, &s, buffer, &reaches[k], all, last, no);
    }
    sample_free(&s);
}

static void strided(rig *r, mnt_op op, void *buffer, uint64_t bytes, refusal *no)
{
    strided_axis(r, op, buffer, bytes, false, no);
    strided_axis(r, op, buffer, bytes, true, no);
}

/* Each operand in turn past 2^32 bytes, then all. */
static void offsets(rig *r, mnt_op op, void *buffer, uint64_t bytes)
{
    static const uint64_t firsts[] = { 4 * GIB + 4 * 1001, 16 * GIB + 4 * 77 };
    sample s;
    for (int i = 0; !rig_stopped(r) && sample_make(&s, op, i); i++) {
        sample_expect(r, &s);
        for (int far = 0; far <= SAMPLE_OPERANDS && !rig_stopped(r); far++) {
            uint64_t at = MIB;
            uint64_t first = firsts[(far + i) % 2];
            char where[96], name[8];
            if (far < SAMPLE_OPERANDS && (!s.there[far] || s.same[far] >= 0))
                continue;
            if (first + 64 * MIB > bytes)
                first = firsts[0];
            sample_pack(&s, buffer, &at, 4096, 0);
            for (int o = 0; o < SAMPLE_OPERANDS; o++)
                if (s.there[o] && (o == far || far == SAMPLE_OPERANDS))
                    sample_operand(&s.cmd, o)->offset += first;
            for (int o = 0; o < SAMPLE_OPERANDS; o++)
                if (s.same[o] >= 0)
                    *sample_operand(&s.cmd, o) = s.cmd.in[s.same[o]];
            snprintf(where, sizeof where, "%s %llu bytes into a buffer",
                     far < SAMPLE_OPERANDS ? sample_name(name, far) : "every operand",
                     (unsigned long long)first);
            if (sample_taken(r, &s))
                sample_check(r, &s, where, 0xa5, 1);
        }
        sample_free(&s);
    }
}

static bool any_taken(rig *r, mnt_op op)
{
    bool any = false;
    sample s;
    for (int i = 0; !any && !rig_stopped(r) && sample_make(&s, op, i); i++) {
        any = rig_supports(r, &s.cmd);
        sample_free(&s);
    }
    return any;
}

static void far_row(rig *r, mnt_op op)
{
    uint64_t bytes;
    if (!any_taken(r, op)) {
        rig_skip(r, "%s: no sample is supported", mnt_op_name(op));
        return;
    }
    void *buffer = far_buffer(r, &bytes);
    if (!buffer)
        return;
    refusal no = { "" };
    if (mnt_op_flags(op) & MNT_OP_STRIDED)
        strided(r, op, buffer, bytes, &no);
    offsets(r, op, buffer, bytes);
    if (no.text[0] && !rig_stopped(r)) /* what it did take was right */
        rig_skip(r, "the forced variant refused %s", no.text);
}

#define MNT_OP(name, n_in, n_out, args, flags)                                         \
    static void far_##name(rig *r)                                                     \
    {                                                                                  \
        far_row(r, MNT_OP_ID_##name);                                                  \
    }                                                                                  \
    contract_outcome contract_far_##name(const contract_subject *s, char *text,        \
                                         size_t size)                                  \
    {                                                                                  \
        return rig_run(s, text, size, far_##name);                                     \
    }
#include <mnt/ops.def>
#undef MNT_OP

/* Rows of a table whose bytes lie past 2^32, written one by one. */
static void far_table(rig *r, mnt_dtype dtype, int64_t width)
{
    enum { COUNT = 6 };
    uint64_t bytes;
    void *table = far_buffer(r, &bytes);
    size_t size = mnt_dtype_size(dtype);
    uint64_t row_bytes = (uint64_t)width * size;
    int64_t rows = (int64_t)(bytes / row_bytes);
    int32_t index[COUNT] = { (int32_t)rows - 1,
                             0,
                             (int32_t)(4 * GIB / row_bytes) + 1,
                             (int32_t)(4 * GIB / row_bytes) - 1,
                             (int32_t)(rows / 2),
                             1 };
    if (!table)
        return;
    unsigned char *want = kit_alloc(COUNT * row_bytes),
                  *got = kit_alloc(COUNT * row_bytes);
    for (int i = 0; i < COUNT; i++) {
        memset(want + (uint64_t)i * row_bytes, 0x11 * (i + 1), row_bytes);
        rig_write(r, table, (uint64_t)index[i] * row_bytes,
                  want + (uint64_t)i * row_bytes, row_bytes);
    }
    void *y = rig_alloc(r, COUNT * row_bytes), *fault = rig_floats(r, 4, 0);
    mnt_operand f = rig_operand(fault, 0, MNT_U32, MNT_SHAPE(4));
    mnt_cmd cmd = { .op = MNT_OP_ID_gather,
                    .in = { rig_operand(table, 0, dtype, MNT_SHAPE(rows, width)),
                            rig_operand(rig_bytes(r, index, sizeof index), 0, MNT_I32,
                                        MNT_SHAPE(COUNT)),
                            f },
                    .out = { rig_operand(y, 0, dtype, MNT_SHAPE(COUNT, width)), f },
                    .label = "" };
    rig_once(r, &cmd, 1);
    rig_read(r, y, 0, got, COUNT * row_bytes);
    for (int i = 0; i < COUNT && !rig_stopped(r); i++)
        rig_expect(r,
                   !memcmp(want + (uint64_t)i * row_bytes,
                           got + (uint64_t)i * row_bytes, row_bytes),
                   "gather from a table [%lld,%lld] of %s: row %d of the result is not "
                   "row %d of the table",
                   (long long)rows, (long long)width, mnt_dtype_name(dtype), i,
                   index[i]);
    free(want);
    free(got);
}

CHECK(far_table_f32)
{
    far_table(r, MNT_F32, 65537);
}

CHECK(far_table_u8)
{
    far_table(r, MNT_U8, 784);
}
