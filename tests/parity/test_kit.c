/* SPDX-License-Identifier: MIT */
/*
 * The judge is judged: the oracle's generator against published vectors, random cases
 * are the same for the same seed and all legal, every row of ops.def is reached.
 */
#include "../../conformance/kit/kit.h"
#include "../support/support.h"

#include <string.h>

#define CASES 40
#define DRAWS 600

static void philox_is(const uint32_t c[4], const uint32_t k[2], const uint32_t want[4])
{
    uint32_t got[4];
    ora_philox(c, k, got);
    assert_memory_equal(got, want, 16);
}

/* The published vectors of Random123 (Salmon et al.), kat_vectors, philox4x32 10. */
static void test_philox_vectors(void **state)
{
    (void)state;
    philox_is((uint32_t[]){ 0, 0, 0, 0 }, (uint32_t[]){ 0, 0 },
              (uint32_t[]){ 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 });
    philox_is((uint32_t[]){ 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
              (uint32_t[]){ 0xffffffff, 0xffffffff },
              (uint32_t[]){ 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd });
    philox_is((uint32_t[]){ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
              (uint32_t[]){ 0xa4093822, 0x299f31d0 },
              (uint32_t[]){ 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 });
}

/* Runs a text and checks it against the oracle; returns the rows it reached. */
static uint64_t run_text(mnt_device *dev, const kit_op *op, const char *text,
                         kit_mode mode)
{
    kit_case c;
    kit_result r;
    kit_verdict v = { .ok = true };
    kit_case_init(&c, op, text);
    if (!kit_run(dev, &c, mode, &r))
        fail_msg("%s: case '%s': %s: %s", op->name, text, mnt_status_name(r.status),
                 r.error);
    if (!kit_right(&c, "the reference set", &r, &v))
        fail_msg("%s", v.text);
    uint64_t rows = r.ops;
    kit_result_free(&r);
    kit_case_free(&c);
    return rows;
}

static void test_generated(void **state)
{
    (void)state;
    mnt_device *dev = sup_open(SUP_REFERENCE, 1);
    for (int k = 0; kit_ops[k]; k++) {
        kit_rng r = { 20 }, again = { 20 };
        for (int i = 0; i < CASES; i++) {
            char text[KIT_TEXT], same[KIT_TEXT];
            kit_generate(kit_ops[k], &r, text);
            kit_generate(kit_ops[k], &again, same);
            assert_string_equal(text, same);
            run_text(dev, kit_ops[k], text,
                     (kit_mode){ .backward = true, .eager = i % 4 == 3 });
        }
    }
    mnt_device_close(dev);
}

static void test_rows_are_reached(void **state)
{
    (void)state;
    mnt_device *dev = sup_open("", 1);
    for (int row = 0; row < MNT_OP_COUNT; row++) {
        kit_rng r = { 7 };
        bool reached = false;
        for (int i = 0; i < DRAWS && !reached; i++) {
            char text[KIT_TEXT];
            kit_generate(kit_of_row[row], &r, text);
            kit_mode mode = { .backward = true, .no_fusion = i % 2 == 1 };
            reached = run_text(dev, kit_of_row[row], text, mode) >> row & 1;
        }
        if (!reached)
            fail_msg("no random case of %s reaches %s", kit_of_row[row]->name,
                     mnt_op_name((mnt_op)row));
    }
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_vectors),
        cmocka_unit_test(test_generated),
        cmocka_unit_test(test_rows_are_reached),
    };
    return cmocka_run_group_tests_name("kit", tests, NULL, NULL);
}
