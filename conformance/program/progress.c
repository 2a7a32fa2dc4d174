/* SPDX-License-Identifier: MIT */
/*
 * The progress line.
 */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define EVERY_TERMINAL 0.2
#define EVERY_FILE     10.0

static bool silent, terminal, shown;
static int all;
static double started, last;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(bool quiet, int total)
{
    silent = quiet;
    terminal = isatty(STDERR_FILENO) != 0;
    all = total;
    started = last = now();
}

double progress_seconds(void)
{
    return now() - started;
}

void progress_clear(void)
{
    if (shown && terminal)
        fputs("\r\033[K", stderr);
    shown = false;
}

void progress_show(int done, int64_t tuples, int64_t failures)
{
    double t = now();
    if (silent || t - last < (terminal ? EVERY_TERMINAL : EVERY_FILE))
        return;
    last = t;
    progress_clear();
    double seconds = t - started;
    fprintf(stderr, "%d of %d cases, %lld tuples, %lld failures, %.0f s", done, all,
            (long long)tuples, (long long)failures, seconds);
    if (done > 0 && done < all)
        fprintf(stderr, ", about %.0f s left",
                seconds * (double)(all - done) / (double)done);
    if (!terminal)
        fputc('\n', stderr);
    fflush(stderr);
    shown = true;
}
