/* SPDX-License-Identifier: MIT */
/*
 * The fault word: written only if it is clear, naming the lowest bad row, never beside a
 * write out of bounds; optimizers stand still while it is set.
 */
#include "checks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS    5000
#define CLASSES 7

typedef struct batch {
    void *logits, *labels, *loss, *fault, *dloss, *grad;
    int32_t label[ROWS];
} batch;

static void batch_open(rig *r, batch *b)
{
    kit_rng rng = { 3 };
    float *z = kit_alloc(sizeof(float) * ROWS * CLASSES);
    for (int i = 0; i < ROWS * CLASSES; i++)
        z[i] = kit_float(&rng);
    for (int i = 0; i < ROWS; i++)
        b->label[i] = (int32_t)kit_below(&rng, CLASSES);
    b->logits = rig_bytes(r, z, sizeof(float) * ROWS * CLASSES);
    b->labels = rig_bytes(r, b->label, sizeof b->label);
    b->loss = rig_floats(r, 1, 0);
    b->fault = rig_floats(r, 4, 0);
    b->dloss = rig_floats(r, 1, 1);
    b->grad = rig_floats(r, ROWS * CLASSES, -1);
    free(z);
}

static mnt_cmd entropy(const batch *b, mnt_op op)
{
    mnt_operand z = rig_operand(b->logits, 0, MNT_F32, MNT_SHAPE(ROWS, CLASSES));
    mnt_operand y = rig_operand(b->labels, 0, MNT_I32, MNT_SHAPE(ROWS));
    mnt_operand fault = rig_operand(b->fault, 0, MNT_U32, MNT_SHAPE(4));
    mnt_operand loss = rig_operand(b->loss, 0, MNT_F32, (mnt_shape){ 0 });
    mnt_operand dloss = rig_operand(b->dloss, 0, MNT_F32, (mnt_shape){ 0 });
    mnt_operand grad = rig_operand(b->grad, 0, MNT_F32, MNT_SHAPE(ROWS, CLASSES));
    if (op == MNT_OP_ID_cross_entropy)
        return (mnt_cmd){
            .op = op, .in = { z, y, fault }, .out = { loss, fault }, .label = ""
        };
    if (op == MNT_OP_ID_cross_entropy_grad)
        return (
            mnt_cmd){ .op = op, .in = { z, y, dloss }, .out = { grad }, .label = "" };
    return (mnt_cmd){ .op = MNT_OP_ID_cross_entropy_both,
                      .in = { z, y, dloss, fault },
                      .out = { loss, grad, fault },
                      .label = "" };
}

static void set_label(rig *r, batch *b, int row, int32_t label)
{
    b->label[row] = label;
    rig_write(r, b->labels, (uint64_t)row * 4, &label, 4);
}

static void expect_word(rig *r, void *fault, const char *what, uint32_t kind,
                        uint32_t id, uint32_t row, int32_t value)
{
    uint32_t w[4] = { 0 };
    rig_read(r, fault, 0, w, sizeof w);
    rig_expect(r, w[0] == kind && w[1] == id && w[2] == row && w[3] == (uint32_t)value,
               "%s: the fault word is { %u, %u, %u, %d }, expected { %u, %u, %u, %d }",
               what, w[0], w[1], w[2], (int32_t)w[3], kind, id, row, value);
}

static void set_word(rig *r, void *fault, uint32_t a, uint32_t b, uint32_t c,
                     uint32_t d)
{
    const uint32_t w[4] = { a, b, c, d };
    rig_write(r, fault, 0, w, sizeof w);
}

