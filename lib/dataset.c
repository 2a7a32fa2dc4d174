/* SPDX-License-Identifier: MIT */
/*
 * Data sets: the MNIST files and the caller's arrays become tensors on the device; a
 * batch is recorded as "take the next rows of the permutation", so an epoch needs no
 * word from the host. The IDX format is in idx.c, the digit generator in synth.c.
 */
#include "dataset.h"

#include "idx.h"
#include <mnt/philox.h>

#define MAX_PATH 4096

static mnt_status check_arrays(mnt_device *dev, const char *where,
                               const uint8_t *images, mnt_shape sample,
                               const uint8_t *labels, int64_t count, int classes)
{
    if (!images || !labels)
        return mnti_fail(dev, MNT_INVALID, "%s: %s is NULL", where,
                         images ? "labels" : "images");
    if (count < 1 || count > MNTI_DATASET_MAX_COUNT)
        return mnti_fail(dev, MNT_INVALID, "%s: count is %lld, not in [1, %lld]", where,
                         (long long)count, (long long)MNTI_DATASET_MAX_COUNT);
    if (classes < 2 || classes > 256)
        return mnti_fail(dev, MNT_INVALID, "%s: classes is %d, not in [2, 256]", where,
                         classes);
    if (sample.ndim < 0 || sample.ndim >= MNT_MAX_DIMS || mnt_shape_count(sample) < 1)
        return mnti_fail(dev, MNT_INVALID,
                         "%s: sample shape %s needs 0 to %d dims of 1 or more", where,
                         mnti_shape_text(sample).s, MNT_MAX_DIMS - 1);
    for (int64_t i = 0; i < count; i++)
        if (labels[i] >= classes)
            return mnti_fail(dev, MNT_LABEL,
                             "%s: the label of row %lld is %d, not below %d", where,
                             (long long)i, labels[i], classes);
    return MNT_OK;
}

/* A tensor with its first contents; NULL data leaves zeros. */
static mnt_status make_tensor(mnt_device *dev, mnt_tensor **out, mnt_dtype dtype,
                              mnt_shape shape, const void *data, const char *where)
{
    *out = mnti_tensor_persistent(dev, NULL, dtype, shape);
    if (!*out && dev->failed != MNT_NO_MEMORY)
        return dev->failed; /* the device's own trouble, with its sentence */
    if (!*out)
        return mnti_fail(dev, MNT_NO_MEMORY, "%s: no memory for a tensor %s %s", where,
                         mnt_dtype_name(dtype), mnti_shape_text(shape).s);
    return data ? mnt_tensor_write(*out, data, (size_t)mnti_tensor_bytes(*out))
                : MNT_OK;
}

static mnt_status write_order(mnt_dataset *d)
{
    int32_t first = 0;
    mnt_status st =
        mnt_tensor_write(d->perm, d->order, (size_t)d->count * sizeof *d->order);
    return st ? st : mnt_tensor_write(d->cursor, &first, sizeof first);
}

static mnt_status fill_dataset(mnt_dataset *d, const char *where, const uint8_t *images,
                               const uint8_t *labels)
{
    mnt_shape row = { .ndim = 1, .dim = { d->count } };
    mnt_shape whole = { .ndim = d->sample.ndim + 1, .dim = { d->count } };
    for (int i = 0; i < d->sample.ndim; i++)
        whole.dim[i + 1] = d->sample.dim[i];
    if (mnt_shape_count(whole) < 0)
        return mnti_fail(d->dev, MNT_INVALID, "%s: images of shape %s are too large",
                         where, mnti_shape_text(whole).s);
    d->order = mnti_alloc(d->dev, (size_t)d->count * sizeof *d->order);
    if (!d->order)
        return mnti_fail(d->dev, MNT_NO_MEMORY, "%s: no memory to order %lld samples",
                         where, (long long)d->count);
    for (int64_t i = 0; i < d->count; i++)
        d->order[i] = (int32_t)i;
    mnt_status st = make_tensor(d->dev, &d->images, MNT_U8, whole, images, where);
    if (st == MNT_OK)
        st = make_tensor(d->dev, &d->labels, MNT_U8, row, labels, where);
    if (st == MNT_OK)
        st = make_tensor(d->dev, &d->perm, MNT_I32, row, d->order, where);
    if (st == MNT_OK)
        st = make_tensor(d->dev, &d->cursor, MNT_I32, MNT_SHAPE(1), NULL, where);
    return st;
}

