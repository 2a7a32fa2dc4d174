/* SPDX-License-Identifier: MIT */
/*
 * Keeps a worker's devices.
 */
#include "devices.h"

#include <stdlib.h>

#define REFERENCE "isa=generic,all=ref"
/* A processor's devices are some kilobytes each. Those of one GPU in one process share
 * its context and have some megabytes of their own; most suites need fewer than this,
 * and opening one anew takes longer than a case does. */
#define MANY_OPEN 4096
#define FEW_OPEN  96

void devices_init(devices *d, const options *o, const subject *s, int count)
{
    *d = (devices){ .o = o, .s = s, .count = count };
    d->slot = kit_alloc((size_t)count * sizeof *d->slot);
}

void devices_close(devices *d)
{
    for (int i = 0; i < d->count; i++)
        mnt_device_close(d->slot[i].dev);
    mnt_device_close(d->reference);
    free(d->slot);
    *d = (devices){ .count = 0 };
}

mnt_device *devices_open_reference(void)
{
    mnt_device *dev = NULL;
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = "cpu", .threads = 1, .force = REFERENCE);
    return mnt_device_open(&dev, &desc) == MNT_OK ? dev : NULL;
}

mnt_device *devices_reference(devices *d)
{
    if (!d->reference)
        d->reference = devices_open_reference();
    return d->reference;
}

static void make_room(devices *d)
{
    int oldest = -1;
    if (d->open < (d->s->threads ? MANY_OPEN : FEW_OPEN))
        return;
    for (int i = 0; i < d->count; i++)
        if (d->slot[i].dev && (oldest < 0 || d->slot[i].used < d->slot[oldest].used))
            oldest = i;
    mnt_device_close(d->slot[oldest].dev);
    d->slot[oldest].dev = NULL;
    d->open--;
}

mnt_device *devices_get(devices *d, const config *c, bool *first, char *error,
                        size_t size)
{
    *first = false;
    if (d->slot[c->device].failed)
        return NULL;
    d->slot[c->device].used = ++d->clock;
    if (d->slot[c->device].dev)
        return d->slot[c->device].dev;
    make_room(d);
    mnt_device *dev = subject_open(d->o, d->s, c->force, c->threads, error, size);
    d->slot[c->device].dev = dev;
    d->slot[c->device].failed = *first = dev == NULL;
    d->open += dev != NULL;
    return dev;
}
