/* SPDX-License-Identifier: MIT */
/*
 * Configuration, reports and faults of the simulated Metal. One mutex guards all of it;
 * a handler of reports is called with the mutex free.
 */
#define _GNU_SOURCE
#include "control.h"
#include "fiber.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#define MAX_LIBRARIES 32
#define MAX_LIMITS    16

typedef struct planned {
    long after, times, code;
} planned;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool configured;
static metalsim_config config;
static planned plan[METALSIM_FAULTS];
static struct {
    char hash[17];
    char *path;
} library[MAX_LIBRARIES];
static int libraries;
static struct {
    char word[64];
    unsigned threads, width; /* width 0: the device's */
} limit[MAX_LIMITS];
static int limits;
static metalsim_handler *handler;
static void *handler_context;
static uint64_t reports;
static metalsim_counts counts;
static uint64_t memory_used;

#ifdef METALSIM_ASAN
/* The runtime of Objective-C keeps its tables to the end. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libobjc.so\n";
}
#endif

/* ---- reports ---- */
void metalsim_report(const char *rule, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    pthread_mutex_lock(&lock);
    reports++;
    metalsim_handler *to = handler;
    void *context = handler_context;
    pthread_mutex_unlock(&lock);
    if (to) {
        to(context, rule, text);
        return;
    }
    fprintf(stderr, "metalsim: %s: %s\n", rule, text);
    const char *fatal = getenv("METALSIM_FATAL");
    if (!fatal || strcmp(fatal, "0") != 0)
        abort();
}

void metalsim_on_report(metalsim_handler *to, void *context)
{
    pthread_mutex_lock(&lock);
    handler = to;
    handler_context = context;
    pthread_mutex_unlock(&lock);
}

uint64_t metalsim_reports(void)
{
    return reports;
}

/* ---- configuration ---- */
static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return otherwise;
    char *end;
    uint64_t n = strtoull(text, &end, 0);
    if (*end != '\0') {
        fprintf(stderr, "metalsim: %s=%s is no number\n", name, text);
        abort();
    }
    return n;
}

static unsigned word(const char *name, const char *const *words, unsigned otherwise)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return otherwise;
    size_t length = strcspn(text, ":");
    for (unsigned i = 0; words[i]; i++)
        if (strlen(words[i]) == length && strncmp(words[i], text, length) == 0)
            return i;
    fprintf(stderr, "metalsim: %s=%s is not known\n", name, text);
    abort();
}

metalsim_config metalsim_config_default(void)
{
    static const char *const families[] = { "apple8", "apple7", "apple9", "paravirtual",
                                            NULL };
    static const char *const orders[] = { "forward", "reverse", "random", NULL };
    metalsim_config c = {
        .devices = (int)number("METALSIM_DEVICES", 1),
        .pipeline_limit = (unsigned)number("METALSIM_PIPELINE_LIMIT", SIM_MAX_THREADS),
        .simd_width = (unsigned)number("METALSIM_SIMD_WIDTH", 32),
        .family = (metalsim_family)word("METALSIM_FAMILY", families, METALSIM_APPLE8),
        .memory = number("METALSIM_MEMORY", UINT64_C(4) << 30),
        .max_buffer = number("METALSIM_MAX_BUFFER", UINT64_C(1) << 30),
        .workers = (int)number("METALSIM_WORKERS", 2),
        .order = (sim_order)word("METALSIM_ORDER", orders, SIM_FORWARD),
        .command_ns = number("METALSIM_COMMAND_NS", 0),
        .eager = number("METALSIM_EAGER", 0) != 0,
        .host_access = number("METALSIM_HOST_ACCESS", 0) != 0,
    };
    const char *order = getenv("METALSIM_ORDER");
    const char *seed = order ? strchr(order, ':') : NULL;
    if (seed)
        c.seed = strtoull(seed + 1, NULL, 0);
    return c;
}

static void plan_from_environment(void)
{
    static const char *const names[METALSIM_FAULTS] = {
        "buffer", "library",        "function", "pipeline",
        "queue",  "command_buffer", "encoder",  "execution",
    };
    const char *text = getenv("METALSIM_FAIL");
    while (text && *text) {
        char name[32];
        long after = 0, code = 1;
        if (sscanf(text, "%31[a-z_]:%ld:%ld", name, &after, &code) < 1)
            break;
        for (int i = 0; i < METALSIM_FAULTS; i++)
            if (strcmp(name, names[i]) == 0)
                plan[i] = (planned){ after, 1, code };
        text = strchr(text, ',');
        text = text ? text + 1 : NULL;
    }
}

/* With the lock held. */
static void add_limit(const char *word, size_t length, unsigned threads, unsigned width)
{
    if (limits == MAX_LIMITS)
        return;
    snprintf(limit[limits].word, sizeof limit[0].word, "%.*s", (int)length, word);
    limit[limits].threads = threads;
    limit[limits++].width = width;
}

static void limits_from_environment(void)
{
    const char *text = getenv("METALSIM_KERNEL_LIMITS");
    while (text && *text) {
        size_t n = strcspn(text, "=,");
        if (text[n] == '=')
            add_limit(text, n, (unsigned)strtoul(text + n + 1, NULL, 0), 0);
        text = strchr(text, ',');
        text = text ? text + 1 : NULL;
    }
}

static void limit_functions(const char *word, unsigned threads, unsigned width)
{
    metalsim_current();
    pthread_mutex_lock(&lock);
    add_limit(word, strlen(word), threads, width);
    pthread_mutex_unlock(&lock);
}