static void labels(rig *r, mnt_op op)
{
    static const int32_t bad[] = { -1, CLASSES, INT32_MIN, INT32_MAX };
    static const int rows[] = { 0, 1, 63, 64, 2500, ROWS - 1 };
    batch *b = kit_alloc(sizeof *b);
    batch_open(r, b);
    mnt_cmd cmd = entropy(b, op);
    cmd.id = 41;
    if (!rig_stopped(r) && !rig_supports(r, &cmd)) {
        rig_skip(r, "%s is not supported", mnt_op_name(op));
        free(b);
        return;
    }
    void *p = rig_prepare(r, &cmd, 1);
    rig_submit(r, p, 2);
    expect_word(r, b->fault, "good labels", 0, 0, 0, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !rig_stopped(r); i++) {
        char what[96];
        int32_t old = b->label[rows[i]], last = b->label[ROWS - 1];
        set_label(r, b, ROWS - 1, CLASSES + 9);
        set_label(r, b, rows[i], bad[i % 4]);
        rig_submit(r, p, 1);
        snprintf(what, sizeof what, "%s, bad labels in rows %d and %d", mnt_op_name(op),
                 rows[i], ROWS - 1);
        expect_word(r, b->fault, what, MNT_FAULT_LABEL, 41, (uint32_t)rows[i],
                    bad[i % 4]);
        float loss = 0;
        rig_read(r, b->loss, 0, &loss, sizeof loss);
        rig_expect(r, isnan(loss), "%s: the loss is %g, expected NaN", what,
                   (double)loss);
        set_label(r, b, ROWS - 1, last);
        set_label(r, b, rows[i], old);
        set_word(r, b->fault, 0, 0, 0, 0);
    }
    /* A word that is set stays; also if only its kind is set. */
    set_label(r, b, 5, -7);
    set_word(r, b->fault, 9, 8, 7, 6);
    rig_submit(r, p, 1);
    expect_word(r, b->fault, "a fault word that was set", 9, 8, 7, 6);
    set_word(r, b->fault, 2, 0, 0, 0);
    rig_submit(r, p, 1);
    expect_word(r, b->fault, "a fault word of which only the kind was set", 2, 0, 0, 0);
    set_word(r, b->fault, 0, 0, 0, 0);
    rig_submit(r, p, 1);
    expect_word(r, b->fault, "the word cleared by the host, the label still bad",
                MNT_FAULT_LABEL, 41, 5, -7);
    free(b);
}

CHECK(fault_cross_entropy)
{
    labels(r, MNT_OP_ID_cross_entropy);
}

CHECK(fault_cross_entropy_both)
{
    labels(r, MNT_OP_ID_cross_entropy_both);
}

CHECK(fault_rows_have_no_gradient)
{
    batch *b = kit_alloc(sizeof *b);
    float row[CLASSES];
    batch_open(r, b);
    mnt_cmd cmd = entropy(b, MNT_OP_ID_cross_entropy_grad);
    static const int rows[] = { 0, 777, ROWS - 1 };
    for (int i = 0; i < 3; i++)
        set_label(r, b, rows[i], i == 0 ? -1 : i == 1 ? CLASSES : INT32_MIN);
    rig_once(r, &cmd, 1);
    for (int i = 0; i < 3; i++) {
        memset(row, 0xff, sizeof row);
        rig_read(r, b->grad, (uint64_t)rows[i] * sizeof row, row, sizeof row);
        rig_all(r, "the gradient of a row whose label is out of range", 0, row,
                CLASSES);
    }
    free(b);
}

