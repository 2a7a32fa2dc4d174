/* SPDX-License-Identifier: MIT */
/*
 * row-<op>: samples of each row of ops.def, placed by hand. The result has the bits of
 * the reference kernels, needs no clean memory, and nothing around it changes. What is
 * refused is refused by supports() and prepare() alike.
 */
#include "checks.h"

#include <stdio.h>

#define MARGIN 256

static void one_sample(rig *r, sample *s)
{
    static const unsigned char poisons[] = { 0xa5, 0xff };
    sample_expect(r, s);
    uint64_t bytes = MARGIN;
    sample_pack(s, NULL, &bytes, MARGIN, 8);
    void *buffer = rig_alloc(r, bytes + MARGIN);
    for (int shift = 0; shift < 8; shift++) {
        uint64_t at = MARGIN;
        char where[96];
        sample_pack(s, buffer, &at, MARGIN, shift);
        snprintf(where, sizeof where,
                 "operands %d elements behind a multiple of 64 bytes, memory full of "
                 "%02x",
                 shift, poisons[shift % 2]);
        sample_check(r, s, where, poisons[shift % 2], 1 + shift % 3);
    }
    rig_release(r, buffer);
}

static void row(rig *r, mnt_op op)
{
    sample s;
    int taken = 0, i = 0;
    for (; !rig_stopped(r) && sample_make(&s, op, i); i++) {
        uint64_t at = 256;
        void *place = rig_alloc(r, 1 << 20);
        sample_pack(&s, place, &at, 0, 0);
        bool yes = sample_taken(r, &s);
        rig_release(r, place);
        if (yes) {
            taken++;
            one_sample(r, &s);
        }
        sample_free(&s);
    }
    if (taken == 0)
        rig_skip(r, "%s: none of %d samples is supported", mnt_op_name(op), i);
}

#define MNT_OP(name, n_in, n_out, args, flags)                                         \
    static void row_##name(rig *r)                                                     \
    {                                                                                  \
        row(r, MNT_OP_ID_##name);                                                      \
    }                                                                                  \
    contract_outcome contract_row_##name(const contract_subject *s, char *text,        \
                                         size_t size)                                  \
    {                                                                                  \
        return rig_run(s, text, size, row_##name);                                     \
    }
#include <mnt/ops.def>
#undef MNT_OP
