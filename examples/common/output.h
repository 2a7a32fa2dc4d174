/* SPDX-License-Identifier: MIT */
/*
 * Files that appear whole or not at all: written beside their place and renamed. Also
 * the clock and the path helper that every report needs.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define OUTPUT_PATH 4096

/* "dir/name" in out; false if it does not fit. */
bool output_path(char out[OUTPUT_PATH], const char *dir, const char *name);
/* Makes the folder and its parents. false: errno says why. */
bool output_mkdir(const char *dir);

/* Whether a file could be put at this path: its folder can be written to and it is no
 * folder itself. false: errno says why. */
bool output_can_write(const char *path);

typedef struct output {
    FILE *f;
    char path[OUTPUT_PATH], temp[OUTPUT_PATH];
} output;

/* Opens dir/name for writing, under another name until output_close(). */
bool output_open(output *o, const char *dir, const char *name);
/* Flushes and renames; with keep false only removes what was written. */
bool output_close(output *o, bool keep);

/* The shortest decimal that reads back as this f32: 0.1, not 0.100000001. */
#define REAL_TEXT 32
void real_text(char out[REAL_TEXT], float x);

/* Monotonic seconds. */
double clock_seconds(void);

#endif
