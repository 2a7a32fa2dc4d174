/* SPDX-License-Identifier: MIT */
/*
 * Builds the certificate's JSON and writes the two files.
 */
#include "certificate.h"

#include "../contract/contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const char *compiler(char *buf, size_t size)
{
#if defined(__clang__)
    snprintf(buf, size, "clang %d.%d.%d", __clang_major__, __clang_minor__,
             __clang_patchlevel__);
#elif defined(__GNUC__)
    snprintf(buf, size, "gcc %d.%d.%d", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
    snprintf(buf, size, "unknown");
#endif
    return buf;
}

static const char *date(char *buf, size_t size)
{
    time_t now = time(NULL);
    struct tm t;
    if (!gmtime_r(&now, &t) || !strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &t))
        snprintf(buf, size, "unknown");
    return buf;
}

static const char *os_name(char *buf, size_t size)
{
    struct utsname u;
    if (uname(&u) < 0)
        snprintf(buf, size, "unknown");
    else
        snprintf(buf, size, "%s %s %s", u.sysname, u.release, u.machine);
    return buf;
}

/* Four digits: more would only look exact. */
static json_t *figure(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.4g", x);
    return json_real(strtod(text, NULL));
}

/* json_string() of text that a driver may have put anything into. */
static json_t *text_of(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    char *clean = kit_alloc(strlen(s) + 1);
    for (size_t i = 0; s[i]; i++)
        clean[i] = (char)(s[i] >= ' ' && s[i] <= '~' ? s[i] : '?');
    j = json_string(clean);
    free(clean);
    return j;
}

static void put(json_t *o, const char *key, json_t *value)
{
    if (json_object_set_new(o, key, value) != 0)
        kit_die("out of memory: certificate");
}

static void put_int(json_t *o, const char *key, int64_t n)
{
    put(o, key, json_integer(n));
}

static void append(json_t *a, json_t *value)
{
    if (json_array_append_new(a, value) != 0)
        kit_die("out of memory: certificate");
}

static json_t *subject_json(const subject *s, const options *o)
{
    json_t *j = json_object();
    put_int(j, "index", o->device);
    put(j, "name", text_of(s->device));
    put(j, "detail", text_of(s->detail));
    put_int(j, "threads", s->threads);
    put_int(j, "memory_bytes", (int64_t)s->memory);
    return j;
}

static json_t *totals_json(const tally *t)
{
    json_t *j = json_object();
    int64_t runs = 0, refused = 0;
    for (int i = 0; i < plan_op_count(); i++) {
        runs += t->op[i].runs;
        refused += t->op[i].refused;
    }
    put_int(j, "tuples", t->tuples);
    put_int(j, "cases", t->cases);
    put_int(j, "ops", t->ops);
    put_int(j, "runs", runs);
    put_int(j, "mismatches", t->count[TALLY_MISMATCH]);
    put_int(j, "crashes", t->count[TALLY_CRASH]);
    put_int(j, "contract", t->count[TALLY_CONTRACT]);
    put_int(j, "thin", t->count[TALLY_THIN]);
    put_int(j, "unsupported", t->unsupported_cases);
    put_int(j, "refused", refused);
    return j;
}

/* Where nothing was compared, nothing is equal. */
static json_t *bit_equal(const tally_type *type)
{
    if (type->tuples == 0 && !type->differs)
        return json_null();
    return json_boolean(!type->differs);
}

static json_t *type_json(const tally_type *type)
{
    json_t *j = json_object();
    put_int(j, "cases", type->cases);
    put_int(j, "tuples", type->tuples);
    put_int(j, "unsupported", type->unsupported);
    put(j, "bit_equal", bit_equal(type));
    put(j, "worst_ulp", figure(type->ulp));
    put(j, "worst_share", figure(type->share));
    return j;
}

static json_t *ops_json(const tally *t)
{
    json_t *list = json_array();
    for (int i = 0; i < plan_op_count(); i++) {
        const tally_op *op = &t->op[i];
        if (plan_is_contract(i) || (op->cases == 0 && op->failed == 0))
            continue;
        json_t *j = json_object(), *types = json_object();
        put(j, "name", text_of(plan_op_name(i)));
        put_int(j, "cases", op->cases);
        put_int(j, "forward", op->forward);
        put_int(j, "backward", op->backward);
        put_int(j, "runs", op->runs);
        put_int(j, "refused", op->refused);
        put_int(j, "failed", op->failed);
        for (int k = 0; k < MNT_DTYPE_COUNT; k++)
            if (op->type[k].cases || op->type[k].differs)
                put(types, mnt_dtype_name((mnt_dtype)k), type_json(&op->type[k]));
        put(j, "dtypes", types);
        append(list, j);
    }
    return list;
}

static int by_name(const void *a, const void *b)
{
    const tally_kernel *x = a, *y = b;
    if (x->k.op != y->k.op)
        return x->k.op < y->k.op ? -1 : 1;
    return strcmp(x->k.name, y->k.name);
}

static json_t *rows_json(const tally *t)
{
    json_t *list = json_array();
    if (t->kernels > 0)
        qsort(t->kernel, (size_t)t->kernels, sizeof *t->kernel, by_name);
    for (int op = 0; op < MNT_OP_COUNT; op++) {
        json_t *j = json_object(), *kernels = json_object();
        put(j, "name", text_of(mnt_op_name((mnt_op)op)));
        put_int(j, "cases", t->row[op]);
        for (int k = 0; k < t->kernels; k++)
            if ((int)t->kernel[k].k.op == op)
                put(kernels, t->kernel[k].k.name, json_integer(t->kernel[k].cases));
        put(j, "kernels", kernels);
        append(list, j);
    }
    return list;
}

