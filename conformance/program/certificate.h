/* SPDX-License-Identifier: MIT */
/*
 * The certificate: what was judged, on what, and what came out. JSON for programs
 * (conformance-<backend>.json) and a page for readers (.md) from the same object.
 */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

#include "tally.h"

#include <jansson.h>

#define CERTIFICATE_FORMAT 1

typedef struct run_facts {
    double seconds;
    int jobs;
    char partial[512]; /* why the run is not complete; "": it is */
} run_facts;

/* Both files, each whole or not at all. False after a sentence on standard error. */
bool certificate_write(const tally *t, const run_facts *f);

/* page.c: the Markdown page of a certificate; NULL when memory ends. */
char *page_make(const json_t *root);

/* table.c: prints the table of ops by backends and data types. Exit status. */
int table_print(const options *o);

#endif
