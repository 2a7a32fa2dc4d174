/* SPDX-License-Identifier: MIT */
/*
 * The samples, as one table. Text of operands, in order: f f32, p f32 >= 0, t f32 around
 * the smallest normal ones, v f32 and some infinities, i i32, b u8, h f16, then dims by x
 * and <limit for integers (a negative one: numbers below zero); S the optimizer state, T
 * the same before its step outgrows 32 bits, F a fault word that is clear, C the counter
 * of random ops, D before it outgrows 32 bits, - absent; @k the memory of input k (in
 * place).
 */
#include "sample.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct spec {
    mnt_op op;
    const char *in, *out;
    mnt_args args;
} spec;

#define ROW(op, in, out, ...)                                                          \
    {                                                                                  \
        MNT_OP_ID_##op, in, out,                                                       \
        {                                                                              \
            __VA_ARGS__                                                                \
        }                                                                              \
    }
#define NONE    .none = { 0 }
#define PLAIN   1, 1, 0, 0, 1, 1, 1, 56 /* a convolution's args: 3x3 kernels */
#define PADDED  1, 1, 1, 1, 1, 1, 1, 56
#define GROUPED 2, 2, 1, 1, 1, 1, 2, 56
#define POOL    2, 2, 2, 2, 0, 0, 1, 1
#define NOPOOL  0, 0, 0, 0, 0, 0, 0, 0

