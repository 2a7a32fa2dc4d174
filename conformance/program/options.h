/* SPDX-License-Identifier: MIT */
/*
 * The command line of mnt-conformance: what was asked for, checked for sense but not
 * against devices or files. A malformed option is a usage error (exit status 2), input
 * that is well formed and wrong is not (1).
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "../kit/kit.h"

#define OPTIONS_NAME      "mnt-conformance"
#define OPTIONS_MAX_OPS   64
#define OPTIONS_MAX_CERTS 32
#define OPTIONS_GENERATED 300 /* random cases an op */
#define OPTIONS_THREADS   2   /* of the configurations with several threads */

typedef struct options {
    const char *program; /* as it was called */
    const char *backend; /* NULL: the first that opens, or the plugin's */
    const char *plugin;  /* path of a shared object; NULL: none */
    int device;
    int threads; /* 0: not given */
    int jobs;    /* 0: not given */
    bool list, big, warm, quiet, verbose;
    const char *op[OPTIONS_MAX_OPS]; /* empty: all */
    int op_count;
    const char *row;
    mnt_op row_op;     /* MNT_OP_COUNT: not given */
    const char *line;  /* --case; NULL: the whole suite */
    const char *cases; /* --cases, a file; NULL: the whole suite */
    const char *force; /* NULL: every configuration that the backend lists */
    const char *mode;  /* "fused", "unfused", "eager"; NULL: all */
    uint64_t seed;
    int generated, repeat;
    int64_t budget, limit; /* seconds; budget 0: none */
    int share, shares;     /* the share-th of shares, from 1 */
    const char *out;
    const char *cert[OPTIONS_MAX_CERTS];
    int cert_count; /* more than 0: --table */
} options;

typedef enum parsed {
    PARSED_RUN,
    PARSED_DONE,      /* --help or --version was printed */
    PARSED_BAD_INPUT, /* a sentence was printed */
    PARSED_USAGE
} parsed;

parsed options_parse(options *o, int argc, char **argv);

/* help.c */
void help_print(void);

/* "mnt-conformance: " and the sentence on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
