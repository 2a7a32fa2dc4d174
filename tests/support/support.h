/* SPDX-License-Identifier: MIT */
/*
 * What every test needs: opening devices by force string, a small random generator of
 * its own, comparison of bits with a message that names op, shape and element, sha256,
 * temporary files. Nothing here knows an op or a network.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <mnt/mnt.h>

#include "../../conformance/kit/base.h"

/* The set of kernels that defines the bits. */
#define SUP_REFERENCE "isa=generic,all=ref"

/* Fails the test, with the device's sentence, unless the call succeeds. */
#define MUST(dev, call) sup_must((dev), (call), #call, __FILE__, __LINE__)
void sup_must(const mnt_device *dev, mnt_status status, const char *what,
              const char *file, int line);
/* Fails unless the call returns `want` and the sentence contains `part`. */
#define MUST_FAIL(dev, want, part, call)                                               \
    sup_must_fail((dev), (want), (part), (call), #call, __FILE__, __LINE__)
void sup_must_fail(const mnt_device *dev, mnt_status want, const char *part,
                   mnt_status got, const char *what, const char *file, int line);

/* Opens the cpu backend; fails the test if it does not open. */
mnt_device *sup_open(const char *force, int threads);
/* The same, but NULL if this machine lacks it. */
mnt_device *sup_try_open(const char *force, int threads);
/* Instruction sets of this machine, generic first; returns how many. */
#define SUP_MAX_ISA 4
int sup_isas(const char *names[SUP_MAX_ISA]);

/* Fails, naming `what`, shape and the first differing element, unless all are equal. */
void sup_assert_bits(const char *what, mnt_dtype dtype, mnt_shape shape,
                     const void *want, const void *got);

/* A tensor's values; the caller frees. */
void *sup_read(mnt_device *dev, mnt_tensor *t);
void sup_write_random(mnt_device *dev, mnt_tensor *t, kit_rng *r);

/* A file's bytes; NULL if it cannot be read. */
void *sup_file(const char *path, size_t *bytes);
/* A new path below the temporary folder; the caller removes the file. */
void sup_temp_path(char *buf, size_t size, const char *name);
void sup_sha256(const void *data, size_t bytes, char hex[65]);
/* sha256 of the model's checkpoint. */
void sup_model_hash(mnt_device *dev, mnt_model *m, char hex[65]);
/* The folder with the MNIST files, or NULL: MNT_MNIST_DIR, then ../shared/mnist seen
 * from the source tree. */
const char *sup_mnist_dir(void);

#endif
