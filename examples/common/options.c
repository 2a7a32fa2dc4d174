/* SPDX-License-Identifier: MIT */
/*
 * Parses the command line with getopt_long. Every number is read whole and checked for
 * its range here, so that the rest of the program never meets a bad one. One table maps
 * option names to the letters of the switch in apply().
 */
#include "common/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <mnt/backend.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_HELP = 'h', TEXT_VERSION = 'V' };

static const struct option longopts[] = {
    { "backend", required_argument, NULL, 'b' },
    { "plugin", required_argument, NULL, 'P' },
    { "device", required_argument, NULL, 'i' },
    { "epochs", required_argument, NULL, 'e' },
    { "steps", required_argument, NULL, 'n' },
    { "batch", required_argument, NULL, 'B' },
    { "threads", required_argument, NULL, 't' },
    { "seed", required_argument, NULL, 's' },
    { "data", required_argument, NULL, 'd' },
    { "out", required_argument, NULL, 'o' },
    { "ckpt", required_argument, NULL, 'c' },
    { "ckpt-every", required_argument, NULL, 'E' },
    { "ckpt-best", required_argument, NULL, 'C' },
    { "log-every", required_argument, NULL, 'L' },
    { "resume", no_argument, NULL, 'r' },
    { "lr", required_argument, NULL, 'l' },
    { "momentum", required_argument, NULL, 'm' },
    { "weight-decay", required_argument, NULL, 'w' },
    { "optimizer", required_argument, NULL, 'O' },
    { "dtype", required_argument, NULL, 'D' },
    { "compare", required_argument, NULL, 'x' },
    { "force", required_argument, NULL, 'f' },
    { "profile", no_argument, NULL, 'p' },
    { "help", no_argument, NULL, TEXT_HELP },
    { "version", no_argument, NULL, TEXT_VERSION },
    { NULL, 0, NULL, 0 },
};

typedef struct parser {
    const run_app *app;
    options *opt;
    const char *name; /* of the option being read */
} parser;

__attribute__((format(printf, 2, 3))) static parsed usage(const parser *p,
                                                          const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%s: ", p->app->name);
    vfprintf(stderr, format, ap);
    fprintf(stderr, " (%s --help lists the options)\n", p->app->name);
    va_end(ap);
    return PARSED_USAGE;
}

static parsed read_int(const parser *p, const char *s, int64_t lo, int64_t hi,
                       int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end != '\0' || errno != 0 || v < lo || v > hi)
        return usage(p, "--%s: '%s' is not a whole number from %lld to %lld", p->name,
                     s, (long long)lo, (long long)hi);
    *out = v;
    return PARSED_RUN;
}

static parsed read_count(const parser *p, const char *s, int64_t hi, int *out)
{
    int64_t v = 0;
    parsed r = read_int(p, s, 0, hi, &v);
    if (r == PARSED_RUN)
        *out = (int)v;
    return r;
}

/* Within what summary.json can hold as an integer. */
static parsed read_seed(const parser *p, const char *s, uint64_t *out)
{
    int64_t v = 0;
    parsed r = read_int(p, s, 0, INT64_MAX, &v);
    if (r == PARSED_RUN)
        *out = (uint64_t)v;
    return r;
}

static parsed read_real(const parser *p, const char *s, float lo, float hi, float *out)
{
    char *end;
    float v = strtof(s, &end);
    if (end == s || *end != '\0' || !isfinite(v) || v < lo || v > hi)
        return usage(p, "--%s: '%s' is not a number from %g to %g", p->name, s,
                     (double)lo, (double)hi);
    *out = v;
    return PARSED_RUN;
}

static parsed read_optimizer(const parser *p, const char *s)
{
    if (strcmp(s, "sgd") == 0)
        p->opt->optimizer = OPT_SGD;
    else if (strcmp(s, "adam") == 0)
        p->opt->optimizer = OPT_ADAM;
    else
        return usage(p, "--optimizer: '%s' is neither sgd nor adam", s);
    return PARSED_RUN;
}

static parsed read_dtype(const parser *p, const char *s)
{
    if (strcmp(s, "f32") == 0)
        return PARSED_RUN;
    if (strcmp(s, "f16") != 0)
        return usage(p, "--dtype: '%s' is neither f32 nor f16", s);
    fprintf(stderr,
            "%s: --dtype f16 is not supported: libmnt %s computes in f32 only\n",
            p->app->name, mnt_version());
    return PARSED_BAD_INPUT;
}

/* Loaded at once, so that --help behind it lists the backend. */
static parsed load_plugin(const parser *p, const char *path)
{
    if (*path == '\0')
        return usage(p, "--plugin: the value is empty");
    if (mnt_backend_load(path) == MNT_OK)
        return PARSED_RUN;
    fprintf(stderr, "%s: --plugin: %s\n", p->app->name, mnt_last_error(NULL));
    return PARSED_BAD_INPUT;
}

static parsed read_text(const parser *p, const char *s, const char **out)
{
    if (*s == '\0')
        return usage(p, "--%s: the value is empty", p->name);
    *out = s;
    return PARSED_RUN;
}

