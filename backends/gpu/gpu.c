/* SPDX-License-Identifier: MIT */
/*
 * From a program to dispatches: the emitter that launchers write to, whether the device
 * runs what they wrote, and the layout of scratch memory. Commands of one level may run side by side, so
 * each has its own scratch memory; levels run one after another and share it.
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

/* ---- emitting ---- */

struct gpu_emit {
    const mnt_host *host;
    gpu_program *program;
    int capacity;     /* of program->dispatches */
    uint64_t scratch; /* bytes taken by the level */
    mnt_status status;
    uint64_t groups; /* status LIMIT: what was asked for */
    bool said;       /* the status has its sentence */
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

/* A kernel that the device cannot run, and what it runs of it; threads 0: there was
 * none. */
typedef struct misfit {
    gpu_kernel kernel;
    gpu_fit fit;
} misfit;

static const char *forced_variant(const gpu_force *f, const mnt_cmd *cmd)
{
    return mnt_cmd_valid(cmd) ? f->op[cmd->op] : NULL;
}

/* What the device lacks of that which the variant needs. */
static const char *lacking(const gpu_force *f, mnt_op op, const char *variant)
{
    for (int i = 0; gpu_launchers[i]; i++)
        for (const gpu_launcher *l = gpu_launchers[i]; l->name; l++)
            if (l->op == op && strcmp(l->name, variant) == 0 && (l->need & ~f->has))
                return l->need == GPU_NEEDS_MATRIX
                           ? ": this device has no simdgroup matrices"
                           : ": this device has no simdgroups of 32 threads";
    return "";
}

static void put_forced(char *text, size_t size, const char *forced)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "the forced variant \"%.40s\" cannot run",
             forced);
}

/* "conv needs 256 threads in a threadgroup, this device runs 128 of it". */
static void put_misfit(char *text, size_t size, misfit m)
{
    size_t used = strlen(text);
    const gpu_kernel_row *row = &gpu_kernels[m.kernel];
    bool few = m.fit.threads < row->threads;
    if (used + 1 < size)
        snprintf(text + used, size - used,
                 "%s needs %d threads in a %s, this device runs %d of it", row->name,
                 few ? row->threads : GPU_SIMD_WIDTH, few ? "threadgroup" : "simdgroup",
                 few ? m.fit.threads : m.fit.simd_width);
}

static void put_no_other(char *text, size_t size, const char *forced)
{
    put(text, size, forced ? "" : ", and no other variant fits");
}

static mnt_status unsupported(const mnt_host *host, const char *backend,
                              const gpu_force *f, const mnt_cmd *cmd, misfit m)
{
    char text[TEXT];
    const char *forced = forced_variant(f, cmd);
    snprintf(text, sizeof text, "%s: ", mnt_op_name(cmd->op));
    if (forced)
        put_forced(text, sizeof text, forced);
    else
        snprintf(text, sizeof text, "%s: no %s kernel for", mnt_op_name(cmd->op),
                 backend);
    put_shapes(text, sizeof text, cmd->in, MNT_MAX_IN);
    put(text, sizeof text, " ->");
    put_shapes(text, sizeof text, cmd->out, MNT_MAX_OUT);
    put(text, sizeof text, forced ? lacking(f, cmd->op, forced) : "");
    if (m.fit.threads > 0) {
        put(text, sizeof text, ": ");
        put_misfit(text, sizeof text, m);
        put_no_other(text, sizeof text, forced);
    }
    return host->fail(host->self, MNT_UNSUPPORTED, text);
}

/* What supports() says of itself: the caller knows op and shapes. */
static void say_misfit(const mnt_host *host, const gpu_force *f, const mnt_cmd *cmd,
                       misfit m)
{
    char text[TEXT] = "";
    const char *forced = forced_variant(f, cmd);
    if (forced) {
        put_forced(text, sizeof text, forced);
        put(text, sizeof text, m.fit.threads > 0 ? ": " : lacking(f, cmd->op, forced));
    }
    if (m.fit.threads > 0) {
        put_misfit(text, sizeof text, m);
        put_no_other(text, sizeof text, forced);
    }
    (void)host->fail(host->self, MNT_UNSUPPORTED, text);
}

