/* SPDX-License-Identifier: MIT */
/*
 * Opening: without a driver, without a device, with ones that are too old, and with every
 * call of the driver failing once. Each gives its status and a sentence, leaves nothing
 * behind, and `auto` goes on to the cpu backend.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_opens_not(const char *what, int index, mnt_status want,
                            const char *part)
{
    mnt_device *dev = NULL;
    const mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cuda", .index = index);
    MUST_FAIL(NULL, want, part, mnt_device_open(&dev, &desc));
    assert_null(dev);
    session_clean(what);
    if (index == 0 && !strstr(auto_log(), part))
        fail_msg("%s: auto logged \"%s\"", what, auto_log());
    cpu_goes_on();
    session_clean(what);
}

/* ---- no driver, or a bad one ---- */

static void test_no_driver(void **state)
{
    (void)state;
    setenv("MNT_CUDA_DRIVER", "/nowhere/libcuda.so.1", 1);
    check_opens_not("missing", 0, MNT_NOT_FOUND, "there is no driver: /nowhere");
    setenv("MNT_CUDA_DRIVER", __FILE__, 1);
    check_opens_not("no library", 0, MNT_NOT_FOUND, "there is no driver");
}

static void test_old_library(void **state)
{
    (void)state;
    setenv("MNT_CUDA_DRIVER", CUDASIM_OLD_LIBRARY, 1);
    check_opens_not("old", 0, MNT_DEVICE,
                    "the driver is too old: it has no function cu");
}

typedef struct row {
    const char *call;
    int result;
    mnt_status want;
    const char *part;
} row;

static void check_rows(const row *rows, int count)
{
    for (int i = 0; i < count; i++) {
        cudasim_configure(NULL);
        cudasim_fail(rows[i].call, 0, -1, rows[i].result);
        check_opens_not(rows[i].part, 0, rows[i].want, rows[i].part);
    }
}

static void test_start(void **state)
{
    (void)state;
    static const row rows[] = {
        { "cuInit", NO_DEVICE, MNT_NOT_FOUND, "does not start: CUDA_ERROR_NO_DEVICE" },
        { "cuInit", SYSTEM_DRIVER_MISMATCH, MNT_DEVICE,
          "does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" },
        { "cuInit", STUB_LIBRARY, MNT_DEVICE, "CUDA_ERROR_STUB_LIBRARY" },
        { "cuInit", UNKNOWN, MNT_DEVICE, "CUDA_ERROR_UNKNOWN" },
        { "cuInit", 12345, MNT_DEVICE, "unknown error" },
        { "cuDriverGetVersion", INVALID_VALUE, MNT_DEVICE, "CUDA_ERROR_INVALID_VALUE" },
        { "cuDeviceGetCount", NO_DEVICE, MNT_NOT_FOUND,
          "cuDeviceGetCount: CUDA_ERROR_NO_DEVICE" },
    };
    check_rows(rows, sizeof rows / sizeof *rows);
    cudasim_config c = cudasim_config_default();
    c.driver_version = 11040;
    cudasim_configure(&c);
    check_opens_not("11.4", 0, MNT_DEVICE,
                    "the driver is of CUDA 11.4; the kernels need 11.8 or newer");
    c = cudasim_config_default();
    c.devices = 0;
    cudasim_configure(&c);
    check_opens_not("none", 0, MNT_NOT_FOUND, "CUDA_ERROR_NO_DEVICE");
}

/* ---- devices ---- */

static void test_device(void **state)
{
    (void)state;
    static const row rows[] = {
        { "cuDevicePrimaryCtxRetain", DEVICE_UNAVAILABLE, MNT_DEVICE,
          "cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE" },
        { "cuDevicePrimaryCtxRetain", OUT_OF_MEMORY, MNT_NO_MEMORY,
          "CUDA_ERROR_OUT_OF_MEMORY" },
        { "cuCtxPushCurrent_v2", UNKNOWN, MNT_DEVICE, "CUDA_ERROR_UNKNOWN" },
    };
    check_opens_not("index", 7, MNT_NOT_FOUND, "index 7, but 1 device");
    check_rows(rows, sizeof rows / sizeof *rows);
    cudasim_config c = cudasim_config_default();
    c.compute = 61;
    cudasim_configure(&c);
    check_opens_not("6.1", 0, MNT_DEVICE,
                    "simulated GPU has compute 6.1; the kernels need 7.0 or newer");
}

