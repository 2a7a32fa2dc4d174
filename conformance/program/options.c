/* SPDX-License-Identifier: MIT */
/*
 * Parses the command line with getopt_long. Every number is read whole and checked for
 * its range here; names of ops and rows are looked up in the tables of the suite.
 */
#include "options.h"

#include "plan.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option longopts[] = {
    { "backend", required_argument, NULL, 'b' },
    { "plugin", required_argument, NULL, 'P' },
    { "device", required_argument, NULL, 'i' },
    { "threads", required_argument, NULL, 't' },
    { "jobs", required_argument, NULL, 'j' },
    { "list", no_argument, NULL, 'l' },
    { "op", required_argument, NULL, 'o' },
    { "row", required_argument, NULL, 'r' },
    { "case", required_argument, NULL, 'c' },
    { "cases", required_argument, NULL, 'C' },
    { "force", required_argument, NULL, 'f' },
    { "mode", required_argument, NULL, 'm' },
    { "seed", required_argument, NULL, 's' },
    { "generated", required_argument, NULL, 'g' },
    { "budget", required_argument, NULL, 'B' },
    { "limit", required_argument, NULL, 'L' },
    { "share", required_argument, NULL, 'S' },
    { "out", required_argument, NULL, 'O' },
    { "big", no_argument, NULL, 'G' },
    { "warm", no_argument, NULL, 'w' },
    { "repeat", required_argument, NULL, 'R' },
    { "quiet", no_argument, NULL, 'q' },
    { "verbose", no_argument, NULL, 'v' },
    { "table", no_argument, NULL, 'T' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
};

void complain(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs(OPTIONS_NAME ": ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static parsed usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static parsed usage(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs(OPTIONS_NAME ": ", stderr);
    vfprintf(stderr, format, ap);
    fputs(" (" OPTIONS_NAME " --help lists the options)\n", stderr);
    va_end(ap);
    return PARSED_USAGE;
}

static parsed read_int(const char *name, const char *s, int64_t lo, int64_t hi,
                       int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end != '\0' || errno != 0 || v < lo || v > hi)
        return usage("--%s: '%.60s' is not a whole number from %lld to %lld", name, s,
                     (long long)lo, (long long)hi);
    *out = v;
    return PARSED_RUN;
}

static parsed read_small(const char *name, const char *s, int lo, int hi, int *out)
{
    int64_t v = 0;
    parsed r = read_int(name, s, lo, hi, &v);
    if (r == PARSED_RUN)
        *out = (int)v;
    return r;
}

static parsed read_text(const char *name, const char *s, const char **out)
{
    if (*s == '\0')
        return usage("--%s: the value is empty", name);
    *out = s;
    return PARSED_RUN;
}

static parsed read_op(options *o, const char *s)
{
    if (plan_op_index(s) < 0)
        return usage("--op: there is no op '%.60s'; --list prints a line of each", s);
    if (o->op_count == OPTIONS_MAX_OPS)
        return usage("--op: more than %d", OPTIONS_MAX_OPS);
    o->op[o->op_count++] = s;
    return PARSED_RUN;
}

static parsed read_row(options *o, const char *s)
{
    o->row = s;
    for (int i = 0; i < MNT_OP_COUNT; i++)
        if (strcmp(mnt_op_name((mnt_op)i), s) == 0) {
            o->row_op = (mnt_op)i;
            return PARSED_RUN;
        }
    return usage("--row: ops.def has no op '%.60s'", s);
}

static parsed read_mode(options *o, const char *s)
{
    o->mode = s;
    if (strcmp(s, "fused") != 0 && strcmp(s, "unfused") != 0 && strcmp(s, "eager") != 0)
        return usage("--mode: '%.60s' is none of fused, unfused, eager", s);
    return PARSED_RUN;
}

/* "2/3" */
static parsed read_share(options *o, const char *s)
{
    char *end;
    errno = 0;
    long i = strtol(s, &end, 10), n = 0;
    if (end != s && *end == '/') {
        const char *second = end + 1;
        n = strtol(second, &end, 10);
        if (end == second || *end != '\0')
            n = 0;
    }
    if (errno || n < 1 || n > 1000000 || i < 1 || i > n)
        return usage("--share: '%.60s' is not of the form I/N with 1 <= I <= N", s);
    o->share = (int)i;
    o->shares = (int)n;
    return PARSED_RUN;
}

