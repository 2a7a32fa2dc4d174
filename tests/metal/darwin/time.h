/* SPDX-License-Identifier: MIT */
/*
 * The clock that never goes back.
 */
#ifndef DARWIN_TIME_H
#define DARWIN_TIME_H

struct timespec {
    long tv_sec, tv_nsec;
};

typedef enum { CLOCK_MONOTONIC = 6 } clockid_t;

int clock_gettime(clockid_t clock, struct timespec *time);

#endif
