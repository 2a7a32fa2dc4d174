/* SPDX-License-Identifier: MIT */
/*
 * The cpu backend's vtable: contexts, memory, information, timing. Device memory is
 * host memory and everything runs inside the call, so reads and writes are copies and
 * there is nothing to wait for. Programs are made in prepare.c and run in submit.c.
 */
#include "backend_cpu.h"
#include "driver.h"
#include "memory.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

static int cpu_devices(void)
{
    return 1;
}

/* The processor's own name; the architecture's where the system does not tell. */
static void read_name(char *name, size_t size)
{
    struct utsname u;
    snprintf(name, size, "%s", uname(&u) == 0 ? u.machine : "cpu");
#if defined(__APPLE__)
    size_t length = size;
    if (sysctlbyname("machdep.cpu.brand_string", name, &length, NULL, 0) == 0)
        name[size - 1] = '\0';
#elif defined(__linux__)
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (!value || strncmp(line, "model name", 10) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, size, "%.*s", (int)size - 1, value + strspn(value, ": \t"));
        break;
    }
    if (f)
        fclose(f);
#endif
}

static uint64_t read_memory(void)
{
#if defined(__APPLE__)
    uint64_t bytes = 0;
    size_t length = sizeof bytes;
    return sysctlbyname("hw.memsize", &bytes, &length, NULL, 0) == 0 ? bytes : 0;
#else
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
#endif
}

static void cpu_close(void *ctx)
{
    cpu_context *c = ctx;
    if (!c)
        return;
    cpu_pool_destroy(c->pool);
    cpu_free(c->host, c->shared);
    cpu_free(c->host, c->local);
    cpu_free(c->host, c->force.text);
    cpu_free(c->host, c);
}

static mnt_status cpu_open(const mnt_backend_config *config, void **ctx)
{
    const mnt_host *host = config->host;
    *ctx = NULL;
    if (config->index < 0 || config->index >= cpu_devices()) {
        char text[64];
        snprintf(text, sizeof text, "cpu: device %d, but there is one", config->index);
        return host->fail(host->self, MNT_NOT_FOUND, text);
    }
    int threads = config->threads > 0 ? config->threads : cpu_processors();
    if (config->threads < 0 || config->threads > CPU_POOL_MAX_THREADS) {
        char text[96];
        snprintf(text, sizeof text, "cpu: %d threads; expected 0 (automatic) to %d",
                 config->threads, CPU_POOL_MAX_THREADS);
        return host->fail(host->self, MNT_INVALID, text);
    }
    cpu_context *c = cpu_alloc(host, sizeof *c);
    if (!c)
        return host->fail(host->self, MNT_NO_MEMORY, "cpu: no memory for a context");
    c->host = host;
    mnt_status status = cpu_force_read(c, config->force);
    if (status == MNT_OK)
        status = cpu_pool_create(&c->pool, host, threads);
    if (status != MNT_OK) {
        cpu_close(c);
        return status;
    }
    read_name(c->name, sizeof c->name);
    snprintf(c->detail, sizeof c->detail, "%s, %d thread%s", c->isa->name, threads,
             threads == 1 ? "" : "s");
    c->memory_bytes = read_memory();
    *ctx = c;
    return MNT_OK;
}

static void cpu_info(void *ctx, mnt_backend_info *out)
{
    const cpu_context *c = ctx;
    out->name = c->name;
    out->detail = c->detail;
    out->threads = cpu_pool_threads(c->pool);
    out->memory_bytes = c->memory_bytes;
}

static mnt_status cpu_buffer_alloc(void *ctx, uint64_t bytes, void **buffer)
{
    const cpu_context *c = ctx;
    *buffer = cpu_alloc(c->host, bytes);
    if (*buffer)
        return MNT_OK;
    char text[96];
    snprintf(text, sizeof text, "cpu: no memory for %llu bytes",
             (unsigned long long)bytes);
    return c->host->fail(c->host->self, MNT_NO_MEMORY, text);
}

static void cpu_buffer_release(void *ctx, void *buffer)
{
    const cpu_context *c = ctx;
    cpu_free(c->host, buffer);
}

static mnt_status cpu_write(void *ctx, void *buffer, uint64_t offset, const void *data,
                            uint64_t bytes)
{
    (void)ctx;
    if (bytes > 0)
        memcpy((char *)buffer + offset, data, (size_t)bytes);
    return MNT_OK;
}

static mnt_status cpu_read(void *ctx, void *buffer, uint64_t offset, void *data,
                           uint64_t bytes)
{
    (void)ctx;
    if (bytes > 0)
        memcpy(data, (const char *)buffer + offset, (size_t)bytes);
    return MNT_OK;
}

static bool cpu_supports(void *ctx, const mnt_cmd *cmd)
{
    const char *forced;
    return cpu_choose(ctx, cmd, &forced) != NULL;
}

static mnt_status cpu_wait(void *ctx)
{
    (void)ctx;
    return MNT_OK;
}

static void cpu_profile(void *ctx, bool on)
{
    cpu_context *c = ctx;
    c->profile = on;
}

static mnt_status cpu_timing(void *ctx, void *prepared, mnt_cmd_timing *rows, int count)
{
    (void)ctx;
    cpu_program *p = prepared;
    for (int i = 0; i < p->count; i++) {
        cpu_unit *u = &p->units[i];
        if (!rows)
            u->timing = (mnt_cmd_timing){ .kernel = u->name };
        else if (i < count)
            rows[i] = u->timing;
    }
    return MNT_OK;
}

const mnt_backend cpu_backend = {
    .size = sizeof(mnt_backend),
    .abi = MNT_BACKEND_ABI,
    .name = "cpu",
    .devices = cpu_devices,
    .open = cpu_open,
    .close = cpu_close,
    .info = cpu_info,
    .alloc = cpu_buffer_alloc,
    .release = cpu_buffer_release,
    .write = cpu_write,
    .read = cpu_read,
    .supports = cpu_supports,
    .prepare = cpu_prepare,
    .submit = cpu_submit,
    .discard = cpu_discard,
    .wait = cpu_wait,
    .profile = cpu_profile,
    .timing = cpu_timing,
    .variant = cpu_variant,
};
