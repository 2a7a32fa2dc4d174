/* SPDX-License-Identifier: MIT */
/*
 * The safetensors reader and writer (internals of the library): what is refused, that
 * every refusal is a sentence, and that what is written is read back.
 */
#include "io.h"
#include "safetensors.h"

#include <stdlib.h>

/* A file of this header text and so many bytes of data, in memory. */
typedef struct image {
    uint8_t *bytes;
    size_t size;
} image;

static image make(const char *text, size_t data)
{
    size_t n = strlen(text);
    image f = { kit_alloc(8 + n + data), 8 + n + data };
    for (int i = 0; i < 8; i++)
        f.bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(f.bytes + 8, text, n);
    return f;
}

/* Parses a copy of exactly `size` bytes, so that a sanitizer sees any step past it. */
static mnt_status parse(mnt_device *dev, const uint8_t *bytes, size_t size, mnti_st *st)
{
    uint8_t *copy = kit_alloc(size);
    memcpy(copy, bytes, size);
    *st = (mnti_st){ 0 };
    mnt_status status = mnti_st_parse(dev, "file", copy, size, st);
    free(copy);
    return status;
}

static void reads_what_the_format_allows(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    image f = make("{\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[4,28]},"
                   "\"__metadata__\":{\"k\":\"v \\u00e9\"},"
                   "\"a\":{\"shape\":[],\"dtype\":\"I32\",\"data_offsets\":[0,4]},"
                   "\"e\":{\"dtype\":\"F64\",\"shape\":[7,0],\"data_offsets\":[28,28]},"
                   "\"h\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,1,1,3],"
                   "\"data_offsets\":[28,34]}}   ",
                   34);
    mnti_st st;
    MUST(dev, parse(dev, f.bytes, f.size, &st));
    assert_int_equal(st.count, 4);
    assert_int_equal(st.data_bytes, 34);
    assert_string_equal(st.tensors[0].name, "a");
    assert_string_equal(st.tensors[1].name, "b");
    assert_int_equal(st.tensors[1].shape.dim[1], 3);
    assert_int_equal(st.tensors[1].begin, 4);
    assert_string_equal(mnti_st_meta(&st, "k"), "v \xc3\xa9");
    assert_null(mnti_st_meta(&st, "absent"));
    mnti_st_free(dev, &st);
    free(f.bytes);
    f = make("{}", 0);
    MUST(dev, parse(dev, f.bytes, f.size, &st));
    assert_int_equal(st.count, 0);
    assert_null(mnti_st_meta(&st, "k"));
    mnti_st_free(dev, &st);
    free(f.bytes);
    mnt_device_close(dev);
}

#define T(dtype, shape, offsets)                                                       \
    "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define GOOD T("\"F32\"", "[2]", "[0,8]")

