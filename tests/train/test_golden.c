/* SPDX-License-Identifier: MIT */
/*
 * Golden training runs: losses as bits and the checkpoint's sha256 after six steps at
 * batch 64. They guard the numerics version: a change here is a change of the contract
 * and comes with a new version. MNT_TEST_VERBOSE prints the rows to put into
 * golden.def.
 */
#include "../support/nets.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 6
#define BATCH 64

typedef struct golden {
    const char *data, *net, *optimizer;
    uint32_t loss[STEPS];
    const char *hash;
} golden;

static const golden rows[] = {
#define GOLDEN(data, net, optimizer, a, b, c, d, e, f, hash)                           \
    { #data, #net, #optimizer, { a, b, c, d, e, f }, hash },
#include "golden.def"
#undef GOLDEN
};

static mnt_dataset *open_data(mnt_device *dev, const char *name)
{
    mnt_dataset *d = NULL;
    if (!strcmp(name, "mnist"))
        MUST(dev, mnt_mnist_open(&d, dev, sup_mnist_dir(), MNT_TRAIN));
    else
        MUST(dev, mnt_synth_open(&d, dev, 500, 5, MNT_TRAIN));
    MUST(dev, mnt_dataset_shuffle(d, 1, 1));
    return d;
}

static void train(const golden *row, const char *force, int threads, float loss[STEPS],
                  char hash[65])
{
    mnt_device *dev = sup_open(force, threads);
    mnt_model *m = NULL;
    const net_spec s = { .lenet = !strcmp(row->net, "lenet"),
                         .adam = !strcmp(row->optimizer, "adam"),
                         .batch = BATCH };
    MUST(dev, mnt_model_create(&m, dev, NULL));
    mnt_dataset *d = open_data(dev, row->data);
    net_train(dev, m, d, &s, STEPS, loss);
    sup_model_hash(dev, m, hash);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
    mnt_device_close(dev);
}

static void check(const golden *row, const char *force, int threads)
{
    float loss[STEPS];
    uint32_t bits[STEPS];
    char hash[65];
    train(row, force, threads, loss, hash);
    memcpy(bits, loss, sizeof bits);
    if (getenv("MNT_TEST_VERBOSE")) {
        print_message("GOLDEN(%s, %s, %s,\n       ", row->data, row->net,
                      row->optimizer);
        for (int i = 0; i < STEPS; i++)
            print_message("0x%08" PRIx32 ", ", bits[i]);
        print_message("\n       \"%s\")\n", hash);
    }
    for (int i = 0; i < STEPS; i++)
        if (bits[i] != row->loss[i])
            fail_msg("%s %s %s on '%s': loss of step %d is %.9g (%08" PRIx32
                     "), the golden run has %08" PRIx32,
                     row->data, row->net, row->optimizer, force, i + 1, (double)loss[i],
                     bits[i], row->loss[i]);
    if (strcmp(hash, row->hash) != 0)
        fail_msg("%s %s %s on '%s': checkpoint %s, the golden run has %s", row->data,
                 row->net, row->optimizer, force, hash, row->hash);
}

static void test_row(void **state)
{
    const golden *row = *state;
    if (!strcmp(row->data, "mnist") && !sup_mnist_dir()) {
        print_message("no MNIST files: set MNT_MNIST_DIR\n");
        skip();
    }
    check(row, "all=ref", 1);
    check(row, "", 2);
}

/* An hour-long mistake shows in a minute: the loss falls and digits are learned. */
static void test_learns(void **state)
{
    const bool lenet = *state != NULL;
    mnt_device *dev = sup_open("", 2);
    mnt_model *m = NULL;
    mnt_graph *g = NULL;
    mnt_dataset *d = NULL, *test = NULL;
    enum { N = 60 };
    float loss[N];
    int32_t right = 0;
    const net_spec s = { .lenet = lenet, .batch = BATCH, .lr = 0.05f };
    MUST(dev, mnt_model_create(&m, dev, NULL));
    MUST(dev, mnt_synth_open(&d, dev, 2000, 5, MNT_TRAIN));
    MUST(dev, mnt_synth_open(&test, dev, 500, 5, MNT_TEST));
    MUST(dev, mnt_dataset_shuffle(d, 1, 1));
    net_train(dev, m, d, &s, N, loss);
    assert_true(fabs((double)loss[0] - log(10.0)) < 0.3);
    assert_true(loss[N - 1] < 0.75f * loss[0]);
    MUST(dev, mnt_graph_create(&g, dev, m, NULL));
    mnt_batch b = mnt_batch_input(g, test, 100);
    mnt_tensor *count =
        mnt_accumulate(g, mnt_accuracy_count(g, net_forward(g, b.x, lenet), b.y));
    MUST(dev, mnt_graph_compile(g));
    MUST(dev, mnt_graph_run(g, mnt_dataset_batches(test, 100)));
    MUST(dev, mnt_tensor_read(count, &right, sizeof right));
    print_message("%s: loss %.3f -> %.3f, %d of 500 right\n", lenet ? "lenet" : "mlp",
                  (double)loss[0], (double)loss[N - 1], (int)right);
    assert_true(right > 250);
    mnt_graph_destroy(g);
    mnt_dataset_close(test);
    mnt_dataset_close(d);
    mnt_model_destroy(m);
    mnt_device_close(dev);
}

int main(void)
{
    enum { N = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[N + 2];
    static char names[N][64];
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "%s %s %s", rows[i].data, rows[i].net,
                 rows[i].optimizer);
        tests[i] = (struct CMUnitTest){ names[i], test_row, NULL, NULL,
                                        (void *)(uintptr_t)&rows[i] };
    }
    tests[N] = (struct CMUnitTest){ "the mlp learns", test_learns, NULL, NULL, NULL };
    tests[N + 1] =
        (struct CMUnitTest){ "the lenet learns", test_learns, NULL, NULL, tests };
    return _cmocka_run_group_tests("golden", tests, N + 2, NULL, NULL);
}
