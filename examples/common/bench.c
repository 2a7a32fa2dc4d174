/* SPDX-License-Identifier: MIT */
/*
 * A lane is a device with its own data. For each batch size and mode every lane gets a
 * graph; then rounds alternate between the lanes and the median round counts, so that a
 * ratio compares measurements made side by side.
 */
#include "common/bench.h"

#include "common/output.h"
#include "common/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES_MOST    8
#define ROUNDS        3
#define ROUND_SECONDS 0.08
#define IMAGES        8192

static const int64_t sizes[] = { 1, 4, 16, 64, 256, 1024, 4096, 8192 };
enum { SIZES = sizeof sizes / sizeof sizes[0] };

typedef enum mode { INFERENCE, TRAINING, MODES } mode;
static const char *const mode_name[] = { "inference", "training" };

typedef struct lane {
    char name[32];
    mnt_device *dev;
    mnt_device_info info;
    mnt_dataset *data;
    double rate[MODES][SIZES]; /* images a second */
} lane;

typedef struct bench {
    session *s;
    lane lanes[LANES_MOST];
    int count;
} bench;

/* One graph of one lane while it is measured. */
typedef struct subject {
    mnt_model *model;
    step_graph step; /* inference: .g alone */
    int64_t replays; /* a round */
    double rate[ROUNDS];
} subject;

static mnt_status lane_open(bench *b, const char *backend, int threads, bool required)
{
    session *s = b->s;
    lane *l = &b->lanes[b->count];
    mnt_status st = mnt_device_open(
        &l->dev,
        &MNT_DEVICE_DESC(.backend = backend, .threads = threads, .force = s->opt->force,
                         .index = required ? 0 : s->opt->device));
    if (st != MNT_OK && !required) {
        printf("%s: %s\n", backend, mnt_last_error(NULL));
        return MNT_OK;
    }
    if (st != MNT_OK)
        return session_adopt(s, st, NULL);
    b->count++;
    l->info.size = sizeof l->info;
    st = mnt_device_get_info(l->dev, &l->info);
    if (st == MNT_OK)
        st = mnt_synth_open(&l->data, l->dev, IMAGES, s->opt->seed, MNT_TRAIN);
    if (st != MNT_OK)
        return session_adopt(s, st, l->dev);
    if (l->info.threads > 0)
        snprintf(l->name, sizeof l->name, "%s x%d", l->info.backend, l->info.threads);
    else
        snprintf(l->name, sizeof l->name, "%s", l->info.backend);
    return MNT_OK;
}

/* Lane 0 is one CPU thread; the others are what it is compared with. */
static mnt_status open_lanes(bench *b)
{
    const options *o = b->s->opt;
    const char *only =
        o->backend != NULL && strcmp(o->backend, "auto") != 0 ? o->backend : NULL;
    mnt_status st = lane_open(b, "cpu", 1, true);
    for (int i = 0; i < mnt_backend_count() && st == MNT_OK; i++) {
        const char *name = mnt_backend_name(i);
        bool cpu = strcmp(name, "cpu") == 0;
        if (b->count == LANES_MOST || (only != NULL && strcmp(only, name) != 0))
            continue;
        if (cpu && (o->threads == 1 || (o->threads == 0 && b->s->info.threads == 1)))
            continue;
        st = lane_open(b, name, cpu ? o->threads : 0, false);
    }
    for (int i = 0; i < b->count && st == MNT_OK; i++) {
        char text[256];
        session_describe(&b->lanes[i].info, text, sizeof text);
        printf("%-10s %s; %s\n", b->lanes[i].name, text, b->lanes[i].info.detail);
    }
    return st;
}

static mnt_status subject_create(subject *u, bench *b, lane *l, mode m, int64_t batch)
{
    options opt = *b->s->opt;
    opt.batch = batch;
    opt.lr = 1e-4f; /* the time of a step must not depend on where it leads */
    *u = (subject){ .replays = 1 };
    mnt_status st = mnt_model_create(&u->model, l->dev, NULL);
    if (st != MNT_OK)
        return st;
    if (m == TRAINING)
        return step_graph_create(&u->step, l->dev, u->model, l->data, b->s->app, &opt,
                                 false);
    st = mnt_graph_create(&u->step.g, l->dev, u->model, NULL);
    if (st != MNT_OK)
        return st;
    mnt_batch in = mnt_batch_input(u->step.g, l->data, batch);
    mnt_tensor_keep(b->s->app->forward(u->step.g, in.x));
    return mnt_graph_compile(u->step.g);
}

static void subject_destroy(subject *u)
{
    step_graph_destroy(&u->step);
    mnt_model_destroy(u->model);
    u->model = NULL;
}

static mnt_status time_run(const lane *l, const subject *u, double *seconds)
{
    double start = clock_seconds();
    mnt_status st = mnt_graph_run(u->step.g, u->replays);
    if (st == MNT_OK)
        st = mnt_device_wait(l->dev);
    *seconds = clock_seconds() - start;
    return st;
}