static parsed apply_choice(options *o, int letter, const char *name, const char *s)
{
    int64_t v = 0;
    parsed r;
    switch (letter) {
    case 'o':
        return read_op(o, s);
    case 'r':
        return read_row(o, s);
    case 'c':
        return read_text(name, s, &o->line);
    case 'C':
        return read_text(name, s, &o->cases);
    case 'f':
        o->force = s;
        return PARSED_RUN;
    case 'm':
        return read_mode(o, s);
    case 's':
        r = read_int(name, s, 0, INT64_MAX, &v);
        o->seed = (uint64_t)v;
        return r;
    case 'g':
        return read_small(name, s, 0, 1000000, &o->generated);
    case 'B':
        return read_int(name, s, 1, 1000000000, &o->budget);
    case 'R':
        return read_small(name, s, 1, 1000000, &o->repeat);
    case 'L':
        return read_int(name, s, 1, 1000000, &o->limit);
    default:
        return read_share(o, s);
    }
}

static parsed apply(options *o, int letter, const char *name, const char *s)
{
    switch (letter) {
    case 'b':
        return read_text(name, s, &o->backend);
    case 'P':
        return read_text(name, s, &o->plugin);
    case 'i':
        return read_small(name, s, 0, 1023, &o->device);
    case 't':
        return read_small(name, s, 1, 1024, &o->threads);
    case 'j':
        return read_small(name, s, 1, 256, &o->jobs);
    case 'O':
        return read_text(name, s, &o->out);
    case 'l':
        o->list = true;
        return PARSED_RUN;
    case 'G':
        o->big = true;
        return PARSED_RUN;
    case 'w':
        o->warm = true;
        return PARSED_RUN;
    case 'q':
        o->quiet = true;
        return PARSED_RUN;
    case 'v':
        o->verbose = true;
        return PARSED_RUN;
    case 'h':
        help_print();
        return PARSED_DONE;
    case 'V':
        printf(OPTIONS_NAME " (libmnt %s, numerics %d)\n", mnt_version(),
               MNT_NUMERICS_VERSION);
        return PARSED_DONE;
    default:
        return apply_choice(o, letter, name, s);
    }
}

/* What only the whole command line shows. */
static parsed check(options *o, bool table, int words, char **word)
{
    if (table && words == 0)
        return usage("--table: which certificates?");
    if (words > OPTIONS_MAX_CERTS)
        return usage("--table: more than %d certificates", OPTIONS_MAX_CERTS);
    if (!table && words > 0)
        return usage("'%.60s' is not an option", word[0]);
    for (int i = 0; i < words; i++)
        o->cert[o->cert_count++] = word[i];
    if (o->backend && o->plugin)
        return usage("--backend: --plugin brings the backend, only one can be judged");
    if (o->line && (o->op_count || o->row || o->list || o->shares > 1))
        return usage("--case: goes with neither --op, --row, --list nor --share");
    if (o->cases && (o->op_count || o->line))
        return usage("--cases: goes with neither --op nor --case");
    if (o->list && o->row)
        return usage("--row: which cases hold an op shows only when they run, so it "
                     "does not go with --list");
    return PARSED_RUN;
}

parsed options_parse(options *o, int argc, char **argv)
{
    *o = (options){ .program = argc > 0 ? argv[0] : OPTIONS_NAME,
                    .row_op = MNT_OP_COUNT,
                    .seed = 1,
                    .generated = OPTIONS_GENERATED,
                    .repeat = 1,
                    .limit = 120,
                    .share = 1,
                    .shares = 1,
                    .out = "." };
    bool table = false;
    opterr = 0;
    for (;;) {
        int index = -1;
        int letter = getopt_long(argc, argv, ":hVqv", longopts, &index);
        if (letter == -1)
            break;
        if (letter == '?')
            return usage("'%.60s' is not an option", argv[optind - 1]);
        if (letter == ':')
            return usage("%.60s needs a value", argv[optind - 1]);
        if (letter == 'T') {
            table = true;
            continue;
        }
        parsed r = apply(o, letter, index >= 0 ? longopts[index].name : "", optarg);
        if (r != PARSED_RUN)
            return r;
    }
    return check(o, table, argc - optind, argv + optind);
}
