/* SPDX-License-Identifier: MIT */
#include "common/evaluate.h"

static mnt_status part_create(eval_part *p, mnt_device *dev, mnt_model *model,
                              mnt_dataset *data, const run_app *app, bool keep_guesses)
{
    mnt_status st =
        mnt_graph_create(&p->g, dev, model, &MNT_GRAPH_DESC(.name = "evaluate"));
    if (st != MNT_OK)
        return st;
    mnt_batch b = mnt_batch_input(p->g, data, p->batch);
    mnt_tensor *logits = app->forward(p->g, b.x);
    p->correct = mnt_accumulate(p->g, mnt_accuracy_count(p->g, logits, b.y));
    if (keep_guesses) {
        p->guess = mnt_argmax(p->g, logits, 1);
        p->label = b.y;
        mnt_tensor_keep(p->guess);
        mnt_tensor_keep(p->label);
    }
    return mnt_graph_compile(p->g);
}

mnt_status evaluator_create(evaluator *e, mnt_device *dev, mnt_model *model,
                            mnt_dataset *data, const run_app *app, bool keep_guesses)
{
    int64_t count = mnt_dataset_count(data);
    int64_t batch = count < EVALUATE_BATCH ? count : EVALUATE_BATCH;
    *e = (evaluator){ .data = data, .count = count };
    e->part[0] = (eval_part){ .batch = batch, .replays = count / batch };
    e->part[1] = (eval_part){ .batch = count % batch, .replays = 1 };
    e->parts = count % batch == 0 ? 1 : 2;
    mnt_status st = MNT_OK;
    for (int i = 0; i < e->parts && st == MNT_OK; i++)
        st = part_create(&e->part[i], dev, model, data, app, keep_guesses);
    return st;
}

void evaluator_destroy(evaluator *e)
{
    for (int i = 0; i < 2; i++)
        mnt_graph_destroy(e->part[i].g);
    *e = (evaluator){ 0 };
}

mnt_status evaluate_correct(evaluator *e, int64_t *correct)
{
    const int32_t zero = 0;
    mnt_status st = mnt_dataset_rewind(e->data);
    for (int i = 0; i < e->parts && st == MNT_OK; i++) {
        st = mnt_tensor_write(e->part[i].correct, &zero, sizeof zero);
        if (st == MNT_OK)
            st = mnt_graph_run(e->part[i].g, e->part[i].replays);
    }
    int64_t sum = 0;
    for (int i = 0; i < e->parts && st == MNT_OK; i++) {
        int32_t n = 0;
        st = mnt_tensor_read(e->part[i].correct, &n, sizeof n);
        sum += n;
    }
    *correct = sum;
    return st;
}

static mnt_status count_replay(eval_part *p, int64_t table[CLASSES][CLASSES])
{
    int32_t guess[EVALUATE_BATCH], label[EVALUATE_BATCH];
    size_t bytes = (size_t)p->batch * sizeof *guess;
    mnt_status st = mnt_graph_run(p->g, 1);
    if (st == MNT_OK)
        st = mnt_tensor_read(p->guess, guess, bytes);
    if (st == MNT_OK)
        st = mnt_tensor_read(p->label, label, bytes);
    for (int64_t i = 0; i < p->batch && st == MNT_OK; i++)
        table[label[i]][guess[i]]++;
    return st;
}

mnt_status evaluate_confusion(evaluator *e, int64_t table[CLASSES][CLASSES])
{
    for (int r = 0; r < CLASSES; r++) {
        for (int c = 0; c < CLASSES; c++)
            table[r][c] = 0;
    }
    mnt_status st = mnt_dataset_rewind(e->data);
    for (int i = 0; i < e->parts; i++) {
        for (int64_t n = 0; n < e->part[i].replays && st == MNT_OK; n++)
            st = count_replay(&e->part[i], table);
    }
    return st;
}