mnt_status mnti_dataset_new(mnt_dataset **out, mnt_device *dev, const char *where,
                            const uint8_t *images, mnt_shape sample,
                            const uint8_t *labels, int64_t count, int classes)
{
    mnt_status st = check_arrays(dev, where, images, sample, labels, count, classes);
    if (st)
        return st;
    mnt_dataset *d = mnti_alloc(dev, sizeof *d);
    if (!d)
        return mnti_fail(dev, MNT_NO_MEMORY, "%s: no memory for the data set", where);
    *d = (mnt_dataset){
        .dev = dev, .sample = sample, .classes = classes, .count = count
    };
    st = fill_dataset(d, where, images, labels);
    if (st) {
        mnt_dataset_close(d);
        return st;
    }
    *out = d;
    return MNT_OK;
}

mnt_status mnt_dataset_create(mnt_dataset **out, mnt_device *dev, const uint8_t *images,
                              mnt_shape sample, const uint8_t *labels, int64_t count,
                              int classes)
{
    if (!out || !dev)
        return mnti_fail(dev, MNT_INVALID, "dataset_create: %s is NULL",
                         out ? "dev" : "out");
    *out = NULL;
    return mnti_dataset_new(out, dev, "dataset_create", images, sample, labels, count,
                            classes);
}

void mnt_dataset_close(mnt_dataset *d)
{
    if (!d)
        return;
    mnti_tensor_free(d->images);
    mnti_tensor_free(d->labels);
    mnti_tensor_free(d->perm);
    mnti_tensor_free(d->cursor);
    mnti_free(d->dev, d->order);
    mnti_free(d->dev, d);
}

/* ---- the MNIST files ---- */

/*
 * Reads the first that exists of "<dir>/<stem>-idx3-ubyte", the same with a dot before
 * "idx3", and both with .gz. `path` receives its name.
 */
static mnt_status read_member(mnt_device *dev, const char *dir, const char *stem,
                              const mnti_idx_want *want, char path[MAX_PATH],
                              mnti_idx *out)
{
    for (int i = 0; i < 4; i++) {
        int n = snprintf(path, MAX_PATH, "%s/%s%cidx%d-ubyte%s", dir, stem,
                         i & 2 ? '.' : '-', want->ndim, i & 1 ? ".gz" : "");
        if (n < 0 || n >= MAX_PATH)
            return mnti_fail(dev, MNT_INVALID,
                             "mnist_open: the folder's name of %zu bytes is too long",
                             strlen(dir));
        mnt_status st = mnti_idx_read(dev, path, want, out);
        if (st != MNT_NOT_FOUND)
            return st;
    }
    return mnti_fail(dev, MNT_NOT_FOUND,
                     "mnist_open: there is no %.300s/%s-idx%d-ubyte, plain or .gz", dir,
                     stem, want->ndim);
}

static mnt_status check_pair(mnt_device *dev, const char *dir, const mnti_idx *images,
                             const mnti_idx *labels, const char *labels_path)
{
    if (images->dim[0] != labels->dim[0])
        return mnti_fail(dev, MNT_FORMAT,
                         "mnist_open: %.300s has %lld images and %lld labels", dir,
                         (long long)images->dim[0], (long long)labels->dim[0]);
    for (int64_t i = 0; i < labels->dim[0]; i++)
        if (labels->data[i] >= 10)
            return mnti_fail(dev, MNT_LABEL,
                             "mnist_open: %.300s: the label of row %lld is %d, not "
                             "below 10",
                             labels_path, (long long)i, labels->data[i]);
    return MNT_OK;
}

mnt_status mnt_mnist_open(mnt_dataset **out, mnt_device *dev, const char *dir,
                          mnt_split split)
{
    if (!out || !dev || !dir)
        return mnti_fail(dev, MNT_INVALID, "mnist_open: %s is NULL",
                         !out   ? "out"
                         : !dev ? "dev"
                                : "dir");
    *out = NULL;
    if (split != MNT_TRAIN && split != MNT_TEST)
        return mnti_fail(dev, MNT_INVALID, "mnist_open: %d is no split", (int)split);
    bool train = split == MNT_TRAIN;
    mnti_idx_want want_images = { 3, { 0, 28, 28 } }, want_labels = { 1, { 0 } };
    mnti_idx images = { 0 }, labels = { 0 };
    char path[MAX_PATH];
    mnt_status st = read_member(dev, dir, train ? "train-images" : "t10k-images",
                                &want_images, path, &images);
    if (st == MNT_OK)
        st = read_member(dev, dir, train ? "train-labels" : "t10k-labels", &want_labels,
                         path, &labels);
    if (st == MNT_OK)
        st = check_pair(dev, dir, &images, &labels, path);
    if (st == MNT_OK)
        st = mnti_dataset_new(out, dev, "mnist_open", images.data, MNT_SHAPE(1, 28, 28),
                              labels.data, images.dim[0], 10);
    mnti_idx_free(dev, &images);
    mnti_idx_free(dev, &labels);
    return st;
}

