/* SPDX-License-Identifier: MIT */
/*
 * Of strings and memory what the GPU backends may use.
 */
#ifndef DARWIN_STRING_H
#define DARWIN_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t bytes);
char *strchr(const char *text, int c);
char *strstr(const char *text, const char *part);
char *strerror(int error);

#endif
