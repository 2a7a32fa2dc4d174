/* SPDX-License-Identifier: MIT */
/*
 * Judges one case at a time. The reference is the cpu backend's plain loops; the oracle
 * judges it, and every configuration of the backend under test must have its bits.
 */
#include "worker.h"

#include "../contract/contract.h"
#include "devices.h"
#include "trial.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_KEYS 1024

/* What ran under a setting of the device alone, for the configurations that force a
 * variant there. */
typedef struct base {
    bool there;
    uint64_t ops;
    kit_kernel ran[KIT_MAX_RAN];
    int ran_count;
} base;

typedef struct judge {
    const worker_job *job;
    slot *slot;
    report *r;
    devices dev;
    base (*base)[2]; /* of each setting: fused, unfused */
    /* of the case */
    trial t;
    outcome want;
    uint64_t forward_ops;
    int unsupported_at;        /* the last setting that could not run it */
    uint64_t key[2][MAX_KEYS]; /* forward, backward: sets of kernels already seen */
    int keys[2];
} judge;

static void fail(judge *j, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(judge *j, int number, const char *format, ...)
{
    report *r = j->r;
    va_list ap;
    r->mismatches++;
    if (r->failures == REPORT_FAILURES)
        return;
    report_failure *f = &r->failure[r->failures];
    *f = (report_failure){ .config = number };
    va_start(ap, format);
    vsnprintf(f->sentence, sizeof f->sentence, format, ap);
    va_end(ap);
    r->failures++;
}

/* The sentence of a run that did not succeed. */
static void fail_run(judge *j, int number, const char *where, const char *error)
{
    fail(j, number, "%s: case '%s' on %s: %.600s", plan_op_name(j->t.what->op),
         j->t.what->text, where, error);
}

static void alive(judge *j, int number)
{
    atomic_store(&j->slot->config, number);
    atomic_fetch_add(&j->slot->beat, 1);
}

/* ---- what ran ---- */

static void note_kernels(judge *j, const outcome *o)
{
    report *r = j->r;
    for (int i = 0; i < o->ran_count; i++) {
        int at = 0;
        while (at < r->kernels && (r->kernel[at].op != o->ran[i].op ||
                                   strcmp(r->kernel[at].name, o->ran[i].name) != 0))
            at++;
        if (at == r->kernels && at < REPORT_KERNELS)
            r->kernel[r->kernels++] = o->ran[i];
    }
}

static void note_variants(judge *j, const config *c, const outcome *o)
{
    const subject *s = j->job->s;
    if (!s->setting[c->setting].lists)
        return;
    for (int v = 0; v < s->variants; v++) {
        if (s->variant[v].setting != c->setting || !(o->ops >> s->variant[v].op & 1))
            continue;
        for (int i = 0; i < o->ran_count; i++)
            if (o->ran[i].op == s->variant[v].op &&
                subject_is_variant(o->ran[i].name, s->variant[v].name))
                j->r->ran[v] |= 1;
    }
}

/* Whether a variant that gives up the bits is forced; op MNT_OP_COUNT: for any op. */
static bool relaxed(const config *c, mnt_op of)
{
    const char *rest = c->force;
    char variant[40];
    mnt_op op;
    while (subject_forced(&rest, &op, variant))
        if ((of == MNT_OP_COUNT || op == of) && subject_relaxed(variant))
            return true;
    return false;
}

/* Whether such a variant ran; it may only where it is forced. An eager graph has no
 * commands whose kernels could be asked for: there the force string must do. */
static bool ran_relaxed(judge *j, int number, const char *where, const outcome *o)
{
    const config *c = &j->job->configs->c[number];
    bool ran = o->ran_count == 0 && relaxed(c, MNT_OP_COUNT);
    for (int i = 0; i < o->ran_count; i++) {
        if (!subject_relaxed(o->ran[i].name))
            continue;
        ran = true;
        if (!relaxed(c, o->ran[i].op))
            fail(j, number,
                 "%s: case '%s' on %s: %s ran as \"%s\", which nobody asked for",
                 plan_op_name(j->t.what->op), j->t.what->text, where,
                 mnt_op_name(o->ran[i].op), o->ran[i].name);
    }
    return ran;
}

/* Whether a forced variant is the one that ran. */
static void check_forced(judge *j, int number, const char *where, const outcome *o)
{
    const char *rest = j->job->configs->c[number].force;
    char variant[40];
    mnt_op op;
    while (subject_forced(&rest, &op, variant))
        for (int i = 0; i < o->ran_count; i++)
            if (o->ran[i].op == op && !subject_is_variant(o->ran[i].name, variant))
                fail(j, number,
                     "%s: case '%s' on %s: %s=%s was forced, but the kernel \"%s\" ran",
                     plan_op_name(j->t.what->op), j->t.what->text, where,
                     mnt_op_name(op), variant, o->ran[i].name);
}

/* True if this set of kernels is new for the case. */
static bool new_key(judge *j, int direction, const outcome *o)
{
    uint64_t key = 0;
    for (int i = 0; i < o->ran_count; i++) {
        const kit_kernel *k = &o->ran[i];
        if (direction == 0 && !(j->forward_ops >> k->op & 1))
            continue;
        key += (kit_hash(k->name, strlen(k->name)) ^ (uint64_t)k->op) *
               0x9e3779b97f4a7c15u;
    }
    for (int i = 0; i < j->keys[direction]; i++)
        if (j->key[direction][i] == key)
            return false;
    if (j->keys[direction] == MAX_KEYS)
        return false;
    j->key[direction][j->keys[direction]++] = key;
    return true;
}

static void count_tuples(judge *j, const outcome *o)
{
    if (j->t.graph) {
        j->r->forward += new_key(j, 1, o);
        return;
    }
    j->r->forward += new_key(j, 0, o);
    if (j->t.backward)
        j->r->backward += new_key(j, 1, o);
}

/* ---- configurations ---- */

static bool relevant(const judge *j, const config *c)
{
    const subject *s = j->job->s;
    if (j->r->unsupported && j->unsupported_at == c->setting)
        return false;
    /* No oracle judges a graph. */
    if (j->t.graph && relaxed(c, MNT_OP_COUNT))
        return false;
    /* A graph that does not train is another graph. */
    if (c->variant < 0)
        return c->mode.backward || !j->t.graph;
    const subject_variant *v = &s->variant[c->variant];
    const base *fused = &j->base[c->setting][0], *b = &j->base[c->setting][1];
    if (!c->mode.no_fusion)
        b = fused;
    else if (fused->there && fused->ops >> v->op & 1)
        return false; /* forced in the fused program already */
    if (!b->there || !(b->ops >> v->op & 1))
        return false;
    /* Where it is what the setting chooses anyway, forcing it changes nothing. */
    for (int i = 0; i < b->ran_count; i++)
        if (b->ran[i].op == v->op && !subject_is_variant(b->ran[i].name, v->name))
            return true;
    return b->ran_count == KIT_MAX_RAN;
}

static void keep_base(judge *j, const config *c, const outcome *o)
{
    if (c->variant >= 0 || c->mode.eager || !c->mode.backward)
        return;
    base *b = &j->base[c->setting][c->mode.no_fusion];
    if (b->there)
        return;
    *b = (base){ .there = true, .ops = o->ops, .ran_count = o->ran_count };
    memcpy(b->ran, o->ran, sizeof b->ran);
}

static void refused(judge *j, int number, const char *where, const outcome *o)
{
    const config *c = &j->job->configs->c[number];
    const char *rest = c->force;
    char variant[40];
    mnt_op op;
    if (subject_forced(&rest, &op, variant)) {
        j->r->refused++;
        if (c->variant >= 0)
            j->r->ran[c->variant] |= 2;
        return;
    }
    j->unsupported_at = c->setting;
    if (j->job->s->built_in) {
        fail_run(j, number, where, o->error);
    } else if (!j->r->unsupported) {
        snprintf(j->r->unsupported_text, sizeof j->r->unsupported_text, "%s", o->error);
    }
    j->r->unsupported = true;
}

/* The smallest graph that still differs stands in for the one that was drawn. */
static void shrink(judge *j, const config *c, mnt_device *dev)
{
    report *r = j->r;
    report_failure *f = &r->failure[r->failures - 1];
    mnt_device *ref = devices_reference(&j->dev);
    char smaller[KIT_TEXT] = "";
    if (!ref || r->failures != 1)
        return;
    snprintf(j->slot->note, sizeof j->slot->note, "%s", f->sentence);
    graph_shrink(ref, dev, c->mode, j->t.what->text, smaller);
    j->slot->note[0] = '\0';
    if (strcmp(smaller, j->t.what->text) != 0 && smaller[0])
        snprintf(f->text, sizeof f->text, "%s", smaller);
}

/* Inside the oracle's bounds, which hold for any order of a sum? */
static bool compare_bounds(judge *j, const char *where, const outcome *got,
                           kit_verdict *v)
{
    bool ok = trial_right(&j->t, where, got, v);
    if (v->ulp > j->r->ulp)
        j->r->ulp = v->ulp;
    if (v->share > j->r->share)
        j->r->share = v->share;
    return ok;
}

static void compare(judge *j, int number, const char *where, const outcome *got,
                    mnt_device *dev)
{
    const config *c = &j->job->configs->c[number];
    kit_verdict v;
    note_kernels(j, got);
    note_variants(j, c, got);
    check_forced(j, number, where, got);
    if (ran_relaxed(j, number, where, got)) {
        if (!compare_bounds(j, where, got, &v))
            fail(j, number, "%s", v.text);
        return;
    }
    if (trial_same(&j->t, where, &j->want, got, &v)) {
        if (c->counted)
            count_tuples(j, got);
        return;
    }
    fail(j, number, "%s", v.text);
    if (j->t.graph) {
        shrink(j, c, dev);
        return;
    }
    compare_bounds(j, where, got, &v);
}

static void run_config(judge *j, int number)
{
    const config *c = &j->job->configs->c[number];
    char where[SUBJECT_FORCE + 160], error[KIT_SENTENCE];
    if (!relevant(j, c))
        return;
    config_name(j->job->s, c, where, sizeof where);
    alive(j, number);
    bool first;
    mnt_device *dev = devices_get(&j->dev, c, &first, error, sizeof error);
    if (!dev) {
        if (first)
            fail_run(j, number, where, error);
        return;
    }
    outcome got;
    trial_run(&j->t, dev, c->mode, &got);
    j->r->runs++;
    if (got.ok)
        keep_base(j, c, &got);
    if (got.ok)
        compare(j, number, where, &got, dev);
    else if (got.unsupported)
        refused(j, number, where, &got);
    else
        fail_run(j, number, where, got.error);
    if (j->job->o->verbose && j->job->o->line) {
        printf("%s: %s", where, got.ok ? "ran" : got.error);
        for (int i = 0; i < got.ran_count; i++)
            printf(" %s=%s", mnt_op_name(got.ran[i].op), got.ran[i].name);
        printf("\n");
    }
    outcome_free(&got);
}

/* ---- the reference ---- */

/* Which ops the forward part alone has; its y must be that of the whole. */
static void run_forward(judge *j, mnt_device *ref)
{
    outcome o;
    kit_verdict v;
    j->forward_ops = j->want.ops;
    if (j->t.graph || !j->t.backward)
        return;
    trial_run(&j->t, ref, (kit_mode){ .guard = true }, &o);
    if (!o.ok)
        fail_run(j, -1, "the reference, inference", o.error);
    else if (!trial_same(&j->t, "the reference, inference", &j->want, &o, &v))
        fail(j, -1, "%s", v.text);
    j->forward_ops = o.ops;
    outcome_free(&o);
}

/* False if there is nothing to compare with. */
static bool run_reference(judge *j)
{
    static const char where[] = "the reference";
    const options *o = j->job->o;
    alive(j, -1);
    mnt_device *ref = devices_reference(&j->dev);
    if (!ref) {
        fail(j, -1, "the reference does not open: %s", mnt_last_error(NULL));
        return false;
    }
    kit_mode mode = { .guard = true, .backward = true };
    trial_run(&j->t, ref, mode, &j->want);
    uint64_t ops = j->want.ops;
    if (j->want.ok && o->row_op != MNT_OP_COUNT && !(ops >> o->row_op & 1)) {
        outcome unfused;
        mode.no_fusion = true;
        trial_run(&j->t, ref, mode, &unfused);
        ops |= unfused.ops;
        outcome_free(&unfused);
        j->r->skipped = !(ops >> o->row_op & 1);
        if (j->r->skipped)
            return false;
    }
    if (!j->want.ok) {
        fail_run(j, -1, where, j->want.error);
        return false;
    }
    kit_verdict v;
    if (!trial_right(&j->t, where, &j->want, &v))
        fail(j, -1, "%s", v.text);
    j->r->ulp = v.ulp;
    j->r->share = v.share;
    run_forward(j, ref);
    return true;
}

/* ---- cases ---- */

static void run_all(judge *j)
{
    if (!run_reference(j))
        return;
    for (int n = 0; n < j->job->o->repeat; n++)
        for (int i = 0; i < j->job->configs->count; i++)
            if (j->r->failures < REPORT_FAILURES)
                run_config(j, i);
}

/* Before the process has done anything else. */
static void run_fresh(judge *j)
{
    const config *c = &j->job->configs->c[0];
    char where[SUBJECT_FORCE + 160], error[KIT_SENTENCE];
    bool first;
    outcome got = { .ok = false };
    config_name(j->job->s, c, where, sizeof where);
    alive(j, 0);
    mnt_device *dev = devices_get(&j->dev, c, &first, error, sizeof error);
    if (dev)
        trial_run(&j->t, dev, c->mode, &got);
    else
        snprintf(got.error, sizeof got.error, "%s", error);
    if (got.unsupported)
        refused(j, 0, where, &got);
    else if (!got.ok)
        fail_run(j, 0, where, got.error);
    else if (run_reference(j))
        compare(j, 0, where, &got, dev);
    outcome_free(&got);
}

static void run_contract(judge *j, const plan_case *what)
{
    const worker_job *job = j->job;
    const options *o = job->o;
    contract_subject s = { .backend = job->s->backend,
                           .index = o->device,
                           .force = o->force,
                           .threads = o->threads ? o->threads : OPTIONS_THREADS,
                           .big = o->big };
    char error[KIT_SENTENCE] = "";
    const contract_check *check = contract_checks;
    while (check->name && strcmp(check->name, what->text) != 0)
        check++;
    alive(j, -1);
    if (!check->name)
        kit_die("contract: no check %s", what->text);
    if (!subject_load(o, error, sizeof error)) {
        fail(j, -1, "contract: %s: %s", what->text, error);
        return;
    }
    j->r->runs = 1;
    j->r->contract =
        (int)check->run(&s, j->r->contract_text, sizeof j->r->contract_text);
    if (j->r->contract == CONTRACT_FAIL)
        fail(j, -1, "contract: %s: %s", what->text, j->r->contract_text);
}

static void run_case(judge *j, const plan_case *what, bool fresh)
{
    *j->r = (report){ .dtype = MNT_F32 };
    if (plan_is_contract(what->op)) {
        run_contract(j, what);
        return;
    }
    j->keys[0] = j->keys[1] = 0;
    memset(j->base, 0, (size_t)j->job->s->settings * sizeof *j->base);
    trial_begin(&j->t, what);
    j->want = (outcome){ .ok = false };
    j->r->dtype = j->t.dtype;
    if (fresh)
        run_fresh(j);
    else
        run_all(j);
    outcome_free(&j->want);
    trial_end(&j->t);
}

/* False at the end of the pipe. */
static bool read_number(int fd, int *number)
{
    char *p = (char *)number;
    size_t got = 0;
    while (got < sizeof *number) {
        ssize_t n = read(fd, p + got, sizeof *number - got);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

void worker_main(const worker_job *job, slot *s, int in, int out, bool fresh)
{
    judge *j = kit_alloc(sizeof *j);
    j->job = job;
    j->slot = s;
    j->r = &s->report;
    j->base = kit_alloc((size_t)job->s->settings * sizeof *j->base);
    devices_init(&j->dev, job->o, job->s, job->configs->devices);
    int number;
    while (read_number(in, &number)) {
        run_case(j, &job->p->cases[number], fresh);
        alive(j, -1);
        fflush(stdout);
        if (write(out, "", 1) != 1)
            break;
    }
    devices_close(&j->dev);
    free(j->base);
    free(j);
}
