/* SPDX-License-Identifier: MIT */
/*
 * Hands out cases, collects reports, buries workers.
 */
#include "supervisor.h"

#include "child.h"
#include "progress.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CRASHES 200
#define MOST_HANGS   8

typedef struct proc {
    pid_t pid; /* 0: none */
    int in, out;
    int number; /* of the case it has; -1: idle */
    unsigned beat;
    double since; /* of that beat */
    slot *slot;
} proc;

typedef struct crew {
    const worker_job *job;
    tally *t;
    proc *procs;
    int size;
    const int *cases; /* NULL: all */
    int count, next, done;
    bool fresh;
    int crashes, hangs;
} crew;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction a = { .sa_handler = on_signal };
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int supervisor_jobs(const options *o, const subject *s)
{
    if (o->jobs)
        return o->jobs;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (!s->threads && n > 2)
        n = 2; /* they share one GPU */
    return n < 1 ? 1 : n > 64 ? 64 : (int)n;
}

/* ---- one worker ---- */

static void child_main(const crew *w, const proc *p, int in, int out)
{
    /* The terminal's Ctrl-C is the supervisor's business. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    for (int i = 0; i < w->size; i++)
        if (w->procs[i].pid) {
            close(w->procs[i].in);
            close(w->procs[i].out);
        }
    worker_main(w->job, p->slot, in, out, w->fresh);
    exit(0);
}

static void start(const crew *w, proc *p)
{
    int down[2], up[2];
    fflush(NULL);
    if (pipe(down) != 0 || pipe(up) != 0)
        kit_die("pipe: %s", strerror(errno));
    atomic_store(&p->slot->config, -1);
    p->slot->note[0] = '\0';
    pid_t pid = fork();
    if (pid < 0)
        kit_die("fork: %s", strerror(errno));
    if (pid == 0) {
        close(down[1]);
        close(up[0]);
        child_main(w, p, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    p->pid = pid;
    p->in = down[1];
    p->out = up[0];
    p->number = -1;
}

static int bury(proc *p)
{
    int status = 0;
    close(p->in);
    close(p->out);
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    p->pid = 0;
    return status;
}

static void hand_out(crew *w, proc *p)
{
    int number = w->cases ? w->cases[w->next] : w->next;
    if (!p->pid)
        start(w, p);
    w->next++;
    p->number = number;
    p->beat = atomic_load(&p->slot->beat);
    p->since = progress_seconds();
    /* Should the worker be dead already, its pipe's end says so. */
    if (write(p->in, &number, sizeof number) != (ssize_t)sizeof number)
        p->since = progress_seconds();
}

