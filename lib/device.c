/* SPDX-License-Identifier: MIT */
/*
 * Devices: opening a backend, host memory through the caller's hooks, device memory
 * with its account, the error sentence, logging, interruption.
 */
#include "core.h"

#include <stdlib.h>

static _Thread_local char thread_error[MNTI_ERROR_TEXT];

mnt_status mnti_vfail(mnt_device *dev, mnt_status status, const char *format,
                      va_list ap)
{
    char *text = dev ? dev->error : thread_error;
    vsnprintf(text, MNTI_ERROR_TEXT, format, ap);
    if (dev)
        dev->failed = status;
    return status;
}

mnt_status mnti_fail(mnt_device *dev, mnt_status status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    mnti_vfail(dev, status, format, ap);
    va_end(ap);
    return status;
}

const char *mnt_last_error(const mnt_device *dev)
{
    return dev ? dev->error : thread_error;
}

void mnti_log(mnt_device *dev, mnt_log_level level, const char *format, ...)
{
    if (!dev->log)
        return;
    char text[MNTI_ERROR_TEXT];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    dev->log(dev->log_user, level, text);
}

static void *plain_alloc(void *user, size_t bytes)
{
    (void)user;
    return malloc(bytes);
}

static void *plain_realloc(void *user, void *p, size_t bytes)
{
    (void)user;
    return realloc(p, bytes);
}

static void plain_free(void *user, void *p)
{
    (void)user;
    free(p);
}

