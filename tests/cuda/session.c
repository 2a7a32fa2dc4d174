/* SPDX-License-Identifier: MIT */
/*
 * The session of the cuda tests. See session.h.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char report[700];
static int reports;
static char log_text[2000];

static void note(void *context, const char *text)
{
    (void)context;
    if (reports++ == 0)
        snprintf(report, sizeof report, "%s", text);
}

int session_begin(void **state)
{
    (void)state;
    reports = 0;
    setenv("MNT_CUDA_DRIVER", CUDASIM_LIBRARY, 1);
    cudasim_on_report(note, NULL);
    cudasim_configure(NULL);
    return 0;
}

void session_clean(const char *what)
{
    const cudasim_counts c = cudasim_count();
    if (reports > 0)
        fail_msg("%s: %d reports, the first: %s", what, reports, report);
    if (c.contexts + c.modules + c.streams + c.events + c.graphs + c.execs +
            c.allocations + c.pinned !=
        0)
        fail_msg(
            "%s: alive: %d contexts, %d modules, %d streams, %d events, %d graphs, "
            "%d executable, %d allocations, %d pinned",
            what, c.contexts, c.modules, c.streams, c.events, c.graphs, c.execs,
            c.allocations, c.pinned);
}

int session_end(void **state)
{
    (void)state;
    session_clean("at the end");
    return 0;
}

static void keep_log(void *user, mnt_log_level level, const char *text)
{
    (void)user, (void)level;
    size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%s\n", text);
}

mnt_device *open_device(const char *backend)
{
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = backend, .threads = 1);
    log_text[0] = '\0';
    desc.log = keep_log;
    MUST(NULL, mnt_device_open(&dev, &desc));
    return dev;
}

const char *auto_log(void)
{
    mnt_device *dev = open_device("auto");
    mnt_device_info info = { .size = sizeof info };
    MUST(dev, mnt_device_get_info(dev, &info));
    assert_string_equal(info.backend, "cpu");
    mnt_device_close(dev);
    return log_text;
}

static const net_spec spec = { .lenet = true, .batch = 4 };

const char *cpu_hash(void)
{
    static char hash[65];
    if (!hash[0]) {
        mnt_device *dev = open_device("cpu");
        net_hash(dev, &spec, 12, STEPS, hash);
        mnt_device_close(dev);
    }
    return hash;
}

void cpu_goes_on(void)
{
    char hash[65];
    mnt_device *dev = open_device("cpu");
    net_hash(dev, &spec, 12, STEPS, hash);
    mnt_device_close(dev);
    assert_string_equal(hash, cpu_hash());
}

typedef struct run {
    mnt_device *dev;
    mnt_model *m;
    mnt_dataset *d;
    mnt_graph *g;
    mnt_tensor *loss;
    char path[300];
} run;

#define TRY(call)                                                                      \
    do {                                                                               \
        mnt_status st_ = (call);                                                       \
        if (st_)                                                                       \
            return st_;                                                                \
    } while (0)

/* Runs of one, two and many steps, an upload in the middle, a save. */
static mnt_status steps(run *r, char hash[65])
{
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = "cuda");
    float loss;
    TRY(mnt_device_open(&r->dev, &desc));
    TRY(mnt_model_create(&r->m, r->dev, &MNT_MODEL_DESC(.seed = 1)));
    TRY(mnt_synth_open(&r->d, r->dev, 12, 5, MNT_TRAIN));
    TRY(mnt_dataset_shuffle(r->d, 1, 1));
    TRY(mnt_graph_create(&r->g, r->dev, r->m, NULL));
    r->loss = net_record(r->g, r->d, &spec);
    TRY(mnt_graph_compile(r->g));
    TRY(mnt_graph_run(r->g, 1));
    TRY(mnt_tensor_read(r->loss, &loss, sizeof loss));
    TRY(mnt_graph_run(r->g, STEPS - 2));
    mnt_tensor *w = mnt_model_find(r->m, "fc.weight");
    static float values[4096];
    TRY(mnt_tensor_read(w, values, (size_t)mnt_tensor_count(w) * sizeof *values));
    TRY(mnt_tensor_write(w, values, (size_t)mnt_tensor_count(w) * sizeof *values));
    TRY(mnt_graph_run(r->g, 1));
    TRY(mnt_device_wait(r->dev));
    TRY(mnt_model_save(r->m, r->path));
    size_t n;
    void *data = sup_file(r->path, &n);
    assert_non_null(data);
    sup_sha256(data, n, hash);
    free(data);
    return MNT_OK;
}

outcome train(void)
{
    run r = { 0 };
    outcome o = { 0 };
    sup_temp_path(r.path, sizeof r.path, "cuda");
    o.status = steps(&r, o.hash);
    if (o.status)
        snprintf(o.sentence, sizeof o.sentence, "%s", mnt_last_error(r.dev));
    if (o.status && access(r.path, F_OK) == 0)
        fail_msg("a file was left by a run that failed: %s", o.sentence);
    remove(r.path);
    mnt_graph_destroy(r.g);
    mnt_dataset_close(r.d);
    mnt_model_destroy(r.m);
    mnt_device_close(r.dev);
    return o;
}
