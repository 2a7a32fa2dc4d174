/* SPDX-License-Identifier: MIT */
/*
 * The vtable of the metal backend. Plain C: what to submit and when; the .m files do it.
 *
 * Replays are submitted in pieces of about PIECE_NS of device time, measured on the
 * first ones, so that an interrupt is heard soon and the system's watchdog never sees a
 * long command buffer. With profiling on,
 * each command has a command buffer of its own and is waited for.
 */
#include "metal.h"

#define PIECE_NS       30000000u
#define MAX_DISPATCHES 4096 /* of one command buffer */

typedef struct context {
    const mnt_host *host;
    metal_gpu *gpu;
    gpu_force force;
    bool profile;
    char variant[96];
} context;

typedef struct prepared_program {
    gpu_program *program;
    metal_buffer *scratch;
    uint64_t step_ns; /* of one replay, as last measured; 0: not yet */
    int measured;     /* pieces that were */
} prepared_program;

/* Also makes the kernel's pipeline, so that a program's are there when it runs. */
static mnt_status fit_of(void *gpu, gpu_kernel kernel, gpu_fit *out)
{
    return metal_gpu_fit(gpu, kernel, out);
}

static void close_context(void *ctx)
{
    context *c = ctx;
    if (!c)
        return;
    const mnt_host *host = c->host;
    metal_gpu_close(c->gpu);
    gpu_force_free(&c->force, host);
    host->free(host->self, c);
}

static mnt_status open_context(const mnt_backend_config *config, void **ctx)
{
    const mnt_host *host = config->host;
    *ctx = NULL;
    context *c = host->alloc(host->self, sizeof *c);
    if (!c)
        return host->fail(host->self, MNT_NO_MEMORY, "metal: no memory for a context");
    c->host = host;
    mnt_status st = gpu_force_read(&c->force, host, "metal", config->force);
    if (st == MNT_OK)
        st = metal_gpu_open(&c->gpu, host, config->index);
    if (st) {
        close_context(c);
        return st;
    }
    c->force.has = metal_gpu_has(c->gpu);
    c->force.device = c->gpu;
    c->force.fit = fit_of;
    *ctx = c;
    return MNT_OK;
}

static void info(void *ctx, mnt_backend_info *out)
{
    const context *c = ctx;
    out->name = metal_gpu_name(c->gpu);
    out->detail = metal_gpu_detail(c->gpu);
    out->threads = 0;
    out->memory_bytes = metal_gpu_memory(c->gpu);
}

static mnt_status alloc_buffer(void *ctx, uint64_t bytes, void **buffer)
{
    const context *c = ctx;
    metal_buffer *b;
    mnt_status st = metal_buffer_create(c->gpu, bytes, &b);
    *buffer = b;
    return st;
}

static void release_buffer(void *ctx, void *buffer)
{
    (void)ctx;
    metal_buffer_release(buffer);
}

static mnt_status write_buffer(void *ctx, void *buffer, uint64_t offset,
                               const void *data, uint64_t bytes)
{
    const context *c = ctx;
    return metal_buffer_write(c->gpu, buffer, offset, data, bytes);
}

static mnt_status read_buffer(void *ctx, void *buffer, uint64_t offset, void *data,
                              uint64_t bytes)
{
    const context *c = ctx;
    return metal_buffer_read(c->gpu, buffer, offset, data, bytes);
}

static bool supports(void *ctx, const mnt_cmd *cmd)
{
    const context *c = ctx;
    return gpu_supports(&c->force, c->host, cmd);
}

/* ---- programs ---- */

static void discard(void *ctx, void *prepared)
{
    const context *c = ctx;
    prepared_program *p = prepared;
    if (!p)
        return;
    metal_buffer_release(p->scratch);
    gpu_program_destroy(p->program, c->host);
    c->host->free(c->host->self, p);
}

static mnt_status prepare(void *ctx, const mnt_program *program, void **prepared)
{
    const context *c = ctx;
    const mnt_host *host = c->host;
    *prepared = NULL;
    prepared_program *p = host->alloc(host->self, sizeof *p);
    if (!p)
        return host->fail(host->self, MNT_NO_MEMORY, "metal: no memory for a program");
    mnt_status st = gpu_program_create(&p->program, &c->force, host, "metal", program);
    if (st == MNT_OK)
        st = metal_buffer_create(c->gpu, p->program->scratch_bytes, &p->scratch);
    if (st) {
        discard(ctx, p);
        return st;
    }
    *prepared = p;
    return MNT_OK;
}

/* ---- submission ---- */

/* How many replays go into the next command buffer. */
static int64_t piece(const prepared_program *p, int64_t left)
{
    int64_t n = p->step_ns ? (int64_t)(PIECE_NS / p->step_ns) : 1;
    int64_t most = MAX_DISPATCHES / (p->program->dispatch_count + 1);
    n = n < most ? n : most;
    n = n > 1 ? n : 1;
    return n < left ? n : left;
}

/* One command buffer of replays. The first two that others follow are waited for,
 * because their time decides the size of the others: one replay on a cold device, then
 * as many as that suggests. */
static mnt_status replay_piece(void *ctx, void *prepared, int64_t left, int64_t *done)
{
    const context *c = ctx;
    prepared_program *p = prepared;
    int64_t n = piece(p, left);
    mnt_status st =
        metal_commit(c->gpu, p->program, 0, p->program->dispatch_count, n, p->scratch);
    if (st)
        return st;
    *done += n;
    if (p->measured < 2 && n < left) {
        p->measured++;
        st = metal_wait(c->gpu);
        p->step_ns = metal_last_span(c->gpu).ns / (uint64_t)n + 1;
    }
    return st;
}

static mnt_status replay_timed(void *ctx, void *prepared, int cmd, gpu_span *span)
{
    const context *c = ctx;
    prepared_program *p = prepared;
    const gpu_cmd *row = &p->program->cmds[cmd];
    mnt_status st =
        metal_commit(c->gpu, p->program, row->first, row->count, 1, p->scratch);
    if (st && cmd > 0)
        metal_break(c->gpu, st,
                    "a step was begun, command by command, and cannot go on");
    if (st == MNT_OK)
        st = metal_wait(c->gpu);
    *span = metal_last_span(c->gpu);
    return st;
}

static mnt_status submit(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    context *c = ctx;
    prepared_program *p = prepared;
    gpu_replay r = { c->host, p->program, c, p, replay_piece, replay_timed };
    return gpu_submit(&r, c->profile, n, done);
}

static mnt_status wait_all(void *ctx)
{
    const context *c = ctx;
    return metal_wait(c->gpu);
}

static void profile(void *ctx, bool on)
{
    context *c = ctx;
    c->profile = on;
}

static mnt_status timing(void *ctx, void *prepared, mnt_cmd_timing *rows, int count)
{
    (void)ctx;
    prepared_program *p = prepared;
    gpu_timing(p->program, rows, count);
    return MNT_OK;
}

static const char *variant(void *ctx, int i)
{
    context *c = ctx;
    return gpu_variant(&c->force, i, c->variant, sizeof c->variant);
}

const mnt_backend metal_backend = {
    .size = sizeof(mnt_backend),
    .abi = MNT_BACKEND_ABI,
    .name = "metal",
    .devices = metal_gpu_count,
    .open = open_context,
    .close = close_context,
    .info = info,
    .alloc = alloc_buffer,
    .release = release_buffer,
    .write = write_buffer,
    .read = read_buffer,
    .supports = supports,
    .prepare = prepare,
    .submit = submit,
    .discard = discard,
    .wait = wait_all,
    .profile = profile,
    .timing = timing,
    .variant = variant,
};
