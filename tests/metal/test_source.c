/* SPDX-License-Identifier: MIT */
/*
 * The metal backend as it is built where Apple's metal compiler is missing: without an
 * embedded metallib, so that the kernels are compiled from the embedded source when the
 * device is opened. The simulator "compiles" exactly that source, to the image that it
 * was made into.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static void test_compiled(void **state)
{
    (void)state;
    assert_true(metalsim_add_library(image_path));
    mnt_device *dev = open_device("metal", NULL);
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_non_null(strstr(info.detail, "kernels compiled from source"));
    mnt_device_close(dev);
    check_trains("metal", NULL);
}

static void test_not_compiled(void **state)
{
    (void)state;
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "metal");
    MUST_FAIL(NULL, MNT_DEVICE, "metal: the kernels cannot be compiled from source: ",
              mnt_device_open(&dev, &desc));
    assert_true(metalsim_add_library(image_path));
    metalsim_fail(METALSIM_FAIL_LIBRARY, 0, 1, 0);
    MUST_FAIL(NULL, MNT_DEVICE, "compiled from source: a fault was asked for",
              mnt_device_open(&dev, &desc));
    check_trains("cpu", NULL);
    check_trains(NULL, NULL);
    check_trains("metal", NULL);
}

/* A file goes before the source. */
static void test_file(void **state)
{
    (void)state;
    setenv("MNT_METALLIB", image_path, 1);
    check_trains("metal", NULL);
}

int main(int argc, char **argv)
{
    if (!session_main(argc, argv))
        return 2;
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_compiled),
        SESSION_TEST(test_not_compiled),
        SESSION_TEST(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
