/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints: the same model comes back, the same model gives the same bytes, and a
 * damaged or foreign file gives a status and nothing else. Looks into the library's
 * structures. What happens when the system fails is in test_faults.c.
 */
#include "checkpoint_kit.h"

#include <stdlib.h>

typedef struct fixture {
    mnt_device *dev;
    mnt_model *model;
    char folder[256], path[512];
    uint8_t *bytes; /* of the checkpoint of `model` at `path` */
    size_t size;
} fixture;

static int setup(void **state)
{
    fixture *f = kit_alloc(sizeof *f);
    f->dev = io_open(NULL);
    f->model = kit_model(f->dev, MNTI_OPT_ADAM);
    io_folder(f->folder);
    io_join(f->path, f->folder, "m.safetensors");
    MUST(f->dev, mnt_model_save(f->model, f->path));
    f->bytes = sup_file(f->path, &f->size);
    assert_non_null(f->bytes);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    io_remove_folder(f->folder);
    mnt_model_destroy(f->model);
    mnt_device_close(f->dev);
    free(f->bytes);
    free(f);
    return 0;
}

static void comes_back_and_saves_alike(void **state)
{
    fixture *f = *state;
    for (int kind = MNTI_OPT_NONE; kind <= MNTI_OPT_ADAM; kind++) {
        mnt_model *m = kit_model(f->dev, (mnti_optimizer)kind), *back = NULL;
        MUST(f->dev, mnt_model_save(m, f->path));
        MUST(f->dev, mnt_model_load(&back, f->dev, f->path));
        kit_assert_same(f->dev, m, back);
        assert_int_equal(mnt_model_step(back), KIT_STEP);
        assert_true(back->loaded);
        size_t n, k;
        void *first = sup_file(f->path, &n);
        MUST(f->dev, mnt_model_save(back, f->path));
        void *second = sup_file(f->path, &k);
        assert_int_equal(n, k);
        assert_memory_equal(first, second, n);
        free(first);
        free(second);
        mnt_model_destroy(m);
        mnt_model_destroy(back);
    }
    assert_int_equal(io_count_files(f->folder), 1);
}

/* The layout of the file is a promise: this hash changes only with the version, with
 * the numerics version, or by mistake. */
static void bytes_are_golden(void **state)
{
    fixture *f = *state;
    char hex[65];
    sup_sha256(f->bytes, f->size, hex);
    assert_string_equal(
        hex, "d46149666bafbc5c3c43835f9cc1931c8f4d2c83334b2691ba5365b3fa587817");
    assert_int_equal(f->bytes[8], '{');
    MUST(f->dev, kit_check(f->dev, f->bytes, f->size));
}

static void nan_has_one_spelling(void **state)
{
    fixture *f = *state;
    mnt_model *m = NULL, *back = NULL;
    MUST(f->dev, mnt_model_create(&m, f->dev, NULL));
    mnti_param *p = mnti_model_add(m, "w", MNT_SHAPE(4), (mnt_init){ 0 });
    assert_non_null(p);
    const uint32_t in[] = { 0x7f800001u, 0xffffffffu, 0xffc12345u, 0x7f800000u };
    const uint32_t want[] = { 0x7fc00000u, 0x7fc00000u, 0x7fc00000u, 0x7f800000u };
    MUST(f->dev, mnt_tensor_write(p->w, in, sizeof in));
    MUST(f->dev, mnt_model_save(m, f->path));
    MUST(f->dev, mnt_model_load(&back, f->dev, f->path));
    void *out = sup_read(f->dev, mnt_model_find(back, "w"));
    assert_memory_equal(out, want, sizeof want);
    free(out);
    mnt_model_destroy(m);
    mnt_model_destroy(back);
}

/* All cases are checked in memory; loading a file shares those checks and runs on some,
 * because a file system takes its time. */
#define FILE_STEP 61

static void must_not_load(fixture *f, const uint8_t *bytes, size_t size)
{
    mnt_model *m = (mnt_model *)f;
    io_write(f->path, bytes, size);
    assert_int_not_equal(mnt_model_load(&m, f->dev, f->path), MNT_OK);
    assert_non_null(strstr(mnt_last_error(f->dev), f->path));
    assert_null(m);
}

static void truncated_at_every_byte(void **state)
{
    fixture *f = *state;
    for (size_t n = 0; n < f->size; n++) {
        MUST_FAIL(f->dev, MNT_FORMAT, "memory: ", kit_check(f->dev, f->bytes, n));
        if (n < 10 || n % FILE_STEP == 0)
            must_not_load(f, f->bytes, n);
    }
    uint8_t *longer = kit_alloc(f->size + 1);
    memcpy(longer, f->bytes, f->size);
    MUST_FAIL(f->dev, MNT_FORMAT, "its data", kit_check(f->dev, longer, f->size + 1));
    must_not_load(f, longer, f->size + 1);
    free(longer);
}

