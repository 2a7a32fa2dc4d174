/* SPDX-License-Identifier: MIT */
/*
 * A device for the fuzz targets: no backend behind it, only memory and an error text.
 * The readers need nothing more. Targets are internals' tests: they link the static
 * library.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "core.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Memory beyond this is refused, so that a reader that asks for too much shows. */
#define FUZZ_MAX_BYTES ((size_t)64 << 20)

static inline void *fuzz_realloc(void *user, void *p, size_t bytes)
{
    (void)user;
    return bytes > FUZZ_MAX_BYTES ? NULL : realloc(p, bytes);
}

static inline void *fuzz_alloc(void *user, size_t bytes)
{
    return fuzz_realloc(user, NULL, bytes);
}

static inline void fuzz_free(void *user, void *p)
{
    (void)user;
    free(p);
}

static inline mnt_device *fuzz_device(void)
{
    static mnt_device dev = { .allocator = { fuzz_alloc, fuzz_realloc, fuzz_free,
                                             NULL } };
    return &dev;
}

/* What must hold of every result: a known status, and with a failure a sentence. */
static inline void fuzz_expect(bool holds)
{
    if (!holds)
        abort();
}

#endif
