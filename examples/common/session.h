/* SPDX-License-Identifier: MIT */
/*
 * What every command works on: the opened device, its data and a model, and how a
 * failure becomes one sentence and an exit status. A sentence of the program's own is
 * kept in `problem`; without one the library's last error speaks.
 */
#ifndef SESSION_H
#define SESSION_H

#include "common/options.h"

typedef struct session {
    const run_app *app;
    options *opt;
    mnt_device *dev;
    mnt_device_info info;
    mnt_model *model;
    mnt_dataset *train, *test;
    char data_name[32]; /* "mnist 60000", "synth 60000": the training set */
    char problem[1024];
} session;

/* Opens the device that the options ask for, and lets Ctrl-C interrupt it. */
mnt_status session_open(session *s, const run_app *app, options *opt);
void session_close(session *s);

/* The training or test set that the options ask for, on any device. */
mnt_status session_data(session *s, mnt_device *dev, mnt_split split,
                        mnt_dataset **out);

/* Stores a sentence and returns `status`. */
mnt_status session_fail(session *s, mnt_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* session_fail() with MNT_IO: "path: what the system says". */
mnt_status session_io(session *s, const char *path);
/* Stores another device's last error as this session's sentence. */
mnt_status session_adopt(session *s, mnt_status status, const mnt_device *dev);
/* Prints the sentence of a failure on stderr; returns the exit status of `status`. */
int session_report(const session *s, mnt_status status);

/* True after Ctrl-C or a request to terminate. */
bool session_interrupted(void);

/* "Xeon ..., 2 threads" or "NVIDIA H200": what the run is on. */
void session_describe(const mnt_device_info *info, char *out, size_t size);

#endif
