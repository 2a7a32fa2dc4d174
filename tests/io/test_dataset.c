/* SPDX-License-Identifier: MIT */
/*
 * Data sets: the files of MNIST, the caller's arrays and the digit generator; the order
 * of the samples; batches as a graph sees them. Looks into the library only for the
 * generators.
 */
#include "dataset.h"
#include "idx.h"
#include "io.h"
#include <mnt/philox.h>

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

/* Random123's known answers for philox4x32-10. */
static void philox_known_answers(void **state)
{
    (void)state;
    static const uint32_t rows[][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
          0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
          0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t out[4];
        mnt_philox(rows[i], rows[i] + 4, out);
        assert_memory_equal(out, rows[i] + 6, sizeof out);
    }
}

static uint32_t digits_crc(uint64_t seed, mnt_split split, int count, int seen[10])
{
    uLong crc = 0;
    for (int i = 0; i < count; i++) {
        uint8_t digit[MNTI_DIGIT_BYTES + 1];
        int label = mnti_synth_digit(seed, split, (uint64_t)i, digit);
        assert_in_range(label, 0, 9);
        seen[label]++;
        digit[MNTI_DIGIT_BYTES] = (uint8_t)label;
        crc = crc32(crc, digit, sizeof digit);
    }
    return (uint32_t)crc;
}

/* The same bytes on every machine: these were computed on x86-64 and aarch64. */
static void digits_are_golden(void **state)
{
    (void)state;
    int seen[10] = { 0 };
    assert_int_equal(digits_crc(1, MNT_TRAIN, 2000, seen), 0x7c03c222);
    assert_int_equal(digits_crc(1, MNT_TEST, 2000, seen), 0x532b0530);
    assert_int_equal(digits_crc(UINT64_MAX, MNT_TEST, 2000, seen), 0x8f265e14);
    for (int i = 0; i < 10; i++)
        assert_in_range(seen[i], 480, 720);
}

static void synth_is_a_function_of_seed_and_split(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    mnt_dataset *a = NULL, *b = NULL;
    MUST(dev, mnt_synth_open(&a, dev, 40, 7, MNT_TEST));
    MUST(dev, mnt_synth_open(&b, dev, 20, 7, MNT_TEST));
    assert_int_equal(mnt_dataset_count(a), 40);
    assert_int_equal(mnt_dataset_classes(a), 10);
    assert_int_equal(mnt_dataset_sample(a).ndim, 3);
    uint8_t *x = sup_read(dev, a->images), *y = sup_read(dev, b->images);
    assert_memory_equal(x, y, (size_t)20 * MNTI_DIGIT_BYTES);
    free(x);
    free(y);
    mnt_dataset_close(a);
    mnt_dataset_close(b);
    MUST_FAIL(dev, MNT_INVALID, "count is 0", mnt_synth_open(&a, dev, 0, 7, MNT_TEST));
    MUST_FAIL(dev, MNT_INVALID, "count is 16777217",
              mnt_synth_open(&a, dev, 16777217, 7, MNT_TEST));
    MUST_FAIL(dev, MNT_INVALID, "no split",
              mnt_synth_open(&a, dev, 1, 7, (mnt_split)2));
    MUST_FAIL(dev, MNT_INVALID, "out is NULL",
              mnt_synth_open(NULL, dev, 1, 7, MNT_TEST));
    mnt_device_close(dev);
}

static void arrays_are_checked(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    const uint8_t x[6] = { 0 }, y[3] = { 0, 2, 1 };
    mnt_shape pair = MNT_SHAPE(2);
    mnt_dataset *d = NULL;
    MUST_FAIL(dev, MNT_LABEL, "the label of row 1 is 2, not below 2",
              mnt_dataset_create(&d, dev, x, pair, y, 3, 2));
    assert_null(d);
    MUST_FAIL(dev, MNT_INVALID, "images is NULL",
              mnt_dataset_create(&d, dev, NULL, pair, y, 3, 3));
    MUST_FAIL(dev, MNT_INVALID, "labels is NULL",
              mnt_dataset_create(&d, dev, x, pair, NULL, 3, 3));
    MUST_FAIL(dev, MNT_INVALID, "count is 0",
              mnt_dataset_create(&d, dev, x, pair, y, 0, 3));
    MUST_FAIL(dev, MNT_INVALID, "classes is 1",
              mnt_dataset_create(&d, dev, x, pair, y, 3, 1));
    MUST_FAIL(dev, MNT_INVALID, "classes is 257",
              mnt_dataset_create(&d, dev, x, pair, y, 3, 257));
    MUST_FAIL(dev, MNT_INVALID, "sample shape [0]",
              mnt_dataset_create(&d, dev, x, MNT_SHAPE(0), y, 3, 3));
    MUST_FAIL(dev, MNT_INVALID, "sample shape [1,1,1,1,1,1]",
              mnt_dataset_create(&d, dev, x, MNT_SHAPE(1, 1, 1, 1, 1, 1), y, 3, 3));
    MUST_FAIL(NULL, MNT_INVALID, "dev is NULL",
              mnt_dataset_create(&d, NULL, x, pair, y, 3, 3));
    MUST(dev, mnt_dataset_create(&d, dev, x, (mnt_shape){ 0 }, y, 3, 3));
    assert_int_equal(mnt_dataset_batches(d, 2), 1);
    assert_int_equal(mnt_dataset_batches(d, 0), 0);
    assert_int_equal(mnt_dataset_batches(d, 4), 0);
    assert_int_equal(mnt_dataset_batches(NULL, 1), 0);
    mnt_dataset_close(d);
    mnt_dataset_close(NULL);
    mnt_device_close(dev);
}

