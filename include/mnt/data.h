/* SPDX-License-Identifier: MIT */
/*
 * Data sets that live on the device: images as u8, labels as u8, a permutation and a
 * cursor. A batch is gathered there, scaled to [0, 1]; nothing is uploaded in an epoch.
 */
#ifndef MNT_DATA_H
#define MNT_DATA_H

#include <mnt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mnt_split { MNT_TRAIN, MNT_TEST } mnt_split;

/*
 * The MNIST files of `dir` (train-images-idx3-ubyte and its kin, plain or .gz). Labels
 * are checked to be below 10, the counts of both files to agree.
 * Errors: NOT_FOUND naming the path; FORMAT naming file and what is wrong (magic, dims,
 * size); LABEL with the first offending row; IO; NO_MEMORY. Nothing is created then.
 * Ownership: the caller closes it, after the graphs that read it and
 * before the device.
 */
MNT_API MNT_CHECK mnt_status mnt_mnist_open(mnt_dataset **out, mnt_device *dev,
                                            const char *dir, mnt_split split);

/*
 * Procedural digits in the same shapes, `count` of them, a function of seed and split
 * alone: for programs and tests where no download is possible.
 */
MNT_API MNT_CHECK mnt_status mnt_synth_open(mnt_dataset **out, mnt_device *dev,
                                            int64_t count, uint64_t seed,
                                            mnt_split split);

/*
 * The caller's own arrays, copied: images u8 [count, ...sample], labels u8 [count],
 * each below `classes` (2 to 256). Errors: INVALID, LABEL, NO_MEMORY.
 */
MNT_API MNT_CHECK mnt_status mnt_dataset_create(mnt_dataset **out, mnt_device *dev,
                                                const uint8_t *images, mnt_shape sample,
                                                const uint8_t *labels, int64_t count,
                                                int classes);
MNT_API void mnt_dataset_close(mnt_dataset *d);

MNT_API int64_t mnt_dataset_count(const mnt_dataset *d);
MNT_API int mnt_dataset_classes(const mnt_dataset *d);
/* Shape of one sample, [1, 28, 28] for MNIST. */
MNT_API mnt_shape mnt_dataset_sample(const mnt_dataset *d);
/* Whole batches in an epoch, count / batch; 0 when batch < 1 or > count. */
MNT_API int64_t mnt_dataset_batches(const mnt_dataset *d, int64_t batch);

/*
 * Orders the samples by the shuffle of Fisher and Yates, from file order, and puts the
 * cursor at the start; rewind restores file order. Ordered after queued work.
 * For i = count-1 .. 1, i is swapped with mulhi(word, i + 1), the high 32 bits of the
 * product; word is word 0 of Philox4x32-10 with key = seed (low, high), counter = (i,
 * epoch low, epoch high, 0x53485546).
 */
MNT_API MNT_CHECK mnt_status mnt_dataset_shuffle(mnt_dataset *d, uint64_t seed,
                                                 int64_t epoch);
MNT_API MNT_CHECK mnt_status mnt_dataset_rewind(mnt_dataset *d);
/* Moves the cursor to a sample of the current order: to resume inside an epoch.
 * Errors: INVALID outside [0, count]. */
MNT_API MNT_CHECK mnt_status mnt_dataset_seek(mnt_dataset *d, int64_t sample);

typedef struct mnt_batch {
    mnt_tensor *x; /* f32 [batch, ...sample], u8 / 255 correctly rounded */
    mnt_tensor *y; /* i32 [batch] */
} mnt_batch;

/*
 * Records the next `batch` samples at the cursor and moves it on each replay; past the
 * end it wraps. Both members are NULL after an error (sticky): INVALID for a batch
 * below 1 or above the count.
 */
MNT_API mnt_batch mnt_batch_input(mnt_graph *g, mnt_dataset *d, int64_t batch);

#ifdef __cplusplus
}
#endif
#endif