static mnt_status emit_failed(const gpu_emit *e, const char *backend,
                              const mnt_cmd *cmd)
{
    char text[TEXT];
    if (e->said)
        return e->status;
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

/* Whether the device runs all kernels of the dispatches from `first` on, which l
 * launched; *m is one that it does not run. */
static bool fits(gpu_emit *e, const gpu_force *f, const gpu_launcher *l, int first,
                 misfit *m)
{
    for (int i = first; f->device && i < e->program->dispatch_count; i++) {
        gpu_kernel kernel = e->program->dispatches[i].kernel;
        gpu_fit fit = { 0 };
        e->status = f->fit(f->device, kernel, &fit);
        if (e->status != MNT_OK)
            return false;
        if (fit.threads < gpu_kernels[kernel].threads ||
            (l->need != GPU_ANY && fit.simd_width != GPU_SIMD_WIDTH)) {
            *m = (misfit){ kernel, fit };
            return false;
        }
    }
    return true;
}

/* Emits the command by the best launcher whose kernels the device runs, NULL if there is
 * none or after a failure. *m: a kernel of the best launcher, if that was passed over. */
static const gpu_launcher *emit(gpu_emit *e, const gpu_force *f, const mnt_cmd *cmd,
                                misfit *m)
{
    const int first = e->program->dispatch_count;
    const uint64_t scratch = e->scratch;
    const gpu_launcher *l;
    for (int i = 0; (l = gpu_candidate(f, cmd, i)) != NULL; i++) {
        misfit found = { 0 };
        l->launch(e, cmd);
        if (e->status != MNT_OK)
            return NULL;
        if (fits(e, f, l, first, &found))
            return l;
        e->program->dispatch_count = first;
        e->scratch = scratch;
        if (e->status != MNT_OK) {
            e->said = true;
            return NULL;
        }
        *m = i == 0 ? found : *m;
    }
    return NULL;
}

static void log_misfit(const mnt_host *host, const char *backend, const mnt_cmd *cmd,
                       const gpu_launcher *l, misfit m)
{
    char text[TEXT];
    snprintf(text, sizeof text, "%s: %s: ", backend, mnt_op_name(cmd->op));
    put_misfit(text, sizeof text, m);
    put(text, sizeof text, ": \"");
    put(text, sizeof text, l->name);
    put(text, sizeof text, "\" takes its place");
    host->log(host->self, MNT_LOG_INFO, text);
}

/* taken: for each level the scratch memory that its commands have so far. */
static mnt_status emit_all(gpu_emit *e, const gpu_force *f, const char *backend,
                           const mnt_program *program, uint64_t *taken)
{
    gpu_program *p = e->program;
    for (int i = 0; i < program->count; i++) {
        const mnt_cmd *cmd = &program->cmds[i];
        misfit m = { 0 };
        p->cmds[i].first = p->dispatch_count;
        e->scratch = taken[p->cmds[i].level];
        const gpu_launcher *l = emit(e, f, cmd, &m);
        taken[p->cmds[i].level] = e->scratch;
        if (e->status != MNT_OK)
            return emit_failed(e, backend, cmd);
        if (!l)
            return unsupported(e->host, backend, f, cmd, m);
        if (m.fit.threads > 0)
            log_misfit(e->host, backend, cmd, l, m);
        p->cmds[i].count = p->dispatch_count - p->cmds[i].first;
        snprintf(p->cmds[i].name, sizeof p->cmds[i].name, "%s", l->name);
    }
    return MNT_OK;
}

/* Where the device has limits, the command is emitted to see which kernels it takes. A
 * failure of another kind is left for prepare() to report. */
bool gpu_supports(const gpu_force *f, const mnt_host *host, const mnt_cmd *cmd)
{
    if (!f->device)
        return gpu_candidate(f, cmd, 0) != NULL;
    gpu_program p = { .scratch_bytes = SCRATCH };
    gpu_emit e = { .host = host, .program = &p };
    misfit m = { 0 };
    bool runs = emit(&e, f, cmd, &m) || e.status != MNT_OK;
    host->free(host->self, p.dispatches);
    const char *forced = forced_variant(f, cmd);
    if (!runs && (m.fit.threads > 0 || (forced && *lacking(f, cmd->op, forced))))
        say_misfit(host, f, cmd, m);
    return runs;
}

static gpu_program *new_program(const mnt_host *host, int commands)
{
    gpu_program *p = host->alloc(host->self, sizeof *p);
    size_t rows = commands > 0 ? (size_t)commands : 1;
    if (!p)
        return NULL;
    p->cmds = host->alloc(host->self, rows * sizeof *p->cmds);
    p->timing = host->alloc(host->self, rows * sizeof *p->timing);
    p->order = host->alloc(host->self, rows * sizeof *p->order);
    p->cmd_count = commands;
    p->scratch_bytes = SCRATCH;
    if (p->cmds && p->timing && p->order)
        return p;
    gpu_program_destroy(p, host);
    return NULL;
}

mnt_status gpu_program_create(gpu_program **out, const gpu_force *f,
                              const mnt_host *host, const char *backend,
                              const mnt_program *program)
{
    *out = NULL;
    gpu_program *p = new_program(host, program->count);
    uint64_t *taken = NULL;
    if (p && gpu_levels(p, host, program))
        taken = host->alloc(host->self, ((size_t)p->level_count + 1) * sizeof *taken);
    if (!taken) {
        char text[TEXT];
        snprintf(text, sizeof text, "%s: no memory for a program", backend);
        gpu_program_destroy(p, host);
        return host->fail(host->self, MNT_NO_MEMORY, text);
    }
    gpu_emit e = { .host = host, .program = p };
    mnt_status status = emit_all(&e, f, backend, program, taken);
    host->free(host->self, taken);
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
    host->free(host->self, p->order);
    host->free(host->self, p->dispatches);
    host->free(host->self, p);
}