/* 12 samples of one byte: 10 i; labels i % 3. */
static mnt_dataset *twelve(mnt_device *dev)
{
    uint8_t x[12], y[12];
    for (int i = 0; i < 12; i++) {
        x[i] = (uint8_t)(10 * i);
        y[i] = (uint8_t)(i % 3);
    }
    mnt_dataset *d = NULL;
    MUST(dev, mnt_dataset_create(&d, dev, x, MNT_SHAPE(1), y, 12, 3));
    return d;
}

static void assert_order(mnt_device *dev, mnt_dataset *d, const int32_t want[12])
{
    int32_t *perm = sup_read(dev, d->perm), *cursor = sup_read(dev, d->cursor);
    assert_memory_equal(perm, want, 12 * sizeof *want);
    assert_int_equal(*cursor, 0);
    free(perm);
    free(cursor);
}

/* Computed by another program from the words of the documentation. */
static void shuffles_are_golden(void **state)
{
    (void)state;
    static const int32_t plain[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    static const int32_t third[12] = { 0, 8, 7, 10, 5, 6, 11, 2, 9, 1, 3, 4 };
    static const int32_t minus[12] = { 2, 4, 8, 1, 3, 7, 11, 0, 9, 10, 5, 6 };
    mnt_device *dev = io_open(NULL);
    mnt_dataset *d = twelve(dev);
    MUST(dev, mnt_dataset_shuffle(d, 0x123456789abcdef0, 3));
    assert_order(dev, d, third);
    MUST(dev, mnt_dataset_seek(d, 5));
    MUST(dev, mnt_dataset_shuffle(d, 1, -1));
    assert_order(dev, d, minus);
    MUST(dev, mnt_dataset_seek(d, 5));
    MUST(dev, mnt_dataset_rewind(d));
    assert_order(dev, d, plain);
    MUST(dev, mnt_dataset_seek(d, 12));
    assert_order(dev, d, plain);
    MUST_FAIL(dev, MNT_INVALID, "sample 13", mnt_dataset_seek(d, 13));
    MUST_FAIL(dev, MNT_INVALID, "sample -1", mnt_dataset_seek(d, -1));
    MUST_FAIL(NULL, MNT_INVALID, "NULL", mnt_dataset_seek(NULL, 0));
    MUST_FAIL(NULL, MNT_INVALID, "NULL", mnt_dataset_rewind(NULL));
    MUST_FAIL(NULL, MNT_INVALID, "NULL", mnt_dataset_shuffle(NULL, 0, 0));
    mnt_dataset_close(d);
    mnt_device_close(dev);
}

/* What one replay sees must be samples want[0..4]. */
static void assert_batch(mnt_device *dev, mnt_graph *g, mnt_batch b, const int want[5])
{
    MUST(dev, mnt_graph_run(g, 1));
    float *x = sup_read(dev, b.x);
    int32_t *y = sup_read(dev, b.y);
    for (int i = 0; i < 5; i++) {
        assert_true(x[i] == (float)(10 * want[i]) / 255.0f);
        assert_int_equal(y[i], want[i] % 3);
    }
    free(x);
    free(y);
}

static void batches_follow_the_cursor(void **state)
{
    (void)state;
    mnt_device *dev = sup_open(NULL, 1);
    mnt_dataset *d = twelve(dev);
    mnt_graph *g = NULL;
    MUST(dev, mnt_graph_create(&g, dev, NULL, NULL));
    mnt_batch b = mnt_batch_input(g, d, 5);
    assert_non_null(b.x);
    mnt_tensor_keep(b.x);
    mnt_tensor_keep(b.y);
    MUST(dev, mnt_graph_compile(g));
    assert_batch(dev, g, b, (const int[]){ 0, 1, 2, 3, 4 });
    assert_batch(dev, g, b, (const int[]){ 5, 6, 7, 8, 9 });
    assert_batch(dev, g, b, (const int[]){ 10, 11, 0, 1, 2 });
    MUST(dev, mnt_dataset_seek(d, 9));
    assert_batch(dev, g, b, (const int[]){ 9, 10, 11, 0, 1 });
    MUST(dev, mnt_dataset_seek(d, 12));
    assert_batch(dev, g, b, (const int[]){ 0, 1, 2, 3, 4 });
    MUST(dev, mnt_dataset_shuffle(d, 1, 1));
    int now[12];
    for (int i = 0; i < 12; i++)
        now[i] = d->order[i];
    assert_batch(dev, g, b, now);
    assert_batch(dev, g, b, now + 5);
    MUST(dev, mnt_dataset_rewind(d));
    assert_batch(dev, g, b, (const int[]){ 0, 1, 2, 3, 4 });
    mnt_graph_destroy(g);
    mnt_dataset_close(d);
    mnt_device_close(dev);
}

static void batches_are_checked(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 0, -1, 13 };
    mnt_device *dev = io_open(NULL), *other = io_open(NULL);
    mnt_dataset *d = twelve(dev);
    for (int i = 0; i < 5; i++) {
        mnt_graph *g = NULL;
        MUST(dev, mnt_graph_create(&g, i == 3 ? other : dev, NULL, NULL));
        mnt_batch b = mnt_batch_input(g, i == 4 ? NULL : d, i < 3 ? sizes[i] : 1);
        assert_true(!b.x && !b.y);
        assert_int_equal(mnt_graph_status(g), MNT_INVALID);
        static const char *const parts[] = { "the batch is 0", "the batch is -1",
                                             "the batch is 13, the data set has 12",
                                             "another device", "NULL" };
        MUST_FAIL(i == 3 ? other : dev, MNT_INVALID, parts[i], mnt_graph_compile(g));
        mnt_graph_destroy(g);
    }
    assert_null(mnt_batch_input(NULL, d, 1).x);
    mnt_dataset_close(d);
    mnt_device_close(dev);
    mnt_device_close(other);
}

