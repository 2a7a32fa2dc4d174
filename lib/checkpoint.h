/* SPDX-License-Identifier: MIT */
/*
 * Inside of checkpoints: the facts that their metadata states beside the tensors, and
 * the check of a whole file in memory.
 */
#ifndef MNTI_CHECKPOINT_H
#define MNTI_CHECKPOINT_H

#include "core.h"
#include "safetensors.h"

typedef struct mnti_facts {
    uint64_t seed;
    mnti_optimizer optimizer;
    mnt_args_optim optim; /* all zero without an optimizer */
    uint32_t state[MNT_STATE_WORDS];
    bool relaxed; /* the model's */
} mnti_facts;

#define MNTI_CRC_KEY    "libmnt.crc32"
#define MNTI_CRC_DIGITS 8u

/* The metadata, with a crc32 of zeros; NULL: no memory. */
json_t *mnti_facts_write(const mnti_facts *facts, const mnti_meta *metas, int count);
/* Returns the key that is missing or has a malformed value, or NULL. */
const char *mnti_facts_read(const mnti_st *st, mnti_facts *out);

/* Position of the crc32's digits in prefix and header; 0: not there, or not once. */
size_t mnti_crc_position(const void *head, size_t bytes);
void mnti_crc_text(uint32_t crc, char digits[MNTI_CRC_DIGITS + 1]);
/* Of a file whose digits at `position` count as zeros. */
uint32_t mnti_crc_of(const void *head, size_t head_bytes, size_t position,
                     const void *data, size_t data_bytes);

/*
 * Whether head and data, parsed as `st`, are a checkpoint of this numerics version: the
 * checksum, the facts, every tensor. Errors: FORMAT, MISMATCH.
 */
mnt_status mnti_checkpoint_check(mnt_device *dev, const char *name, const mnti_st *st,
                                 const uint8_t *head, const uint8_t *data,
                                 mnti_facts *facts);

#endif
