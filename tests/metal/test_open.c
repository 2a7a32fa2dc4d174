/* SPDX-License-Identifier: MIT */
/*
 * Opening the metal backend: every way to load the kernels, everything that can be
 * missing, and what "auto" does meanwhile. The backend's files are those that Apple's
 * compiler builds; the device is simulated.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The backend does not open, says why, leaves nothing, and the process goes on. */
static void refused(mnt_status want, const char *part)
{
    char alive[256];
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal");
    MUST_FAIL(NULL, want, "device_open: metal: ", mnt_device_open(&dev, &desc));
    if (!strstr(mnt_last_error(NULL), part))
        fail_msg("wanted ...%s..., got %s", part, mnt_last_error(NULL));
    assert_null(dev);
    assert_int_equal(metalsim_alive(alive, sizeof alive), 0);
    check_trains("cpu", NULL);
    check_trains(NULL, NULL);
}

static void test_device(void **state)
{
    (void)state;
    mnt_device *dev = open_device("metal", NULL);
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_string_equal(info.backend, "metal");
    assert_ptr_equal(strstr(info.name, "simulated"), info.name);
    assert_non_null(strstr(info.detail, "embedded metallib"));
    assert_non_null(strstr(info.detail, "SIMD width 32"));
    assert_true(info.memory_bytes > 0);
    mnt_device_close(dev);
    check_trains("metal", NULL);
}

static void note_log(void *user, mnt_log_level level, const char *text)
{
    (void)level;
    if (strstr(text, "metal: the device is simulated"))
        ++*(int *)user;
}

/* Not even where it is the only one that has such an index. */
static void test_auto(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    c.devices = 2;
    metalsim_configure(&c);
    int said = 0;
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.log = note_log, .log_user = &said);
    MUST(NULL, mnt_device_open(&dev, &desc));
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_null(strstr(info.name, "simulated"));
    mnt_device_close(dev);
    assert_int_equal(said, 0);
    desc.index = 1;
    MUST_FAIL(NULL, MNT_NOT_FOUND, "no backend opens", mnt_device_open(&dev, &desc));
    assert_int_equal(said, 1);
    desc.backend = "metal";
    MUST(NULL, mnt_device_open(&dev, &desc));
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_non_null(strstr(info.name, "simulated GPU 1"));
    mnt_device_close(dev);
}

static void test_no_device(void **state)
{
    (void)state;
    metalsim_config c = metalsim_config_default();
    c.devices = 0;
    metalsim_configure(&c);
    refused(MNT_NOT_FOUND, "this machine has no Metal device");
    c.devices = 1;
    metalsim_configure(&c);
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal", .index = 1);
    MUST_FAIL(NULL, MNT_NOT_FOUND, "index 1, but 1 device",
              mnt_device_open(&dev, &desc));
}

static void test_no_objects(void **state)
{
    (void)state;
    metalsim_fail(METALSIM_FAIL_QUEUE, 0, 1, 0);
    refused(MNT_DEVICE, "no command queue can be made");
    metalsim_fail(METALSIM_FAIL_LIBRARY, 0, 1, 0);
    refused(MNT_DEVICE,
            "the embedded metallib cannot be loaded: a fault was asked for");
    metalsim_fail(METALSIM_FAIL_FUNCTION, 0, 1, 0);
    refused(MNT_DEVICE, "the library lacks the kernel add");
    metalsim_fail(METALSIM_FAIL_PIPELINE, 0, 1, 0);
    refused(MNT_DEVICE, "no pipeline can be made of the kernel add: a fault was asked");
    check_trains("metal", NULL);
}

/* ---- the library's file ---- */
static void test_file(void **state)
{
    (void)state;
    setenv("MNT_METALLIB", image_path, 1);
    mnt_device *dev = open_device("metal", NULL);
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_non_null(strstr(info.detail, "metallib of MNT_METALLIB"));
    mnt_device_close(dev);
    check_trains("metal", NULL);
    setenv("MNT_METALLIB", "", 1);
    check_trains("metal", NULL);
}

static void test_file_missing(void **state)
{
    (void)state;
    setenv("MNT_METALLIB", "/nonexistent/libmnt.metallib", 1);
    refused(MNT_NOT_FOUND,
            "MNT_METALLIB: /nonexistent/libmnt.metallib: No such file or directory");
    setenv("MNT_METALLIB", "/", 1);
    refused(MNT_FORMAT, "MNT_METALLIB: / is damaged");
}

static void test_file_damaged(void **state)
{
    (void)state;
    size_t n;
    unsigned char *bytes = sup_file(image_path, &n);
    assert_non_null(bytes);
    const char *path = temp_path("damaged.metallib");
    setenv("MNT_METALLIB", path, 1);
    write_file(path, bytes, n / 2);
    refused(MNT_FORMAT, "cut short");
    write_file(path, NULL, 0);
    refused(MNT_FORMAT, "is damaged, or made for a newer system");
    write_file(path, NULL, 4096);
    refused(MNT_FORMAT, "is damaged, or made for a newer system");
    bytes[n / 3] ^= 1;
    write_file(path, bytes, n);
    refused(MNT_FORMAT, "library is damaged: checksum");
    bytes[n / 3] ^= 1;
    memcpy(bytes + n - 16, "00000009", 8); /* the seal's format */
    write_file(path, bytes, n);
    refused(MNT_FORMAT, "library has format 9");
    free(bytes);
}

static void test_file_other(void **state)
{
    (void)state;
    setenv("MNT_METALLIB", other_image_path, 1);
    refused(MNT_ABI,
            "the metallib of MNT_METALLIB lacks the kernel add: it is of another "
            "version");
}

int main(int argc, char **argv)
{
    if (!session_main(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_device),       SESSION_TEST(test_auto),
        SESSION_TEST(test_no_device),    SESSION_TEST(test_no_objects),
        SESSION_TEST(test_file),         SESSION_TEST(test_file_missing),
        SESSION_TEST(test_file_damaged), SESSION_TEST(test_file_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
