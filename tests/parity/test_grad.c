/* SPDX-License-Identifier: MIT */
/*
 * Gradients against finite differences: (f(x+h) - f(x-h)) / 2h of the oracle's forward
 * in double, contracted with the random upstream gradient, for every element of every
 * input. Both the library's f32 gradient and the oracle's own backward formula must
 * agree with it, so neither can be wrong alone. The cases are gradients.def and tiny
 * random ones of every op.
 */
#include "../../conformance/kit/kit.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct table_row {
    const char *op, *text;
} rows[] = {
#define CASE(op, text) { #op, text },
#include "gradients.def"
#undef CASE
};

#define STEP      1e-5
#define GENERATED 100 /* random cases of each op */
#define ELEMENTS  90  /* of all inputs of one */

typedef struct check {
    const kit_op *op;
    mnt_device *dev;
    int ran, failed;
} check;

/* sum dy f(in) */
static double contracted(const kit_case *c, const ora in[], const ora *dy)
{
    ora y = c->op->forward(c, in);
    double s = 0;
    for (int64_t i = 0; i < y.count; i++)
        s += dy->v[i] * y.v[i];
    ora_free(&y);
    return s;
}

static ora differences(const kit_case *c, ora in[], int which, const ora *dy)
{
    ora d = ora_new(in[which].shape);
    for (int64_t i = 0; i < d.count; i++) {
        double *x = &in[which].v[i], keep = *x;
        *x = keep + STEP;
        double up = contracted(c, in, dy);
        *x = keep - STEP;
        double down = contracted(c, in, dy);
        *x = keep;
        d.v[i] = (up - down) / (2 * STEP);
    }
    return d;
}

static bool close_to(double want, double got, double tolerance)
{
    return fabs(want - got) <= tolerance * (1 + fabs(want));
}

/* Input `which`: the oracle's backward dx, and the library's gradient of the base. */
static bool check_input(const kit_case *c, ora in[], int which, const ora *dy,
                        const ora *dx, const float *got)
{
    ora d = differences(c, in, which, dy);
    ora base = kit_to_base(&c->in[which], &d);
    bool ok = true;
    for (int64_t i = 0; ok && i < d.count; i++)
        if (!close_to(d.v[i], dx->v[i], 1e-6)) {
            print_error("%s: case '%s': input %d element %lld: differences %.9g, the "
                        "oracle's formula %.9g\n",
                        c->op->name, c->text, which, (long long)i, d.v[i], dx->v[i]);
            ok = false;
        }
    for (int64_t i = 0; ok && i < base.count; i++)
        if (!got || !close_to(base.v[i], (double)got[i], 2e-5)) {
            print_error("%s: case '%s': gradient %d element %lld: differences %.9g, "
                        "library %.9g\n",
                        c->op->name, c->text, which, (long long)i, base.v[i],
                        got ? (double)got[i] : NAN);
            ok = false;
        }
    ora_free(&d);
    ora_free(&base);
    return ok;
}

static bool check_gradients(const kit_case *c, const kit_result *r)
{
    ora in[KIT_MAX_IN], dx[KIT_MAX_IN] = { 0 };
    for (int i = 0; i < c->n; i++)
        in[i] = kit_operand(c, i);
    ora y = c->op->forward(c, in), dy = ora_new(y.shape);
    float *up = kit_alloc((size_t)y.count * sizeof *up);
    kit_upstream(c, up, y.count);
    for (int64_t i = 0; i < y.count; i++)
        dy.v[i] = (double)up[i];
    c->op->backward(c, in, &dy, dx);
    bool ok = true;
    for (int i = 0; i < c->n; i++) {
        if (c->in[i].grad)
            ok = check_input(c, in, i, &dy, &dx[i], r->grad[i]) && ok;
        ora_free(&dx[i]);
    }
    for (int i = 0; i < c->n; i++)
        ora_free(&in[i]);
    ora_free(&y);
    ora_free(&dy);
    free(up);
    return ok;
}

static void run_text(void *ctx, const char *text)
{
    check *k = ctx;
    kit_case c;
    kit_result r;
    kit_case_init(&c, k->op, text);
    if (!c.backward)
        fail_msg("%s: case '%s' has no gradient", k->op->name, text);
    bool ok = kit_run(k->dev, &c, (kit_mode){ .backward = true }, &r);
    if (!ok)
        print_error("%s: case '%s': %s: %s\n", k->op->name, text,
                    mnt_status_name(r.status), r.error);
    ok = ok && check_gradients(&c, &r);
    k->ran++;
    k->failed += !ok;
    kit_result_free(&r);
    kit_case_free(&c);
}

static bool finite_result(const kit_case *c)
{
    ora in[KIT_MAX_IN];
    for (int i = 0; i < c->n; i++)
        in[i] = kit_operand(c, i);
    ora y = c->op->forward(c, in);
    bool ok = y.count > 0;
    for (int64_t i = 0; i < y.count; i++)
        ok = ok && isfinite(y.v[i]);
    for (int i = 0; i < c->n; i++)
        ora_free(&in[i]);
    ora_free(&y);
    return ok;
}

/* Tiny, with a gradient and a result that differences can tell. */
static bool suits(const kit_op *op, const char *text)
{
    kit_case c;
    kit_case_init(&c, op, text);
    int64_t elements = 0;
    for (int i = 0; i < c.n; i++)
        elements += mnt_shape_count(c.in[i].base_shape);
    bool ok = c.backward && elements > 0 && elements <= ELEMENTS && finite_result(&c);
    kit_case_free(&c);
    return ok;
}

/* Values that pass a kink are spaced, a divisor stays away from 0. */
static void run_generated(check *k)
{
    kit_rng r = { 1 };
    for (int done = 0, drawn = 0; done < GENERATED; drawn++) {
        kit_text t = { .s = "", .work = 20 + 5 * (drawn % 20) };
        if (drawn > 100 * GENERATED)
            fail_msg("%s: only %d tiny cases", k->op->name, done);
        k->op->generate(&t, &r);
        kit_append(&t, " v=spaced v1=%s v2=spaced",
                   strcmp(k->op->name, "div") ? "spaced" : "away");
        if (!suits(k->op, t.s))
            continue;
        run_text(k, t.s);
        done++;
    }
}

static void test_one_op(void **state)
{
    check k = { .op = *state, .dev = sup_open("", 2) };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].op, k.op->name))
            kit_expand(rows[i].text, run_text, &k);
    if (!k.ran)
        fail_msg("%s has a gradient but no case", k.op->name);
    run_generated(&k);
    mnt_device_close(k.dev);
    if (k.failed)
        fail_msg("%s: %d of %d cases failed", k.op->name, k.failed, k.ran);
}

int main(void)
{
    struct CMUnitTest tests[64];
    size_t n = 0;
    for (int i = 0; kit_ops[i]; i++)
        if (kit_ops[i]->backward)
            tests[n++] = (struct CMUnitTest){ kit_ops[i]->name, test_one_op, NULL, NULL,
                                              (void *)(uintptr_t)kit_ops[i] };
    return _cmocka_run_group_tests("grad", tests, n, NULL, NULL);
}
