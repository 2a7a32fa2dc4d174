/* SPDX-License-Identifier: MIT */
#include "common/session.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mnt_device *volatile interrupt_device;
static volatile sig_atomic_t interrupt_signal;

static void on_signal(int number)
{
    interrupt_signal = number;
    mnt_device *dev = interrupt_device;
    if (dev != NULL)
        mnt_device_interrupt(dev);
}

/* The second Ctrl-C finds the default action again and ends the program at once. */
static void arm(mnt_device *dev)
{
    struct sigaction action = { .sa_handler = on_signal,
                                .sa_flags = (int)SA_RESETHAND | SA_RESTART };
    sigemptyset(&action.sa_mask);
    interrupt_device = dev;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool session_interrupted(void)
{
    return interrupt_signal != 0;
}

static void on_log(void *user, mnt_log_level level, const char *text)
{
    const session *s = user;
    if (level == MNT_LOG_WARN)
        fprintf(stderr, "%s: note: %s\n", s->app->name, text);
}

mnt_status session_open(session *s, const run_app *app, options *opt)
{
    *s = (session){ .app = app, .opt = opt, .info.size = sizeof s->info };
    mnt_status st = mnt_device_open(
        &s->dev, &MNT_DEVICE_DESC(.backend = opt->backend, .index = opt->device,
                                  .threads = opt->threads, .force = opt->force,
                                  .log = on_log, .log_user = s));
    if (st != MNT_OK)
        return st;
    arm(s->dev);
    return mnt_device_get_info(s->dev, &s->info);
}

void session_close(session *s)
{
    interrupt_device = NULL;
    mnt_dataset_close(s->train);
    mnt_dataset_close(s->test);
    mnt_model_destroy(s->model);
    mnt_device_close(s->dev);
    s->train = s->test = NULL;
    s->model = NULL;
    s->dev = NULL;
}

static const char *data_folder(const options *opt)
{
    if (opt->data != NULL)
        return opt->data;
    const char *named = getenv("MNT_MNIST_DIR");
    return named != NULL && *named != '\0' ? named : "data/mnist";
}

mnt_status session_data(session *s, mnt_device *dev, mnt_split split, mnt_dataset **out)
{
    const char *dir = data_folder(s->opt);
    bool synth = strcmp(dir, "synth") == 0;
    mnt_status st = synth ? mnt_synth_open(out, dev, split == MNT_TRAIN ? 60000 : 10000,
                                           s->opt->seed, split)
                          : mnt_mnist_open(out, dev, dir, split);
    if (st == MNT_NOT_FOUND)
        return session_fail(s, st,
                            "%s (scripts/get-mnist fetches the files; --data synth "
                            "needs none)",
                            mnt_last_error(dev));
    if (st != MNT_OK)
        return session_adopt(s, st, dev);
    mnt_shape image = mnt_dataset_sample(*out);
    if (mnt_shape_count(image) != 784 || mnt_dataset_classes(*out) != 10)
        return session_fail(s, MNT_SHAPE, "%s: not 28x28 images of 10 classes", dir);
    if (split == MNT_TRAIN)
        snprintf(s->data_name, sizeof s->data_name, "%s %lld",
                 synth ? "synth" : "mnist", (long long)mnt_dataset_count(*out));
    return MNT_OK;
}

mnt_status session_fail(session *s, mnt_status status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(s->problem, sizeof s->problem, format, ap);
    va_end(ap);
    return status;
}

mnt_status session_io(session *s, const char *path)
{
    return session_fail(s, MNT_IO, "%s: %s", path, strerror(errno));
}

mnt_status session_adopt(session *s, mnt_status status, const mnt_device *dev)
{
    return session_fail(s, status, "%s", mnt_last_error(dev));
}

int session_report(const session *s, mnt_status status)
{
    if (status == MNT_OK)
        return 0;
    if (status == MNT_INTERRUPTED && session_interrupted()) {
        fprintf(stderr, "%s: %s\n", s->app->name,
                s->problem[0] != '\0' ? s->problem : "interrupted");
        return 128 + (int)interrupt_signal;
    }
    const char *text = s->problem[0] != '\0' ? s->problem : mnt_last_error(s->dev);
    fprintf(stderr, "%s: %s\n", s->app->name,
            *text != '\0' ? text : mnt_status_text(status));
    return 1;
}

void session_describe(const mnt_device_info *info, char *out, size_t size)
{
    if (info->threads > 0)
        snprintf(out, size, "%s: %s, %d thread%s", info->backend, info->name,
                 info->threads, info->threads == 1 ? "" : "s");
    else
        snprintf(out, size, "%s: %s", info->backend, info->name);
}
