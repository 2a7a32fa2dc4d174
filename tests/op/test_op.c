/* SPDX-License-Identifier: MIT */
/*
 * Runs the case table. Each case runs on the reference set and is compared with the
 * oracle; then on every instruction set, every kernel variant that the backend admits,
 * fused and unfused, eager and replayed, one thread and two, and compared bit by bit.
 *
 *   test_op [--shuffle SEED] [op]
 */
#include "../support/kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct table_row {
    const char *op, *text;
} table_row;

static const table_row rows[] = {
#define CASE(op, text) { #op, text },
#include "cases.def"
#undef CASE
};

#define MAX_CASES    4096
#define MAX_CONFIGS  128
#define MAX_VARIANTS 512

static struct entry {
    const kit_op *op;
    char text[KIT_TEXT];
} cases[MAX_CASES];
static int case_count;

typedef struct config {
    char name[64];
    mnt_device *dev;
    kit_mode mode;
    mnt_op only; /* a forced variant's op: cases that do not run it are skipped */
} config;

static config configs[MAX_CONFIGS];
static int config_count;

static void add_case(void *ctx, const char *text)
{
    assert_true(case_count < MAX_CASES);
    assert_true(strlen(text) < KIT_TEXT);
    cases[case_count].op = ctx;
    strcpy(cases[case_count++].text, text);
}

static uint64_t shuffle;

static void expand_table(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const kit_op *op = kit_op_find(rows[i].op);
        kit_expand(rows[i].text, add_case, (void *)(uintptr_t)op);
    }
    sup_rng r = { shuffle };
    for (int i = case_count - 1; shuffle && i > 0; i--) {
        int j = (int)sup_below(&r, i + 1);
        struct entry t = cases[i];
        cases[i] = cases[j];
        cases[j] = t;
    }
}

static config *add_config(const char *force, int threads, kit_mode mode)
{
    assert_true(config_count < MAX_CONFIGS);
    config *f = &configs[config_count++];
    mode.backward = true;
    *f = (config){ .mode = mode, .only = MNT_OP_COUNT };
    snprintf(f->name, sizeof f->name, "%s%s%s t%d", *force ? force : "default",
             mode.eager ? " eager" : "", mode.no_fusion ? " unfused" : "", threads);
    f->dev = sup_open(force, threads);
    return f;
}

/* Every kernel that the backend has, by op and "variant.isa". */
static struct variant {
    mnt_op op;
    char kernel[32];
} variants[MAX_VARIANTS];
static int variant_count;

/*
 * Notes the variants of an op: the sentence about an unknown one lists the known. Where
 * there is more than one beside "ref", each gets a configuration that forces it; a
 * single one runs by default wherever it can.
 */
static void add_variants(const char *isa, mnt_op op)
{
    char force[96], text[256], *name[16];
    int n = 0, fast = 0;
    mnt_device *dev = NULL;
    snprintf(force, sizeof force, "isa=%s,%s=?", isa, mnt_op_name(op));
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cpu", .force = force);
    assert_int_equal(mnt_device_open(&dev, &desc), MNT_INVALID);
    const char *list = strstr(mnt_last_error(NULL), "known: ");
    assert_non_null(list);
    snprintf(text, sizeof text, "%s", list + strlen("known: "));
    char *save, *v = strtok_r(text, ", ", &save);
    for (; v && n < 16; v = strtok_r(NULL, ", ", &save)) {
        name[n++] = v;
        fast += strcmp(v, "ref") != 0;
        assert_true(variant_count < MAX_VARIANTS);
        struct variant *k = &variants[variant_count++];
        k->op = op;
        snprintf(k->kernel, sizeof k->kernel, "%s.%s", v, isa);
    }
    for (int i = 0; fast > 1 && i < n; i++) {
        snprintf(force, sizeof force, "isa=%s,%s=%s", isa, mnt_op_name(op), name[i]);
        config *f = add_config(force, 2, (kit_mode){ 0 });
        f->only = op;
    }
}

static void open_configs(void)
{
    const char *isas[SUP_MAX_ISA];
    int n = sup_isas(isas);
    assert_true(n > 0);
    add_config(SUP_REFERENCE, 1, (kit_mode){ .guard = true });
    for (int i = 0; i < n; i++) {
        char force[64];
        snprintf(force, sizeof force, "isa=%s,all=ref", isas[i]);
        if (i > 0)
            add_config(force, 2, (kit_mode){ 0 });
        add_config(force, 1, (kit_mode){ .no_fusion = true });
        snprintf(force, sizeof force, "isa=%s", isas[i]);
        add_config(force, 2, (kit_mode){ .guard = true });
        add_config(force, 2, (kit_mode){ .no_fusion = true, .guard = true });
    }
    add_config("", 1, (kit_mode){ .eager = true });
    for (int i = 0; i < n; i++)
        for (int op = 0; op < MNT_OP_COUNT; op++)
            add_variants(isas[i], (mnt_op)op);
}

