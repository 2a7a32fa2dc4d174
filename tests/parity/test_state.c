/* SPDX-License-Identifier: MIT */
/*
 * Ops whose result changes from replay to replay: running totals, random numbers,
 * batches, optimizers. Several replays on every instruction set, each compared with the
 * oracle and bit by bit with the reference set.
 */
#include "../../conformance/kit/kit.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAYS  5
#define MAX_BITS 65536

/* What one run produced: every value read, in order. */
typedef struct trace {
    uint32_t bits[MAX_BITS];
    int64_t count;
} trace;

typedef struct job {
    mnt_device *dev;
    trace *t;
    const void *arg;
    bool reference; /* compare with the oracle, too */
} job;

/* Reads a tensor into the trace and returns it there. */
static const void *note(job *j, mnt_tensor *t)
{
    int64_t n = mnt_tensor_count(t);
    assert_true(mnt_dtype_size(mnt_tensor_dtype(t)) == 4);
    assert_true(j->t->count + n <= MAX_BITS);
    uint32_t *at = j->t->bits + j->t->count;
    MUST(j->dev, mnt_tensor_read(t, at, (size_t)n * 4));
    j->t->count += n;
    return at;
}

static void check(const char *what, const ora *want, const void *got, int replay)
{
    int64_t i = kit_outside(want, MNT_F32, got, false);
    if (i < 0)
        return;
    fail_msg("%s, replay %d, element %lld: oracle %.10g +- %.3g, got %.10g", what,
             replay, (long long)i, want->v[i], want->e[i],
             (double)((const float *)got)[i]);
}

/* Runs a job on the reference set and on all others; all traces must be equal. */
static void everywhere(void (*run)(job *), const void *arg)
{
    const char *isas[SUP_MAX_ISA];
    int n = sup_isas(isas);
    trace *want = kit_alloc(sizeof *want), *got = kit_alloc(sizeof *got);
    for (int i = -1; i < 2 * n; i++) {
        char force[48] = SUP_REFERENCE;
        if (i >= 0)
            snprintf(force, sizeof force, "isa=%s%s", isas[i / 2],
                     i % 2 ? ",all=ref" : "");
        trace *t = i < 0 ? want : got;
        t->count = 0;
        job j = { sup_open(force, i < 0 ? 1 : 2), t, arg, i < 0 };
        run(&j);
        mnt_device_close(j.dev);
        assert_int_equal(t->count, want->count);
        sup_assert_bits(force, MNT_F32, (mnt_shape){ 1, { t->count } }, want->bits,
                        t->bits);
    }
    free(want);
    free(got);
}

/* ---- running totals ---- */

static void run_accumulate(job *j)
{
    mnt_graph *g = NULL;
    int64_t n = *(const int64_t *)j->arg;
    kit_rng r = { 11 };
    MUST(j->dev, mnt_graph_create(&g, j->dev, NULL, NULL));
    mnt_tensor *x = mnt_input(g, MNT_F32, MNT_SHAPE(n));
    mnt_tensor *k = mnt_input(g, MNT_I32, MNT_SHAPE(n));
    mnt_tensor *total = mnt_accumulate(g, x), *count = mnt_accumulate(g, k);
    MUST(j->dev, mnt_graph_compile(g));
    float *v = kit_alloc((size_t)n * 4), *sum = kit_alloc((size_t)n * 4);
    int32_t *c = kit_alloc((size_t)n * 4);
    for (int step = 0; step < REPLAYS; step++) {
        for (int64_t i = 0; i < n; i++) {
            v[i] = kit_float(&r);
            sum[i] += v[i];
            c[i] = 3 - step;
        }
        MUST(j->dev, mnt_tensor_write(x, v, (size_t)n * 4));
        MUST(j->dev, mnt_tensor_write(k, c, (size_t)n * 4));
        MUST(j->dev, mnt_graph_run(g, 1));
        sup_assert_bits("accumulate", MNT_F32, MNT_SHAPE(n), sum, note(j, total));
    }
    const int32_t *all = note(j, count);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(all[i], 3 + 2 + 1 + 0 - 1);
    memset(v, 0, (size_t)n * 4);
    MUST(j->dev, mnt_tensor_write(total, v, (size_t)n * 4));
    MUST(j->dev, mnt_tensor_read(total, sum, (size_t)n * 4));
    sup_assert_bits("reset total", MNT_F32, MNT_SHAPE(n), v, sum);
    free(v);
    free(sum);
    free(c);
    mnt_graph_destroy(g);
}

static void test_accumulate(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 0, 1, 3, 15, 16, 17, 33, 1000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        everywhere(run_accumulate, &sizes[i]);
}

/* ---- random numbers ---- */

typedef struct random_case {
    mnt_shape shape;
    float a, b;
    uint64_t seed;
    uint32_t stream;
} random_case;

