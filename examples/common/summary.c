/* SPDX-License-Identifier: MIT */
#include "common/summary.h"

#include "common/output.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static double sum_seconds(const metrics_row *rows, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += rows[i].seconds;
    return sum;
}

static json_t *number_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *option(float x)
{
    char text[REAL_TEXT];
    real_text(text, x);
    return json_real(strtod(text, NULL));
}

static json_t *run_object(session *s)
{
    const options *o = s->opt;
    bool sgd = o->optimizer == OPT_SGD;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:I, s:I, s:s, s:o, s:o, s:o}", "model",
        s->app->name, "data", s->data_name, "backend", s->info.backend, "device",
        s->info.name, "seed", (json_int_t)o->seed, "threads", s->info.threads, "batch",
        (json_int_t)o->batch, "epochs", (json_int_t)o->epochs, "steps",
        (json_int_t)mnt_model_step(s->model), "optimizer", sgd ? "sgd" : "adam", "lr",
        option(o->lr), "momentum", sgd ? option(o->momentum) : json_null(),
        "weight_decay", option(o->weight_decay));
}

static bool add_results(json_t *root, session *s, const metrics_row *rows, size_t count,
                        int64_t images, double test_accuracy)
{
    double seconds = sum_seconds(rows, count), trained = 0.0;
    for (size_t i = 0; i < count; i++)
        trained += rows[i].images_per_second * rows[i].seconds;
    double loss = count > 0 ? rows[count - 1].loss : NAN;
    double train = count > 0 ? rows[count - 1].train_accuracy : NAN;
    json_t *more = json_pack(
        "{s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:i}", "images_per_epoch",
        (json_int_t)images, "loss", number_or_null(loss), "train_accuracy",
        number_or_null(train), "test_accuracy", number_or_null(test_accuracy),
        "epoch_seconds",
        number_or_null(trained > 0.0 ? seconds * (double)images / trained : NAN),
        "images_per_second", number_or_null(seconds > 0.0 ? trained / seconds : NAN),
        "dtype", "f32", "library_version", mnt_version(), "numerics_version",
        MNT_NUMERICS_VERSION);
    bool good = more != NULL && json_object_update(root, more) == 0;
    json_decref(more);
    return good &&
           json_object_set_new(root, "device_detail", json_string(s->info.detail)) == 0;
}

mnt_status summary_write(session *s, const metrics_row *rows, size_t count,
                         int64_t images, double test_accuracy)
{
    output o;
    json_t *root = run_object(s);
    if (root == NULL || !add_results(root, s, rows, count, images, test_accuracy)) {
        json_decref(root);
        return session_fail(s, MNT_NO_MEMORY, "summary.json: %s",
                            mnt_status_text(MNT_NO_MEMORY));
    }
    bool good = output_open(&o, s->opt->out, "summary.json");
    if (good) {
        good = json_dumpf(root, o.f, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0;
        fputc('\n', o.f);
        good = output_close(&o, good) && good;
    }
    json_decref(root);
    return good ? MNT_OK : session_io(s, o.path);
}
