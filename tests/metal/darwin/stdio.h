/* SPDX-License-Identifier: MIT */
/*
 * Of standard input and output what the GPU backends may use: text into memory, and
 * whether a file can be opened. Nothing is printed by a library.
 */
#ifndef DARWIN_STDIO_H
#define DARWIN_STDIO_H

#include <stdarg.h>
#include <stddef.h>

typedef struct __sFILE FILE;

FILE *fopen(const char *path, const char *mode);
int fclose(FILE *file);
int snprintf(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int vsnprintf(char *text, size_t size, const char *format, va_list list)
    __attribute__((format(printf, 3, 0)));

#endif
