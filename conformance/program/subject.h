/* SPDX-License-Identifier: MIT */
/*
 * The backend under test: what it calls itself, which settings hold for a whole device
 * and which variants each op has. Found out in a child, from what variant() lists.
 *
 * A setting is a force string without ops: "" (the backend's own choice), each
 * combination of the keys that have several values ("isa=avx2"), and each of these with
 * the keys that have one ("isa=avx2,all=ref").
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "options.h"

#define SUBJECT_MAX_SETTINGS 64
#define SUBJECT_MAX_VARIANTS 2048
#define SUBJECT_FORCE        128

typedef struct subject_setting {
    char force[SUBJECT_FORCE];
    bool lists; /* its variants are forced one by one */
} subject_setting;

typedef struct subject_variant {
    int setting;
    mnt_op op;
    char name[40];
    int choices; /* variants of that op under that setting */
} subject_variant;

typedef struct subject {
    char backend[40], device[128], detail[128];
    bool built_in;
    int threads; /* 0: means nothing to this backend */
    uint64_t memory;
    subject_setting setting[SUBJECT_MAX_SETTINGS];
    int settings;
    subject_variant variant[SUBJECT_MAX_VARIANTS];
    int variants;
    char error[KIT_SENTENCE]; /* why it cannot be judged, the option first; or "" */
} subject;

/* Shared memory, never freed. NULL after a sentence on standard error. */
const subject *subject_probe(const options *o);

/* In the process that is to use it. NULL: `error` has the sentence. */
mnt_device *subject_open(const options *o, const subject *s, const char *force,
                         int threads, char *error, size_t size);
/* Loads the plugin, once a process. False: as above. */
bool subject_load(const options *o, char *error, size_t size);

/* Op and variant of the next "op=variant" in a force string, from *rest on; false
 * behind the last. Words for the whole device are passed over. */
bool subject_forced(const char **rest, mnt_op *op, char variant[40]);
/* Whether a variant of this name, or a kernel, gives up the bits (docs/numerics.md G). */
bool subject_relaxed(const char *name);
/* Whether a kernel as timing names it is that variant. */
bool subject_is_variant(const char *kernel, const char *variant);

#endif
