/* SPDX-License-Identifier: MIT */
/*
 * mnt-conformance: judges a backend and writes its certificate. From here: probe the
 * device, plan the cases, supervise the workers, sum up.
 */
#include "../graphs/graphs.h"
#include "certificate.h"
#include "plan.h"
#include "progress.h"
#include "supervisor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int list(const plan *p)
{
    for (int i = 0; i < p->count; i++)
        printf("%s%s%s\n", plan_op_name(p->cases[i].op), p->cases[i].text[0] ? " " : "",
               p->cases[i].text);
    return 0;
}

static void because(run_facts *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void because(run_facts *f, const char *format, ...)
{
    size_t n = strlen(f->partial);
    va_list ap;
    if (n && n + 3 < sizeof f->partial) {
        strcat(f->partial, ", ");
        n += 2;
    }
    va_start(ap, format);
    vsnprintf(f->partial + n, sizeof f->partial - n, format, ap);
    va_end(ap);
}

/* Why this is not the whole suite. */
static void explain(run_facts *f, const options *o, supervised end, int done, int all)
{
    for (int i = 0; i < o->op_count; i++)
        because(f, "--op %s", o->op[i]);
    if (o->row)
        because(f, "--row %s", o->row);
    if (o->line)
        because(f, "--case");
    if (o->cases)
        because(f, "--cases %.80s", o->cases);
    if (o->force)
        because(f, "--force \"%.80s\"", o->force);
    if (o->mode)
        because(f, "--mode %s", o->mode);
    if (o->shares > 1)
        because(f, "--share %d/%d", o->share, o->shares);
    if (o->warm)
        because(f, "--warm");
    if (o->generated < OPTIONS_GENERATED)
        because(f, "--generated %d", o->generated);
    if (end == SUPERVISED_BUDGET)
        because(f, "--budget %lld: %d of %d cases", (long long)o->budget, done, all);
    if (end == SUPERVISED_GAVE_UP)
        because(f, "given up after too many crashes: %d of %d cases", done, all);
    if (end == SUPERVISED_INTERRUPTED)
        because(f, "interrupted: %d of %d cases", done, all);
}

static void print_ops(const tally *t)
{
    printf("%-18s %7s %8s %8s %9s %9s\n", "op", "cases", "forward", "backward", "ulp",
           "share");
    for (int i = 0; i < plan_op_count(); i++) {
        const tally_op *op = &t->op[i];
        double ulp = 0, share = 0;
        if (op->cases == 0 || plan_is_contract(i))
            continue;
        for (int k = 0; k < MNT_DTYPE_COUNT; k++) {
            ulp = op->type[k].ulp > ulp ? op->type[k].ulp : ulp;
            share = op->type[k].share > share ? op->type[k].share : share;
        }
        printf("%-18s %7lld %8lld %8lld %9.3g %9.3g", plan_op_name(i),
               (long long)op->cases, (long long)op->forward, (long long)op->backward,
               ulp, share);
        if (op->failed)
            printf("  %lld failed", (long long)op->failed);
        if (op->unsupported)
            printf("  %lld unsupported", (long long)op->unsupported);
        printf("\n");
    }
    if (t->checks) {
        int outcome[3] = { 0 };
        for (int i = 0; i < t->checks; i++)
            outcome[t->check[i].outcome]++;
        printf("contract: %d checks, %d failed, %d skipped\n", t->checks, outcome[1],
               outcome[2]);
    }
}

/* Of a plugin, what it lacks; in the library that is a failure. */
static void print_missing(const tally *t)
{
    int n = 0;
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (t->row[op] == 0)
            printf("%s %s", n++ ? "," : "rows of ops.def that never ran:",
                   mnt_op_name((mnt_op)op));
    if (n)
        printf("\n");
}

static void print_totals(const tally *t, const run_facts *f)
{
    printf("conformance: %s: %lld tuples of %lld cases in %d ops, %lld mismatches, ",
           t->job->s->backend, (long long)t->tuples, (long long)t->cases, t->ops,
           (long long)t->count[TALLY_MISMATCH]);
    if (t->count[TALLY_CRASH])
        printf("%lld crashes, ", (long long)t->count[TALLY_CRASH]);
    if (t->count[TALLY_CONTRACT])
        printf("%lld contract failures, ", (long long)t->count[TALLY_CONTRACT]);
    if (t->count[TALLY_THIN])
        printf("%lld thin, ", (long long)t->count[TALLY_THIN]);
    printf("%lld unsupported, %.0f s%s%s\n", (long long)t->unsupported_cases,
           f->seconds, f->partial[0] ? "; partial: " : "", f->partial);
}

static int judge(const options *o, const subject *s, const plan *p)
{
    config_list configs;
    configs_make(&configs, o, s);
    worker_job job = { o, s, &configs, p };
    tally *t = kit_alloc(sizeof *t);
    tally_init(t, &job);
    run_facts f = { .jobs = supervisor_jobs(o, s) };
    if (!o->quiet)
        printf("%s: %s, %s; %d settings, %d variants, %d cases\n", s->backend,
               s->device, s->detail, s->settings, s->variants, p->count);
    for (int i = 0; o->verbose && o->line && i < p->count; i++)
        if (plan_is_graph(p->cases[i].op))
            graph_describe(p->cases[i].text, stdout);
    progress_begin(o->quiet, p->count);
    int done = 0;
    supervised end = supervise(&job, t, &done);
    progress_clear();
    f.seconds = progress_seconds();
    explain(&f, o, end, done, p->count);
    if (f.partial[0] == '\0')
        tally_thin(t);
    bool ok = tally_conforms(t);
    if (!o->quiet)
        print_ops(t);
    if (!o->quiet && f.partial[0] == '\0')
        print_missing(t);
    if (!o->line && !certificate_write(t, &f))
        ok = false;
    if (o->row && t->skipped == p->count) {
        complain("--row: no case's program holds the op %s", o->row);
        ok = false;
    }
    print_totals(t, &f);
    tally_free(t);
    free(t);
    configs_free(&configs);
    return end == SUPERVISED_INTERRUPTED ? 130 : ok ? 0 : 1;
}

/* Before minutes are spent on a run whose result has no place. */
static bool out_ok(const options *o)
{
    struct stat st;
    if (o->line || o->list)
        return true;
    if (stat(o->out, &st) != 0 || !S_ISDIR(st.st_mode) || access(o->out, W_OK) != 0) {
        complain("--out: %s is not a folder that can be written to", o->out);
        return false;
    }
    if (strlen(o->out) < 4000)
        return true;
    complain("--out: the path is too long");
    return false;
}

int main(int argc, char **argv)
{
    options o;
    parsed r = options_parse(&o, argc, argv);
    if (r != PARSED_RUN)
        return r == PARSED_DONE ? 0 : r == PARSED_USAGE ? 2 : 1;
    if (o.cert_count)
        return table_print(&o);
    plan p;
    if (!out_ok(&o) || !plan_make(&p, &o))
        return 1;
    int status = 1;
    const subject *s = NULL;
    if (o.list)
        status = list(&p);
    else
        s = subject_probe(&o);
    if (s)
        status = judge(&o, s, &p);
    plan_free(&p);
    return status;
}
