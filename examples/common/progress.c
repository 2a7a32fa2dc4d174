/* SPDX-License-Identifier: MIT */
#include "common/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* "0.42 s", "12 s", "3 min 05 s"; "?" below zero */
static void duration(char *out, size_t size, double seconds)
{
    if (seconds < 0.0)
        snprintf(out, size, "?");
    else if (seconds < 9.995)
        snprintf(out, size, "%.2f s", seconds);
    else if (seconds < 119.5)
        snprintf(out, size, "%.0f s", seconds);
    else
        snprintf(out, size, "%.0f min %02.0f s", floor(seconds / 60.0),
                 floor(fmod(seconds, 60.0)));
}

progress progress_begin(int64_t epochs)
{
    return (progress){ .live = isatty(STDOUT_FILENO) != 0, .epochs = epochs };
}

void progress_clear(progress *p)
{
    if (p->dirty)
        printf("\r\033[K");
    p->dirty = false;
    fflush(stdout);
}

void progress_live(progress *p, const metrics_row *row, double part, double left)
{
    char time[32];
    if (!p->live)
        return;
    duration(time, sizeof time, left);
    progress_clear(p);
    printf("epoch %" PRId64 "/%" PRId64 " %3.0f%%  loss %.4f  train %.2f%%  "
           "%.0f images/s  left %s",
           row->epoch, p->epochs, 100.0 * part, row->loss, 100.0 * row->train_accuracy,
           row->images_per_second, time);
    p->dirty = true;
    fflush(stdout);
}

void progress_epoch(progress *p, const metrics_row *row, double left)
{
    char took[32], rest[32];
    duration(took, sizeof took, row->seconds);
    duration(rest, sizeof rest, left);
    progress_clear(p);
    printf("epoch %" PRId64 "/%" PRId64 "  step %" PRId64 "  loss %.4f  train %.2f%%  ",
           row->epoch, p->epochs, row->step, row->loss, 100.0 * row->train_accuracy);
    if (!isnan(row->test_accuracy))
        printf("test %.2f%%  ", 100.0 * row->test_accuracy);
    printf("%.0f images/s  %s  left %s\n", row->images_per_second, took, rest);
    fflush(stdout);
}