static const spec specs[] = {
    ROW(matmul, "f5x9 f9x7", "f5x7", .matmul = { .chunk = 16 }),
    ROW(matmul, "f37x300 f300x66", "f37x66", .matmul = { .chunk = 160 }),
    ROW(matmul, "f3x4x8 f3x8x5", "f3x4x5", .matmul = { .chunk = 16 }),
    ROW(matmul, "f9x33 f20x9", "f33x20", .matmul = { true, true, false, 16 }),
    ROW(matmul, "t70x40 f40x34", "f70x34", .matmul = { .chunk = 16 }),
    ROW(dense, "f5x9 f9x7 f7", "f5x7", .matmul = { .relu = true, .chunk = 16 }),
    ROW(dense, "f70x64 f64x34 f34", "f70x34", .matmul = { .chunk = 64 }),
    ROW(dense, "t70x1 f1x34 t34", "f70x34", .matmul = { .relu = true, .chunk = 16 }),
    ROW(add, "f4x6 f4x6", "f4x6", NONE),
    ROW(add, "f70x131 f70x131", "f70x131", NONE),
    ROW(sub, "f70x131 f70x131", "f70x131", NONE),
    ROW(mul, "f70x131 f70x131", "f70x131", NONE),
    ROW(div, "f70x131 f70x131", "f70x131", NONE),
    ROW(scale, "f70x131", "f70x131", .scale = { 1.5f }),
    ROW(relu, "f70x131", "f70x131", NONE),
    ROW(relu_grad, "f70x131 f70x131", "f70x131", NONE),
    ROW(relu_grad, "f70x131 t70x131", "f70x131", NONE),
    ROW(bias_add, "f2x3x4x5 f3", "f2x3x4x5", NONE),
    ROW(bias_add, "f60x100 f100", "f60x100", NONE),
    ROW(bias_grad, "f70x33", "f33", NONE),
    ROW(bias_grad, "f3x5x9x7", "f5", NONE),
    ROW(sum, "f4x6x3", "f4x3", .reduce = { 1, 1 }),
    ROW(sum, "f3x5000", "f3", .reduce = { 1, 1 }),
    ROW(sum, "f7x9", "f", .reduce = { 0, 2 }),
    ROW(mean, "f4x6x3", "f4x3", .reduce = { 1, 1 }),
    ROW(mean, "f7x9", "f", .reduce = { 0, 2 }),
    ROW(argmax, "f4x6x3", "i4x3", .reduce = { 1, 1 }),
    ROW(argmax, "f60x100", "i60", .reduce = { 1, 1 }),
    ROW(softmax, "f60x10", "f60x10", NONE),
    ROW(softmax, "f5x300", "f5x300", NONE),
    ROW(softmax_grad, "f60x10 f60x10", "f60x10", NONE),
    ROW(cross_entropy, "f60x10 i60<10 F", "f @2", NONE),
    ROW(cross_entropy_grad, "f60x10 i60<10 f", "f60x10", NONE),
    ROW(cross_entropy_both, "f60x10 i60<10 f F", "f f60x10 @3", NONE),
    ROW(accuracy_count, "f60x10 i60<10", "i", NONE),
    ROW(conv2d, "f2x4x9x8 f6x4x3x3", "f2x6x7x6", .conv = { PLAIN }),
    ROW(conv2d, "f2x4x9x8 f6x2x3x3", "f2x6x5x4", .conv = { GROUPED }),
    ROW(conv2d, "f5x4x9x9 v6x4x3x3", "f5x6x9x9", .conv = { PADDED }),
    ROW(conv2d_dx, "f2x6x7x6 f6x4x3x3", "f2x4x9x8", .conv = { PLAIN }),
    ROW(conv2d_dx, "f2x6x5x4 f6x2x3x3", "f2x4x9x8", .conv = { GROUPED }),
    ROW(conv2d_dw, "f2x4x9x8 f2x6x7x6", "f6x4x3x3", .conv = { PLAIN }),
    ROW(conv2d_dw, "f2x4x9x8 f2x6x5x4", "f6x2x3x3", .conv = { GROUPED }),
    ROW(conv2d_dw, "f5x4x9x9 v5x6x9x9", "f6x4x3x3", .conv = { PADDED }),
    ROW(conv2d_dw, "f8203x1x3x3 f8203x1x1x1", "f1x1x3x3", .conv = { PLAIN }),
    ROW(im2col, "f2x3x6x5", "f2x18x16", .window = { 3, 2, 1, 1, 0, 0, 1, 1 }),
    ROW(col2im, "f2x18x16", "f2x3x6x5", .window = { 3, 2, 1, 1, 0, 0, 1, 1 }),
    ROW(max_pool2d, "f2x3x6x8", "f2x3x3x4 b2x3x3x4", .window = { POOL }),
    ROW(max_pool2d, "f2x3x6x8", "f2x3x6x8 b2x3x6x8",
        .window = { 3, 3, 1, 1, 1, 1, 1, 1 }),
    ROW(max_pool2d_grad, "f2x3x3x4 b2x3x3x4<4", "f2x3x6x8", .window = { POOL }),
    ROW(conv2d_block, "f2x4x9x8 f6x4x3x3 f6", "f2x6x3x3 b2x6x3x3",
        .block = { { PLAIN }, { POOL }, true }),
    ROW(conv2d_block, "f2x4x9x8 f6x4x3x3 f6", "f2x6x7x6",
        .block = { { PLAIN }, { NOPOOL }, false }),
    ROW(conv2d_pool_dx, "f2x6x3x3 b2x6x3x3<4 f6x4x3x3", "f2x4x9x8",
        .block = { { PLAIN }, { POOL }, false }),
    ROW(conv2d_pool_dx, "f2x6x3x3 i2x6x3x3<4 f6x4x3x3", "f2x4x9x8",
        .block = { { PLAIN }, { POOL }, false }),
    ROW(conv2d_pool_dw, "f2x4x9x8 f2x6x3x3 b2x6x3x3<4", "f6x4x3x3",
        .block = { { PLAIN }, { POOL }, false }),
    ROW(conv2d_pool_dw, "f2x4x9x8 f2x6x3x3 i2x6x3x3<4", "f6x4x3x3",
        .block = { { PLAIN }, { POOL }, false }),
    ROW(conv2d_pool_db, "f2x6x3x3 b2x6x3x3<4", "f6", .block = { .pool = { POOL } }),
    ROW(copy, "f70x131", "f70x131", NONE),
    ROW(copy, "b70x131<256", "b70x131", NONE),
    ROW(copy, "i70x131<999", "i70x131", NONE),
    ROW(copy, "h70x131<65536", "h70x131", NONE),
    ROW(cast, "b70x131<256", "f70x131", .cast = { true }),
    ROW(cast, "f7x13", "i7x13", .cast = { false }),
    ROW(cast, "i70x131<600", "b70x131", .cast = { false }),
    ROW(cast, "b70x131<256", "i70x131", .cast = { false }),
    ROW(gather, "f9x50 i40<9 F", "f40x50 @2", .cast = { false }),
    ROW(gather, "b9x5x7<256 i4<9 F", "f4x5x7 @2", .cast = { true }),
    ROW(gather, "i9x50<600 i40<9 F", "b40x50 @2", .cast = { false }),
    ROW(batch_index, "i20<20 i1<20", "i6 @1", NONE),
    ROW(batch_index, "i20<20 i1<-50", "i6 @1", NONE),
    ROW(fill, "", "f70x131", .scale = { -2.5f }),
    ROW(fill, "", "b70x131", .scale = { 77.0f }),
    ROW(fill, "", "i70x131", .scale = { -3.0f }),
    ROW(fill, "", "b7x13", .scale = { 300.0f }),
    ROW(fill, "", "b7x13", .scale = { -3.0f }),
    ROW(fill, "", "i7x13", .scale = { 3e9f }),
    ROW(accumulate, "f70x131 f70x131", "@1", NONE),
    ROW(accumulate, "i9<100 i9<100", "@1", NONE),
    ROW(uniform, "C", "f70x131", .random = { 7, 5, -2.0f, 3.0f }),
    ROW(normal, "C", "f70x131", .random = { 7, 5, 0.5f, 2.0f }),
    ROW(advance, "C", "@0", NONE),
    ROW(advance, "D", "@0", NONE),
    ROW(optimizer_step, "S F", "@0",
        .optim = { .adam = true, .lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.999f }),
    ROW(optimizer_step, "T F", "@0",
        .optim = { .adam = true, .lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.999f }),
    ROW(sgd, "f5001 f5001 f5001 S F", "@0 @2",
        .optim = { .nesterov = true, .lr = 0.1f, .momentum = 0.9f }),
    ROW(sgd, "f500 f500 - S F", "@0 -", .optim = { .lr = 0.1f }),
    ROW(adam, "f5001 f5001 f5001 p5001 S F", "@0 @2 @3",
        .optim = { .adam = true,
                   .lr = 0.1f,
                   .beta1 = 0.9f,
                   .beta2 = 0.999f,
                   .eps = 1e-8f }),
};

