/* SPDX-License-Identifier: MIT */
#include "common/run.h"

#include "common/bench.h"
#include "common/compare.h"
#include "common/eval.h"
#include "common/train.h"

#include <stdio.h>

static mnt_status dispatch(session *s)
{
    switch (s->opt->cmd) {
    case CMD_EVAL:
        return eval_run(s);
    case CMD_BENCH:
        return s->opt->topic != NULL ? bench_relu(s) : bench_run(s);
    default:
        return s->opt->compare != NULL ? compare_run(s) : train_run(s);
    }
}

/* Output that did not arrive (a full disk, a closed pipe) is a failure, too. */
static int flush(const run_app *app, int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "%s: standard output cannot be written\n", app->name);
    return status == 0 ? 1 : status;
}

int run_main(const run_app *app, int argc, char **argv)
{
    options opt;
    session s;
    switch (options_parse(&opt, app, argc, argv)) {
    case PARSED_DONE:
        return flush(app, 0);
    case PARSED_BAD_INPUT:
        return 1;
    case PARSED_USAGE:
        return 2;
    case PARSED_RUN:
        break;
    }
    mnt_status st = session_open(&s, app, &opt);
    if (st == MNT_OK)
        st = dispatch(&s);
    fflush(stdout);
    int status = session_report(&s, st);
    session_close(&s);
    return flush(app, status);
}