static const struct {
    const char *text, *part;
    size_t data;
} bad[] = {
    { "", "does not start with {", 0 },
    { " {}", "does not start with {", 0 },
    { "[]", "does not start with {", 0 },
    { "{", "no JSON", 0 },
    { "{}x", "no JSON", 0 },
    { "{}\x01", "no JSON", 0 },
    { "{\"a\":" GOOD ",\"a\":" GOOD "}", "no JSON: duplicate", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],"
      "\"data_offsets\":[0,8]}}",
      "no JSON: duplicate", 8 },
    { "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "no JSON: duplicate", 0 },
    { "{\"\xff\":" GOOD "}", "no JSON", 8 },
    { "{\"a\\u0000b\":" GOOD "}", "no JSON", 8 },
    { "{\"__metadata__\":3}", "__metadata__ is no object", 0 },
    { "{\"__metadata__\":{\"k\":1}}", "k is no string", 0 },
    { "{\"__metadata__\":{\"k\":null}}", "k is no string", 0 },
    { "{\"a\":7}", "tensor a is no object", 0 },
    { "{\"a\":{}}", "tensor a needs dtype", 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "needs", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":0}}",
      "and nothing else", 8 },
    { "{\"a\":" T("32", "[2]", "[0,8]") "}", "needs", 8 },
    { "{\"a\":" T("\"F33\"", "[2]", "[0,8]") "}", "unknown dtype", 8 },
    { "{\"a\":" T("\"f32\"", "[2]", "[0,8]") "}", "unknown dtype", 8 },
    { "{\"a\":" T("\"F32\"", "2", "[0,8]") "}", "needs", 8 },
    { "{\"a\":" T("\"F32\"", "[2.0]", "[0,8]") "}", "whole number", 8 },
    { "{\"a\":" T("\"F32\"", "[-2]", "[0,8]") "}", "whole number", 8 },
    { "{\"a\":" T("\"F32\"", "[\"2\"]", "[0,8]") "}", "whole number", 8 },
    { "{\"a\":" T("\"F32\"", "[true]", "[0,8]") "}", "whole number", 8 },
    { "{\"a\":" T("\"U8\"", "[1,1,1,1,1,1,8]", "[0,8]") "}", "too many dims", 8 },
    { "{\"a\":" T("\"F32\"", "[2]", "[0]") "}", "not two whole", 8 },
    { "{\"a\":" T("\"F32\"", "[2]", "[0,8,8]") "}", "not two whole", 8 },
    { "{\"a\":" T("\"F32\"", "[2]", "[0,8.0]") "}", "not two whole", 8 },
    { "{\"a\":" T("\"F32\"", "[2]", "[-1,7]") "}", "not two whole", 8 },
    { "{\"a\":" T("\"F32\"", "[2]", "[8,0]") "}", "outside the data", 8 },
    { "{\"a\":" T("\"F32\"", "[2]", "[0,9]") "}", "outside the data", 8 },
    { "{\"a\":" T("\"F32\"", "[3]", "[0,8]") "}", "another size", 8 },
    { "{\"a\":" T("\"F32\"", "[0]", "[0,8]") "}", "another size", 8 },
    { "{\"a\":" T("\"U8\"", "[4294967296,4294967296]", "[0,0]") "}", "another", 0 },
    { "{\"a\":" T("\"F64\"", "[4611686018427387904,4]", "[0,0]") "}", "another", 0 },
    { "{\"a\":" T("\"U8\"", "[9223372036854775807]", "[0,8]") "}", "another", 8 },
    { "{\"a\":" T("\"U8\"", "[18446744073709551616]", "[0,0]") "}", "no JSON", 0 },
    { "{\"a\":" T("\"F32\"", "[1]", "[4,8]") "}", "starts at byte 4, not at 0", 8 },
    { "{\"a\":" T("\"F32\"", "[1]", "[0,4]") "}", "have 4 bytes, its data 8", 8 },
    { "{\"a\":" GOOD ",\"b\":" T("\"F32\"", "[2]", "[4,12]") "}",
      "tensor b starts at byte 4, not at 8", 12 },
    { "{\"a\":" GOOD ",\"b\":" GOOD "}", "tensor b starts at byte 0, not at 8", 8 },
    { "{\"a\":" GOOD ",\"b\":" T("\"U8\"", "[0]", "[4,4]") "}", "byte 4", 8 },
};

static void refuses_with_a_sentence(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        image f = make(bad[i].text, bad[i].data);
        mnti_st st;
        MUST_FAIL(dev, MNT_FORMAT, bad[i].part, parse(dev, f.bytes, f.size, &st));
        assert_null(st.header);
        free(f.bytes);
    }
    mnt_device_close(dev);
}

static void truncated_at_every_byte(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    image f = make("{\"a\":" GOOD ",\"__metadata__\":{\"k\":\"v\"}}", 8);
    mnti_st st;
    MUST(dev, parse(dev, f.bytes, f.size, &st));
    mnti_st_free(dev, &st);
    for (size_t n = 0; n < f.size; n++)
        MUST_FAIL(dev, MNT_FORMAT, "file: ", parse(dev, f.bytes, n, &st));
    free(f.bytes);
    mnt_device_close(dev);
}

static void the_length_may_lie(void **state)
{
    (void)state;
    static const uint64_t lies[] = { 0,
                                     1,
                                     3,
                                     11,
                                     (uint64_t)16 << 20,
                                     ((uint64_t)16 << 20) + 1,
                                     UINT64_MAX - 7,
                                     UINT64_MAX };
    mnt_device *dev = io_open(NULL);
    image f = make("{}", 8);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        for (int b = 0; b < 8; b++)
            f.bytes[b] = (uint8_t)(lies[i] >> (8 * b));
        mnti_st st;
        MUST_FAIL(dev, MNT_FORMAT, "header", parse(dev, f.bytes, f.size, &st));
    }
    free(f.bytes);
    mnt_device_close(dev);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    size_t deep = 100000;
    char *text = kit_alloc(deep + 16);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', deep);
    image f = make(text, 0);
    mnti_st st;
    MUST_FAIL(dev, MNT_FORMAT, "no JSON", parse(dev, f.bytes, f.size, &st));
    free(f.bytes);
    free(text);
    mnt_device_close(dev);
}

