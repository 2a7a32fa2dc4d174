/* SPDX-License-Identifier: MIT */
/*
 * Charts of loss and throughput. gnuplot is started without a shell and reads its
 * commands and the data from a pipe; it draws into temporary names that are renamed
 * when it has succeeded.
 */
#include "common/output.h"
#include "common/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *const kinds[] = { "svg", "png" };

typedef struct gnuplot {
    FILE *in;
    pid_t pid;
} gnuplot;

/* false with errno; ENOENT: there is no gnuplot. */
static bool gnuplot_start(gnuplot *g)
{
    char program[] = "gnuplot", from[] = "-";
    char *argv[] = { program, from, NULL };
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe(ends) != 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    /* gnuplot warns of a chart with one point; whether it failed is its status */
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawnp(&g->pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    g->in = error == 0 ? fdopen(ends[1], "w") : NULL;
    if (g->in != NULL)
        return true;
    close(ends[1]);
    errno = error != 0 ? error : errno;
    return false;
}

/* True if gnuplot read everything and ended well. */
static bool gnuplot_end(gnuplot *g)
{
    int status = 0;
    bool good = fclose(g->in) == 0;
    while (waitpid(g->pid, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void put_rows(FILE *f, const char *name, const metrics *m)
{
    fprintf(f, "$%s << EOD\n", name);
    for (size_t i = 0; i < m->count; i++) {
        const metrics_row *r = &m->rows[i];
        fprintf(f, "%" PRId64 " %.6f %.4f ", r->step, r->loss,
                100.0 * r->train_accuracy);
        if (isnan(r->test_accuracy))
            fputs("NaN", f);
        else
            fprintf(f, "%.4f", 100.0 * r->test_accuracy);
        if (r->images_per_second > 0.0)
            fprintf(f, " %.1f\n", r->images_per_second);
        else
            fputs(" NaN\n", f);
    }
    fputs("EOD\n", f);
}

/* A string between single quotes, as gnuplot reads it. */
static void put_quoted(FILE *f, const char *text)
{
    fputc('\'', f);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputc('\'', f);
        fputc(*text, f);
    }
    fputc('\'', f);
}

static bool chart_paths(const session *s, const char *chart, const char *kind,
                        char path[OUTPUT_PATH], char temp[OUTPUT_PATH])
{
    char name[64], hidden[64];
    snprintf(name, sizeof name, "%s.%s", chart, kind);
    snprintf(hidden, sizeof hidden, ".%s.%s.tmp", chart, kind);
    return output_path(path, s->opt->out, name) &&
           output_path(temp, s->opt->out, hidden);
}

static void put_terminal(FILE *f, const char *kind, const char *temp)
{
    if (strcmp(kind, "svg") == 0)
        fputs("set terminal svg size 840,480 font 'sans,13' background '#ffffff'\n", f);
    else
        fputs("if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) set terminal pngcairo "
              "size 840,480 font 'sans,11'; else set terminal png size 840,480\n",
              f);
    fputs("set output ", f);
    put_quoted(f, temp);
    fputc('\n', f);
}

static void put_loss(FILE *f)
{
    fputs("set ylabel 'training loss'; set logscale y; set y2label 'accuracy, %'\n"
          "set y2tics; set ytics nomirror; set key below\n"
          "plot $log using 1:2 with lines lw 2 lc rgb '#1f77b4' title 'loss', \\\n"
          " $epoch using 1:3 axes x1y2 with linespoints pt 6 lc rgb '#999999' "
          "title 'training accuracy', \\\n"
          " $epoch using 1:4 axes x1y2 with linespoints pt 7 lc rgb '#d62728' "
          "title 'test accuracy'\n"
          "unset logscale y; unset y2tics; unset y2label; set ytics mirror\n",
          f);
}

static void put_throughput(FILE *f)
{
    fputs("set ylabel 'images a second, training'; set yrange [0:*]\n"
          "set format y '%.0s%c'; set key below\n"
          "plot $log using 1:5 with lines lw 1 lc rgb '#9ecae1' title 'within an "
          "epoch', \\\n"
          " $epoch using 1:5 with linespoints pt 7 lw 2 lc rgb '#1f77b4' "
          "title 'whole epochs'\n"
          "set yrange [*:*]; set format y '%g'\n",
          f);
}

static void put_charts(FILE *f, const session *s, const metrics *epochs,
                       const metrics *log)
{
    char path[OUTPUT_PATH], temp[OUTPUT_PATH], title[512];
    snprintf(title, sizeof title, "%s, batch %" PRId64 ", %s: %s", s->app->name,
             s->opt->batch, s->info.backend, s->info.name);
    put_rows(f, "epoch", epochs);
    put_rows(f, "log", log);
    fputs("set grid lc rgb '#dddddd'; set xlabel 'step'\nset title ", f);
    put_quoted(f, title);
    fputs(" noenhanced\n", f);
    for (int k = 0; k < 2; k++) {
        chart_paths(s, "loss", kinds[k], path, temp);
        put_terminal(f, kinds[k], temp);
        put_loss(f);
        chart_paths(s, "throughput", kinds[k], path, temp);
        put_terminal(f, kinds[k], temp);
        put_throughput(f);
    }
    fputs("unset output\n", f);
}

/* Names the four files by what became of gnuplot; false with errno. */
static bool settle(const session *s, bool good)
{
    static const char *const charts[] = { "loss", "throughput" };
    char path[OUTPUT_PATH], temp[OUTPUT_PATH];
    bool all = true;
    for (int i = 0; i < 4; i++) {
        chart_paths(s, charts[i / 2], kinds[i % 2], path, temp);
        if (!good)
            unlink(temp);
        else if (rename(temp, path) != 0)
            all = false;
    }
    return all;
}

mnt_status chart_write(session *s, const metrics *epochs, const metrics *log)
{
    gnuplot g;
    char path[OUTPUT_PATH], temp[OUTPUT_PATH];
    if (epochs->count == 0)
        return MNT_OK;
    if (!chart_paths(s, "throughput", "svg", path, temp))
        return session_io(s, s->opt->out);
    if (!gnuplot_start(&g)) {
        printf("no charts: gnuplot %s; their numbers are in metrics_log.csv\n",
               errno == ENOENT ? "is not installed" : strerror(errno));
        return MNT_OK;
    }
    put_charts(g.in, s, epochs, log->count > 1 ? log : epochs);
    bool good = gnuplot_end(&g);
    if (!settle(s, good))
        return session_io(s, s->opt->out);
    if (!good)
        printf("no charts: gnuplot failed; their numbers are in metrics_log.csv\n");
    return MNT_OK;
}
