/* SPDX-License-Identifier: MIT */
/*
 * A function in a process of its own. The supervisor opens no device and reads no text
 * of the user's in its own process, so nothing that a driver or a case does can end it.
 */
#ifndef CHILD_H
#define CHILD_H

#include "../kit/kit.h"

/* Zeroed memory that children share with this process; never freed, never NULL. */
void *child_shared(size_t bytes);

typedef struct child_end {
    bool ok; /* it came back by itself with status 0 */
    /* Else how it ended: what it wrote on standard error if that was caught and there
     * is something, or "died of SIGSEGV", "ended with status 3", "hung". */
    char text[KIT_SENTENCE];
} child_end;

/* fn(arg) in a child; catch: what it writes on standard error becomes the text. */
child_end child_call(void (*fn)(void *), void *arg, int64_t limit, bool catch_text);

/* "died of SIGSEGV (segmentation fault)", of a status as waitpid() gives it. */
void child_text(int status, char *text, size_t size);

#endif
