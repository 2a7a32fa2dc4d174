/* SPDX-License-Identifier: MIT */
/*
 * From a program to dispatches: the choice of launchers, the emitter that they write
 * to, and the layout of scratch memory. Commands run one after another, so they all use
 * the same scratch memory from its start.
 */
#include "gpu.h"

#include "launch.h"

#include <stdio.h>
#include <string.h>

#define TEXT    480 /* of a failure's sentence */
#define SCRATCH 256 /* alignment in scratch memory, and its least size */

const gpu_kernel_row gpu_kernels[GPU_KERNEL_COUNT] = {
#define GPU_KERNEL(name, buffers, threads) { #name, buffers, threads },
#include "../../shaders/kernels.def"
#undef GPU_KERNEL
};

#define GPU_KERNEL(name, buffers, threads)                                             \
    _Static_assert((buffers) <= GPU_MAX_BUFFERS, "too many buffers: " #name);
#include "../../shaders/kernels.def"
#undef GPU_KERNEL

_Static_assert(sizeof(mnt_view_args) <= GPU_ARGS_BYTES, "view arguments");
_Static_assert(sizeof(mnt_reduce_args) <= GPU_ARGS_BYTES, "reduce arguments");
_Static_assert(MNT_ARGS_DIMS == MNT_MAX_DIMS, "dims of views");
_Static_assert(MNT_ARGS_SCHEDULE == MNT_MAX_SCHEDULE, "points of a schedule");

const gpu_launcher *const gpu_launchers[] = {
#define GPU_LIST(family) gpu_launch_##family,
    GPU_FAMILIES(GPU_LIST)
#undef GPU_LIST
        NULL,
};

/* ---- emitting ---- */

struct gpu_emit {
    const mnt_host *host;
    gpu_program *program;
    int capacity;     /* of program->dispatches */
    uint64_t scratch; /* bytes taken by the command */
    mnt_status status;
    uint64_t groups; /* status LIMIT: what was asked for */
};

static bool grow(gpu_emit *e)
{
    gpu_program *p = e->program;
    if (p->dispatch_count < e->capacity)
        return true;
    int capacity = e->capacity > 0 ? 2 * e->capacity : 16;
    gpu_dispatch *list = e->host->alloc(e->host->self, (size_t)capacity * sizeof *list);
    if (!list) {
        e->status = MNT_NO_MEMORY;
        return false;
    }
    if (p->dispatch_count > 0)
        memcpy(list, p->dispatches, (size_t)p->dispatch_count * sizeof *list);
    e->host->free(e->host->self, p->dispatches);
    p->dispatches = list;
    e->capacity = capacity;
    return true;
}

gpu_dispatch *gpu_dispatch_add(gpu_emit *e, gpu_kernel kernel, uint64_t groups)
{
    if (e->status != MNT_OK || groups == 0)
        return NULL;
    if (groups > GPU_MAX_GROUPS) {
        e->status = MNT_LIMIT;
        e->groups = groups;
        return NULL;
    }
    if (!grow(e))
        return NULL;
    gpu_dispatch *d = &e->program->dispatches[e->program->dispatch_count++];
    *d = (gpu_dispatch){ .kernel = kernel, .groups = (uint32_t)groups };
    return d;
}

static void bind(gpu_dispatch *d, void *buffer, uint64_t offset)
{
    if (d && d->bound < GPU_MAX_BUFFERS)
        d->buffer[d->bound++] = (gpu_binding){ buffer, offset };
}

void gpu_bind(gpu_dispatch *d, const mnt_operand *o)
{
    bool there = o->buffer && gpu_count(o) > 0;
    bind(d, there ? o->buffer : NULL, there ? o->offset : 0);
}

void gpu_bind_scratch(gpu_dispatch *d, uint64_t offset)
{
    bind(d, NULL, offset);
}

void gpu_args(gpu_dispatch *d, const void *args, size_t bytes)
{
    if (!d || bytes > GPU_ARGS_BYTES)
        return;
    memcpy(d->args, args, bytes);
    d->args_bytes = (uint32_t)bytes;
}

uint64_t gpu_scratch(gpu_emit *e, uint64_t bytes)
{
    uint64_t at = e->scratch;
    e->scratch += (bytes + SCRATCH - 1) / SCRATCH * SCRATCH;
    if (e->program->scratch_bytes < e->scratch)
        e->program->scratch_bytes = e->scratch;
    return at;
}

/* ---- choosing ---- */

static const gpu_launcher *find(const mnt_cmd *cmd, const char *variant, bool preferred)
{
    for (int i = 0; gpu_launchers[i]; i++)
        for (const gpu_launcher *l = gpu_launchers[i]; l->name; l++)
            if (l->op == cmd->op && (!variant || strcmp(l->name, variant) == 0) &&
                (!l->accepts || l->accepts(cmd)) &&
                (!preferred || !l->prefers || l->prefers(cmd)))
                return l;
    return NULL;
}

/* NULL if nothing takes the command; *forced then names the variant that was asked for,
 * if one was. */
static const gpu_launcher *choose(const gpu_force *f, const mnt_cmd *cmd,
                                  const char **forced)
{
    *forced = NULL;
    if (!mnt_cmd_valid(cmd))
        return NULL;
    *forced = f->op[cmd->op];
    if (*forced)
        return find(cmd, *forced, false);
    const gpu_launcher *l = f->all ? find(cmd, f->all, false) : NULL;
    if (!l)
        l = find(cmd, NULL, true);
    return l ? l : find(cmd, NULL, false);
}

bool gpu_supports(const gpu_force *f, const mnt_cmd *cmd)
{
    const char *forced;
    return choose(f, cmd, &forced) != NULL;
}

/* ---- failures ---- */

static void put(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);
    if (used + 1 < size)
        snprintf(text + used, size - used, "%s", word);
}