void *mnti_alloc(mnt_device *dev, size_t bytes)
{
    void *p = dev->allocator.alloc(dev->allocator.user, bytes ? bytes : 1);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void *mnti_realloc(mnt_device *dev, void *p, size_t bytes)
{
    return dev->allocator.realloc(dev->allocator.user, p, bytes ? bytes : 1);
}

void mnti_free(mnt_device *dev, void *p)
{
    if (p)
        dev->allocator.free(dev->allocator.user, p);
}

void mnt_free(mnt_device *dev, void *p)
{
    if (dev)
        mnti_free(dev, p);
}

char *mnti_strdup(mnt_device *dev, const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = mnti_alloc(dev, n);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

static void *host_alloc(void *self, size_t bytes)
{
    return mnti_alloc(self, bytes);
}

static void host_free(void *self, void *p)
{
    mnti_free(self, p);
}

static void host_log(void *self, mnt_log_level level, const char *text)
{
    mnti_log(self, level, "%s", text);
}

static mnt_status host_fail(void *self, mnt_status status, const char *sentence)
{
    mnt_device *dev = self;
    dev->said = sentence && *sentence;
    return mnti_fail(dev, status, "%s", sentence ? sentence : "");
}

mnt_status mnti_judge(mnt_device *dev, mnt_status status, const char *slot)
{
    if (status == MNT_OK)
        return MNT_OK;
    const char *name = dev->backend->name;
    if (strcmp(mnt_status_name(status), "unknown status") == 0)
        return mnti_fail(dev, MNT_DEVICE,
                         "backend %s: %s() returned %d, which is no status", name, slot,
                         (int)status);
    if (!dev->said)
        mnti_fail(dev, status, "backend %s: %s() failed without a sentence: %s", name,
                  slot, mnt_status_text(status));
    return status;
}

bool mnti_supports(mnt_device *dev, const mnt_cmd *cmd, char why[MNTI_ERROR_TEXT])
{
    dev->said = false;
    bool yes = dev->backend->supports(dev->ctx, cmd);
    snprintf(why, MNTI_ERROR_TEXT, "%s%.500s", dev->said ? ": " : "",
             dev->said ? dev->error : "");
    return yes;
}

static bool host_interrupted(void *self)
{
    mnt_device *dev = self;
    if (!atomic_load_explicit(&dev->stop, memory_order_relaxed) ||
        !atomic_exchange(&dev->stop, false))
        return false;
    atomic_store(&dev->told, true);
    return true;
}

void mnt_device_interrupt(mnt_device *dev)
{
    if (dev)
        atomic_store(&dev->stop, true);
}

/* A backend's sentence, without its name if it begins with it. */
static const char *without_name(const char *name, const char *sentence)
{
    size_t n = strlen(name);
    bool named = strncmp(sentence, name, n) == 0 && strncmp(sentence + n, ": ", 2) == 0;
    return named ? sentence + n + 2 : sentence;
}

mnt_status mnti_buffer_alloc(mnt_device *dev, uint64_t bytes, const char *what,
                             void **buffer)
{
    *buffer = NULL;
    mnt_status st = MNTI_CALL(dev, alloc, dev->ctx, bytes, buffer);
    if (st == MNT_OK && !*buffer)
        return mnti_fail(dev, MNT_DEVICE,
                         "%s: backend %s: alloc() of %llu bytes succeeded without a "
                         "buffer",
                         what, dev->backend->name, (unsigned long long)bytes);
    if (st) {
        *buffer = NULL;
        char why[MNTI_ERROR_TEXT];
        snprintf(why, sizeof why, "%s", without_name(dev->backend->name, dev->error));
        return mnti_fail(dev, st, "%s: %s%llu bytes on %s: %.400s", what,
                         st == MNT_NO_MEMORY ? "no memory for " : "",
                         (unsigned long long)bytes, dev->backend->name, why);
    }
    dev->allocated += bytes;
    if (dev->allocated > dev->peak)
        dev->peak = dev->allocated;
    return MNT_OK;
}

void mnti_buffer_free(mnt_device *dev, void *buffer, uint64_t bytes)
{
    if (!buffer)
        return;
    dev->backend->release(dev->ctx, buffer);
    dev->allocated -= bytes;
}

void mnt_device_desc_init(mnt_device_desc *desc)
{
    if (desc)
        *desc = MNT_DEVICE_DESC(.backend = NULL);
}

static mnt_status unknown_backend(const char *name)
{
    char known[256] = "";
    for (int i = 0; mnt_backend_name(i); i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
                 mnt_backend_name(i));
    }
    return mnti_fail(NULL, MNT_NOT_FOUND,
                     "device_open: no backend \"%.40s\"; known: %s, auto", name, known);
}

static mnt_status check_desc(mnt_device_desc *d, const mnt_device_desc *desc)
{
    *d = MNT_DEVICE_DESC(.backend = NULL);
    if (desc && !mnti_desc_read(d, sizeof *d, desc))
        return mnti_fail(NULL, MNT_INVALID,
                         "device_open: the desc's size field is wrong");
    if (d->index < 0)
        return mnti_fail(NULL, MNT_INVALID, "device_open: index is %d, below 0",
                         d->index);
    if (d->threads < 0 || d->threads > 4096)
        return mnti_fail(NULL, MNT_INVALID,
                         "device_open: threads is %d, not in [0, 4096]", d->threads);
    const mnt_allocator *a = d->allocator;
    if (a && (!a->alloc || !a->realloc || !a->free))
        return mnti_fail(NULL, MNT_INVALID,
                         "device_open: the allocator needs alloc, realloc and free");
    if (!d->force)
        d->force = getenv("MNT_FORCE");
    return MNT_OK;
}

static mnt_device *device_new(const mnt_device_desc *d)
{
    mnt_allocator a = { plain_alloc, plain_realloc, plain_free, NULL };
    if (d->allocator)
        a = *d->allocator;
    mnt_device *dev = a.alloc(a.user, sizeof *dev);
    if (!dev) {
        mnti_fail(NULL, MNT_NO_MEMORY, "device_open: no memory for the device");
        return NULL;
    }
    memset(dev, 0, sizeof *dev);
    dev->allocator = a;
    dev->log = d->log;
    dev->log_user = d->log_user;
    atomic_init(&dev->stop, false);
    atomic_init(&dev->told, false);
    dev->host = (mnt_host){ .size = sizeof dev->host,
                            .self = dev,
                            .alloc = host_alloc,
                            .free = host_free,
                            .log = host_log,
                            .fail = host_fail,
                            .interrupted = host_interrupted };
    return dev;
}

/* Opens one backend; the sentence of a failure is left in the thread's text. */
static mnt_status open_backend(mnt_device *dev, const mnt_backend *b,
                               const mnt_device_desc *d)
{
    int count = b->devices();
    if (count < 0)
        return mnti_fail(NULL, MNT_DEVICE, "device_open: %s: devices() returned %d",
                         b->name, count);
    if (count > 0 && d->index >= count)
        return mnti_fail(NULL, MNT_NOT_FOUND,
                         "device_open: %s: index %d, but %d device%s", b->name,
                         d->index, count, count == 1 ? "" : "s");
    mnt_backend_config config = { .size = sizeof config,
                                  .index = d->index,
                                  .threads = d->threads,
                                  .force = d->force ? d->force : "",
                                  .host = &dev->host };
    dev->backend = b;
    /* Without a device, too: open() knows why there is none. */
    mnt_status st = MNTI_CALL(dev, open, &config, &dev->ctx);
    if (st)
        return mnti_fail(NULL, st, "device_open: %s: %.400s", b->name,
                         without_name(b->name, dev->error));
    if (count == 0) {
        b->close(dev->ctx);
        return mnti_fail(NULL, MNT_DEVICE, "device_open: %s: no device on this machine",
                         b->name);
    }
    b->profile(dev->ctx, d->profile);
    dev->relaxed = strstr(config.force, "=relaxed") != NULL;
    return MNT_OK;
}

/* A device that stands for hardware in tests says so in its name. */
static bool simulated(mnt_device *dev)
{
    mnt_backend_info info = { .size = sizeof info };
    dev->backend->info(dev->ctx, &info);
    return info.name && strncmp(info.name, "simulated", strlen("simulated")) == 0;
}

static mnt_status open_auto(mnt_device *dev, const mnt_device_desc *d)
{
    const mnt_backend *b;
    mnt_status st = MNT_NOT_FOUND;
    for (int i = 0; (b = mnti_backend_at(i)) != NULL; i++) {
        if ((st = open_backend(dev, b, d)) == MNT_OK) {
            if (!simulated(dev))
                return MNT_OK;
            b->close(dev->ctx);
            st = mnti_fail(NULL, MNT_NOT_FOUND,
                           "device_open: %s: the device is simulated", b->name);
        }
        mnti_log(dev, MNT_LOG_INFO, "auto passes over %s", mnt_last_error(NULL));
    }
    char last[MNTI_ERROR_TEXT];
    snprintf(last, sizeof last, "%s", mnt_last_error(NULL));
    if (st == MNT_INVALID) /* the caller's own mistake, not a missing device */
        return mnti_fail(NULL, st, "%s", last);
    return mnti_fail(NULL, MNT_NOT_FOUND, "no backend opens; the last said: %.400s",
                     last);
}

mnt_status mnt_device_open(mnt_device **out, const mnt_device_desc *desc)
{
    if (!out)
        return mnti_fail(NULL, MNT_INVALID, "device_open: out is NULL");
    *out = NULL;
    mnt_device_desc d;
    mnt_status st = check_desc(&d, desc);
    if (st)
        return st;
    const mnt_backend *b = NULL;
    if (d.backend && strcmp(d.backend, "auto") != 0) {
        b = mnti_backend_find(d.backend);
        if (!b)
            return unknown_backend(d.backend);
    }
    mnt_device *dev = device_new(&d);
    if (!dev)
        return MNT_NO_MEMORY;
    st = b ? open_backend(dev, b, &d) : open_auto(dev, &d);
    if (st) {
        mnti_free(dev, dev);
        return st;
    }
    dev->error[0] = '\0';
    *out = dev;
    return MNT_OK;
}

void mnt_device_close(mnt_device *dev)
{
    if (!dev)
        return;
    if (MNTI_CALL(dev, wait, dev->ctx) != MNT_OK)
        mnti_log(dev, MNT_LOG_WARN, "device_close: %s", dev->error);
    dev->backend->close(dev->ctx);
    mnti_free(dev, dev);
}

mnt_status mnt_device_wait(mnt_device *dev)
{
    if (!dev)
        return mnti_fail(NULL, MNT_INVALID, "device_wait: the device is NULL");
    return mnti_sync(dev);
}

mnt_status mnt_device_get_info(mnt_device *dev, mnt_device_info *info)
{
    if (!dev || !info)
        return mnti_fail(dev, MNT_INVALID, "device_get_info: an argument is NULL");
    size_t size = info->size;
    if (size < sizeof info->size || size > sizeof *info)
        return mnti_fail(dev, MNT_INVALID, "device_get_info: info.size is %zu, not %zu",
                         size, sizeof *info);
    mnt_backend_info b = { .size = sizeof b };
    dev->backend->info(dev->ctx, &b);
    snprintf(dev->detail, sizeof dev->detail, "%.240s%s", b.detail ? b.detail : "",
             dev->relaxed ? ", relaxed" : "");
    mnt_device_info full = { .size = size,
                             .backend = dev->backend->name,
                             .name = b.name ? b.name : "",
                             .detail = dev->detail,
                             .threads = b.threads,
                             .memory_bytes = b.memory_bytes,
                             .allocated_bytes = dev->allocated,
                             .peak_bytes = dev->peak };
    memcpy(info, &full, size);
    return MNT_OK;
}

const char *mnt_device_variant(mnt_device *dev, int i)
{
    return dev && i >= 0 ? dev->backend->variant(dev->ctx, i) : NULL;
}

mnt_status mnt_device_profile(mnt_device *dev, bool on)
{
    if (!dev)
        return mnti_fail(NULL, MNT_INVALID, "device_profile: the device is NULL");
    dev->backend->profile(dev->ctx, on);
    return MNT_OK;
}
