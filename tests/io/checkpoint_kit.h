/* SPDX-License-Identifier: MIT */
/*
 * A small model with everything a checkpoint can hold, and comparison of two models.
 * For the checkpoint tests; looks into the library's structures.
 */
#ifndef TESTS_CHECKPOINT_KIT_H
#define TESTS_CHECKPOINT_KIT_H

#include "checkpoint.h"
#include "io.h"

#define KIT_STEP 4294967301 /* needs both words of the state */

/* Parameters fc.weight [3,4], fc.bias [4], empty [0,2] and scalar [], filled with
 * numbers of all kinds; state of the optimizer; two facts of the caller's. */
mnt_model *kit_model(mnt_device *dev, mnti_optimizer kind);
/* Fails unless the models hold the same bits everywhere. */
void kit_assert_same(mnt_device *dev, mnt_model *a, mnt_model *b);

/* Checks a checkpoint that lies in memory, as mnt_model_load() checks a file. */
mnt_status kit_check(mnt_device *dev, const uint8_t *bytes, size_t size);
/* Replaces the first `from` of the header by `to`, of the same length. */
void kit_replace(uint8_t *bytes, const char *from, const char *to);
/* Makes the crc32 right again. */
void kit_seal(uint8_t *bytes, size_t size);

#endif
