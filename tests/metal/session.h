/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the metal backend's host code share. A test speaks to the library by
 * its public headers and to the simulated device by metalsim.h; after each the simulator
 * is asked whether an object is alive, a byte of a buffer, or anything was reported.
 */
#ifndef TESTS_METAL_SESSION_H
#define TESTS_METAL_SESSION_H

#include "../support/nets.h"

#include "metalsim.h"

/* The network of most tests is the MLP on 64 synthetic digits, batch 16, SGD with
 * momentum; STEPS steps of it on the cpu have the hash cpu_hash(). */
#define STEPS 8
const char *cpu_hash(void);

typedef struct session {
    mnt_device *dev;
    mnt_model *m;
    mnt_dataset *d;
    mnt_graph *g;
    mnt_tensor *loss;
} session;

/* Opens the backend, NULL: auto; fails the test if it does not open. */
mnt_device *open_device(const char *backend, const char *force);
/* A device, model, data and a compiled graph. */
void session_open(session *s, const char *backend, const char *force);
void session_close(session *s);
/* The checkpoint's sha256. */
void session_hash(session *s, char hex[65]);
/* Opens, runs STEPS steps and compares the hash with the cpu's. */
void check_trains(const char *backend, const char *force);
/* A temporary file's path; session_end() removes the file. */
const char *temp_path(const char *name);
/* Writes a file; NULL data: `bytes` zeros. */
void write_file(const char *path, const void *data, size_t bytes);

/* Setup and teardown of each test. The first configures the simulator anew and unsets
 * MNT_METALLIB, the other finds what was left. */
int session_begin(void **state);
int session_end(void **state);
#define SESSION_TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_begin, session_end)
/* Reads the program's arguments: image, an image of other kernels; collects reports. */
bool session_main(int argc, char **argv);
extern const char *image_path, *other_image_path;

#endif