CHECK(fault_gather)
{
    enum { TABLE = 30, WIDTH = 9, COUNT = 3000 };
    static int32_t index[COUNT];
    float row[WIDTH];
    for (int i = 0; i < COUNT; i++)
        index[i] = i % TABLE;
    index[1234] = TABLE;
    index[1235] = INT32_MIN;
    index[COUNT - 1] = -1;
    void *fault = rig_floats(r, 4, 0), *y = rig_floats(r, COUNT * WIDTH, -1);
    mnt_operand f = rig_operand(fault, 0, MNT_U32, MNT_SHAPE(4));
    mnt_cmd cmd = {
        .op = MNT_OP_ID_gather,
        .id = 3,
        .in = { rig_operand(rig_floats(r, TABLE * WIDTH, 5), 0, MNT_F32,
                            MNT_SHAPE(TABLE, WIDTH)),
                rig_operand(rig_bytes(r, index, sizeof index), 0, MNT_I32,
                            MNT_SHAPE(COUNT)),
                f },
        .out = { rig_operand(y, 0, MNT_F32, MNT_SHAPE(COUNT, WIDTH)), f },
        .label = "",
    };
    rig_once(r, &cmd, 1);
    expect_word(r, fault, "gather with bad indices", MNT_FAULT_INDEX, 3, 1234, TABLE);
    for (int i = 1230; i < 1240; i++) {
        rig_read(r, y, (uint64_t)i * sizeof row, row, sizeof row);
        rig_all(r,
                i == 1234 || i == 1235 ? "gather, a row whose index is out of range"
                                       : "gather, a row beside a bad one",
                i == 1234 || i == 1235 ? 0 : 5, row, WIDTH);
    }
    set_word(r, fault, 1, 2, 3, 4);
    rig_once(r, &cmd, 1);
    expect_word(r, fault, "gather, a fault word that was set", 1, 2, 3, 4);
}

/* Of two commands in one program the first to fault is named: the loss of the first
 * `rows` rows, twice. */
static void first_command(rig *r, batch *b, void *other, int rows)
{
    mnt_cmd cmds[2] = { entropy(b, MNT_OP_ID_cross_entropy),
                        entropy(b, MNT_OP_ID_cross_entropy) };
    cmds[1].out[0].buffer = other;
    rig_number(cmds, 2);
    for (int i = 0; i < 2; i++) {
        cmds[i].id = 11 + (uint32_t)i;
        cmds[i].in[0].dim[0] = cmds[i].in[1].dim[0] = rows;
    }
    set_label(r, b, rows - 20, CLASSES);
    void *p = rig_prepare(r, cmds, 2);
    for (int i = 0; i < 20 && !rig_stopped(r); i++) {
        set_word(r, b->fault, 0, 0, 0, 0);
        rig_submit(r, p, 1 + i % 2);
        expect_word(r, b->fault, "two commands that meet the same bad label",
                    MNT_FAULT_LABEL, 11, (uint32_t)rows - 20, CLASSES);
    }
    set_label(r, b, rows - 20, 0);
}

CHECK(fault_of_the_first_command)
{
    batch *b = kit_alloc(sizeof *b);
    batch_open(r, b);
    void *other = rig_floats(r, 1, 0);
    first_command(r, b, other, ROWS);
    first_command(r, b, other, 60);
    free(b);
}

/* optimizer_step, sgd and adam write nothing while the word is set. */
CHECK(fault_stops_optimizers)
{
    static const mnt_op ops[] = { MNT_OP_ID_optimizer_step, MNT_OP_ID_sgd,
                                  MNT_OP_ID_adam };
    for (int k = 0; k < 3; k++) {
        sample s;
        for (int i = 0; !rig_stopped(r) && sample_make(&s, ops[k], i); i++) {
            uint64_t at = 256;
            int fault = 0;
            void *place = rig_alloc(r, 1 << 20);
            sample_pack(&s, place, &at, 64, 0);
            while (fault < MNT_MAX_IN &&
                   !(s.there[fault] && s.cmd.in[fault].dtype == MNT_U32 &&
                     s.cmd.in[fault].dim[0] == 4))
                fault++;
            ((uint32_t *)s.data[fault])[0] = MNT_FAULT_LABEL;
            for (int o = 0; o < MNT_MAX_OUT; o++)
                if (s.there[MNT_MAX_IN + o]) {
                    int in = s.same[MNT_MAX_IN + o];
                    size_t n = (size_t)mnt_operand_count(&s.cmd.in[in]) *
                               mnt_dtype_size(s.cmd.in[in].dtype);
                    s.want[o] = kit_alloc(n);
                    memcpy(s.want[o], s.data[in], n);
                }
            if (sample_taken(r, &s))
                sample_check(r, &s, "the fault word set: nothing may change", 0xa5, 1);
            rig_release(r, place);
            sample_free(&s);
        }
    }
}