static void run_random(job *j)
{
    const random_case *c = j->arg;
    mnt_graph *g = NULL;
    MUST(j->dev, mnt_graph_create(&g, j->dev, NULL, NULL));
    mnt_tensor *u = mnt_uniform(g, c->shape, c->a, c->b, c->seed, c->stream);
    mnt_tensor *z = mnt_normal(g, c->shape, c->a, c->b, c->seed, c->stream);
    mnt_tensor_keep(u);
    mnt_tensor_keep(z);
    MUST(j->dev, mnt_graph_compile(g));
    for (int i = 0; i < 3; i++) {
        MUST(j->dev, mnt_graph_run(g, 1));
        const void *gu = note(j, u), *gz = note(j, z);
        if (!j->reference)
            continue;
        uint32_t replay = (uint32_t)i;
        ora wu = ora_uniform(c->shape, c->a, c->b, c->seed, c->stream, replay);
        ora wz = ora_normal(c->shape, c->a, c->b, c->seed, c->stream, replay);
        check("uniform", &wu, gu, i);
        check("normal", &wz, gz, i);
        ora_free(&wu);
        ora_free(&wz);
    }
    mnt_graph_destroy(g);
}

static void test_random(void **state)
{
    (void)state;
    static const random_case cases[] = {
        { { 1, { 1 } }, 0, 1, 1, 0 },
        { { 1, { 3 } }, -2, 5, 0xffffffffffffffffu, 0xffffffffu },
        { { 1, { 4 } }, 0, 1, 7, 1 },
        { { 1, { 5 } }, 0, 1, 7, 2 },
        { { 2, { 3, 7 } }, -0.3f, 0.3f, 1234567, 3 },
        { { 1, { 63 } }, 0, 1, 1, 4 },
        { { 1, { 65 } }, 1, 2, 1, 5 },
        { { 2, { 65, 67 } }, -1, 1, 99, 6 },
        { { 1, { 0 } }, 0, 1, 1, 7 },
        { { 0 }, 0, 1, 1, 8 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        everywhere(run_random, &cases[i]);
}

static void philox_is(const uint32_t c[4], const uint32_t k[2], const uint32_t want[4])
{
    uint32_t got[4];
    ora_philox(c, k, got);
    assert_memory_equal(got, want, 16);
}

/* The published vectors of Random123 (Salmon et al.), kat_vectors, philox4x32 10. */
static void test_philox_vectors(void **state)
{
    (void)state;
    philox_is((uint32_t[]){ 0, 0, 0, 0 }, (uint32_t[]){ 0, 0 },
              (uint32_t[]){ 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 });
    philox_is((uint32_t[]){ 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
              (uint32_t[]){ 0xffffffff, 0xffffffff },
              (uint32_t[]){ 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd });
    philox_is((uint32_t[]){ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
              (uint32_t[]){ 0xa4093822, 0x299f31d0 },
              (uint32_t[]){ 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 });
}

/* ---- batches ---- */

#define SAMPLES 13

/* numerics E: i = n-1..1, j = mulhi(philox(seed, SHUFFLE, epoch, i), i+1) cannot be
 * known here without the stream's number: the order is read from the batches. */
static void run_batches(job *j)
{
    const int64_t batch = *(const int64_t *)j->arg;
    uint8_t images[SAMPLES * 6], labels[SAMPLES];
    for (int i = 0; i < SAMPLES * 6; i++)
        images[i] = (uint8_t)(i * 7);
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = (uint8_t)i;
    mnt_dataset *d = NULL;
    mnt_graph *g = NULL;
    MUST(j->dev, mnt_dataset_create(&d, j->dev, images, MNT_SHAPE(1, 2, 3), labels,
                                    SAMPLES, SAMPLES));
    MUST(j->dev, mnt_graph_create(&g, j->dev, NULL, NULL));
    mnt_batch b = mnt_batch_input(g, d, batch);
    mnt_tensor_keep(b.x);
    mnt_tensor_keep(b.y);
    MUST(j->dev, mnt_graph_compile(g));
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[SAMPLES] = { 0 };
        if (epoch)
            MUST(j->dev, mnt_dataset_shuffle(d, 3, 1));
        int32_t order[SAMPLES + 1];
        for (int64_t at = 0; at < 2 * SAMPLES; at += batch) {
            MUST(j->dev, mnt_graph_run(g, 1));
            const float *x = note(j, b.x);
            const int32_t *y = note(j, b.y);
            for (int64_t i = 0; i < batch; i++) {
                int64_t place = (at + i) % SAMPLES;
                if (at + i < SAMPLES) {
                    assert_int_equal(seen[y[i]]++, 0);
                    order[place] = y[i];
                }
                assert_int_equal(y[i], order[place]);
                if (!epoch)
                    assert_int_equal(y[i], place);
                for (int k = 0; k < 6; k++) {
                    float want = (float)((double)images[y[i] * 6 + k] / 255.0);
                    assert_true(x[i * 6 + k] == want);
                }
            }
        }
    }
    mnt_graph_destroy(g);
    mnt_dataset_close(d);
}

static void test_batches(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 1, 4, 5, 12, 13 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        everywhere(run_batches, &sizes[i]);
}

/* ---- optimizers ---- */

typedef struct optim_case {
    ora_optim o;
    int64_t size;
} optim_case;

static void record_optimizer(mnt_graph *g, const ora_optim *o)
{
    mnt_schedule s = { .points = o->points };
    for (int i = 0; i < o->points; i++) {
        s.step[i] = o->step[i];
        s.factor[i] = (float)o->factor[i];
    }
    mnt_sgd_desc sgd = MNT_SGD_DESC(.lr = (float)o->lr, .momentum = (float)o->momentum,
                                    .weight_decay = (float)o->weight_decay,
                                    .nesterov = o->nesterov, .schedule = s);
    mnt_adam_desc adam = MNT_ADAM_DESC(.lr = (float)o->lr, .beta1 = (float)o->beta1,
                                       .beta2 = (float)o->beta2, .eps = (float)o->eps,
                                       .weight_decay = (float)o->weight_decay,
                                       .decoupled = o->decoupled, .schedule = s);
    if (o->adam)
        mnt_adam(g, &adam);
    else
        mnt_sgd(g, &sgd);
}

/* loss = sum(w c): the gradient of w is the input c, chosen for each step. */
static void run_optimizer(job *j)
{
    const optim_case *c = j->arg;
    const mnt_shape shape = { 1, { c->size } };
    size_t bytes = (size_t)c->size * 4;
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    MUST(j->dev, mnt_model_create(&m, j->dev, NULL));
    MUST(j->dev, mnt_graph_create(&g, j->dev, m, NULL));
    mnt_tensor *w = mnt_param(g, "w", shape, (mnt_init){ MNT_INIT_CONSTANT, 0.5f, 0 });
    mnt_tensor *x = mnt_input(g, MNT_F32, shape);
    mnt_backward(g, mnt_sum(g, mnt_mul(g, w, x), MNT_ALL_AXES), NULL);
    record_optimizer(g, &c->o);
    MUST(j->dev, mnt_graph_compile(g));
    ora ow = ora_new(shape), og = ora_new(shape), om = ora_new(shape),
        ov = ora_new(shape);
    float *v = kit_alloc(bytes);
    for (int64_t i = 0; i < c->size; i++)
        ow.v[i] = 0.5;
    kit_rng r = { 17 };
    for (int step = 0; step < 2 * REPLAYS; step++) {
        for (int64_t i = 0; i < c->size; i++)
            og.v[i] = (double)(v[i] = kit_below(&r, 9) ? kit_float(&r) : 0);
        MUST(j->dev, mnt_tensor_write(x, v, bytes));
        MUST(j->dev, mnt_graph_run(g, 1));
        assert_int_equal(mnt_model_step(m), step + 1);
        const void *got = note(j, w);
        ora_update(&ow, &og, &om, &ov, &c->o, step);
        check(c->o.adam ? "adam" : "sgd", &ow, got, step);
    }
    free(v);
    ora_free(&ow);
    ora_free(&og);
    ora_free(&om);
    ora_free(&ov);
    mnt_graph_destroy(g);
    mnt_model_destroy(m);
}

#define ADAM .adam = true, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8

static void test_optimizers(void **state)
{
    (void)state;
    static const ora_optim kinds[] = {
        { .lr = 0.1 },
        { .lr = 0.1, .momentum = 0.9 },
        { .lr = 0.1, .momentum = 0.9, .nesterov = true },
        { .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01 },
        { .lr = 0.1, .weight_decay = 0.01 },
        { .lr = 0.1,
          .momentum = 0.9,
          .points = 3,
          .step = { 1, 4, 6 },
          .factor = { 1, 0.25, 2 } },
        { .lr = 0.1, .points = 1, .step = { 0 }, .factor = { 0.5 } },
        { .lr = 0 },
        { .lr = 0.01, ADAM },
        { .lr = 0.01, ADAM, .weight_decay = 0.1 },
        { .lr = 0.01, ADAM, .weight_decay = 0.1, .decoupled = true },
        { .lr = 0.01, .adam = true, .beta1 = 0, .beta2 = 0.5, .eps = 1e-3 },
        { .lr = 0.01, ADAM, .points = 2, .step = { 2, 8 }, .factor = { 0, 1 } },
    };
    static const int64_t sizes[] = { 1, 7, 16, 17, 33, 130 };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            optim_case c = { kinds[i], sizes[k] };
            everywhere(run_optimizer, &c);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accumulate),     cmocka_unit_test(test_random),
        cmocka_unit_test(test_philox_vectors), cmocka_unit_test(test_batches),
        cmocka_unit_test(test_optimizers),
    };
    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
