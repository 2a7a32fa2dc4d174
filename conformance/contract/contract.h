/* SPDX-License-Identifier: MIT */
/*
 * Checks of the backend contract (mnt/backend.h) below and beside the op level: what a
 * vtable promises about contexts, memory, order, programs, faults and timing, and what
 * follows from it in the public API.
 *
 * A check is a name and a function. It opens all it needs from the subject, changes
 * nothing outside, and may run alone, in any order, as often as one likes.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { CONTRACT_PASS, CONTRACT_FAIL, CONTRACT_SKIP } contract_outcome;

/* Which device is judged, and with which kernels. */
typedef struct contract_subject {
    const char *backend;
    int index;
    const char *force; /* NULL or "": the backend's own choice */
    int threads;
    bool big; /* jobs of 4 GiB and more are welcome */
} contract_subject;

typedef struct contract_check {
    const char *name;
    /* text: on FAIL what was expected and what came, on SKIP the reason, else "". */
    contract_outcome (*run)(const contract_subject *s, char *text, size_t size);
} contract_check;

/* Ended by name NULL. */
extern const contract_check contract_checks[];

#endif