mnt_operand *sample_operand(mnt_cmd *cmd, int i)
{
    return i < MNT_MAX_IN ? &cmd->in[i] : &cmd->out[i - MNT_MAX_IN];
}

const char *sample_name(char buf[8], int i)
{
    bool in = i < MNT_MAX_IN;
    snprintf(buf, 8, "%s %d", in ? "in" : "out", (in ? i : i - MNT_MAX_IN) % 10);
    return buf;
}

static size_t bytes_of(const mnt_operand *o)
{
    return (size_t)mnt_operand_count(o) * mnt_dtype_size(o->dtype);
}

/* What an input starts with. */
static void *fill_input(const mnt_operand *o, char kind, int64_t limit, kit_rng *r)
{
    int64_t n = mnt_operand_count(o);
    void *data = kit_alloc(bytes_of(o));
    static const float tiny[] = {
        1e-40f, -1e-40f, FLT_MIN, -FLT_MIN * 1.5f, 0.0f, -0.0f
    };
    float *f = data;
    int32_t *w = data;
    unsigned char *b = data;
    uint16_t *h = data;
    for (int64_t i = 0; i < n; i++) {
        if (kind == 't')
            f[i] = tiny[kit_below(r, sizeof tiny / sizeof *tiny)];
        if (kind == 'v' && kit_below(r, 16) == 0)
            f[i] = INFINITY;
        else if (kind == 'f' || kind == 'p' || kind == 'v')
            f[i] = kit_float(r);
        if (kind == 'p' && f[i] < 0)
            f[i] = -f[i];
        if (kind == 'i')
            w[i] = (int32_t)(limit < 0 ? -1 - (int64_t)kit_below(r, -limit)
                                       : (int64_t)kit_below(r, limit));
        if (kind == 'b')
            b[i] = (unsigned char)kit_below(r, limit);
        if (kind == 'h')
            h[i] = (uint16_t)kit_below(r, limit);
    }
    if (kind == 'S' || kind == 'T') {
        static const float start[MNT_STATE_WORDS] = { [MNT_STATE_P1] = 1.0f,
                                                      [MNT_STATE_P2] = 1.0f,
                                                      [MNT_STATE_LR] = 0.125f,
                                                      [MNT_STATE_A] = 0.25f,
                                                      [MNT_STATE_R] = 1.5f };
        memcpy(data, start, sizeof start);
    }
    if (kind == 'T')
        w[MNT_STATE_STEP_LO] = -1;
    if (kind == 'C' || kind == 'D')
        w[0] = kind == 'C' ? 3 : -1;
    return data;
}

