/* SPDX-License-Identifier: MIT */
/*
 * What every test needs: opening devices by force string, a small random generator of
 * its own, comparison of bits with a message that names op, shape and element, sha256,
 * temporary files. Nothing here knows an op or a network.
 *
 * Equal means the same 32 bits, or both NaN: the one idea behind sup_difference().
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

/* splitmix64 (Steele et al., 2014). */
typedef struct sup_rng {
    uint64_t state;
} sup_rng;
uint64_t sup_next(sup_rng *r);
double sup_unit(sup_rng *r);                /* [0, 1) */
float sup_float(sup_rng *r);                /* [-1, 1), 24 bits */
int64_t sup_below(sup_rng *r, int64_t n);   /* [0, n) */
uint64_t sup_hash(const void *p, size_t n); /* FNV-1a, 64 bits */

/* Index of the first element that is not equal, -1 if all are. */
int64_t sup_difference(mnt_dtype dtype, const void *want, const void *got,
                       int64_t count);
/* "[2,3]" and "[1,0]" for element 3 of it; into the caller's buffer, returned. */
const char *sup_shape_text(char *buf, size_t size, mnt_shape shape);
const char *sup_index_text(char *buf, size_t size, mnt_shape shape, int64_t element);
/* One line on element `i` of two arrays: values and bits. */
const char *sup_element_text(char *buf, size_t size, mnt_dtype dtype, const void *want,
                             const void *got, int64_t i);
/* Fails, naming `what`, shape and the first differing element, unless all are equal. */
void sup_assert_bits(const char *what, mnt_dtype dtype, mnt_shape shape,
                     const void *want, const void *got);

void *sup_alloc(size_t bytes); /* never NULL: fails the test */
/* A tensor's values; the caller frees. */
void *sup_read(mnt_device *dev, mnt_tensor *t);
void sup_write_random(mnt_device *dev, mnt_tensor *t, sup_rng *r);

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
