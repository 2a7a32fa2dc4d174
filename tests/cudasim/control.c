/* SPDX-License-Identifier: MIT */
/*
 * Configuration, faults and reports; what every call does first and last; the list of
 * live objects.
 */
#define _GNU_SOURCE
#include "objects.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../metalsim/control.h"

#define MAX_PLANS 16
#define MAX_STACK 8

typedef struct plan {
    char call[48];
    long after, times;
    int result;
} plan;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool configured, started;
static cudasim_config settings;
static plan plans[MAX_PLANS];
static int plan_count;
static cudasim_handler *handler;
static void *handler_context;
static uint64_t reports;
static object *live;
cudasim_counts counts;

static _Thread_local context *stack[MAX_STACK];
static _Thread_local int depth;
static _Thread_local call_needs entered;

/* ---- reports ---- */
static void say(const char *format, va_list list)
{
    char text[640];
    vsnprintf(text, sizeof text, format, list);
    reports++;
    if (handler) {
        handler(handler_context, text);
        return;
    }
    fprintf(stderr, "cudasim: %s\n", text);
    const char *fatal = getenv("CUDASIM_FATAL");
    if (!fatal || strcmp(fatal, "0") != 0)
        abort();
}

int misuse(int result, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
    return result;
}

/* What the guards of memory say. */
void metalsim_report(const char *rule, const char *format, ...)
{
    (void)rule;
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
}

EXPORT void cudasim_on_report(cudasim_handler *to, void *context_)
{
    pthread_mutex_lock(&lock);
    handler = to;
    handler_context = context_;
    pthread_mutex_unlock(&lock);
}

EXPORT uint64_t cudasim_reports(void)
{
    return reports;
}

/* ---- configuration ---- */
static _Noreturn void unknown(const char *name, const char *text)
{
    fprintf(stderr, "cudasim: %s=%s is not understood\n", name, text);
    abort();
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return otherwise;
    char *end;
    uint64_t n = strtoull(text, &end, 0);
    if (*end != '\0')
        unknown(name, text);
    return n;
}

static void read_order(cudasim_config *c)
{
    const char *text = getenv("CUDASIM_ORDER");
    if (!text || !*text)
        return;
    static const char *const names[] = { "forward", "reverse", "random" };
    size_t n = strcspn(text, ":");
    for (int i = 0; i < 3; i++)
        if (strlen(names[i]) == n && strncmp(names[i], text, n) == 0) {
            c->order = (sim_order)i;
            c->seed = text[n] == ':' ? strtoull(text + n + 1, NULL, 0) : 1;
            return;
        }
    unknown("CUDASIM_ORDER", text);
}

EXPORT cudasim_config cudasim_config_default(void)
{
    const char *name = getenv("CUDASIM_NAME");
    cudasim_config c = {
        .devices = (int)number("CUDASIM_DEVICES", 1),
        .name = name && *name ? name : "simulated GPU",
        .compute = (int)number("CUDASIM_COMPUTE", 90),
        .driver_version = (int)number("CUDASIM_DRIVER", 13000),
        .memory = number("CUDASIM_MEMORY", UINT64_C(4) << 30),
        .workers = (int)number("CUDASIM_WORKERS", 2),
    };
    read_order(&c);
    return c;
}

static void plan_add(const char *call, long after, long times, int result)
{
    if (plan_count == MAX_PLANS || strlen(call) >= sizeof plans->call)
        unknown("CUDASIM_FAIL", call);
    plan *p = &plans[plan_count++];
    *p = (plan){ .after = after, .times = times, .result = result };
    snprintf(p->call, sizeof p->call, "%s", call);
}

/* CALL:AFTER:RESULT,... */
static void read_plans(void)
{
    const char *text = getenv("CUDASIM_FAIL");
    while (text && *text) {
        char call[48];
        long after;
        int result, used = 0;
        if (sscanf(text, "%47[^:]:%ld:%d%n", call, &after, &result, &used) != 3)
            unknown("CUDASIM_FAIL", text);
        plan_add(call, after, 1, result);
        text += used;
        text += *text == ',';
    }
}

/* With the lock held. */
static void configure(const cudasim_config *c)
{
    settings = c ? *c : cudasim_config_default();
    plan_count = 0;
    if (!c)
        read_plans();
    configured = true;
}

