/* SPDX-License-Identifier: MIT */
/*
 * Processes: shared memory, a call in a child, how a child ended in words.
 */
#include "child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void *child_shared(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
    if (p == MAP_FAILED)
        kit_die("no shared memory for %zu bytes: %s", bytes, strerror(errno));
    return p;
}

void child_text(int status, char *text, size_t size)
{
    static const struct {
        int number;
        const char *name;
    } signals[] = { { SIGSEGV, "SIGSEGV" }, { SIGABRT, "SIGABRT" },
                    { SIGBUS, "SIGBUS" },   { SIGILL, "SIGILL" },
                    { SIGFPE, "SIGFPE" },   { SIGKILL, "SIGKILL" },
                    { SIGTERM, "SIGTERM" }, { SIGTRAP, "SIGTRAP" } };
    if (!WIFSIGNALED(status)) {
        snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
        return;
    }
    const char *name = NULL;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (signals[i].number == WTERMSIG(status))
            name = signals[i].name;
    if (name)
        snprintf(text, size, "died of %s", name);
    else
        snprintf(text, size, "died of signal %d", WTERMSIG(status));
}

static int64_t milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What comes through the pipe until its end; false when time is over. */
static bool drain(int fd, char *text, size_t size, int64_t limit)
{
    int64_t until = milliseconds() + 1000 * limit;
    size_t used = 0;
    for (;;) {
        char buf[512];
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = until - milliseconds();
        if (left <= 0)
            return false;
        if (poll(&p, 1, (int)(left > 1000 ? 1000 : left)) <= 0)
            continue;
        ssize_t n = read(fd, buf, sizeof buf);
        if (n <= 0)
            return true;
        size_t take = (size_t)n < size - 1 - used ? (size_t)n : size - 1 - used;
        memcpy(text + used, buf, take);
        used += take;
        text[used] = '\0';
    }
}

/* The end of a line is the end of a sentence. */
static void first_line(char *text)
{
    const char *start = "conformance: ";
    if (strncmp(text, start, strlen(start)) == 0)
        memmove(text, text + strlen(start), strlen(text) - strlen(start) + 1);
    text[strcspn(text, "\n")] = '\0';
}

child_end child_call(void (*fn)(void *), void *arg, int64_t limit, bool catch_text)
{
    child_end end = { .text = "" };
    int fd[2];
    fflush(NULL);
    if (pipe(fd) != 0)
        kit_die("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        kit_die("fork: %s", strerror(errno));
    if (pid == 0) {
        close(fd[0]);
        if (catch_text)
            dup2(fd[1], STDERR_FILENO);
        fn(arg);
        exit(0);
    }
    close(fd[1]);
    bool came = drain(fd[0], end.text, sizeof end.text, limit);
    close(fd[0]);
    if (!came)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    end.ok = came && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    first_line(end.text);
    if (!came)
        snprintf(end.text, sizeof end.text, "hung for %lld seconds", (long long)limit);
    else if (!end.ok && end.text[0] == '\0')
        child_text(status, end.text, sizeof end.text);
    return end;
}