/* ---- the files of MNIST ---- */

#define IMAGES     3
#define IMAGE_FILE (16 + IMAGES * MNTI_DIGIT_BYTES)
#define LABEL_FILE (8 + IMAGES)

typedef struct pair {
    uint8_t images[IMAGE_FILE], labels[LABEL_FILE];
} pair;

static void make_pair(pair *p)
{
    static const uint8_t image_head[16] = { 0, 0, 8, 3,  0, 0, 0, IMAGES,
                                            0, 0, 0, 28, 0, 0, 0, 28 };
    static const uint8_t label_head[8] = { 0, 0, 8, 1, 0, 0, 0, IMAGES };
    memcpy(p->images, image_head, 16);
    memcpy(p->labels, label_head, 8);
    for (int i = 0; i < IMAGES; i++)
        p->labels[8 + i] = (uint8_t)mnti_synth_digit(
            1, MNT_TEST, (uint64_t)i, p->images + 16 + i * MNTI_DIGIT_BYTES);
}

static void put_file(const char *folder, const char *name, const void *data,
                     size_t bytes, bool gz)
{
    char path[512];
    io_join(path, folder, name);
    uint8_t *packed = NULL;
    size_t n = gz ? io_gzip(data, bytes, &packed) : bytes;
    io_write(path, gz ? packed : data, n);
    free(packed);
}

static void mnist_files_plain_and_gz(void **state)
{
    (void)state;
    static const struct {
        const char *images, *labels;
    } forms[] = {
        { "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" },
        { "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz" },
        { "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz" },
        { "t10k-images-idx3-ubyte.gz", "t10k-labels.idx1-ubyte" },
    };
    mnt_device *dev = io_open(NULL);
    pair p;
    make_pair(&p);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char folder[256];
        io_folder(folder);
        put_file(folder, forms[i].images, p.images, IMAGE_FILE,
                 strstr(forms[i].images, ".gz") != NULL);
        put_file(folder, forms[i].labels, p.labels, LABEL_FILE,
                 strstr(forms[i].labels, ".gz") != NULL);
        mnt_dataset *d = NULL;
        MUST(dev, mnt_mnist_open(&d, dev, folder, MNT_TEST));
        assert_int_equal(mnt_dataset_count(d), IMAGES);
        assert_int_equal(mnt_dataset_classes(d), 10);
        uint8_t *x = sup_read(dev, d->images), *y = sup_read(dev, d->labels);
        assert_memory_equal(x, p.images + 16, IMAGE_FILE - 16);
        assert_memory_equal(y, p.labels + 8, IMAGES);
        free(x);
        free(y);
        mnt_dataset_close(d);
        MUST_FAIL(dev, MNT_NOT_FOUND, "train-images-idx3-ubyte",
                  mnt_mnist_open(&d, dev, folder, MNT_TRAIN));
        assert_null(d);
        io_remove_folder(folder);
    }
    mnt_device_close(dev);
}