/* One case on one configuration against the reference result. *ops collects what ran.
 */
static bool run_config(const config *f, const kit_case *c, const kit_result *want,
                       uint64_t *ops)
{
    kit_result got;
    mnt_status st = kit_run(f->dev, c, f->mode, &got);
    bool ok = st == MNT_OK;
    if (ok)
        ok = kit_same(c, f->name, want, &got);
    else if (st == MNT_UNSUPPORTED && f->only != MNT_OP_COUNT)
        ok = true;
    else
        print_error("%s: case '%s' on %s: %s: %s\n", c->op->name, c->text, f->name,
                    mnt_status_name(st), got.error);
    *ops |= got.ops;
    kit_result_free(&got);
    return ok;
}

static bool run_case(const struct entry *e)
{
    kit_case c;
    kit_result want;
    kit_case_init(&c, e->op, e->text);
    const config *ref = &configs[0];
    mnt_status st = kit_run(ref->dev, &c, ref->mode, &want);
    bool ok = st == MNT_OK;
    if (!ok)
        print_error("%s: case '%s' on %s: %s: %s\n", c.op->name, c.text, ref->name,
                    mnt_status_name(st), want.error);
    ok = ok && kit_right(&c, ref->name, &want);
    uint64_t ops = want.ops;
    for (int i = 1; ok && i < config_count; i++) {
        const config *f = &configs[i];
        if (f->only == MNT_OP_COUNT || ops >> f->only & 1)
            ok = run_config(f, &c, &want, &ops);
    }
    kit_result_free(&want);
    kit_case_free(&c);
    return ok;
}

static void test_one_op(void **state)
{
    const kit_op *op = *state;
    int ran = 0, failed = 0;
    for (int i = 0; i < case_count && failed < 20; i++)
        if (cases[i].op == op) {
            ran++;
            failed += !run_case(&cases[i]);
        }
    if (!ran)
        fail_msg("%s has no case", op->name);
    if (failed)
        fail_msg("%s: %d of %d cases failed", op->name, failed, ran);
}

/* The ops of ops.def that keep state are tested in test_state.c. */
static const char *const stateful = " batch_index accumulate uniform normal advance "
                                    "optimizer_step sgd adam ";

static bool keeps_state(const char *name)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(stateful, word) != NULL;
}

static void test_every_op_ran(void **state)
{
    (void)state;
    int missing = 0;
#define MNT_OP(name, in, out, args, flags)                                             \
    if (!keeps_state(#name) && !kit_op_ran(#name)) {                                   \
        print_error("no case reached the op %s\n", #name);                             \
        missing++;                                                                     \
    }
#include <mnt/ops.def>
#undef MNT_OP
    for (int i = 0; i < variant_count; i++) {
        const char *op = mnt_op_name(variants[i].op);
        if (!keeps_state(op) && !kit_kernel_ran(op, variants[i].kernel)) {
            print_error("no case reached %s of %s\n", variants[i].kernel, op);
            missing++;
        }
    }
    if (getenv("MNT_TEST_VERBOSE"))
        kit_print_kernels();
    assert_int_equal(missing, 0);
}

static int group_setup(void **state)
{
    (void)state;
    expand_table();
    open_configs();
    print_message("%d cases, %d configurations\n", case_count, config_count);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < config_count; i++)
        mnt_device_close(configs[i].dev);
    return 0;
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[KIT_MAX_OPS + 1];
    size_t n = 0;
    const char *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--shuffle") && i + 1 < argc)
            shuffle = strtoull(argv[++i], NULL, 10);
        else
            only = argv[i];
    }
    for (int i = 0; kit_ops[i]; i++)
        if (!only || !strcmp(only, kit_ops[i]->name))
            tests[n++] = (struct CMUnitTest){ kit_ops[i]->name, test_one_op, NULL, NULL,
                                              (void *)(uintptr_t)kit_ops[i] };
    if (!only)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_op_ran);
    return _cmocka_run_group_tests("op", tests, n, group_setup, group_teardown);
}