static void put_shapes(char *text, size_t size, const mnt_operand *o, int count)
{
    for (int i = 0; i < count; i++) {
        if (!o[i].buffer)
            continue;
        put(text, size, " ");
        put(text, size, mnt_dtype_name(o[i].dtype));
        for (int d = 0; d < o[i].ndim && d < MNT_MAX_DIMS; d++) {
            char dim[32];
            snprintf(dim, sizeof dim, "%s%lld", d ? "," : "[", (long long)o[i].dim[d]);
            put(text, size, dim);
        }
        put(text, size, o[i].ndim > 0 ? "]" : "[]");
    }
}

static mnt_status unsupported(const mnt_host *host, const char *backend,
                              const mnt_cmd *cmd, const char *forced)
{
    char text[TEXT];
    if (forced)
        snprintf(text, sizeof text, "%s: the forced variant \"%.40s\" cannot run",
                 mnt_op_name(cmd->op), forced);
    else
        snprintf(text, sizeof text, "%s: no %s kernel for", mnt_op_name(cmd->op),
                 backend);
    put_shapes(text, sizeof text, cmd->in, MNT_MAX_IN);
    put(text, sizeof text, " ->");
    put_shapes(text, sizeof text, cmd->out, MNT_MAX_OUT);
    return host->fail(host->self, MNT_UNSUPPORTED, text);
}

static mnt_status emit_failed(const gpu_emit *e, const char *backend,
                              const mnt_cmd *cmd)
{
    char text[TEXT];
    if (e->status != MNT_LIMIT) {
        snprintf(text, sizeof text, "%s: no memory for a program", backend);
        return e->host->fail(e->host->self, e->status, text);
    }
    snprintf(text, sizeof text, "%s: %llu threadgroups are needed, %s has %u for",
             mnt_op_name(cmd->op), (unsigned long long)e->groups, backend,
             GPU_MAX_GROUPS);
    put_shapes(text, sizeof text, cmd->in, MNT_MAX_IN);
    put(text, sizeof text, " ->");
    put_shapes(text, sizeof text, cmd->out, MNT_MAX_OUT);
    return e->host->fail(e->host->self, MNT_LIMIT, text);
}

/* ---- programs ---- */

static mnt_status emit_all(gpu_emit *e, const gpu_force *f, const char *backend,
                           const mnt_program *program)
{
    gpu_program *p = e->program;
    for (int i = 0; i < program->count; i++) {
        const mnt_cmd *cmd = &program->cmds[i];
        const char *forced;
        const gpu_launcher *l = choose(f, cmd, &forced);
        if (!l)
            return unsupported(e->host, backend, cmd, forced);
        p->cmds[i].first = p->dispatch_count;
        e->scratch = 0;
        l->launch(e, cmd);
        if (e->status != MNT_OK)
            return emit_failed(e, backend, cmd);
        p->cmds[i].count = p->dispatch_count - p->cmds[i].first;
        snprintf(p->cmds[i].name, sizeof p->cmds[i].name, "%s", l->name);
    }
    return MNT_OK;
}

mnt_status gpu_program_create(gpu_program **out, const gpu_force *f,
                              const mnt_host *host, const char *backend,
                              const mnt_program *program)
{
    *out = NULL;
    gpu_program *p = host->alloc(host->self, sizeof *p);
    size_t rows = program->count > 0 ? (size_t)program->count : 1;
    if (p) {
        p->cmds = host->alloc(host->self, rows * sizeof *p->cmds);
        p->timing = host->alloc(host->self, rows * sizeof *p->timing);
        p->cmd_count = program->count;
        p->scratch_bytes = SCRATCH;
    }
    if (!p || !p->cmds || !p->timing) {
        char text[TEXT];
        snprintf(text, sizeof text, "%s: no memory for a program", backend);
        gpu_program_destroy(p, host);
        return host->fail(host->self, MNT_NO_MEMORY, text);
    }
    gpu_emit e = { .host = host, .program = p };
    mnt_status status = emit_all(&e, f, backend, program);
    if (status != MNT_OK) {
        gpu_program_destroy(p, host);
        return status;
    }
    gpu_timing_forget(p);
    *out = p;
    return MNT_OK;
}

void gpu_program_destroy(gpu_program *p, const mnt_host *host)
{
    if (!p)
        return;
    host->free(host->self, p->cmds);
    host->free(host->self, p->timing);
    host->free(host->self, p->dispatches);
    host->free(host->self, p);
}
