/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the cuda backend share: a fresh simulated driver for each test, a
 * short training run that stops at the first failure, and the proof that the process
 * goes on with the cpu backend. Every test ends with nothing alive in the driver and no
 * rule of it broken.
 */
#ifndef TESTS_CUDA_SESSION_H
#define TESTS_CUDA_SESSION_H

#include "../cudasim/cudasim.h"
#include "../support/nets.h"

#define STEPS 8

/* The driver's results that tests ask for. */
enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    STUB_LIBRARY = 34,
    DEVICE_UNAVAILABLE = 46,
    NO_DEVICE = 100,
    NO_BINARY_FOR_GPU = 209,
    ECC_UNCORRECTABLE = 214,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    LAUNCH_TIMEOUT = 702,
    LAUNCH_FAILED = 719,
    SYSTEM_DRIVER_MISMATCH = 803,
    UNKNOWN = 999
};

/* Setup and teardown of each test. */
int session_begin(void **state);
int session_end(void **state);
/* Fails if a rule was broken or something is alive in the driver. */
void session_clean(const char *what);

/* The device of a backend, which opens. */
mnt_device *open_device(const char *backend);
/* What "auto" logged while it opened the cpu backend, which it must. */
const char *auto_log(void);
/* Trains on the cpu and compares with what came before. */
void cpu_goes_on(void);
/* The checkpoint's sha256 after STEPS steps on the cpu. */
const char *cpu_hash(void);

/* A training run on the cuda backend, up to the first failure: its status and sentence
 * (OK and "" without), and the hash if it came so far. Everything is closed again. */
typedef struct outcome {
    mnt_status status;
    char sentence[600], hash[65];
} outcome;
outcome train(void);

#endif
