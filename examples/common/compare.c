/* SPDX-License-Identifier: MIT */
/*
 * Trains on two devices in step and compares, after every step and bit for bit, what a
 * step makes, in the order in which it makes it: batch, logits, loss, gradients from
 * the last layer to the first, parameters. The first difference is therefore the
 * nearest to its cause. Graphs keep every tensor, so nothing that is read was reused.
 */
#include "common/compare.h"

#include "common/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS_MOST  64
#define STEPS_DEFAULT 20
#define SLICE         4 /* values a dim that are printed of a tensor's head */
#define NEIGHBOURS    2 /* values before and behind the first different one */

typedef struct side {
    char name[48];
    mnt_device *dev;
    mnt_device_info info;
    mnt_dataset *data;
    mnt_model *model;
    step_graph step;
    mnt_tensor *tensor[TENSORS_MOST];
    int count;
} side;

static void add(side *d, mnt_tensor *t)
{
    if (t != NULL && d->count < TENSORS_MOST)
        d->tensor[d->count++] = t;
}

static void list_tensors(side *d)
{
    int params = mnt_model_param_count(d->model);
    add(d, d->step.batch.x);
    add(d, d->step.batch.y);
    add(d, d->step.logits);
    add(d, d->step.loss);
    for (int i = params - 1; i >= 0; i--)
        add(d, mnt_tensor_grad(mnt_model_param(d->model, i)));
    for (int i = params - 1; i >= 0; i--)
        add(d, mnt_model_param(d->model, i));
}

static mnt_status side_open(session *s, side *d, mnt_device *dev)
{
    d->dev = dev;
    d->info.size = sizeof d->info;
    mnt_status st = mnt_device_get_info(dev, &d->info);
    if (st == MNT_OK)
        st = session_data(s, dev, MNT_TRAIN, &d->data);
    if (st == MNT_OK)
        st = mnt_model_create(
            &d->model, dev,
            &(mnt_model_desc){ .size = sizeof(mnt_model_desc), .seed = s->opt->seed });
    if (st == MNT_OK)
        st = step_graph_create(&d->step, dev, d->model, d->data, s->app, s->opt, true);
    if (st != MNT_OK)
        return s->problem[0] != '\0' ? st : session_adopt(s, st, dev);
    list_tensors(d);
    return MNT_OK;
}

static void side_close(side *d)
{
    step_graph_destroy(&d->step);
    mnt_model_destroy(d->model);
    mnt_dataset_close(d->data);
}

/* Index of the first element whose bits differ, -1 if all agree. */
static int64_t first_difference(const unsigned char *a, const unsigned char *b,
                                int64_t count, size_t element)
{
    for (int64_t i = 0; i < count; i++) {
        if (memcmp(a + (size_t)i * element, b + (size_t)i * element, element) != 0)
            return i;
    }
    return -1;
}

static int64_t differences(const unsigned char *a, const unsigned char *b,
                           int64_t count, size_t element)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        n += memcmp(a + (size_t)i * element, b + (size_t)i * element, element) != 0;
    return n;
}

/* "[12,7]" of element i. */
static void index_text(mnt_shape shape, int64_t i, char *out, size_t size)
{
    int64_t at[MNT_MAX_DIMS];
    size_t used = 0;
    for (int d = shape.ndim - 1; d >= 0; d--) {
        at[d] = i % shape.dim[d];
        i /= shape.dim[d];
    }
    out[0] = '\0';
    for (int d = 0; d < shape.ndim && used < size; d++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64,
                                 d == 0 ? "[" : ",", at[d]);
    if (used < size)
        snprintf(out + used, size - used, shape.ndim > 0 ? "]" : "[]");
}

static void print_value(mnt_dtype dtype, const unsigned char *at)
{
    uint32_t bits;
    float real;
    memcpy(&bits, at, sizeof bits);
    memcpy(&real, at, sizeof real);
    if (dtype == MNT_F32)
        printf(" %.9g (%08" PRIx32 ")", (double)real, bits);
    else
        printf(" %" PRId32, (int32_t)bits);
}

/* Element i and those around it. */
static void print_around(const side *d, mnt_dtype dtype, const unsigned char *data,
                         int64_t count, int64_t i)
{
    int64_t from = i > NEIGHBOURS ? i - NEIGHBOURS : 0;
    int64_t to = count - i > NEIGHBOURS ? i + NEIGHBOURS : count - 1;
    printf("  %-12s", d->name);
    for (int64_t k = from; k <= to; k++) {
        fputs(k == i ? " >" : "", stdout);
        print_value(dtype, data + (size_t)k * mnt_dtype_size(dtype));
    }
    printf("\n");
}

static void print_slice(side *d, int k)
{
    char *text = NULL;
    if (mnt_tensor_format(d->tensor[k], SLICE, &text) == MNT_OK)
        printf("head on %s: %s", d->name, text);
    mnt_free(d->dev, text);
}