static void every_single_bit_flip_is_found(void **state)
{
    fixture *f = *state;
    for (size_t bit = 0; bit < 8 * f->size; bit++) {
        f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        mnt_status st = kit_check(f->dev, f->bytes, f->size);
        if (st != MNT_FORMAT && st != MNT_MISMATCH)
            fail_msg("bit %zu of byte %zu: %s", bit % 8, bit / 8, mnt_status_name(st));
        if (bit % FILE_STEP == 0)
            must_not_load(f, f->bytes, f->size);
        f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Edits that a checksum cannot find, because it was made right again. */
static const struct {
    const char *from, *to;
    mnt_status status;
    const char *part;
} edits[] = {
    { "\"format\":\"libmnt\"", "\"format\":\"pytorc\"", MNT_MISMATCH, "not a check" },
    { "\"libmnt.numerics\":\"1\"", "\"libmnt.numerics\":\"9\"", MNT_MISMATCH,
      "numerics version 9, this library has 1" },
    { "\"libmnt.numerics\"", "\"libmnt.numericz\"", MNT_MISMATCH, "not a checkpoint" },
    { "\"libmnt.seed\":\"1", "\"libmnt.seed\":\"0", MNT_FORMAT, "libmnt.seed" },
    { "\"libmnt.seed\":\"1", "\"libmnt.seed\":\"9", MNT_FORMAT, "libmnt.seed" },
    { "\"libmnt.seed\"", "\"libmnt.sead\"", MNT_FORMAT, "libmnt.seed" },
    { "\"libmnt.step\":\"42", "\"libmnt.step\":\"41", MNT_FORMAT, "libmnt.step" },
    { "\"libmnt.state\":\"0", "\"libmnt.state\":\"A", MNT_FORMAT, "libmnt.state" },
    { "\"adam\"", "\"adax\"", MNT_FORMAT, "libmnt.optimizer" },
    { "\"libmnt.optimizer\":\"adam\"", "\"libmnt.optimizer\":\"none\"", MNT_FORMAT,
      "is no state of this optimizer" },
    { "lr\":\"3dcccccd", "lr\":\"7f800000", MNT_FORMAT, "libmnt.optim.lr" },
    { "lr\":\"3dcccccd", "lr\":\"3DCCCCCD", MNT_FORMAT, "libmnt.optim.lr" },
    { "\"libmnt.optim.eps\"", "\"libmnt.optim.epz\"", MNT_FORMAT, "optim.eps" },
    { "decoupled\":\"1", "decoupled\":\"2", MNT_FORMAT, "optim.decoupled" },
    { ",100:", ",000:", MNT_FORMAT, "optim.schedule" },
    { "schedule\":\"0:00000000,100", "schedule\":\"9:00000000,008", MNT_FORMAT,
      "optim.schedule" },
    { "schedule\":\"0:00000000,100", "schedule\":\"0:00000000;100", MNT_FORMAT,
      "optim.schedule" },
    { "user.epoch", "user.EPOCH", MNT_FORMAT, "metadata user.EPOCH is malformed" },
    { "[0,16],\"dtype\":\"F32\"", "[0,16],\"dtype\":\"I32\"", MNT_FORMAT,
      "is not F32" },
    { "\"__opt.m.fc.bias\"", "\"__opt.m.fc.boas\"", MNT_FORMAT, "belongs to no param" },
    { "\"__opt.m.fc.bias\"", "\"__opt.x.fc.bias\"", MNT_FORMAT, "a reserved name" },
    { "\"shape\":[3,4]", "\"shape\":[4,3]", MNT_FORMAT, "has another shape" },
};

static void sealed_edits_are_found(void **state)
{
    fixture *f = *state;
    uint8_t *copy = kit_alloc(f->size);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        memcpy(copy, f->bytes, f->size);
        kit_replace(copy, edits[i].from, edits[i].to);
        if (mnti_crc_position(copy, f->size))
            kit_seal(copy, f->size);
        io_write(f->path, copy, f->size);
        mnt_model *m = NULL;
        MUST_FAIL(f->dev, edits[i].status, edits[i].part,
                  mnt_model_load(&m, f->dev, f->path));
        assert_null(m);
    }
    memcpy(copy, f->bytes, f->size);
    kit_replace(copy, "user.epoch\":\"3", "user.epoch\":\"4");
    kit_seal(copy, f->size);
    io_write(f->path, copy, f->size);
    mnt_model *m = NULL;
    MUST(f->dev, mnt_model_load(&m, f->dev, f->path));
    assert_string_equal(mnt_model_get_meta(m, "epoch"), "4");
    mnt_model_destroy(m);
    free(copy);
}

static void names_are_checked(void **state)
{
    fixture *f = *state;
    mnt_model *m = kit_model(f->dev, MNTI_OPT_NONE);
    MUST(f->dev, mnt_model_save(m, f->path));
    mnt_model_destroy(m);
    size_t n;
    uint8_t *bytes = sup_file(f->path, &n);
    kit_replace(bytes, "\"fc.bias\"", "\"\\u0007b\"");
    kit_seal(bytes, n);
    io_write(f->path, bytes, n);
    MUST_FAIL(f->dev, MNT_FORMAT, "byte 0 of the name is 0x07",
              mnt_model_load(&m, f->dev, f->path));
    assert_null(m);
    free(bytes);
}

static void foreign_safetensors_do_not_match(void **state)
{
    fixture *f = *state;
    static const char file[] = "\x38\0\0\0\0\0\0\0"
                               "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],"
                               "\"data_offsets\":[0,4]}}      abcd";
    io_write(f->path, file, 8 + 0x38 + 4);
    mnt_model *m = NULL;
    MUST_FAIL(f->dev, MNT_MISMATCH, "not a checkpoint of libmnt",
              mnt_model_load(&m, f->dev, f->path));
}

/* Velocities outlive a momentum that was set to 0. */
static void state_beyond_the_options(void **state)
{
    fixture *f = *state;
    mnt_model *m = kit_model(f->dev, MNTI_OPT_SGD), *back = NULL;
    m->optim.momentum = 0.0f;
    MUST(f->dev, mnt_model_save(m, f->path));
    MUST(f->dev, mnt_model_load(&back, f->dev, f->path));
    kit_assert_same(f->dev, m, back);
    mnt_model_destroy(m);
    mnt_model_destroy(back);
}

static void metas(void **state)
{
    fixture *f = *state;
    mnt_model *m = f->model;
    char long_key[66], long_value[4098];
    memset(long_key, 'k', 65);
    long_key[65] = '\0';
    memset(long_value, 'v', 4097);
    long_value[4097] = '\0';
    MUST_FAIL(f->dev, MNT_INVALID, "key", mnt_model_set_meta(m, "", "x"));
    MUST_FAIL(f->dev, MNT_INVALID, "key", mnt_model_set_meta(m, "Key", "x"));
    MUST_FAIL(f->dev, MNT_INVALID, "key", mnt_model_set_meta(m, long_key, "x"));
    MUST_FAIL(f->dev, MNT_INVALID, "value", mnt_model_set_meta(m, "a", long_value));
    MUST_FAIL(f->dev, MNT_INVALID, "value", mnt_model_set_meta(m, "a", "\xff"));
    MUST_FAIL(f->dev, MNT_INVALID, "NULL", mnt_model_set_meta(m, NULL, "x"));
    MUST_FAIL(NULL, MNT_INVALID, "NULL", mnt_model_set_meta(NULL, "a", "x"));
    MUST(f->dev, mnt_model_set_meta(m, long_key + 1, long_value + 1));
    MUST(f->dev, mnt_model_set_meta(m, "epoch", "4"));
    MUST(f->dev, mnt_model_set_meta(m, "absent", NULL));
    MUST(f->dev, mnt_model_set_meta(m, "batch", NULL));
    assert_null(mnt_model_get_meta(m, "batch"));
    assert_null(mnt_model_get_meta(NULL, "batch"));
    assert_string_equal(mnt_model_get_meta(m, "epoch"), "4");
    assert_string_equal(mnt_model_get_meta(m, long_key + 1), long_value + 1);
}

static void bad_arguments(void **state)
{
    fixture *f = *state;
    mnt_model *m = f->model;
    MUST_FAIL(NULL, MNT_INVALID, "model_save", mnt_model_save(NULL, f->path));
    MUST_FAIL(f->dev, MNT_INVALID, "model_save", mnt_model_save(m, NULL));
    MUST_FAIL(f->dev, MNT_INVALID, "model_save", mnt_model_save(m, ""));
    MUST_FAIL(f->dev, MNT_INVALID, "model_load", mnt_model_load(NULL, f->dev, "x"));
    MUST_FAIL(NULL, MNT_INVALID, "model_load", mnt_model_load(&m, NULL, "x"));
    MUST_FAIL(f->dev, MNT_INVALID, "model_load", mnt_model_load(&m, f->dev, NULL));
    MUST_FAIL(f->dev, MNT_IO, f->folder, mnt_model_load(&m, f->dev, f->folder));
    io_join(f->path, f->folder, "absent");
    MUST_FAIL(f->dev, MNT_IO, f->path, mnt_model_load(&m, f->dev, f->path));
    assert_null(mnti_model_add(f->model, "__opt.v.x", MNT_SHAPE(1), (mnt_init){ 0 }));
    assert_null(
        mnti_model_add(f->model, "__metadata__", MNT_SHAPE(1), (mnt_init){ 0 }));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(comes_back_and_saves_alike),
        CASE(bytes_are_golden),
        CASE(nan_has_one_spelling),
        CASE(truncated_at_every_byte),
        CASE(every_single_bit_flip_is_found),
        CASE(sealed_edits_are_found),
        CASE(names_are_checked),
        CASE(foreign_safetensors_do_not_match),
        CASE(state_beyond_the_options),
        CASE(metas),
        CASE(bad_arguments),
    };
    return cmocka_run_group_tests_name("io.checkpoint", tests, NULL, NULL);
}