/* Finds how many replays make a round long enough to time. */
static mnt_status calibrate(const lane *l, subject *u)
{
    double seconds = 0.0;
    mnt_status st = time_run(l, u, &seconds); /* first touch */
    while (st == MNT_OK) {
        st = time_run(l, u, &seconds);
        if (seconds >= ROUND_SECONDS / 2 || u->replays > (1 << 24))
            break;
        u->replays *= seconds < ROUND_SECONDS / 20 ? 8 : 2;
    }
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static mnt_status measure(bench *b, mode m, int k)
{
    session *s = b->s;
    subject u[LANES_MOST];
    int made = 0;
    mnt_status st = MNT_OK;
    memset(u, 0, sizeof u);
    for (int i = 0; i < b->count && st == MNT_OK; i++, made++) {
        st = subject_create(&u[i], b, &b->lanes[i], m, sizes[k]);
        if (st == MNT_OK)
            st = calibrate(&b->lanes[i], &u[i]);
        if (st != MNT_OK)
            session_adopt(s, st, b->lanes[i].dev);
    }
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < b->count && st == MNT_OK; i++) {
            double seconds = 0.0;
            st = time_run(&b->lanes[i], &u[i], &seconds);
            u[i].rate[r] = (double)(u[i].replays * sizes[k]) / seconds;
            if (st != MNT_OK)
                session_adopt(s, st, b->lanes[i].dev);
        }
    }
    for (int i = 0; i < made; i++) {
        qsort(u[i].rate, ROUNDS, sizeof u[i].rate[0], by_value);
        b->lanes[i].rate[m][k] = u[i].rate[ROUNDS / 2];
        subject_destroy(&u[i]);
    }
    return st;
}

static void print_head(const bench *b, mode m)
{
    printf("\n%s, images a second, and times one CPU thread\n%8s", mode_name[m],
           "batch");
    for (int i = 0; i < b->count; i++)
        printf(i == 0 ? " %12s" : " %12s %8s", b->lanes[i].name, "ratio");
    printf("\n");
}

static void print_row(const bench *b, mode m, int k)
{
    double base = b->lanes[0].rate[m][k];
    printf("%8" PRId64 " %12.0f", sizes[k], base);
    for (int i = 1; i < b->count; i++)
        printf(" %12.0f %7.2fx", b->lanes[i].rate[m][k], b->lanes[i].rate[m][k] / base);
    printf("\n");
    fflush(stdout);
}

static bool wanted(const bench *b, int k)
{
    const options *o = b->s->opt;
    return (o->given & GIVEN_BATCH) == 0 || o->batch == sizes[k];
}

static mnt_status write_csv(const bench *b)
{
    output o;
    if (!output_mkdir(b->s->opt->out) || !output_open(&o, b->s->opt->out, "bench.csv"))
        return session_io(b->s, b->s->opt->out);
    fputs("mode,batch,backend,threads,images_per_second,ratio\n", o.f);
    for (int m = 0; m < MODES; m++) {
        for (int k = 0; k < SIZES; k++) {
            for (int i = 0; i < b->count && wanted(b, k); i++)
                fprintf(o.f, "%s,%" PRId64 ",%s,%d,%.1f,%.3f\n", mode_name[m], sizes[k],
                        b->lanes[i].info.backend, b->lanes[i].info.threads,
                        b->lanes[i].rate[m][k],
                        b->lanes[i].rate[m][k] / b->lanes[0].rate[m][k]);
        }
    }
    return output_close(&o, true) ? MNT_OK : session_io(b->s, o.path);
}

static mnt_status check_batch(session *s)
{
    bool known = (s->opt->given & GIVEN_BATCH) == 0;
    for (int k = 0; k < SIZES; k++)
        known = known || s->opt->batch == sizes[k];
    if (known)
        return MNT_OK;
    return session_fail(s, MNT_INVALID,
                        "bench: --batch %" PRId64
                        " is none of 1, 4, 16, 64, 256, 1024, 4096 and 8192",
                        s->opt->batch);
}

mnt_status bench_run(session *s)
{
    bench b = { .s = s };
    recipe_defaults(s->opt, s->app);
    mnt_status st = check_batch(s);
    if (st == MNT_OK)
        st = open_lanes(&b);
    for (mode m = INFERENCE; m < MODES; m++) {
        if (st == MNT_OK)
            print_head(&b, m);
        for (int k = 0; k < SIZES && st == MNT_OK; k++) {
            if (!wanted(&b, k))
                continue;
            st = measure(&b, m, k);
            if (st == MNT_OK && session_interrupted())
                st = MNT_INTERRUPTED;
            if (st == MNT_OK)
                print_row(&b, m, k);
        }
    }
    if (st == MNT_OK && s->opt->out != NULL)
        st = write_csv(&b);
    for (int i = 0; i < b.count; i++) {
        mnt_dataset_close(b.lanes[i].data);
        mnt_device_close(b.lanes[i].dev);
    }
    return st;
}