/* Reads one word of a spec into operand i. */
static const char *read_word(sample *s, const char *text, int i, kit_rng *r)
{
    mnt_operand *o = sample_operand(&s->cmd, i);
    char kind = *text++;
    if (kind == '@') {
        int k = *text++ - '0';
        s->same[i] = k;
        s->there[i] = true;
        *o = s->cmd.in[k];
        return text;
    }
    if (kind == '-')
        return text;
    mnt_shape shape = { 0 };
    mnt_dtype dtype = MNT_F32;
    int64_t limit = 1;
    if (kind == 'S' || kind == 'T' || kind == 'F' || kind == 'C' || kind == 'D') {
        bool state = kind == 'S' || kind == 'T';
        shape = MNT_SHAPE(state ? MNT_STATE_WORDS : kind == 'F' ? 4 : 2);
        dtype = MNT_U32;
    } else if (kind == 'i' || kind == 'b' || kind == 'h') {
        dtype = kind == 'i' ? MNT_I32 : kind == 'b' ? MNT_U8 : MNT_F16;
    }
    while (*text >= '0' && *text <= '9') {
        char *end;
        shape.dim[shape.ndim++] = strtol(text, &end, 10);
        text = *end == 'x' ? end + 1 : end;
    }
    if (*text == '<')
        limit = strtol(text + 1, (char **)&text, 10);
    *o = rig_operand(NULL, 0, dtype, shape);
    s->there[i] = true;
    if (i < MNT_MAX_IN)
        s->data[i] = fill_input(o, kind, limit, r);
    return text;
}

static void read_words(sample *s, const char *text, int first, kit_rng *r)
{
    for (int i = first; *text; i++) {
        text = read_word(s, text, i, r);
        while (*text == ' ')
            text++;
    }
}

bool sample_make(sample *s, mnt_op op, int i)
{
    memset(s, 0, sizeof *s);
    for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
        if (specs[k].op != op || i-- > 0)
            continue;
        kit_rng r = { 77 + k };
        s->cmd = (mnt_cmd){ .op = op, .args = specs[k].args, .label = "" };
        for (int o = 0; o < SAMPLE_OPERANDS; o++)
            s->same[o] = -1;
        read_words(s, specs[k].in, 0, &r);
        read_words(s, specs[k].out, MNT_MAX_IN, &r);
        return true;
    }
    return false;
}

void sample_free(sample *s)
{
    for (int i = 0; i < MNT_MAX_IN; i++)
        free(s->data[i]);
    for (int i = 0; i < MNT_MAX_OUT; i++)
        free(s->want[i]);
    memset(s, 0, sizeof *s);
}

void sample_reshape(sample *s, const mnt_shape shape[SAMPLE_OPERANDS])
{
    kit_rng r = { 99 };
    for (int i = 0; i < SAMPLE_OPERANDS; i++) {
        mnt_operand *o = sample_operand(&s->cmd, i);
        if (!s->there[i])
            continue;
        *o = rig_operand(NULL, 0, o->dtype, shape[i]);
        if (i >= MNT_MAX_IN)
            continue;
        free(s->data[i]);
        s->data[i] = fill_input(o, 'f', 1, &r);
    }
}

void sample_pack(sample *s, void *buffer, uint64_t *at, uint64_t gap, int shift)
{
    for (int i = 0; i < SAMPLE_OPERANDS; i++) {
        mnt_operand *o = sample_operand(&s->cmd, i);
        if (!s->there[i])
            continue;
        if (s->same[i] >= 0) {
            *o = s->cmd.in[s->same[i]];
            continue;
        }
        *at = (*at + 63) / 64 * 64;
        o->buffer = buffer;
        o->offset = *at + (uint64_t)shift * mnt_dtype_size(o->dtype);
        *at = o->offset + bytes_of(o) + gap;
    }
}