/* The options that say how to train; each leaves its bit in `given`. */
static parsed apply_recipe(const parser *p, int letter, const char *s)
{
    options *o = p->opt;
    switch (letter) {
    case 'B':
        o->given |= GIVEN_BATCH;
        return read_int(p, s, 1, 1 << 20, &o->batch);
    case 's':
        o->given |= GIVEN_SEED;
        return read_seed(p, s, &o->seed);
    case 'l':
        o->given |= GIVEN_LR;
        return read_real(p, s, 0.0f, 1000.0f, &o->lr);
    case 'm':
        o->given |= GIVEN_MOMENTUM;
        return read_real(p, s, 0.0f, 1.0f, &o->momentum);
    case 'w':
        o->given |= GIVEN_WEIGHT_DECAY;
        return read_real(p, s, 0.0f, 1000.0f, &o->weight_decay);
    default:
        o->given |= GIVEN_OPTIMIZER;
        return read_optimizer(p, s);
    }
}

static parsed apply(const parser *p, int letter, const char *s)
{
    options *o = p->opt;
    switch (letter) {
    case 'b':
        return read_text(p, s, &o->backend);
    case 'P':
        return load_plugin(p, s);
    case 'x':
        return read_text(p, s, &o->compare);
    case 'd':
        return read_text(p, s, &o->data);
    case 'o':
        return read_text(p, s, &o->out);
    case 'c':
        return read_text(p, s, &o->ckpt);
    case 'C':
        return read_text(p, s, &o->ckpt_best);
    case 'f':
        o->force = s;
        return PARSED_RUN;
    case 'i':
        return read_count(p, s, 1023, &o->device);
    case 't':
        return read_count(p, s, 1024, &o->threads);
    case 'e':
        return read_int(p, s, 1, 1000000, &o->epochs);
    case 'n':
        return read_int(p, s, 1, INT64_C(1) << 40, &o->steps);
    case 'E':
        return read_int(p, s, 1, INT64_C(1) << 40, &o->ckpt_every);
    case 'L':
        return read_int(p, s, 1, INT64_C(1) << 40, &o->log_every);
    case 'D':
        return read_dtype(p, s);
    case 'r':
        o->resume = true;
        return PARSED_RUN;
    case 'p':
        o->profile = true;
        return PARSED_RUN;
    case TEXT_HELP:
        help_print(p->app);
        return PARSED_DONE;
    case TEXT_VERSION:
        printf("%s (libmnt %s)\n", p->app->name, mnt_version());
        return PARSED_DONE;
    default:
        return apply_recipe(p, letter, s);
    }
}

/* The words that are not options: a command, and for bench a topic. */
static parsed read_words(const parser *p, int count, char **word)
{
    static const char *const names[] = { "train", "eval", "bench", "help" };
    if (count == 0)
        return PARSED_RUN;
    int cmd = -1;
    for (int i = 0; i < 4; i++) {
        if (strcmp(word[0], names[i]) == 0)
            cmd = i;
    }
    if (cmd < 0)
        return usage(p, "'%s' is not a command; there are train, eval, bench and help",
                     word[0]);
    p->opt->cmd = (command)cmd;
    if (count == 1)
        return PARSED_RUN;
    if (cmd != CMD_BENCH || strcmp(word[1], "relu") != 0 || count > 2)
        return usage(p, "%s does not take '%s'", word[0], word[count > 2 ? 2 : 1]);
    p->opt->topic = word[1];
    return PARSED_RUN;
}

/* What only the whole command line shows. */
static parsed check(const parser *p)
{
    const options *o = p->opt;
    if (o->cmd == CMD_HELP) {
        help_print(p->app);
        return PARSED_DONE;
    }
    if (o->cmd == CMD_EVAL && o->ckpt == NULL)
        return usage(p, "eval needs --ckpt FILE");
    if (o->cmd == CMD_TRAIN && o->resume && o->ckpt == NULL && o->out == NULL)
        return usage(p, "--resume needs --ckpt FILE or --out DIR to go on from");
    if (o->ckpt_every != 0 && o->ckpt == NULL && o->out == NULL)
        return usage(p, "--ckpt-every needs --ckpt FILE or --out DIR");
    if (o->compare != NULL && (o->cmd != CMD_TRAIN || o->resume))
        return usage(p, "--compare goes with neither %s",
                     o->resume ? "--resume" : "eval nor bench");
    if ((o->given & GIVEN_MOMENTUM) != 0 && (o->given & GIVEN_OPTIMIZER) != 0 &&
        o->optimizer == OPT_ADAM)
        return usage(p, "--momentum belongs to --optimizer sgd");
    return PARSED_RUN;
}

parsed options_parse(options *opt, const run_app *app, int argc, char **argv)
{
    *opt = (options){
        .epochs = 3, .batch = 256, .seed = 1, .momentum = 0.9f, .optimizer = OPT_SGD
    };
    parser p = { app, opt, "" };
    opterr = 0;
    for (;;) {
        int index = -1;
        int letter = getopt_long(argc, argv, ":hV", longopts, &index);
        if (letter == -1)
            break;
        if (letter == '?')
            return usage(&p, "'%s' is not an option", argv[optind - 1]);
        if (letter == ':')
            return usage(&p, "%s needs a value", argv[optind - 1]);
        p.name = index >= 0 ? longopts[index].name : "";
        parsed r = apply(&p, letter, optarg);
        if (r != PARSED_RUN)
            return r;
    }
    parsed r = read_words(&p, argc - optind, argv + optind);
    return r == PARSED_RUN ? check(&p) : r;
}
