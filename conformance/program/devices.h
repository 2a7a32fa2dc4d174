/* SPDX-License-Identifier: MIT */
/*
 * The devices of a worker: opened when first needed, kept, and on backends whose
 * contexts are heavy the longest unused one makes room.
 */
#ifndef DEVICES_H
#define DEVICES_H

#include "configs.h"

typedef struct devices {
    const options *o;
    const subject *s;
    mnt_device *reference;
    struct {
        mnt_device *dev;
        bool failed;
        uint64_t used;
    } * slot;
    int count, open;
    uint64_t clock;
} devices;

void devices_init(devices *d, const options *o, const subject *s, int count);
void devices_close(devices *d);
/* The cpu backend's plain loops, one thread. NULL: mnt_last_error(NULL). The first is
 * the caller's to close. */
mnt_device *devices_open_reference(void);
mnt_device *devices_reference(devices *d);
/* NULL if it does not open; *first: this is the first time that it did not. */
mnt_device *devices_get(devices *d, const config *c, bool *first, char *error,
                        size_t size);

#endif