EXPORT void cudasim_configure(const cudasim_config *c)
{
    pthread_mutex_lock(&lock);
    configure(c);
    started = false;
    if (live)
        misuse(0, "cudasim_configure() while a context is retained");
    pthread_mutex_unlock(&lock);
}

const cudasim_config *config(void)
{
    return &settings;
}

EXPORT void cudasim_fail(const char *call, long after, long times, int result)
{
    pthread_mutex_lock(&lock);
    if (!configured)
        configure(NULL);
    plan_add(call, after, times, result);
    pthread_mutex_unlock(&lock);
}

int planned(const char *call)
{
    for (int i = 0; i < plan_count; i++) {
        plan *p = &plans[i];
        if (p->times == 0 || strcmp(p->call, call) != 0)
            continue;
        if (p->after > 0) {
            p->after--;
            continue;
        }
        p->times -= p->times > 0;
        return p->result;
    }
    return 0;
}

/* ---- calls ---- */
/* Errors after which a context is of no use any more. */
static bool breaks(int result)
{
    return result == CUDA_ERROR_DEVICE_UNAVAILABLE ||
           result == CUDA_ERROR_ECC_UNCORRECTABLE ||
           result == CUDA_ERROR_ILLEGAL_ADDRESS ||
           result == CUDA_ERROR_LAUNCH_TIMEOUT ||
           result == CUDA_ERROR_MISALIGNED_ADDRESS ||
           result == CUDA_ERROR_LAUNCH_FAILED || result == CUDA_ERROR_UNKNOWN;
}

int enter(const char *call, call_needs needs)
{
    pthread_mutex_lock(&lock);
    entered = needs;
    if (!configured)
        configure(NULL);
    if ((needs & (STARTED | CURRENT)) != 0 && !started)
        return misuse(CUDA_ERROR_NOT_INITIALIZED, "%s before cuInit", call);
    context *c = current();
    if ((needs & CURRENT) != 0 && !c)
        return misuse(CUDA_ERROR_INVALID_CONTEXT, "%s without a current context", call);
    if ((needs & CURRENT) != 0 && c->broken && (needs & RELEASES) == 0)
        return c->broken;
    int result = planned(call);
    if (c && (needs & CURRENT) != 0 && breaks(result) && !c->broken)
        c->broken = result;
    return result;
}

int leave(int result)
{
    const context *c = current();
    if (result == 0 && (entered & CURRENT) != 0 && c)
        result = c->broken;
    pthread_mutex_unlock(&lock);
    return result;
}

void set_started(void)
{
    started = true;
}

context *current(void)
{
    return depth > 0 ? stack[depth - 1] : NULL;
}

bool push(context *c)
{
    if (depth == MAX_STACK)
        return false;
    stack[depth++] = c;
    return true;
}

context *pop(void)
{
    return depth > 0 ? stack[--depth] : NULL;
}

/* ---- objects ---- */
void object_add(object *o, object_kind kind, context *owner)
{
    o->kind = kind;
    o->owner = owner;
    o->next = live;
    live = o;
}

void object_remove(object *o)
{
    object **at = &live;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
}

object *object_next(const object *after, object_kind kind, const context *owner)
{
    object *o = after ? after->next : live;
    while (o && (o->kind != kind || (owner && o->owner != owner)))
        o = o->next;
    return o;
}

void *object_find(const void *p, object_kind kind)
{
    const context *owner = kind == CONTEXT ? NULL : current();
    object *o = NULL;
    while ((o = object_next(o, kind, owner)) != NULL)
        if (o == p)
            return o;
    return NULL;
}

static int alive(object_kind kind)
{
    int n = 0;
    for (const object *o = NULL; (o = object_next(o, kind, NULL)) != NULL;)
        n++;
    return n;
}

EXPORT cudasim_counts cudasim_count(void)
{
    pthread_mutex_lock(&lock);
    cudasim_counts c = counts;
    c.contexts = alive(CONTEXT);
    c.modules = alive(MODULE);
    c.streams = alive(STREAM);
    c.events = alive(EVENT);
    c.graphs = alive(GRAPH);
    c.execs = alive(EXEC);
    c.allocations = memory_count(NULL, false);
    c.pinned = memory_count(NULL, true);
    pthread_mutex_unlock(&lock);
    return c;
}

/* A process that ends in order has given everything back. */
__attribute__((destructor)) static void at_exit(void)
{
    if (live)
        misuse(0, "leak: %d contexts are retained at exit", alive(CONTEXT));
}
