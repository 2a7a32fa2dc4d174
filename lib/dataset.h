/* SPDX-License-Identifier: MIT */
/*
 * Inside of data sets: the structure, the constructor that all sources share, and the
 * digit generator.
 */
#ifndef MNTI_DATASET_H
#define MNTI_DATASET_H

#include "core.h"

/* An index plus a batch must fit the i32 cursor. */
#define MNTI_DATASET_MAX_COUNT ((int64_t)1 << 30)

#define MNTI_SHUFFLE_STREAM 0x53485546u /* "SHUF" */

struct mnt_dataset {
    mnt_device *dev;
    mnt_tensor *images; /* u8 [count, ...sample] */
    mnt_tensor *labels; /* u8 [count] */
    mnt_tensor *perm;   /* i32 [count] */
    mnt_tensor *cursor; /* i32 [1], in [0, count) */
    int32_t *order;     /* perm as last written */
    mnt_shape sample;
    int classes;
    int64_t count;
};

/* mnt_dataset_create() whose sentences start with `where`. */
mnt_status mnti_dataset_new(mnt_dataset **out, mnt_device *dev, const char *where,
                            const uint8_t *images, mnt_shape sample,
                            const uint8_t *labels, int64_t count, int classes);

#define MNTI_DIGIT_SIDE  28
#define MNTI_DIGIT_BYTES (MNTI_DIGIT_SIDE * MNTI_DIGIT_SIDE)

/* Draws the index-th digit of a split; returns its label. Needs no device. */
int mnti_synth_digit(uint64_t seed, mnt_split split, uint64_t index,
                     uint8_t pixels[MNTI_DIGIT_BYTES]);

#endif
