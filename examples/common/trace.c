/* SPDX-License-Identifier: MIT */
/*
 * trace.json in Chrome's trace event format, which Perfetto and chrome://tracing show:
 * one thread line for the host's steps, one for the device's commands.
 */
#include "common/output.h"
#include "common/report.h"

#include <jansson.h>
#include <string.h>

enum { HOST = 1, DEVICE = 2 };

static json_t *thread_name(int thread, const char *name)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M",
                     "pid", 1, "tid", thread, "args", "name", name);
}

/* Times are in microseconds from `zero`. */
static json_t *bar(const trace_event *e, uint64_t zero)
{
    double ts = (double)(int64_t)(e->start_ns - zero) / 1e3;
    return json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s, s:s, s:I}}", "name",
                     e->name, "cat", e->kernel != NULL ? "op" : "step", "ph", "X", "ts",
                     ts, "dur", (double)e->ns / 1e3, "pid", 1, "tid",
                     e->kernel != NULL ? DEVICE : HOST, "args", "kernel",
                     e->kernel != NULL ? e->kernel : "", "makes", e->label, "step",
                     (json_int_t)e->step);
}

static json_t *build(const session *s, const trace_event *events, size_t count)
{
    json_t *list = json_array();
    int bad = json_array_append_new(list, thread_name(HOST, "host: steps"));
    bad |= json_array_append_new(list, thread_name(DEVICE, s->info.backend));
    uint64_t zero = count > 0 ? events[0].start_ns : 0;
    for (size_t i = 0; i < count; i++)
        bad |= json_array_append_new(list, bar(&events[i], zero));
    json_t *root =
        json_pack("{s:s, s:o}", "displayTimeUnit", "ms", "traceEvents", list);
    if (bad == 0)
        return root;
    json_decref(root);
    return NULL;
}

mnt_status trace_write(session *s, const trace_event *events, size_t count)
{
    output o;
    json_t *root = build(s, events, count);
    if (root == NULL)
        return session_fail(s, MNT_NO_MEMORY, "trace.json: %s",
                            mnt_status_text(MNT_NO_MEMORY));
    bool good = output_open(&o, s->opt->out, "trace.json");
    if (good) {
        good = json_dumpf(root, o.f, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) == 0;
        good = output_close(&o, good) && good;
    }
    json_decref(root);
    return good ? MNT_OK : session_io(s, o.path);
}
