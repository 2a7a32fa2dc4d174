/* SPDX-License-Identifier: MIT */
/*
 * Packed copies of parameters: a backend may keep them while the operand's version
 * counter stands still, and not a moment longer.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define M 40
#define K 64
#define C 48

/* y = a w with a all ones: each element is the sum of a column of w, here 64 times the
 * value that fills it. */
typedef struct product {
    void *a, *w, *y, *program;
    uint64_t version;
    mnt_cmd cmd;
} product;

static mnt_operand matrix(void *buffer, int64_t rows, int64_t cols)
{
    return rig_operand(buffer, 0, MNT_F32, MNT_SHAPE(rows, cols));
}

static void product_open(rig *r, product *p, void *w, bool versioned)
{
    p->a = rig_floats(r, M * K, 1);
    p->y = rig_floats(r, M * C, -1);
    p->w = w;
    p->version = 1;
    mnt_operand weight = matrix(w, K, C);
    weight.version = versioned ? &p->version : NULL;
    p->cmd = rig_matmul(matrix(p->a, M, K), weight, matrix(p->y, M, C));
    p->program = rig_prepare(r, &p->cmd, 1);
}

static void product_expect(rig *r, const product *p, const char *what, float value)
{
    float got[M * C] = { 0 };
    rig_read(r, p->y, 0, got, sizeof got);
    rig_all(r, what, K * value, got, M * C);
}

CHECK(version_changed)
{
    product p;
    product_open(r, &p, rig_floats(r, K * C, 1), true);
    rig_submit(r, p.program, 2);
    product_expect(r, &p, "a product with a parameter", 1);
    for (int i = 2; i < 8; i++) {
        char what[96];
        rig_set(r, p.w, K * C, (float)i);
        p.version++;
        rig_submit(r, p.program, 1 + i % 2);
        snprintf(what, sizeof what,
                 "the parameter was written and its version raised to %d", i);
        product_expect(r, &p, what, (float)i);
    }
    /* Any other value is another version. */
    rig_set(r, p.w, K * C, 0.5f);
    p.version = 0;
    rig_submit(r, p.program, 1);
    product_expect(r, &p, "the version went back to 0", 0.5f);
}

CHECK(no_version)
{
    product p;
    product_open(r, &p, rig_floats(r, K * C, 1), false);
    for (int i = 1; i < 6; i++) {
        char what[96];
        rig_set(r, p.w, K * C, (float)i);
        rig_submit(r, p.program, 2);
        snprintf(what, sizeof what, "an operand without version, written the %dth time",
                 i);
        product_expect(r, &p, what, (float)i);
    }
}

/* The program writes the parameter behind the product: each replay must see what the
 * one before left, though the version changes only between submissions. */
CHECK(written_in_the_program)
{
    product p;
    product_open(r, &p, rig_floats(r, K * C, 1), true);
    void *one = rig_floats(r, K * C, 1);
    mnt_operand flat = rig_vector(p.w, K * C);
    mnt_cmd cmds[2] = { p.cmd, rig_accumulate(rig_vector(one, K * C), flat) };
    cmds[1].in[1].version = cmds[1].out[0].version = &p.version;
    rig_number(cmds, 2);
    void *program = rig_prepare(r, cmds, 2);
    float want = 1;
    for (int n = 1; n < 6; n++) {
        char what[96];
        rig_submit(r, program, n);
        p.version++;
        want += (float)n;
        snprintf(what, sizeof what,
                 "a product before + 1 on its parameter, submission of %d", n);
        product_expect(r, &p, what, want - 1);
    }
    rig_submit(r, p.program, 1);
    product_expect(r, &p, "another program's product with that parameter", want);
}

CHECK(two_programs_one_parameter)
{
    product p, q;
    void *w = rig_floats(r, K * C, 1);
    product_open(r, &p, w, true);
    product_open(r, &q, w, true);
    for (int i = 1; i < 5; i++) {
        rig_set(r, w, K * C, (float)i);
        p.version++;
        q.version++;
        rig_submit(r, p.program, 1);
        rig_submit(r, q.program, 1);
        product_expect(r, &p, "first of two programs with one parameter", (float)i);
        product_expect(r, &q, "second of two programs with one parameter", (float)i);
    }
    rig_discard(r, p.program);
    rig_submit(r, q.program, 1);
    product_expect(r, &q, "after the first program was discarded", 4);
}

/* Another buffer at the same address, with the same version: another parameter. */
CHECK(another_parameter_same_address)
{
    for (int i = 1; i < 8 && !rig_stopped(r); i++) {
        product p;
        char what[96];
        product_open(r, &p, rig_floats(r, K * C, (float)i), true);
        rig_submit(r, p.program, 1);
        snprintf(what, sizeof what, "the %dth parameter, earlier ones released", i);
        product_expect(r, &p, what, (float)i);
        rig_discard(r, p.program);
        rig_release(r, p.w);
        rig_release(r, p.a);
        rig_release(r, p.y);
    }
}

/* Each sample that reads an f32 second input, as a parameter: bits as the reference's
 * after every change. */
CHECK(version_of_every_row)
{
    for (int op = 0; op < MNT_OP_COUNT && !rig_stopped(r); op++) {
        sample s;
        for (int i = 0; !rig_stopped(r) && sample_make(&s, (mnt_op)op, i); i++) {
            uint64_t at = 256, version = 1;
            void *place = rig_alloc(r, 1 << 20);
            sample_pack(&s, place, &at, 64, 0);
            int w = s.there[2] && s.cmd.op == MNT_OP_ID_conv2d_pool_dx ? 2 : 1;
            bool fit = s.there[w] && s.cmd.in[w].dtype == MNT_F32 &&
                       !(mnt_op_flags(s.cmd.op) & MNT_OP_INPLACE);
            s.cmd.in[w].version = fit ? &version : NULL;
            void *p = fit && sample_taken(r, &s) ? rig_prepare(r, &s.cmd, 1) : NULL;
            for (int k = 0; k < 3 && p && !rig_stopped(r); k++) {
                kit_rng rng = { (uint64_t)k + 5 };
                int64_t n = mnt_operand_count(&s.cmd.in[w]);
                for (int64_t e = 0; e < n; e++)
                    ((float *)s.data[w])[e] = kit_float(&rng);
                for (int o = 0; o < MNT_MAX_IN; o++)
                    if (s.there[o])
                        rig_write(r, place, s.cmd.in[o].offset, s.data[o],
                                  (uint64_t)mnt_operand_count(&s.cmd.in[o]) *
                                      mnt_dtype_size(s.cmd.in[o].dtype));
                version++;
                sample_expect(r, &s);
                rig_submit(r, p, 1);
                int64_t count = mnt_operand_count(&s.cmd.out[0]);
                uint64_t bytes = (uint64_t)count * mnt_dtype_size(s.cmd.out[0].dtype);
                void *got = kit_alloc(bytes);
                char what[96];
                rig_read(r, place, s.cmd.out[0].offset, got, bytes);
                snprintf(what, sizeof what, "%s, sample %d, parameter written %d times",
                         mnt_op_name(s.cmd.op), i, k + 1);
                rig_same(r, what, s.cmd.out[0].dtype, s.want[0], got, count);
                free(got);
            }
            rig_discard(r, p);
            rig_release(r, place);
            sample_free(&s);
        }
    }
}