void sample_expect(rig *r, sample *s)
{
    rig ref;
    rig_reference(&ref, r);
    mnt_cmd cmd = s->cmd;
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (s->there[i])
            cmd.in[i].buffer = rig_bytes(&ref, s->data[i], bytes_of(&s->cmd.in[i]));
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (s->there[MNT_MAX_IN + i]) {
            int k = s->same[MNT_MAX_IN + i];
            cmd.out[i].buffer =
                k >= 0 ? cmd.in[k].buffer : rig_alloc(&ref, bytes_of(&s->cmd.out[i]));
        }
    for (int i = 0; i < SAMPLE_OPERANDS; i++) {
        mnt_operand *o = sample_operand(&cmd, i);
        void *buffer = o->buffer;
        mnt_shape shape = { .ndim = o->ndim };
        memcpy(shape.dim, o->dim, sizeof shape.dim);
        if (s->there[i])
            *o = rig_operand(buffer, 0, o->dtype, shape);
    }
    rig_once(&ref, &cmd, 1);
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (s->there[MNT_MAX_IN + i]) {
            size_t n = bytes_of(&s->cmd.out[i]);
            free(s->want[i]);
            s->want[i] = kit_alloc(n);
            rig_read(&ref, cmd.out[i].buffer, 0, s->want[i], n);
        }
    rig_join(r, &ref);
}

bool sample_taken(rig *r, const sample *s)
{
    int fails = r->host.fails;
    bool yes = rig_supports(r, &s->cmd);
    if (yes || rig_stopped(r))
        return yes && !rig_stopped(r);
    void *prepared;
    mnt_status st = rig_try_prepare(r, &s->cmd, 1, &prepared);
    char call[96];
    snprintf(call, sizeof call, "prepare of %s, which supports() denies",
             mnt_op_name(s->cmd.op));
    rig_refused(r, st, MNT_UNSUPPORTED, fails, call);
    return false;
}

/* The operands with their surroundings. */
static patch surroundings(const sample *s, uint64_t limit, unsigned char poison)
{
    patch p = { .limit = limit };
    mnt_cmd cmd = s->cmd;
    for (int i = 0; i < SAMPLE_OPERANDS; i++)
        if (s->there[i]) {
            patch_add_operand(&p, sample_operand(&cmd, i), 128);
            if (i >= MNT_MAX_IN)
                patch_add_wrapped(&p, sample_operand(&cmd, i));
        }
    patch_close(&p, poison);
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (s->there[i])
            patch_put(&p, &s->cmd.in[i], s->data[i]);
    return p;
}

/* Outputs against the reference; equal ones are taken over into `before`, which after
 * that must be what `after` is. */
static void compare(rig *r, const sample *s, const char *where, patch *before,
                    const patch *after)
{
    const char *name = mnt_op_name(s->cmd.op);
    for (int i = 0; i < MNT_MAX_OUT && !rig_stopped(r); i++) {
        const mnt_operand *o = &s->cmd.out[i];
        if (!s->there[MNT_MAX_IN + i])
            continue;
        void *got = kit_alloc(bytes_of(o));
        char what[160];
        patch_get(after, o, got);
        snprintf(what, sizeof what, "%s, out %d, %s", name, i, where);
        rig_same(r, what, o->dtype, s->want[i], got, mnt_operand_count(o));
        patch_put(before, o, got);
        free(got);
    }
    for (int i = 0; i < before->count && !rig_stopped(r); i++) {
        const patch_window *w = &before->windows[i], *g = &after->windows[i];
        for (uint64_t k = 0; k < w->bytes; k++)
            if (w->image[k] != g->image[k]) {
                rig_fail(r,
                         "%s, %s: byte %llu of the buffer is no output and changed "
                         "from %02x to %02x (out 0 begins at byte %llu)",
                         name, where, (unsigned long long)(w->offset + k), w->image[k],
                         g->image[k], (unsigned long long)s->cmd.out[0].offset);
                break;
            }
    }
}

void sample_run(rig *r, const sample *s, void *program, const char *where,
                unsigned char poison, int replays)
{
    if (rig_stopped(r))
        return;
    void *buffer = s->cmd.out[0].buffer;
    patch before = surroundings(s, UINT64_MAX, poison);
    patch after = patch_copy(&before);
    patch_write(r, &before, buffer);
    bool inplace = mnt_op_flags(s->cmd.op) & MNT_OP_INPLACE;
    rig_submit(r, program, inplace ? 1 : replays);
    patch_read(r, &after, buffer);
    if (!rig_stopped(r))
        compare(r, s, where, &before, &after);
    patch_free(&before);
    patch_free(&after);
}

void sample_check(rig *r, const sample *s, const char *where, unsigned char poison,
                  int replays)
{
    void *program = rig_prepare(r, &s->cmd, 1);
    sample_run(r, s, program, where, poison, replays);
    rig_discard(r, program);
}
