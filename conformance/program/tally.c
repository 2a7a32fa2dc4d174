/* SPDX-License-Identifier: MIT */
/*
 * Adds reports up and keeps the failures.
 */
#include "tally.h"

#include "../contract/contract.h"
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tally_init(tally *t, const worker_job *job)
{
    *t = (tally){ .job = job };
}

void tally_free(tally *t)
{
    free(t->kernel);
    free(t->failure);
}

static void *room_for(void *p, int count, int *room, size_t size)
{
    if (count < *room)
        return p;
    *room = *room ? 2 * *room : 64;
    void *q = realloc(p, (size_t)*room * size);
    if (!q)
        kit_die("out of memory: %zu bytes", (size_t)*room * size);
    return q;
}

/* ---- failures ---- */

/* Whether the sentence is there already, or the op has its share of them. */
static bool enough(const tally *t, int op, const char *sentence)
{
    int of_op = 0;
    for (int i = 0; i < t->failures; i++) {
        of_op += op >= 0 && t->failure[i].op == op;
        if (strcmp(t->failure[i].sentence, sentence) == 0)
            return true;
    }
    return of_op >= TALLY_KEPT_OP || t->failures == TALLY_KEPT;
}

void tally_fail(tally *t, tally_kind kind, const config *c, int op, const char *text,
                const char *sentence)
{
    t->count[kind]++;
    if (op >= 0)
        t->op[op].failed++;
    if (enough(t, op, sentence))
        return;
    t->failure =
        room_for(t->failure, t->failures, &t->failure_room, sizeof *t->failure);
    tally_failure *f = &t->failure[t->failures++];
    *f = (tally_failure){ .kind = kind, .op = op };
    snprintf(f->text, sizeof f->text, "%s", text);
    snprintf(f->sentence, sizeof f->sentence, "%s", sentence);
    if (op >= 0)
        config_command(t->job->o, t->job->s, c, plan_op_name(op), text, f->command,
                       sizeof f->command);
    progress_clear();
    printf("%s\n", f->sentence);
    if (f->command[0])
        printf("    %s\n", f->command);
    fflush(stdout);
}

static const config *config_of(const tally *t, int number)
{
    return number >= 0 ? &t->job->configs->c[number] : NULL;
}

static void add_failures(tally *t, int number, const report *r)
{
    const plan_case *c = &t->job->p->cases[number];
    tally_kind kind = plan_is_contract(c->op) ? TALLY_CONTRACT : TALLY_MISMATCH;
    for (int i = 0; i < r->failures; i++) {
        const report_failure *f = &r->failure[i];
        tally_fail(t, kind, config_of(t, f->config), c->op,
                   f->text[0] ? f->text : c->text, f->sentence);
    }
    t->count[kind] += r->mismatches - r->failures;
}

void tally_crash(tally *t, int number, const slot *s, const char *how)
{
    const plan_case *c = &t->job->p->cases[number];
    char sentence[REPORT_SENTENCE], where[256] = "the reference or no device";
    const config *f = config_of(t, atomic_load(&s->config));
    const char *name = plan_op_name(c->op);
    if (f)
        config_name(t->job->s, f, where, sizeof where);
    else if (plan_is_contract(c->op))
        snprintf(where, sizeof where, "%s", t->job->s->backend);
    if (s->note[0])
        snprintf(sentence, sizeof sentence,
                 "%.700s (the search for a smaller graph %s)", s->note, how);
    else
        snprintf(sentence, sizeof sentence, "%s: case '%s' on %s: the process %s", name,
                 c->text, where, how);
    t->op[c->op].type[MNT_F32].differs = true;
    tally_fail(t, s->note[0] ? TALLY_MISMATCH : TALLY_CRASH, f, c->op, c->text,
               sentence);
}

/* ---- sums ---- */

