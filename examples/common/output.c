/* SPDX-License-Identifier: MIT */
#include "common/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool output_path(char out[OUTPUT_PATH], const char *dir, const char *name)
{
    int n = snprintf(out, OUTPUT_PATH, "%s/%s", dir, name);
    if (n > 0 && n < OUTPUT_PATH)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

static bool make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return true;
    int reason = errno;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return true;
    errno = reason;
    return false;
}

bool output_mkdir(const char *dir)
{
    char path[OUTPUT_PATH];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n <= 0 || n >= OUTPUT_PATH) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (!make_one(path))
            return false;
        *p = '/';
    }
    return make_one(path);
}

bool output_can_write(const char *path)
{
    char trial[OUTPUT_PATH];
    struct stat st;
    int n = snprintf(trial, sizeof trial, "%s.try.%ld", path, (long)getpid());
    if (n <= 0 || n >= OUTPUT_PATH) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return false;
    }
    /* Permission bits do not tell: some folders take no file at all. */
    int fd = open(trial, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return false;
    close(fd);
    unlink(trial);
    return true;
}

bool output_open(output *o, const char *dir, const char *name)
{
    char temp[OUTPUT_PATH];
    o->f = NULL;
    int n = snprintf(temp, sizeof temp, ".%s.tmp", name);
    if (n <= 0 || n >= OUTPUT_PATH || !output_path(o->path, dir, name) ||
        !output_path(o->temp, dir, temp))
        return false;
    o->f = fopen(o->temp, "w");
    return o->f != NULL;
}

bool output_close(output *o, bool keep)
{
    if (o->f == NULL)
        return false;
    bool good = fflush(o->f) == 0 && !ferror(o->f);
    good = fclose(o->f) == 0 && good;
    o->f = NULL;
    if (good && keep && rename(o->temp, o->path) == 0)
        return true;
    int reason = errno;
    unlink(o->temp);
    errno = reason;
    return good && !keep;
}

void real_text(char out[REAL_TEXT], float x)
{
    int digits = 1;
    do
        snprintf(out, REAL_TEXT, "%.*g", digits, (double)x);
    while (strtof(out, NULL) != x && digits++ < 9);
}

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
