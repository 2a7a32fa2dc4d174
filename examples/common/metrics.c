/* SPDX-License-Identifier: MIT */
#include "common/metrics.h"

#include "common/output.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char header[] =
    "epoch,step,loss,train_accuracy,test_accuracy,images_per_second,seconds\n";

static void print_row(FILE *f, const metrics_row *r)
{
    fprintf(f, "%" PRId64 ",%" PRId64 ",%.6f,%.6f,", r->epoch, r->step, r->loss,
            r->train_accuracy);
    if (!isnan(r->test_accuracy))
        fprintf(f, "%.6f", r->test_accuracy);
    fprintf(f, ",%.1f,%.6f\n", r->images_per_second, r->seconds);
}

static bool parse_row(const char *line, metrics_row *r)
{
    int used = 0;
    if (sscanf(line, "%" SCNd64 ",%" SCNd64 ",%lf,%lf,%n", &r->epoch, &r->step,
               &r->loss, &r->train_accuracy, &used) != 4 ||
        used == 0)
        return false;
    line += used;
    r->test_accuracy = NAN;
    if (*line != ',' && sscanf(line, "%lf%n", &r->test_accuracy, &used) == 1)
        line += used;
    used = 0;
    return sscanf(line, ",%lf,%lf%n", &r->images_per_second, &r->seconds, &used) == 2 &&
           line[used] == '\n';
}

static bool push(metrics *m, const metrics_row *row)
{
    if (m->count == m->capacity) {
        size_t capacity = m->capacity == 0 ? 32 : 2 * m->capacity;
        metrics_row *rows = realloc(m->rows, capacity * sizeof *rows);
        if (rows == NULL)
            return false;
        m->rows = rows;
        m->capacity = capacity;
    }
    m->rows[m->count++] = *row;
    return true;
}

static mnt_status no_memory(session *s)
{
    return session_fail(s, MNT_NO_MEMORY, "metrics: %s",
                        mnt_status_text(MNT_NO_MEMORY));
}

static mnt_status load_rows(session *s, metrics *m, FILE *f, const char *path,
                            int64_t resume_step, int64_t period)
{
    char line[512];
    metrics_row row;
    for (int number = 1; fgets(line, sizeof line, f) != NULL; number++) {
        if (number == 1)
            continue;
        if (!parse_row(line, &row))
            return session_fail(s, MNT_FORMAT, "%s: line %d is not a row of metrics",
                                path, number);
        if (row.step <= resume_step && !push(m, &row))
            return no_memory(s);
    }
    while (m->count > 0 && m->rows[m->count - 1].step % period != 0)
        m->count--;
    return MNT_OK;
}

mnt_status metrics_load(session *s, metrics *m, const char *dir, const char *name,
                        int64_t resume_step, int64_t period)
{
    char path[OUTPUT_PATH];
    *m = (metrics){ .dir = dir, .name = name };
    if (dir == NULL)
        return MNT_OK;
    if (!output_path(path, dir, name))
        return session_io(s, dir);
    if (resume_step < 0)
        return MNT_OK;
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return errno == ENOENT ? MNT_OK : session_io(s, path);
    mnt_status st = load_rows(s, m, f, path, resume_step, period);
    fclose(f);
    return st;
}

mnt_status metrics_begin(session *s, metrics *m)
{
    output o;
    if (m->dir == NULL)
        return MNT_OK;
    if (!output_open(&o, m->dir, m->name))
        return session_io(s, o.temp);
    fputs(header, o.f);
    for (size_t i = 0; i < m->count; i++)
        print_row(o.f, &m->rows[i]);
    if (!output_close(&o, true))
        return session_io(s, o.path);
    m->f = fopen(o.path, "a");
    return m->f != NULL ? MNT_OK : session_io(s, o.path);
}

mnt_status metrics_add(session *s, metrics *m, const metrics_row *row)
{
    if (!push(m, row))
        return no_memory(s);
    if (m->f == NULL)
        return MNT_OK;
    print_row(m->f, row);
    return fflush(m->f) == 0 ? MNT_OK : session_io(s, m->name);
}

void metrics_free(metrics *m)
{
    if (m->f != NULL)
        fclose(m->f);
    free(m->rows);
    *m = (metrics){ 0 };
}