static void test_module(void **state)
{
    (void)state;
    static const row rows[] = {
        { "cuModuleLoadDataEx", NO_BINARY_FOR_GPU, MNT_DEVICE,
          "the kernels cannot be loaded: CUDA_ERROR_NO_BINARY_FOR_GPU" },
        { "cuModuleLoadDataEx", INVALID_PTX, MNT_DEVICE,
          "the kernels cannot be loaded: CUDA_ERROR_INVALID_PTX" },
        { "cuModuleLoadDataEx", UNSUPPORTED_PTX_VERSION, MNT_DEVICE,
          "the kernels cannot be loaded: CUDA_ERROR_UNSUPPORTED_PTX_VERSION" },
        { "cuModuleLoadDataEx", OUT_OF_MEMORY, MNT_NO_MEMORY,
          "the kernels cannot be loaded: CUDA_ERROR_OUT_OF_MEMORY" },
        { "cuModuleGetFunction", NOT_FOUND, MNT_DEVICE, "CUDA_ERROR_NOT_FOUND" },
        { "cuMemAllocHost_v2", OUT_OF_MEMORY, MNT_NO_MEMORY,
          "cuMemAllocHost: CUDA_ERROR_OUT_OF_MEMORY" },
        { "cuEventCreate", OUT_OF_MEMORY, MNT_NO_MEMORY,
          "cuEventCreate: CUDA_ERROR_OUT_OF_MEMORY" },
        { "cuStreamCreate", OUT_OF_MEMORY, MNT_NO_MEMORY,
          "cuStreamCreate: CUDA_ERROR_OUT_OF_MEMORY" },
    };
    check_rows(rows, sizeof rows / sizeof *rows);
}

static void check_detail(const char *part)
{
    mnt_device *dev = open_device("cuda");
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    if (!strstr(info.detail, part))
        fail_msg("\"%s\" is not in \"%s\"", part, info.detail);
    mnt_device_close(dev);
}

/* Where there is no cubin for the device, or the driver refuses it, PTX does. */
static void test_ptx(void **state)
{
    (void)state;
    cudasim_config c = cudasim_config_default();
    for (int compute = 70; compute <= 120; compute += 5) {
        c.compute = compute;
        cudasim_configure(&c);
        check_detail(compute == 90 && CUDA_HAS_CUBIN ? "as cubin" : "as PTX");
    }
    if (CUDA_HAS_CUBIN) {
        cudasim_configure(NULL);
        cudasim_fail("cuModuleLoadDataEx", 0, 1, NO_BINARY_FOR_GPU);
        check_detail("as PTX");
    }
    c = cudasim_config_default();
    c.driver_version = 11080; /* the oldest takes the PTX */
    c.compute = 80;
    cudasim_configure(&c);
    check_detail("driver of CUDA 11.8, kernels as PTX");
}

/* ---- which device ---- */

static void test_auto(void **state)
{
    (void)state;
    assert_non_null(strstr(auto_log(), "auto passes over device_open: cuda: the device "
                                       "is simulated"));
    cudasim_config c = cudasim_config_default();
    c.name = "GPU of a customer";
    c.devices = 2;
    cudasim_configure(&c);
    mnt_device *dev = open_device("auto");
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_string_equal(info.backend, "cuda");
    assert_string_equal(info.name, "GPU of a customer");
    mnt_device_close(dev);
}

/* Every call that opening makes fails once; the next try succeeds. */
static void test_every_call(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "cuInit",
        "cuDriverGetVersion",
        "cuDeviceGetCount",
        "cuDeviceGet",
        "cuDeviceGetName",
        "cuDeviceTotalMem_v2",
        "cuDeviceGetAttribute",
        "cuDevicePrimaryCtxRetain",
        "cuModuleGetFunction",
        "cuStreamCreate",
        "cuEventCreate",
        "cuMemAllocHost_v2",
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        int failed = 0;
        for (int n = 0;; n++) {
            mnt_device *dev = NULL;
            mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cuda");
            cudasim_configure(NULL);
            cudasim_fail(calls[i], n, 1, UNKNOWN);
            mnt_status st = mnt_device_open(&dev, &desc);
            mnt_device_close(dev);
            session_clean(calls[i]);
            if (st == MNT_OK && n > 1)
                break; /* the first two may be those of devices() */
            failed += st != MNT_OK;
            if (st != MNT_OK && !strstr(mnt_last_error(NULL), "CUDA_ERROR_UNKNOWN") &&
                !strstr(mnt_last_error(NULL), "no device on this machine"))
                fail_msg("%s: %s", calls[i], mnt_last_error(NULL));
        }
        assert_true(failed > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_driver, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_old_library, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_start, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_device, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_module, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_ptx, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_auto, session_begin, session_end),
        cmocka_unit_test_setup_teardown(test_every_call, session_begin, session_end),
    };
    return cmocka_run_group_tests_name("cuda: open", tests, NULL, NULL);
}