static void mnist_files_that_lie(void **state)
{
    (void)state;
    static const struct {
        int at; /* in images; from IMAGE_FILE on in labels */
        uint8_t value;
        size_t cut;
        mnt_status status;
        const char *part;
    } cases[] = {
        { 3, 1, 0, MNT_FORMAT, "t10k-images-idx3-ubyte: the magic number" },
        { 11, 27, 0, MNT_FORMAT, "dim 1 is 27, expected 28" },
        { 15, 29, 0, MNT_FORMAT, "dim 2 is 29, expected 28" },
        { 7, 4, 0, MNT_FORMAT, "ends after" },
        { 4, 255, 0, MNT_FORMAT, "an array has 1 to" },
        { IMAGE_FILE + 3, 3, 0, MNT_FORMAT, "t10k-labels-idx1-ubyte: the magic" },
        { IMAGE_FILE + 7, 2, 1, MNT_FORMAT, "has 3 images and 2 labels" },
        { IMAGE_FILE + 7, 2, 0, MNT_FORMAT, "holds more" },
        { IMAGE_FILE + 9, 10, 0, MNT_LABEL,
          "t10k-labels-idx1-ubyte: the label of row 1 is 10" },
        { IMAGE_FILE + 10, 255, 0, MNT_LABEL, "the label of row 2 is 255" },
    };
    mnt_device *dev = io_open(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pair p;
        make_pair(&p);
        if (cases[i].at < IMAGE_FILE)
            p.images[cases[i].at] = cases[i].value;
        else
            p.labels[cases[i].at - IMAGE_FILE] = cases[i].value;
        char folder[256];
        io_folder(folder);
        put_file(folder, "t10k-images-idx3-ubyte", p.images, IMAGE_FILE, false);
        put_file(folder, "t10k-labels-idx1-ubyte", p.labels, LABEL_FILE - cases[i].cut,
                 false);
        mnt_dataset *d = NULL;
        MUST_FAIL(dev, cases[i].status, cases[i].part,
                  mnt_mnist_open(&d, dev, folder, MNT_TEST));
        assert_null(d);
        io_remove_folder(folder);
    }
    mnt_device_close(dev);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char folder[256];
    io_folder(folder);
    pair p;
    make_pair(&p);
    put_file(folder, "t10k-images-idx3-ubyte.gz", p.images, IMAGE_FILE, true);
    put_file(folder, "t10k-labels-idx1-ubyte", p.labels, LABEL_FILE, false);
    io_heap heap = { .fail_at = -1 };
    mnt_device *dev = io_open(&heap);
    long alive = heap.alive;
    for (int kind = 0; kind < 4; kind++) {
        long n = 0;
        for (mnt_status st = MNT_NO_MEMORY; st; n++) {
            mnt_dataset *d = NULL;
            if (kind < 2)
                heap.fail_at = heap.calls + n;
            else
                io_faults.allocs = (int)n;
            st = kind & 1 ? mnt_mnist_open(&d, dev, folder, MNT_TEST)
                          : mnt_synth_open(&d, dev, 2, 1, MNT_TRAIN);
            heap.fail_at = io_faults.allocs = -1;
            assert_true(st == MNT_OK || st == MNT_NO_MEMORY);
            assert_int_equal(st != MNT_OK, d == NULL);
            mnt_dataset_close(d);
            assert_int_equal(heap.alive, alive);
        }
        assert_true(n > 4);
    }
    io_remove_folder(folder);
    mnt_device_close(dev);
}

static void the_real_files(void **state)
{
    (void)state;
    const char *dir = sup_mnist_dir();
    if (!dir)
        skip();
    mnt_device *dev = io_open(NULL);
    for (int split = MNT_TRAIN; split <= MNT_TEST; split++) {
        mnt_dataset *d = NULL;
        MUST(dev, mnt_mnist_open(&d, dev, dir, (mnt_split)split));
        assert_int_equal(mnt_dataset_count(d), split == MNT_TRAIN ? 60000 : 10000);
        uint8_t *y = sup_read(dev, d->labels);
        assert_int_equal(y[0], split == MNT_TRAIN ? 5 : 7);
        free(y);
        mnt_dataset_close(d);
    }
    mnt_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(digits_are_golden),
        cmocka_unit_test(synth_is_a_function_of_seed_and_split),
        cmocka_unit_test(arrays_are_checked),
        cmocka_unit_test(shuffles_are_golden),
        cmocka_unit_test(batches_follow_the_cursor),
        cmocka_unit_test(batches_are_checked),
        cmocka_unit_test(mnist_files_plain_and_gz),
        cmocka_unit_test(mnist_files_that_lie),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(the_real_files),
    };
    return cmocka_run_group_tests_name("io.dataset", tests, NULL, NULL);
}
