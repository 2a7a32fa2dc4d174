/* SPDX-License-Identifier: MIT */
/*
 * The command line of the example programs: what was asked for, checked for sense but
 * not yet against files or devices. Backends named by --plugin are loaded meanwhile.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "common/run.h"

typedef enum command { CMD_TRAIN, CMD_EVAL, CMD_BENCH, CMD_HELP } command;

/* Bits of options.given: a resumed run takes what was not given from its checkpoint. */
enum {
    GIVEN_BATCH = 1,
    GIVEN_SEED = 2,
    GIVEN_LR = 4,
    GIVEN_MOMENTUM = 8,
    GIVEN_OPTIMIZER = 16,
    GIVEN_WEIGHT_DECAY = 32
};

typedef struct options {
    command cmd;
    const char *topic;   /* bench: "relu" or NULL */
    const char *backend; /* NULL: auto */
    const char *compare; /* the second backend, NULL: no comparison */
    const char *force;   /* kernel variants, NULL: the environment's */
    const char *data;    /* folder or "synth"; NULL: the usual places */
    const char *out;     /* folder, NULL: no reports */
    const char *ckpt;    /* NULL: none */
    const char *ckpt_best;
    int device, threads;
    int64_t epochs;
    int64_t steps; /* 0: all */
    int64_t batch;
    int64_t ckpt_every; /* 0: each epoch */
    int64_t log_every;  /* 0: chosen */
    uint64_t seed;
    run_optimizer optimizer;
    float lr; /* when not given: chosen by recipe_defaults(), as is the optimizer */
    float momentum, weight_decay;
    bool resume, profile;
    unsigned given;
} options;

typedef enum parsed { PARSED_RUN, PARSED_DONE, PARSED_BAD_INPUT, PARSED_USAGE } parsed;

/*
 * Reads the command line. PARSED_DONE after --help and --version, which it prints;
 * PARSED_BAD_INPUT and PARSED_USAGE after a sentence on stderr. Strings point into
 * argv.
 */
parsed options_parse(options *opt, const run_app *app, int argc, char **argv);

/* Prints the manual on stdout (help.c). */
void help_print(const run_app *app);

#endif
