/* SPDX-License-Identifier: MIT */
/*
 * What the oracle, the cases and the tests share and that knows no op: random numbers,
 * comparison by bits, texts of shapes and elements, memory that is never NULL.
 *
 * Equal means the same 32 bits, or both NaN: the one idea behind kit_difference().
 */
#ifndef KIT_BASE_H
#define KIT_BASE_H

#include <mnt/mnt.h>

#include <stddef.h>
#include <stdint.h>

/* splitmix64 (Steele et al., 2014). */
typedef struct kit_rng {
    uint64_t state;
} kit_rng;
uint64_t kit_next(kit_rng *r);
double kit_unit(kit_rng *r);                /* [0, 1) */
float kit_float(kit_rng *r);                /* [-1, 1), 24 bits */
int64_t kit_below(kit_rng *r, int64_t n);   /* [0, n) */
uint64_t kit_hash(const void *p, size_t n); /* FNV-1a, 64 bits */

/* Index of the first element that is not equal, -1 if all are. */
int64_t kit_difference(mnt_dtype dtype, const void *want, const void *got,
                       int64_t count);
/* "[2,3]" and "[1,0]" for element 3 of it; into the caller's buffer, returned. */
const char *kit_shape_text(char *buf, size_t size, mnt_shape shape);
const char *kit_index_text(char *buf, size_t size, mnt_shape shape, int64_t element);
/* One line on element `i` of two arrays: values and bits. */
const char *kit_element_text(char *buf, size_t size, mnt_dtype dtype, const void *want,
                             const void *got, int64_t i);

/* Zeroed, never NULL: kit_die() where memory ends. */
void *kit_alloc(size_t bytes);
/* A defect of the kit or the machine, not of a backend: prints the sentence and ends
 * the process with status 70. */
_Noreturn void kit_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
