/* SPDX-License-Identifier: MIT */
/*
 * The rig's host: memory that is counted, watched for a while after it was freed, and
 * can be made to end; the last sentence; interruption at a chosen poll. See rig.h.
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE
#endif
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(MAP_NORESERVE)
#define MAP_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#else
#define MAP_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS)
#endif

#define LARGEST ((size_t)1 << 46) /* beyond it, some allocators end the process */
#define WATCHED ((size_t)1 << 20)
#define MAPPED  ((size_t)1 << 28)
#define RUBBISH 0xfb
#define HEAD    64

/* Large memory is mapped: pages that nobody touches cost nothing, whatever allocator or
 * sanitizer the process has. */
static void *zeroed(size_t bytes)
{
    if (bytes < MAPPED)
        return calloc(1, bytes);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_FLAGS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The size stands in front. */
static void *host_alloc(void *self, size_t bytes)
{
    rig_host *h = self;
    long call = atomic_fetch_add(&h->calls, 1) + 1;
    if (call == atomic_load(&h->fail_at) || bytes > LARGEST)
        return NULL;
    bytes += HEAD;
    char *p = zeroed(bytes);
    if (!p)
        return NULL;
    memcpy(p, &bytes, sizeof bytes);
    atomic_fetch_add(&h->alive, 1);
    return p + HEAD;
}

static void let_go(rig_host *h, unsigned slot)
{
    unsigned char *p = h->held[slot].p;
    size_t bytes = h->held[slot].bytes, i = 0;
    h->held[slot].p = NULL;
    if (!p)
        return;
    while (i < bytes && p[i] == RUBBISH)
        i++;
    if (i < bytes)
        h->written_after_free = bytes;
    free(p - HEAD);
}

/* What is freed becomes rubbish, which is looked at once more before the memory really
 * goes back. Large memory, which may never have been touched, goes at once. */
static void host_free(void *self, void *p)
{
    rig_host *h = self;
    size_t bytes;
    if (!p)
        return;
    atomic_fetch_sub(&h->alive, 1);
    memcpy(&bytes, (char *)p - HEAD, sizeof bytes);
    if (bytes >= MAPPED) {
        munmap((char *)p - HEAD, bytes);
        return;
    }
    if (bytes > WATCHED) {
        free((char *)p - HEAD);
        return;
    }
    bytes -= HEAD;
    memset(p, RUBBISH, bytes);
    while (atomic_flag_test_and_set(&h->lock))
        continue;
    unsigned slot = h->frees++ % RIG_HELD;
    let_go(h, slot);
    h->held[slot].p = p;
    h->held[slot].bytes = bytes;
    atomic_flag_clear(&h->lock);
}

static void host_log(void *self, mnt_log_level level, const char *text)
{
    (void)self;
    (void)level;
    (void)text;
}

static mnt_status host_fail(void *self, mnt_status status, const char *sentence)
{
    rig_host *h = self;
    snprintf(h->sentence, sizeof h->sentence, "%s", sentence ? sentence : "");
    h->status = status;
    h->fails++;
    return status;
}

static bool host_interrupted(void *self)
{
    rig_host *h = self;
    long poll = atomic_fetch_add(&h->polls, 1) + 1;
    return poll == atomic_load(&h->stop_at);
}

void rig_host_init(rig_host *h)
{
    memset(h, 0, sizeof *h);
    atomic_flag_clear(&h->lock);
    atomic_init(&h->alive, 0);
    atomic_init(&h->calls, 0);
    atomic_init(&h->fail_at, 0);
    atomic_init(&h->polls, 0);
    atomic_init(&h->stop_at, 0);
    h->host = (mnt_host){ .size = sizeof h->host,
                          .self = h,
                          .alloc = host_alloc,
                          .free = host_free,
                          .log = host_log,
                          .fail = host_fail,
                          .interrupted = host_interrupted };
}

void rig_host_flush(rig_host *h)
{
    for (unsigned i = 0; i < RIG_HELD; i++)
        let_go(h, i);
}