static void written_is_read(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    const mnti_st_tensor tensors[] = {
        { "b\"\\\n", "F32", MNT_SHAPE(2, 3), 0, 24 },
        { "a", "U8", { 0 }, 24, 1 },
        { "\xe6\xb0\xb4", "F32", MNT_SHAPE(0), 25, 0 },
    };
    json_t *meta = json_pack("{s:s, s:s}", "z", "1", "a", "2");
    char *head, *again;
    size_t n, m;
    MUST(dev, mnti_st_write_head(dev, "file", tensors, 3, meta, &head, &n));
    MUST(dev, mnti_st_write_head(dev, "file", tensors, 3, meta, &again, &m));
    assert_int_equal(n % 8, 0);
    assert_int_equal(n, m);
    assert_memory_equal(head, again, n);
    uint8_t *file = kit_alloc(n + 25);
    memcpy(file, head, n);
    mnti_st st;
    MUST(dev, parse(dev, file, n + 25, &st));
    assert_int_equal(st.count, 3);
    assert_string_equal(st.tensors[0].name, "b\"\\\n");
    assert_int_equal(st.tensors[0].shape.ndim, 2);
    assert_string_equal(mnti_st_meta(&st, "z"), "1");
    mnti_st_free(dev, &st);
    const mnti_st_tensor wrong = { "\xc0\x80", "U8", { 0 }, 0, 1 };
    char *none;
    MUST_FAIL(dev, MNT_INVALID, "tensor 0 is not UTF-8",
              mnti_st_write_head(dev, "file", &wrong, 1, meta, &none, &n));
    json_decref(meta);
    free(file);
    mnt_free(dev, head);
    mnt_free(dev, again);
    mnt_device_close(dev);
}

/* jansson allocates by itself, not through the device's hooks. */
static struct {
    long at, calls, alive;
} json_heap;

static void *json_take(size_t bytes)
{
    if (json_heap.calls++ == json_heap.at)
        return NULL;
    json_heap.alive++;
    return malloc(bytes);
}

static void json_give(void *p)
{
    json_heap.alive -= p != NULL;
    free(p);
}

static void jansson_may_run_out_of_memory(void **state)
{
    (void)state;
    mnt_device *dev = io_open(NULL);
    image f = make("{\"a\":" GOOD ",\"__metadata__\":{\"k\":\"v\",\"l\":\"w\"}}", 8);
    const mnti_st_tensor tensor = { "a", "F32", MNT_SHAPE(2, 3), 0, 24 };
    json_set_alloc_funcs(json_take, json_give);
    for (int write = 0; write < 2; write++) {
        long n = 0;
        for (mnt_status status = MNT_NO_MEMORY; status; n++) {
            json_heap.at = -1;
            json_t *meta = json_pack("{s:s}", "k", "v");
            json_heap.calls = 0;
            json_heap.at = n;
            mnti_st st = { 0 };
            char *head = NULL;
            size_t size;
            status =
                write ? mnti_st_write_head(dev, "file", &tensor, 1, meta, &head, &size)
                      : parse(dev, f.bytes, f.size, &st);
            /* A string that finds no memory looks to jansson like a wrong token. */
            assert_true(status == MNT_OK || status == MNT_NO_MEMORY ||
                        (!write && status == MNT_FORMAT));
            mnti_st_free(dev, &st);
            mnt_free(dev, head);
            json_decref(meta);
            assert_int_equal(json_heap.alive, 0);
        }
        assert_true(n > 10);
    }
    json_set_alloc_funcs(malloc, free);
    free(f.bytes);
    mnt_device_close(dev);
}

static void utf8(void **state)
{
    (void)state;
    static const char *const good[] = { "",
                                        "abc",
                                        "\x7f",
                                        "\xc2\x80",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xef\xbf\xbf",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf" };
    static const char *const not [] = { "\x80",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xc2",
                                        "\xc2 ",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xe1\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(mnti_utf8(good[i]));
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        assert_false(mnti_utf8(not [i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_format_allows),
        cmocka_unit_test(refuses_with_a_sentence),
        cmocka_unit_test(truncated_at_every_byte),
        cmocka_unit_test(the_length_may_lie),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(jansson_may_run_out_of_memory),
        cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests_name("io.safetensors", tests, NULL, NULL);
}