static void add_kernels(tally *t, const report *r)
{
    uint64_t rows = 0;
    for (int i = 0; i < r->kernels; i++) {
        const kit_kernel *k = &r->kernel[i];
        rows |= (uint64_t)1 << k->op;
        int at = 0;
        while (at < t->kernels && (t->kernel[at].k.op != k->op ||
                                   strcmp(t->kernel[at].k.name, k->name) != 0))
            at++;
        if (at == t->kernels) {
            t->kernel =
                room_for(t->kernel, t->kernels, &t->kernel_room, sizeof *t->kernel);
            t->kernel[t->kernels++] = (tally_kernel){ .k = *k };
        }
        t->kernel[at].cases++;
    }
    for (int op = 0; op < MNT_OP_COUNT; op++)
        t->row[op] += (int64_t)(rows >> op & 1);
    for (int i = 0; i < t->job->s->variants; i++) {
        t->ran[i] += r->ran[i] & 1;
        t->refused[i] += r->ran[i] >> 1 & 1;
    }
}

static void add_unsupported(tally *t, const plan_case *c, const report *r)
{
    t->op[c->op].unsupported++;
    t->unsupported_cases++;
    for (int i = 0; i < t->unsupported_kept; i++)
        if (t->unsupported[i].op == c->op)
            return;
    if (t->unsupported_kept == TALLY_KEPT)
        return;
    tally_unsupported *u = &t->unsupported[t->unsupported_kept++];
    u->op = c->op;
    memcpy(u->text, c->text, sizeof u->text);
    memcpy(u->sentence, r->unsupported_text, sizeof u->sentence);
}

static void add_check(tally *t, const plan_case *c, const report *r)
{
    if (t->checks == TALLY_CHECKS)
        return;
    tally_check *k = &t->check[t->checks++];
    k->name = c->text;
    k->outcome = r->contract;
    memcpy(k->text, r->contract_text, sizeof k->text);
}

static void add_figures(tally *t, const plan_case *c, const report *r)
{
    tally_op *op = &t->op[c->op];
    tally_type *type = &op->type[r->dtype];
    t->ops += op->cases == 0 && plan_kit_op(c->op);
    op->cases++;
    op->forward += r->forward;
    op->backward += r->backward;
    op->runs += r->runs;
    op->refused += r->refused;
    type->cases++;
    type->tuples += r->forward + r->backward;
    type->unsupported += r->unsupported;
    type->differs = type->differs || r->mismatches > 0;
    if (r->ulp > type->ulp)
        type->ulp = r->ulp;
    if (r->share > type->share)
        type->share = r->share;
    t->tuples += r->forward + r->backward;
}

void tally_report(tally *t, int number, const report *r, bool fresh)
{
    const plan_case *c = &t->job->p->cases[number];
    add_failures(t, number, r);
    if (fresh) {
        t->op[c->op].type[r->dtype].differs |= r->mismatches > 0;
        return;
    }
    if (r->skipped) {
        t->skipped++;
        return;
    }
    t->cases++;
    if (plan_is_contract(c->op))
        add_check(t, c, r);
    add_figures(t, c, r);
    add_kernels(t, r);
    if (r->unsupported)
        add_unsupported(t, c, r);
}

/* ---- the end ---- */

static void thin(tally *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void thin(tally *t, const char *format, ...)
{
    char sentence[REPORT_SENTENCE] = "thin: ";
    va_list ap;
    va_start(ap, format);
    vsnprintf(sentence + 6, sizeof sentence - 6, format, ap);
    va_end(ap);
    tally_fail(t, TALLY_THIN, NULL, -1, "", sentence);
}

void tally_thin(tally *t)
{
    const subject *s = t->job->s;
    for (int i = 0; plan_kit_op(i); i++) {
        const tally_op *op = &t->op[i];
        int least = plan_kit_op(i)->flags & KIT_FEW ? TALLY_LEAST_FEW : TALLY_LEAST;
        if (op->forward + op->backward < least && op->unsupported == 0)
            thin(t, "%s has %lld tuples, fewer than %d", plan_op_name(i),
                 (long long)(op->forward + op->backward), least);
    }
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (t->row[op] == 0 && s->built_in)
            thin(t, "no program held the op %s of ops.def", mnt_op_name((mnt_op)op));
    for (int i = 0; i < s->variants; i++) {
        const subject_variant *v = &s->variant[i];
        const char *force = s->setting[v->setting].force;
        if (t->ran[i] == 0)
            thin(t, "%s%s%s=%s is listed but never ran", force, *force ? "," : "",
                 mnt_op_name(v->op), v->name);
    }
}

bool tally_conforms(const tally *t)
{
    for (int i = 0; i < TALLY_KINDS; i++)
        if (t->count[i])
            return false;
    return true;
}
