/* SPDX-License-Identifier: MIT */
/*
 * The registry of backends: the process's only shared state, append-only behind a
 * mutex. Built-in backends stand first, in the order that "auto" tries them; this file
 * is the one place of the library that knows which were compiled in.
 */
#include "core.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#define MAX_BACKENDS 32

extern const mnt_backend cpu_backend, metal_backend, cuda_backend;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const mnt_backend *added[MAX_BACKENDS];
static int added_count;

static const mnt_backend *const built_in[] = {
#ifdef MNT_HAVE_METAL
    &metal_backend,
#endif
#ifdef MNT_HAVE_CUDA
    &cuda_backend,
#endif
    &cpu_backend,
#ifdef MNT_HAVE_METAL_SIM /* the same backend over a simulated device */
    &metal_backend,
#endif
};
#define BUILT_IN ((int)(sizeof built_in / sizeof *built_in))

const mnt_backend *mnti_backend_at(int i)
{
    if (i < 0)
        return NULL;
    if (i < BUILT_IN)
        return built_in[i];
    pthread_mutex_lock(&lock);
    const mnt_backend *b = i - BUILT_IN < added_count ? added[i - BUILT_IN] : NULL;
    pthread_mutex_unlock(&lock);
    return b;
}

const mnt_backend *mnti_backend_find(const char *name)
{
    const mnt_backend *b;
    for (int i = 0; (b = mnti_backend_at(i)) != NULL; i++)
        if (strcmp(b->name, name) == 0)
            return b;
    return NULL;
}

const mnt_backend *mnt_backend_find(const char *name)
{
    return name ? mnti_backend_find(name) : NULL;
}

int mnt_backend_count(void)
{
    pthread_mutex_lock(&lock);
    int n = BUILT_IN + added_count;
    pthread_mutex_unlock(&lock);
    return n;
}

const char *mnt_backend_name(int i)
{
    const mnt_backend *b = mnti_backend_at(i);
    return b ? b->name : NULL;
}

static bool name_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > 32 || strcmp(name, "auto") == 0)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static mnt_status check_table(const mnt_backend *b)
{
    if (!b)
        return mnti_fail(NULL, MNT_INVALID, "backend_register: the table is NULL");
    if (b->abi != MNT_BACKEND_ABI)
        return mnti_fail(NULL, MNT_ABI,
                         "backend_register: the table has ABI %u, this library %u",
                         b->abi, (unsigned)MNT_BACKEND_ABI);
    if (b->size < sizeof *b)
        return mnti_fail(NULL, MNT_ABI,
                         "backend_register: the table has %zu bytes, ABI %u needs %zu",
                         b->size, (unsigned)MNT_BACKEND_ABI, sizeof *b);
    if (!b->name || !name_ok(b->name))
        return mnti_fail(NULL, MNT_INVALID,
                         "backend_register: a name of 1 to 32 of [a-z0-9_-] is needed, "
                         "not \"%.40s\"",
                         b->name ? b->name : "(null)");
    const struct {
        const char *name;
        bool there;
    } slots[] = {
        { "devices", b->devices != NULL },   { "open", b->open != NULL },
        { "close", b->close != NULL },       { "info", b->info != NULL },
        { "alloc", b->alloc != NULL },       { "release", b->release != NULL },
        { "write", b->write != NULL },       { "read", b->read != NULL },
        { "supports", b->supports != NULL }, { "prepare", b->prepare != NULL },
        { "submit", b->submit != NULL },     { "discard", b->discard != NULL },
        { "wait", b->wait != NULL },         { "profile", b->profile != NULL },
        { "timing", b->timing != NULL },     { "variant", b->variant != NULL },
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (!slots[i].there)
            return mnti_fail(NULL, MNT_INVALID,
                             "backend_register: %s: the slot %s is NULL", b->name,
                             slots[i].name);
    return MNT_OK;
}

/* With the lock held. */
static bool name_taken(const char *name)
{
    for (int i = 0; i < BUILT_IN; i++)
        if (strcmp(built_in[i]->name, name) == 0)
            return true;
    for (int i = 0; i < added_count; i++)
        if (strcmp(added[i]->name, name) == 0)
            return true;
    return false;
}

mnt_status mnt_backend_register(const mnt_backend *backend)
{
    mnt_status st = check_table(backend);
    if (st)
        return st;
    pthread_mutex_lock(&lock);
    bool taken = name_taken(backend->name), room = added_count < MAX_BACKENDS;
    if (room && !taken)
        added[added_count++] = backend;
    pthread_mutex_unlock(&lock);
    if (taken)
        return mnti_fail(NULL, MNT_INVALID, "backend_register: the name %s is taken",
                         backend->name);
    if (!room)
        return mnti_fail(NULL, MNT_LIMIT, "backend_register: %s: the registry holds %d",
                         backend->name, MAX_BACKENDS);
    return MNT_OK;
}

mnt_status mnt_backend_load(const char *path)
{
    if (!path)
        return mnti_fail(NULL, MNT_INVALID, "backend_load: the path is NULL");
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        const char *why = dlerror();
        bool there = access(path, F_OK) == 0 && strchr(path, '/');
        return mnti_fail(NULL, there ? MNT_IO : MNT_NOT_FOUND, "backend_load: %.400s%s",
                         why ? why : path,
                         strchr(path, '/') ? "" : " (write ./ before a file here)");
    }
    union {
        void *object;
        const mnt_backend *(*function)(void);
    } entry = { .object = dlsym(so, "mnt_backend_entry") };
    mnt_status st;
    if (!entry.object) {
        st = mnti_fail(NULL, MNT_NOT_FOUND,
                       "backend_load: %s has no function mnt_backend_entry", path);
    } else {
        st = mnt_backend_register(entry.function());
        if (st) {
            char why[MNTI_ERROR_TEXT];
            snprintf(why, sizeof why, "%s", mnt_last_error(NULL));
            mnti_fail(NULL, st, "backend_load: %.200s: %.280s", path, why);
        }
    }
    if (st)
        dlclose(so);
    return st; /* a registered library stays loaded for the life of the process */
}