static json_t *variants_json(const tally *t)
{
    const subject *s = t->job->s;
    json_t *list = json_array();
    for (int i = 0; i < s->variants; i++) {
        const subject_variant *v = &s->variant[i];
        char text[SUBJECT_FORCE + 96];
        const char *force = s->setting[v->setting].force;
        snprintf(text, sizeof text, "%s%s%s=%s", force, *force ? "," : "",
                 mnt_op_name(v->op), v->name);
        json_t *j = json_object();
        put(j, "force", text_of(text));
        put_int(j, "cases", t->ran[i]);
        put_int(j, "refused", t->refused[i]);
        append(list, j);
    }
    return list;
}

static json_t *contract_json(const tally *t)
{
    static const char *const words[] = { "pass", "fail", "skip" };
    json_t *list = json_array();
    for (int i = 0; i < t->checks; i++) {
        json_t *j = json_object();
        put(j, "name", text_of(t->check[i].name));
        put(j, "outcome", text_of(words[t->check[i].outcome]));
        put(j, "text", text_of(t->check[i].text));
        append(list, j);
    }
    return list;
}

static json_t *failures_json(const tally *t)
{
    static const char *const words[] = { "mismatch", "crash", "contract", "thin" };
    json_t *list = json_array();
    for (int i = 0; i < t->failures; i++) {
        const tally_failure *f = &t->failure[i];
        json_t *j = json_object();
        put(j, "kind", text_of(words[f->kind]));
        put(j, "op", text_of(f->op >= 0 ? plan_op_name(f->op) : ""));
        put(j, "case", text_of(f->text));
        put(j, "sentence", text_of(f->sentence));
        put(j, "command", text_of(f->command));
        append(list, j);
    }
    return list;
}

static json_t *unsupported_json(const tally *t)
{
    json_t *list = json_array();
    for (int i = 0; i < t->unsupported_kept; i++) {
        const tally_unsupported *u = &t->unsupported[i];
        json_t *j = json_object();
        put(j, "op", text_of(plan_op_name(u->op)));
        put_int(j, "cases", t->op[u->op].unsupported);
        put(j, "case", text_of(u->text));
        put(j, "sentence", text_of(u->sentence));
        append(list, j);
    }
    return list;
}

static json_t *make(const tally *t, const run_facts *f)
{
    const subject *s = t->job->s;
    const options *o = t->job->o;
    char buf[256];
    json_t *j = json_object();
    put_int(j, "format", CERTIFICATE_FORMAT);
    put(j, "library", text_of(mnt_version()));
    put_int(j, "numerics", MNT_NUMERICS_VERSION);
    put(j, "backend", text_of(s->backend));
    put(j, "plugin", o->plugin ? text_of(o->plugin) : json_null());
    put(j, "conforms", json_boolean(tally_conforms(t)));
    put(j, "complete", json_boolean(f->partial[0] == '\0'));
    put(j, "partial", text_of(f->partial));
    put(j, "device", subject_json(s, o));
    put(j, "compiler", text_of(compiler(buf, sizeof buf)));
    put(j, "os", text_of(os_name(buf, sizeof buf)));
    put(j, "date", text_of(date(buf, sizeof buf)));
    put(j, "seconds", figure(f->seconds));
    put_int(j, "jobs", f->jobs);
    put_int(j, "seed", (int64_t)o->seed);
    put_int(j, "generated", o->generated);
    put(j, "totals", totals_json(t));
    json_t *settings = json_array();
    for (int i = 0; i < s->settings; i++)
        append(settings, text_of(s->setting[i].force));
    put(j, "settings", settings);
    put(j, "ops", ops_json(t));
    put(j, "rows", rows_json(t));
    put(j, "variants", variants_json(t));
    put(j, "contract", contract_json(t));
    put(j, "unsupported", unsupported_json(t));
    put(j, "failures", failures_json(t));
    return j;
}

/* Beside its place under another name, then renamed. */
static bool write_file(const char *path, const char *text)
{
    char temp[4200];
    int n = snprintf(temp, sizeof temp, "%s.%ld.tmp", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temp) {
        complain("--out: the path is too long: %s", path);
        return false;
    }
    FILE *f = fopen(temp, "w");
    bool ok = f && fputs(text, f) >= 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
    ok = f && fclose(f) == 0 && ok;
    ok = ok && rename(temp, path) == 0;
    if (!ok) {
        complain("--out: %s cannot be written: %s", path, strerror(errno));
        remove(temp);
    }
    return ok;
}

bool certificate_write(const tally *t, const run_facts *f)
{
    const char *dir = t->job->o->out, *name = t->job->s->backend;
    char path[4096];
    json_t *root = make(t, f);
    char *json = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    char *page = page_make(root);
    if (!json || !page)
        kit_die("out of memory: certificate");
    snprintf(path, sizeof path, "%s/conformance-%s.json", dir, name);
    bool ok = write_file(path, json);
    snprintf(path, sizeof path, "%s/conformance-%s.md", dir, name);
    ok = ok && write_file(path, page);
    free(json);
    free(page);
    json_decref(root);
    return ok;
}