/* ---- order and batches ---- */

int64_t mnt_dataset_count(const mnt_dataset *d)
{
    return d ? d->count : 0;
}

int mnt_dataset_classes(const mnt_dataset *d)
{
    return d ? d->classes : 0;
}

mnt_shape mnt_dataset_sample(const mnt_dataset *d)
{
    return d ? d->sample : (mnt_shape){ 0 };
}

int64_t mnt_dataset_batches(const mnt_dataset *d, int64_t batch)
{
    return d && batch >= 1 ? d->count / batch : 0;
}

/*
 * Fisher and Yates, from the file's order: for i = n-1..1 swap i with
 * mulhi(word, i + 1), word = word 0 of Philox(key = seed, counter = (i, epoch low,
 * epoch high, "SHUF")).
 */
mnt_status mnt_dataset_shuffle(mnt_dataset *d, uint64_t seed, int64_t epoch)
{
    if (!d)
        return mnti_fail(NULL, MNT_INVALID, "dataset_shuffle: the data set is NULL");
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t counter[4] = { 0, (uint32_t)epoch, (uint32_t)((uint64_t)epoch >> 32),
                            MNTI_SHUFFLE_STREAM };
    for (int64_t i = 0; i < d->count; i++)
        d->order[i] = (int32_t)i;
    for (uint32_t i = (uint32_t)d->count - 1; i >= 1; i--) {
        uint32_t word[4];
        counter[0] = i;
        mnt_philox(counter, key, word);
        uint32_t j = mnt_below(word[0], i + 1);
        int32_t swap = d->order[i];
        d->order[i] = d->order[j];
        d->order[j] = swap;
    }
    return write_order(d);
}

mnt_status mnt_dataset_rewind(mnt_dataset *d)
{
    if (!d)
        return mnti_fail(NULL, MNT_INVALID, "dataset_rewind: the data set is NULL");
    for (int64_t i = 0; i < d->count; i++)
        d->order[i] = (int32_t)i;
    return write_order(d);
}

mnt_status mnt_dataset_seek(mnt_dataset *d, int64_t sample)
{
    if (!d)
        return mnti_fail(NULL, MNT_INVALID, "dataset_seek: the data set is NULL");
    if (sample < 0 || sample > d->count)
        return mnti_fail(d->dev, MNT_INVALID,
                         "dataset_seek: sample %lld is not in [0, %lld]",
                         (long long)sample, (long long)d->count);
    int32_t at = sample == d->count ? 0 : (int32_t)sample;
    return mnt_tensor_write(d->cursor, &at, sizeof at);
}

static bool batch_fits(mnt_graph *g, const mnt_dataset *d, int64_t batch)
{
    if (!d)
        mnti_graph_fail(g, MNT_INVALID, "batch_input: the data set is NULL");
    else if (d->dev != g->dev)
        mnti_graph_fail(g, MNT_INVALID,
                        "batch_input: the data set belongs to another device");
    else if (batch < 1 || batch > d->count)
        mnti_graph_fail(g, MNT_INVALID,
                        "batch_input: the batch is %lld, the data set has %lld samples",
                        (long long)batch, (long long)d->count);
    else
        return true;
    return false;
}

mnt_batch mnt_batch_input(mnt_graph *g, mnt_dataset *d, int64_t batch)
{
    mnt_batch none = { NULL, NULL };
    if (!mnti_graph_accepts(g, MNT_OP_ID_batch_index, NULL, 0) ||
        !batch_fits(g, d, batch))
        return none;
    mnt_tensor *in[] = { d->perm, d->cursor };
    mnt_tensor *index = mnti_graph_tensor(g, MNT_I32, MNT_SHAPE(batch));
    mnt_tensor *out[] = { index, d->cursor };
    mnt_args args = { .none = { 0 } };
    if (!index || !mnti_record(g, MNT_OP_ID_batch_index, in, 2, out, 2, args))
        return none;
    mnt_batch b = { .x = mnt_gather(g, d->images, index, MNT_F32, true),
                    .y = mnt_gather(g, d->labels, index, MNT_I32, false) };
    return b.x && b.y ? b : none;
}
