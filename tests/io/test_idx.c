/* SPDX-License-Identifier: MIT */
/*
 * The IDX reader (an internal of the library) against files that are cut, lengthened,
 * bent and lie, plain and gzip; and that it never takes more memory than is there.
 */
#include "idx.h"
#include "io.h"

#include <stdlib.h>
#include <unistd.h>

#define ROWS   3
#define SIDE   4
#define BYTES  (ROWS * SIDE * SIDE)
#define HEADER 16

static const mnti_idx_want want = { 3, { 0, SIDE, SIDE } };

static void put_be(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* A good file of ROWS images. */
static size_t make(uint8_t out[HEADER + BYTES])
{
    put_be(out, 0x0803);
    put_be(out + 4, ROWS);
    put_be(out + 8, SIDE);
    put_be(out + 12, SIDE);
    for (int i = 0; i < BYTES; i++)
        out[HEADER + i] = (uint8_t)(i * 7 + 1);
    return HEADER + BYTES;
}

static mnt_status parse(mnt_device *dev, const void *bytes, size_t size, mnti_idx *idx)
{
    return mnti_idx_parse(dev, "digits", bytes, size, &want, idx);
}

static void check_good(const mnti_idx *idx)
{
    uint8_t file[HEADER + BYTES];
    make(file);
    assert_int_equal(idx->ndim, 3);
    assert_int_equal(idx->dim[0], ROWS);
    assert_int_equal(idx->bytes, BYTES);
    assert_memory_equal(idx->data, file + HEADER, BYTES);
}

static void reads_plain_and_gzip(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    uint8_t file[HEADER + BYTES], *gz;
    size_t size = make(file), gz_size = io_gzip(file, size, &gz);
    mnti_idx idx;
    MUST(dev, parse(dev, file, size, &idx));
    check_good(&idx);
    mnti_idx_free(dev, &idx);
    assert_null(idx.data);
    MUST(dev, parse(dev, gz, gz_size, &idx));
    check_good(&idx);
    mnti_idx_free(dev, &idx);
    free(gz);
    mnt_device_close(dev);
}

/* RFC 1952: a gzip file may be several members, one after another. */
static void reads_gzip_members(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    uint8_t file[HEADER + BYTES], *a, *b, both[512];
    make(file);
    size_t na = io_gzip(file, 9, &a), nb = io_gzip(file + 9, sizeof file - 9, &b);
    assert_true(na + nb + 3 < sizeof both);
    memcpy(both, a, na);
    memcpy(both + na, b, nb);
    mnti_idx idx;
    MUST(dev, parse(dev, both, na + nb, &idx));
    check_good(&idx);
    mnti_idx_free(dev, &idx);
    memcpy(both + na + nb, "abc", 3);
    MUST_FAIL(dev, MNT_FORMAT, "digits: ", parse(dev, both, na + nb + 3, &idx));
    free(a);
    free(b);
    mnt_device_close(dev);
}

static void truncated_at_every_byte(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    uint8_t file[HEADER + BYTES], *gz;
    size_t size = make(file), gz_size = io_gzip(file, size, &gz);
    mnti_idx idx;
    for (size_t n = 0; n < size; n++) {
        MUST_FAIL(dev, MNT_FORMAT, "digits: ", parse(dev, file, n, &idx));
        assert_null(idx.data);
    }
    for (size_t n = 0; n < gz_size; n++) {
        MUST_FAIL(dev, MNT_FORMAT, "digits: ", parse(dev, gz, n, &idx));
        assert_null(idx.data);
    }
    free(gz);
    mnt_device_close(dev);
}

static void longer_than_promised(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    uint8_t file[HEADER + BYTES + 1], *gz;
    make(file);
    file[HEADER + BYTES] = 0;
    size_t gz_size = io_gzip(file, sizeof file, &gz);
    mnti_idx idx;
    MUST_FAIL(dev, MNT_FORMAT, "holds more than the 48 bytes",
              parse(dev, file, sizeof file, &idx));
    MUST_FAIL(dev, MNT_FORMAT, "holds more than the 48 bytes",
              parse(dev, gz, gz_size, &idx));
    free(gz);
    mnt_device_close(dev);
}

/* A flip is found, or it hit bits that carry no meaning (time, system, padding) and the
 * array is the same. */
static void single_bit_flips_of_gzip(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    uint8_t file[HEADER + BYTES], *gz;
    size_t size = make(file), gz_size = io_gzip(file, size, &gz);
    for (size_t bit = 0; bit < 8 * gz_size; bit++) {
        gz[bit / 8] ^= (uint8_t)(1u << bit % 8);
        mnti_idx idx;
        if (parse(dev, gz, gz_size, &idx) == MNT_OK)
            check_good(&idx);
        mnti_idx_free(dev, &idx);
        gz[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(gz);
    mnt_device_close(dev);
}

static void bad_headers(void **state)
{
    (void)state;
    static const struct {
        int at;
        uint32_t value;
        const char *part;
    } cases[] = {
        { 0, 0x00000801, "magic number is 00000801, expected 00000803" },
        { 0, 0x00000d03, "magic number" },
        { 0, 0x03080000, "magic number" },
        { 4, 0, "dim 0 is 0" },
        { 4, 2, "holds more" },
        { 4, 4, "ends after 48 of 64 bytes" },
        { 4, 0xffffffffu, "dim 0 is 4294967295; an array has 1 to 1073741824" },
        { 4, 0x20000000u, "dim 1 is 4; an array has 1 to 1073741824 bytes" },
        { 4, 0x03ffffffu, "ends after 48 of 1073741808 bytes" },
        { 8, 5, "dim 1 is 5, expected 4" },
        { 12, 0xffffffffu, "dim 2 is 4294967295, expected 4" },
    };
    mnt_device *dev = io_open(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t file[HEADER + BYTES];
        size_t size = make(file);
        put_be(file + cases[i].at, cases[i].value);
        mnti_idx idx;
        MUST_FAIL(dev, MNT_FORMAT, cases[i].part, parse(dev, file, size, &idx));
    }
    mnt_device_close(dev);
}

/* A header that promises 1 GiB over nothing costs at most the first allocation; a
 * stream that unpacks to 64 MiB over a header of 48 bytes is never unpacked. */
static size_t largest;
static void *watch_realloc(void *user, void *p, size_t bytes)
{
    (void)user;
    largest = bytes > largest ? bytes : largest;
    return realloc(p, bytes);
}

static void *watch_alloc(void *user, size_t bytes)
{
    return watch_realloc(user, NULL, bytes);
}

static void watch_free(void *user, void *p)
{
    (void)user;
    free(p);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    mnt_device_close(io_open(NULL));
    mnt_allocator hooks = { watch_alloc, watch_realloc, watch_free, NULL };
    mnt_device *dev = NULL;
    MUST(NULL, mnt_device_open(
                   &dev, &MNT_DEVICE_DESC(.backend = "store", .allocator = &hooks)));
    size_t bomb_bytes = (size_t)64 << 20;
    uint8_t *bomb = kit_alloc(bomb_bytes), *gz;
    make(bomb);
    size_t gz_size = io_gzip(bomb, bomb_bytes, &gz);
    mnti_idx idx;
    MUST_FAIL(dev, MNT_FORMAT, "holds more", parse(dev, gz, gz_size, &idx));
    assert_true(largest < (size_t)1 << 18);
    put_be(bomb + 4, 0x03ffffffu);
    MUST_FAIL(dev, MNT_FORMAT, "ends after", parse(dev, bomb, HEADER + BYTES, &idx));
    assert_true(largest <= (size_t)1 << 20);
    free(gz);
    free(bomb);
    mnt_device_close(dev);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    uint8_t file[HEADER + BYTES], *gz;
    size_t size = make(file), gz_size = io_gzip(file, size, &gz);
    long failed = 0;
    for (long n = 0;; n++) {
        io_heap heap = { .fail_at = -1 };
        mnt_device *dev = io_open(&heap);
        long alive = heap.alive;
        heap.fail_at = heap.calls + n;
        mnti_idx idx;
        mnt_status st = parse(dev, gz, gz_size, &idx);
        if (st == MNT_OK)
            check_good(&idx);
        else
            assert_int_equal(st, MNT_NO_MEMORY);
        mnti_idx_free(dev, &idx);
        assert_int_equal(heap.alive, alive);
        mnt_device_close(dev);
        if (st == MNT_OK)
            break;
        failed++;
    }
    assert_true(failed >= 2);
    free(gz);
}

static void odd_files(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    char folder[256], path[512];
    io_folder(folder);
    io_join(path, folder, "absent");
    mnti_idx idx;
    MUST_FAIL(dev, MNT_NOT_FOUND, path, mnti_idx_read(dev, path, &want, &idx));
    MUST_FAIL(dev, MNT_IO, "not a regular file",
              mnti_idx_read(dev, folder, &want, &idx));
    MUST_FAIL(dev, MNT_IO, "not a regular file",
              mnti_idx_read(dev, "/dev/zero", &want, &idx));
    io_join(path, folder, "empty");
    io_write(path, "", 0);
    MUST_FAIL(dev, MNT_FORMAT, "after 0 of 16 bytes",
              mnti_idx_read(dev, path, &want, &idx));
    io_remove_folder(folder);
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain_and_gzip),
        cmocka_unit_test(reads_gzip_members),
        cmocka_unit_test(truncated_at_every_byte),
        cmocka_unit_test(longer_than_promised),
        cmocka_unit_test(single_bit_flips_of_gzip),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(odd_files),
    };
    return cmocka_run_group_tests_name("io.idx", tests, NULL, NULL);
}
