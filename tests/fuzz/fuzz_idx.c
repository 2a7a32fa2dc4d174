/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the IDX reader on images and on labels, plain and gzip alike.
 */
#include "fuzz.h"
#include "idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mnti_idx_want wants[] = { { 3, { 0, 28, 28 } },
                                           { 3, { 0, 0, 0 } },
                                           { 1, { 0 } } };
    mnt_device *dev = fuzz_device();
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        mnti_idx idx;
        dev->error[0] = '\0';
        mnt_status st = mnti_idx_parse(dev, "fuzz", data, size, &wants[i], &idx);
        if (st) {
            fuzz_expect(st == MNT_FORMAT || st == MNT_NO_MEMORY);
            fuzz_expect(dev->error[0] && !idx.data);
            continue;
        }
        uint64_t bytes = 1;
        for (int d = 0; d < idx.ndim; d++)
            bytes *= (uint64_t)idx.dim[d];
        volatile uint8_t last = idx.data[bytes - 1];
        (void)last;
        fuzz_expect(bytes == idx.bytes && bytes <= MNTI_IDX_MAX_BYTES);
        mnti_idx_free(dev, &idx);
    }
    return 0;
}
