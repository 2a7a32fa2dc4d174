/* SPDX-License-Identifier: MIT */
/*
 * The number of the last error, as Apple's systems keep it.
 */
#ifndef DARWIN_ERRNO_H
#define DARWIN_ERRNO_H

int *__error(void);
#define errno (*__error())

#endif
