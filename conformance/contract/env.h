/* SPDX-License-Identifier: MIT */
/*
 * The floating-point control word of the calling thread: rounding, flushing, traps.
 * Sticky exception flags are left out; nobody promises them.
 */
#ifndef CONTRACT_ENV_H
#define CONTRACT_ENV_H

#include <stdint.h>

uint64_t env_control(void);
void env_set(uint64_t control);

/* Unusual settings that a caller may have: rounding down; subnormals flushed. Ended by
 * one with name NULL. */
typedef struct env_setting {
    const char *name;
    uint64_t control;
} env_setting;
extern const env_setting env_settings[];

#endif