static mnt_status report(session *s, side pair[2], int k, int64_t step,
                         unsigned char *const data[2])
{
    mnt_tensor *t = pair[0].tensor[k];
    const char *name = mnt_tensor_name(t);
    mnt_dtype dtype = mnt_tensor_dtype(t);
    size_t element = mnt_dtype_size(dtype);
    int64_t count = mnt_tensor_count(t);
    int64_t i = first_difference(data[0], data[1], count, element);
    char at[128];
    index_text(mnt_tensor_shape(t), i, at, sizeof at);
    printf("step %" PRId64 ": %s differs first at %s (element %" PRId64 "; %" PRId64
           " of %" PRId64 " differ)\n",
           step, name, at, i, differences(data[0], data[1], count, element), count);
    for (int d = 0; d < 2; d++)
        print_around(&pair[d], dtype, data[d], count, i);
    for (int d = 0; d < 2; d++)
        print_slice(&pair[d], k);
    return session_fail(s, MNT_INVALID, "%s and %s differ at step %" PRId64 " in %s %s",
                        pair[0].name, pair[1].name, step, name, at);
}

static mnt_status compare_tensor(session *s, side pair[2], int k, int64_t step)
{
    unsigned char *data[2] = { NULL, NULL };
    mnt_status st = MNT_OK;
    size_t bytes = (size_t)mnt_tensor_count(pair[0].tensor[k]) *
                   mnt_dtype_size(mnt_tensor_dtype(pair[0].tensor[k]));
    for (int d = 0; d < 2 && st == MNT_OK; d++) {
        data[d] = malloc(bytes);
        if (data[d] == NULL) {
            st = session_fail(s, MNT_NO_MEMORY, "compare: %s",
                              mnt_status_text(MNT_NO_MEMORY));
            break;
        }
        st = mnt_tensor_read(pair[d].tensor[k], data[d], bytes);
        if (st != MNT_OK)
            session_adopt(s, st, pair[d].dev);
    }
    if (st == MNT_OK && memcmp(data[0], data[1], bytes) != 0)
        st = report(s, pair, k, step, data);
    free(data[0]);
    free(data[1]);
    return st;
}

static mnt_status compare_step(session *s, side pair[2], int64_t step)
{
    int64_t per_epoch = mnt_dataset_batches(pair[0].data, s->opt->batch);
    mnt_status st = MNT_OK;
    for (int d = 0; d < 2 && st == MNT_OK; d++) {
        if ((step - 1) % per_epoch == 0)
            st = mnt_dataset_shuffle(pair[d].data, s->opt->seed,
                                     (step - 1) / per_epoch + 1);
        if (st == MNT_OK)
            st = mnt_graph_run(pair[d].step.g, 1);
        if (st != MNT_OK)
            return session_adopt(s, st, pair[d].dev);
    }
    for (int k = 0; k < pair[0].count && st == MNT_OK; k++)
        st = compare_tensor(s, pair, k, step);
    return st;
}

static mnt_status compare_steps(session *s, side pair[2])
{
    int64_t steps = s->opt->steps > 0 ? s->opt->steps : STEPS_DEFAULT;
    char where[2][256];
    for (int d = 0; d < 2; d++)
        session_describe(&pair[d].info, where[d], sizeof where[d]);
    printf("comparing %s\n     with %s: %" PRId64 " steps of %s, batch %" PRId64
           ", seed %" PRIu64 ", %d tensors a step\n",
           where[0], where[1], steps, s->app->name, s->opt->batch, s->opt->seed,
           pair[0].count);
    fflush(stdout);
    for (int64_t step = 1; step <= steps; step++) {
        mnt_status st = compare_step(s, pair, step);
        if (st == MNT_OK && session_interrupted())
            st = MNT_INTERRUPTED;
        if (st != MNT_OK)
            return st;
    }
    printf("all bits are equal\n");
    return MNT_OK;
}

mnt_status compare_run(session *s)
{
    side pair[2] = { 0 };
    mnt_device *other = NULL;
    recipe_defaults(s->opt, s->app);
    mnt_status st =
        mnt_device_open(&other, &MNT_DEVICE_DESC(.backend = s->opt->compare,
                                                 .threads = s->opt->threads));
    if (st != MNT_OK)
        return session_adopt(s, st, NULL);
    st = side_open(s, &pair[0], s->dev);
    if (st == MNT_OK)
        st = side_open(s, &pair[1], other);
    for (int d = 0; d < 2; d++)
        snprintf(pair[d].name, sizeof pair[d].name, "%d:%s", d + 1,
                 pair[d].info.backend != NULL ? pair[d].info.backend : "?");
    if (st == MNT_OK)
        st = compare_steps(s, pair);
    side_close(&pair[0]);
    side_close(&pair[1]);
    mnt_device_close(other);
    return st;
}
