/* SPDX-License-Identifier: MIT */
/*
 * Pages and their protection. A touch of a guard page, or of a closed buffer, arrives as
 * SIGSEGV: the handler finds the buffer and says who did what. On a kernel's thread the
 * dispatch ends; on the host's the pages are opened and it goes on.
 */
#define _GNU_SOURCE
#include "guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "control.h"
#include "group.h"

#define PAGE      ((size_t)4096)
#define SLACK     0xa7
#define ALIGNMENT ((size_t)16) /* of data, and no more */

#ifdef METALSIM_ASAN
void __asan_poison_memory_region(void const volatile *p, size_t bytes);
void __asan_unpoison_memory_region(void const volatile *p, size_t bytes);
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static guard *all;
static struct sigaction before;

static void said_in_kernel(const guard *g, const char *at)
{
    char text[256];
    const char *name = g && g->name ? g->name : "a buffer";
    if (group_overflowed(at))
        snprintf(text, sizeof text, "needs more stack than a thread has");
    else if (!g)
        snprintf(text, sizeof text, "touches memory far from all buffers");
    else if (at >= g->data + g->bytes)
        snprintf(text, sizeof text, "touches memory %zu bytes past the end of %s",
                 (size_t)(at - g->data) - g->bytes, name);
    else if (at < g->data)
        snprintf(text, sizeof text, "touches memory %zu bytes before %s",
                 (size_t)(g->data - at), name);
    else
        snprintf(text, sizeof text,
                 "touches %s, which this command buffer does not "
                 "use",
                 name);
    sim_site nowhere = { 0 };
    group_services.fail(text, &nowhere);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    char *at = info->si_addr;
    guard *g = all;
    while (g && (size_t)(at - g->map) >= g->map_bytes)
        g = g->next;
    const sim_view *view = group_services.view();
    if (view && view->kernel)
        said_in_kernel(g, at);
    if (g && at >= g->map + PAGE && at < g->map + g->map_bytes - PAGE) {
        mprotect(g->map + PAGE, g->map_bytes - 2 * PAGE, PROT_READ | PROT_WRITE);
        metalsim_report("host-access",
                        "the host touches byte %td of %s while committed work that "
                        "uses it is not known to be done",
                        at - g->data, g->name ? g->name : "a buffer");
        return;
    }
    if (g)
        metalsim_report("host-access", "the host touches memory outside of %s",
                        g->name ? g->name : "a buffer");
    if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction)
        before.sa_sigaction(signal, info, context);
    else
        sigaction(SIGSEGV, &before, NULL); /* and the access is tried again */
}

/* Whoever wants to see a process crash may have come in between. */
static void install(void)
{
    struct sigaction then;
    sigaction(SIGSEGV, NULL, &then);
    if ((then.sa_flags & SA_SIGINFO) != 0 && then.sa_sigaction == on_fault)
        return;
    struct sigaction now = { .sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
    sigemptyset(&now.sa_mask);
    sigaction(SIGSEGV, &now, &before);
}

guard *guard_create(size_t bytes)
{
    guard *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    pthread_mutex_lock(&lock);
    install();
    pthread_mutex_unlock(&lock);
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t pages = (rounded + PAGE - 1) / PAGE * PAGE;
    g->map_bytes = pages + 2 * PAGE;
    g->map = mmap(NULL, g->map_bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (g->map == MAP_FAILED ||
        mprotect(g->map + PAGE, pages, PROT_READ | PROT_WRITE) != 0) {
        if (g->map != MAP_FAILED)
            munmap(g->map, g->map_bytes);
        free(g);
        return NULL;
    }
    g->data = g->map + PAGE + (pages - rounded);
    g->bytes = bytes;
    memset(g->map + PAGE, SLACK, pages - rounded);
    memset(g->data + bytes, SLACK, rounded - bytes);
#ifdef METALSIM_ASAN
    __asan_poison_memory_region(g->map + PAGE, pages);
    __asan_unpoison_memory_region(g->data, bytes);
#endif
    pthread_mutex_lock(&lock);
    g->next = all;
    all = g;
    pthread_mutex_unlock(&lock);
    return g;
}

void guard_destroy(guard *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&lock);
    guard **at = &all;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    pthread_mutex_unlock(&lock);
#ifdef METALSIM_ASAN
    __asan_unpoison_memory_region(g->map, g->map_bytes);
#endif
    munmap(g->map, g->map_bytes);
    free(g);
}

/* Called with the lock held. */
static void protect(guard *g)
{
    int may = g->closed > 0 && g->running == 0 ? PROT_NONE : PROT_READ | PROT_WRITE;
    mprotect(g->map + PAGE, g->map_bytes - 2 * PAGE, may);
}

static void change(guard *g, int closed, int running)
{
    pthread_mutex_lock(&lock);
    bool was = g->closed > 0 && g->running == 0;
    g->closed += closed;
    g->running += running;
    if (was != (g->closed > 0 && g->running == 0))
        protect(g);
    pthread_mutex_unlock(&lock);
}

void guard_close(guard *g)
{
    change(g, 1, 0);
}

void guard_open(guard *g)
{
    change(g, -1, 0);
}

void guard_run(guard *g, bool begins)
{
    change(g, 0, begins ? 1 : -1);
}

bool guard_intact(const guard *g)
{
#ifdef METALSIM_ASAN
    (void)g; /* poisoned, and looked after */
#else
    for (const char *p = g->map + PAGE; p < g->data; p++)
        if ((unsigned char)*p != SLACK)
            return false;
    for (const char *p = g->data + g->bytes; p < g->map + g->map_bytes - PAGE; p++)
        if ((unsigned char)*p != SLACK)
            return false;
#endif
    return true;
}