void metalsim_limit(const char *word, unsigned threads)
{
    limit_functions(word, threads, 0);
}

void metalsim_width(const char *word, unsigned width)
{
    limit_functions(word, SIM_MAX_THREADS, width);
}

unsigned metalsim_width_of(const char *function)
{
    unsigned width = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < limits; i++)
        if (strncmp(function, limit[i].word, strlen(limit[i].word)) == 0 &&
            limit[i].width > 0)
            width = limit[i].width;
    pthread_mutex_unlock(&lock);
    return width;
}

unsigned metalsim_limit_of(const char *function)
{
    unsigned most = SIM_MAX_THREADS;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < limits; i++)
        if (strncmp(function, limit[i].word, strlen(limit[i].word)) == 0 &&
            limit[i].threads < most)
            most = limit[i].threads;
    pthread_mutex_unlock(&lock);
    return most;
}

static void libraries_from_environment(void)
{
    const char *text = getenv("METALSIM_LIBRARIES");
    while (text && *text) {
        size_t n = strcspn(text, ":");
        char path[4096];
        snprintf(path, sizeof path, "%.*s", (int)n, text);
        metalsim_add_library(path);
        text += n + (text[n] == ':');
    }
}

static void configure(const metalsim_config *c)
{
    configured = true;
    config = c ? *c : metalsim_config_default();
    memset(plan, 0, sizeof plan);
    for (int i = 0; i < libraries; i++)
        free(library[i].path);
    libraries = 0;
    limits = 0;
    if (!c) {
        plan_from_environment();
        limits_from_environment();
    }
    libraries_from_environment();
}

void metalsim_configure(const metalsim_config *c)
{
    pthread_mutex_lock(&lock);
    configure(c);
    pthread_mutex_unlock(&lock);
}

const metalsim_config *metalsim_current(void)
{
    pthread_mutex_lock(&lock);
    if (!configured)
        configure(NULL);
    pthread_mutex_unlock(&lock);
    return &config;
}

bool metalsim_add_library(const char *path)
{
    char error[256];
    sim_image *image = sim_image_open(path, error, sizeof error);
    if (!image) {
        fprintf(stderr, "metalsim: %s: %s\n", path, error);
        return false;
    }
    bool room = libraries < MAX_LIBRARIES;
    if (room) {
        snprintf(library[libraries].hash, sizeof library[0].hash, "%s",
                 sim_image_source_hash(image));
        library[libraries].path = strdup(path);
        room = library[libraries].path != NULL;
        libraries += room;
    }
    sim_image_close(image);
    return room;
}

const char *metalsim_library_for(const void *source, size_t bytes)
{
    char hash[17];
    uLong crc = crc32_z(0, source, bytes);
    snprintf(hash, sizeof hash, "%08lx%08x", crc, (unsigned)bytes);
    for (int i = 0; i < libraries; i++)
        if (strcmp(library[i].hash, hash) == 0)
            return library[i].path;
    return NULL;
}

/* ---- faults and counters ---- */
void metalsim_fail(metalsim_fault what, long after, long times, long code)
{
    metalsim_current();
    pthread_mutex_lock(&lock);
    plan[what] = (planned){ after, times, code };
    pthread_mutex_unlock(&lock);
}

bool metalsim_fails(metalsim_fault what, long *code)
{
    pthread_mutex_lock(&lock);
    planned *p = &plan[what];
    bool fails = false;
    if (p->times != 0 && p->after > 0)
        p->after--;
    else if (p->times != 0) {
        fails = true;
        if (p->times > 0)
            p->times--;
    }
    if (code)
        *code = p->code;
    pthread_mutex_unlock(&lock);
    return fails;
}

void metalsim_count_command_buffer(void)
{
    pthread_mutex_lock(&lock);
    counts.command_buffers++;
    pthread_mutex_unlock(&lock);
}

void metalsim_count_buffer(void)
{
    pthread_mutex_lock(&lock);
    counts.buffers++;
    pthread_mutex_unlock(&lock);
}

void metalsim_count_pipeline(void)
{
    pthread_mutex_lock(&lock);
    counts.pipelines++;
    pthread_mutex_unlock(&lock);
}

void metalsim_count_in_flight(uint64_t now)
{
    pthread_mutex_lock(&lock);
    if (counts.most_in_flight < now)
        counts.most_in_flight = now;
    pthread_mutex_unlock(&lock);
}

void metalsim_count_run(bool dispatch, bool copy, uint64_t groups, uint64_t threads)
{
    pthread_mutex_lock(&lock);
    counts.dispatches += dispatch;
    counts.copies += !dispatch && copy;
    counts.fills += !dispatch && !copy;
    counts.groups += groups;
    counts.threads += threads;
    pthread_mutex_unlock(&lock);
}

metalsim_counts metalsim_count(void)
{
    pthread_mutex_lock(&lock);
    metalsim_counts c = counts;
    pthread_mutex_unlock(&lock);
    return c;
}

bool metalsim_take_memory(int64_t bytes)
{
    pthread_mutex_lock(&lock);
    bool fits = bytes < 0 || memory_used + (uint64_t)bytes <= config.memory;
    if (fits)
        memory_used += (uint64_t)bytes;
    pthread_mutex_unlock(&lock);
    return fits;
}

uint64_t metalsim_memory_used(void)
{
    pthread_mutex_lock(&lock);
    uint64_t n = memory_used;
    pthread_mutex_unlock(&lock);
    return n;
}
