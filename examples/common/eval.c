/* SPDX-License-Identifier: MIT */
#include "common/eval.h"

#include "common/checkpoint.h"
#include "common/evaluate.h"

#include <inttypes.h>
#include <stdio.h>

/* What the confusion table says of one class. */
typedef struct class_counts {
    int64_t images, guesses, right;
} class_counts;

static class_counts count_class(int64_t table[CLASSES][CLASSES], int c)
{
    class_counts n = { .right = table[c][c] };
    for (int i = 0; i < CLASSES; i++) {
        n.images += table[c][i];
        n.guesses += table[i][c];
    }
    return n;
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

static void print_classes(int64_t table[CLASSES][CLASSES])
{
    printf("\nclass  images   right   recall  precision      F1\n");
    for (int c = 0; c < CLASSES; c++) {
        class_counts n = count_class(table, c);
        printf("%5d %7" PRId64 " %7" PRId64 " %7.2f%% %9.2f%% %6.2f%%\n", c, n.images,
               n.right, share(n.right, n.images), share(n.right, n.guesses),
               share(2 * n.right, n.images + n.guesses));
    }
}

static void print_confusion(int64_t table[CLASSES][CLASSES])
{
    printf("\nconfusion: a row is the label, a column the guess\n     ");
    for (int c = 0; c < CLASSES; c++)
        printf("%6d", c);
    for (int r = 0; r < CLASSES; r++) {
        printf("\n%5d", r);
        for (int c = 0; c < CLASSES; c++)
            printf("%6" PRId64, table[r][c]);
    }
    printf("\n");
}

mnt_status eval_run(session *s)
{
    evaluator e = { 0 };
    int64_t table[CLASSES][CLASSES], right = 0;
    mnt_status st = checkpoint_load(s, s->opt->ckpt);
    if (st == MNT_OK)
        st = session_data(s, s->dev, MNT_TEST, &s->test);
    if (st == MNT_OK)
        st = evaluator_create(&e, s->dev, s->model, s->test, s->app, true);
    if (st == MNT_OK)
        st = evaluate_confusion(&e, table);
    if (st == MNT_OK) {
        for (int c = 0; c < CLASSES; c++)
            right += table[c][c];
        printf("%s: step %" PRId64 ", test accuracy %.2f%% (%" PRId64 " of %" PRId64
               " images)\n",
               s->opt->ckpt, mnt_model_step(s->model), share(right, e.count), right,
               e.count);
        print_classes(table);
        print_confusion(table);
    }
    evaluator_destroy(&e);
    return st;
}