/* An idle worker is sent home: it closes its devices, which may go wrong too. */
static void dismiss(crew *w, proc *p)
{
    char text[KIT_SENTENCE], sentence[REPORT_SENTENCE];
    close(p->in);
    p->in = -1;
    struct pollfd f = { .fd = p->out, .events = POLLIN };
    int64_t limit = w->job->o->limit;
    double since = progress_seconds();
    bool came = false;
    while (!came && progress_seconds() - since < (double)limit)
        came = poll(&f, 1, 200) > 0;
    if (!came)
        kill(p->pid, SIGKILL);
    int status = bury(p);
    if (came && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (came)
        child_text(status, text, sizeof text);
    else
        snprintf(text, sizeof text, "hung");
    snprintf(sentence, sizeof sentence,
             "%s: a worker %s behind its last case, when it closed its devices",
             w->job->s->backend, text);
    tally_fail(w->t, TALLY_CRASH, NULL, -1, "", sentence);
}

static void lost(crew *w, proc *p, bool hung)
{
    char how[KIT_SENTENCE];
    int number = p->number;
    if (hung)
        kill(p->pid, SIGKILL);
    int status = bury(p);
    p->number = -1;
    if (hung)
        snprintf(how, sizeof how, "gave no sign of life for %lld seconds",
                 (long long)w->job->o->limit);
    else
        child_text(status, how, sizeof how);
    w->hangs += hung;
    w->crashes++;
    w->done++;
    tally_crash(w->t, number, p->slot, how);
}

/* ---- all of them ---- */

static void collect(crew *w, proc *p)
{
    char byte;
    ssize_t n = read(p->out, &byte, 1);
    if (n < 0 && errno == EINTR)
        return;
    if (n != 1) {
        lost(w, p, false);
        return;
    }
    tally_report(w->t, p->number, &p->slot->report, w->fresh);
    w->done++;
    p->number = -1;
    if (w->fresh)
        dismiss(w, p);
}

static void look_for_hangs(crew *w)
{
    double now = progress_seconds(), limit = (double)w->job->o->limit;
    for (int i = 0; i < w->size; i++) {
        proc *p = &w->procs[i];
        if (!p->pid || p->number < 0)
            continue;
        unsigned beat = atomic_load(&p->slot->beat);
        if (beat != p->beat) {
            p->beat = beat;
            p->since = now;
        } else if (now - p->since > limit) {
            lost(w, p, true);
        }
    }
}

static int busy(const crew *w)
{
    int n = 0;
    for (int i = 0; i < w->size; i++)
        n += w->procs[i].pid && w->procs[i].number >= 0;
    return n;
}

static void wait_for_reports(crew *w)
{
    struct pollfd f[256];
    proc *of[256];
    nfds_t n = 0;
    for (int i = 0; i < w->size; i++)
        if (w->procs[i].pid && w->procs[i].number >= 0) {
            of[n] = &w->procs[i];
            f[n++] = (struct pollfd){ .fd = w->procs[i].out, .events = POLLIN };
        }
    if (poll(f, n, 200) <= 0)
        return;
    for (nfds_t i = 0; i < n; i++)
        if (f[i].revents)
            collect(w, of[i]);
}

static bool gave_up(const crew *w)
{
    return w->crashes >= MOST_CRASHES || w->hangs >= MOST_HANGS;
}

static bool time_is_over(const crew *w)
{
    int64_t budget = w->job->o->budget;
    return budget && progress_seconds() >= (double)budget;
}

static void show(const crew *w)
{
    const tally *t = w->t;
    int64_t failures = 0;
    for (int i = 0; i < TALLY_KINDS; i++)
        failures += t->count[i];
    if (!w->fresh)
        progress_show(w->done, t->tuples, failures);
}

static void run_crew(crew *w)
{
    w->next = w->done = 0;
    while (!interrupted) {
        bool more = w->next < w->count && !gave_up(w) && !time_is_over(w);
        for (int i = 0; more && i < w->size && w->next < w->count; i++)
            if (!w->procs[i].pid || w->procs[i].number < 0)
                hand_out(w, &w->procs[i]);
        if (!busy(w))
            break;
        wait_for_reports(w);
        look_for_hangs(w);
        show(w);
    }
    for (int i = 0; i < w->size; i++) {
        proc *p = &w->procs[i];
        if (p->pid && interrupted)
            kill(p->pid, SIGKILL);
        if (p->pid && interrupted)
            bury(p);
        else if (p->pid)
            dismiss(w, p);
    }
}

/* The first case of each op. */
static int *first_of_each(const plan *p, int *count)
{
    int *list = kit_alloc(PLAN_MAX_OPS * sizeof *list);
    bool seen[PLAN_MAX_OPS] = { false };
    *count = 0;
    for (int i = 0; i < p->count; i++)
        if (!seen[p->cases[i].op] && !plan_is_contract(p->cases[i].op)) {
            seen[p->cases[i].op] = true;
            list[(*count)++] = i;
        }
    return list;
}

/* False if time was over before. */
static bool run_first(crew *w)
{
    int *first = first_of_each(w->job->p, &w->count);
    w->cases = first;
    w->fresh = true;
    run_crew(w);
    free(first);
    return w->next == w->count;
}

supervised supervise(const worker_job *job, tally *t, int *done)
{
    crew w = { .job = job, .t = t, .size = supervisor_jobs(job->o, job->s) };
    w.procs = kit_alloc((size_t)w.size * sizeof *w.procs);
    for (int i = 0; i < w.size; i++)
        w.procs[i] =
            (proc){ .number = -1, .slot = child_shared(sizeof *w.procs[i].slot) };
    catch_signals();
    bool cut = !job->o->warm && !run_first(&w);
    w.cases = NULL;
    w.fresh = false;
    w.count = job->p->count;
    run_crew(&w);
    *done = w.done;
    free(w.procs);
    if (interrupted)
        return SUPERVISED_INTERRUPTED;
    if (gave_up(&w))
        return SUPERVISED_GAVE_UP;
    return cut || w.done < w.count ? SUPERVISED_BUDGET : SUPERVISED_ALL;
}
