/* SPDX-License-Identifier: MIT */
/*
 * "plain": a whole backend in a shared object of its own, built against the installed
 * headers and nothing else. Its kernels are plain loops on one thread; it runs every op
 * but convolutions and pooling, forward and backward, so it trains the mlp example.
 * This file is the vtable; docs/backends.md says what each slot owes.
 *
 *   make PKG_CONFIG_PATH=PREFIX/lib/pkgconfig                     (or CMake, see below)
 *   cmake -S . -B build -DCMAKE_PREFIX_PATH=PREFIX && cmake --build build
 *   mnt-conformance --plugin ./libmnt_plain.so
 *   mlp --plugin ./libmnt_plain.so --backend plain --data synth
 *
 * "Device memory" is host memory and everything runs inside submit(), so whatever must
 * be ordered after submitted work is ordered by being called later.
 */
#include "plain.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct plain_context {
    const mnt_host *host;
    bool profile;
    char variant[48];
} plain_context;

typedef struct plain_program {
    int count;
    plain_job jobs[];
} plain_program;

static const char *const op_names[MNT_OP_COUNT] = {
#define MNT_OP(name, n_in, n_out, args, flags) #name,
#include <mnt/ops.def>
#undef MNT_OP
};

static const unsigned op_flags[MNT_OP_COUNT] = {
#define MNT_OP(name, n_in, n_out, args, flags) (flags),
#include <mnt/ops.def>
#undef MNT_OP
};

static plain_kernel kernel_of(mnt_op op)
{
    if ((unsigned)op >= MNT_OP_COUNT)
        return NULL;
    if (plain_data[op])
        return plain_data[op];
    return plain_math[op] ? plain_math[op] : plain_train[op];
}

static mnt_status fail(const plain_context *c, mnt_status status, const char *sentence)
{
    return c->host->fail(c->host->self, status, sentence);
}

/* ---- device ---- */

static int devices(void)
{
    return 1;
}

/* `force` is "op=variant,..."; the one variant of each op here is "plain". */
static mnt_status check_force(const plain_context *c, const char *force)
{
    char text[160];
    for (bool more = *force != '\0'; more;) {
        int length = (int)strcspn(force, ",");
        bool known = false;
        for (int op = 0; op < MNT_OP_COUNT && !known; op++) {
            snprintf(text, sizeof text, "%s=plain", op_names[op]);
            known = kernel_of((mnt_op)op) && (int)strlen(text) == length &&
                    strncmp(text, force, (size_t)length) == 0;
        }
        if (!known) {
            snprintf(text, sizeof text,
                     "force: \"%.*s\" is not OP=plain with an op that it has",
                     length < 60 ? length : 60, force);
            return fail(c, MNT_INVALID, text);
        }
        force += length;
        more = *force == ',';
        force += more;
    }
    return MNT_OK;
}

static void plain_close(void *ctx)
{
    const plain_context *c = ctx;
    if (c)
        c->host->free(c->host->self, ctx);
}

static mnt_status plain_open(const mnt_backend_config *config, void **ctx)
{
    const mnt_host *host = config->host;
    if (config->index != 0)
        return host->fail(host->self, MNT_NOT_FOUND, "there is one device, 0");
    plain_context *c = host->alloc(host->self, sizeof *c);
    if (!c)
        return host->fail(host->self, MNT_NO_MEMORY, "plain: no memory for a context");
    c->host = host;
    mnt_status status = check_force(c, config->force);
    if (status != MNT_OK) {
        plain_close(c);
        return status;
    }
    *ctx = c;
    return MNT_OK;
}

static void info(void *ctx, mnt_backend_info *out)
{
    (void)ctx;
    out->name = "plain loops";
    out->detail = "example of a backend, one thread";
    out->threads = 0;      /* none to choose */
    out->memory_bytes = 0; /* unknown */
}

static const char *variant(void *ctx, int i)
{
    plain_context *c = ctx;
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (kernel_of((mnt_op)op) && i-- == 0) {
            snprintf(c->variant, sizeof c->variant, "%s=plain", op_names[op]);
            return c->variant;
        }
    return NULL;
}

/* ---- memory ---- */

static mnt_status memory_alloc(void *ctx, uint64_t bytes, void **buffer)
{
    const plain_context *c = ctx;
    if (bytes <= SIZE_MAX - 1) /* 0 bytes are a buffer, too */
        *buffer = c->host->alloc(c->host->self, (size_t)bytes + 1);
    if (*buffer)
        return MNT_OK;
    char text[96];
    snprintf(text, sizeof text, "plain: no memory for %llu bytes",
             (unsigned long long)bytes);
    return fail(c, MNT_NO_MEMORY, text);
}

static void memory_release(void *ctx, void *buffer)
{
    const plain_context *c = ctx;
    c->host->free(c->host->self, buffer);
}

static mnt_status memory_write(void *ctx, void *buffer, uint64_t offset,
                               const void *data, uint64_t bytes)
{
    (void)ctx;
    if (bytes > 0)
        memcpy((char *)buffer + offset, data, (size_t)bytes);
    return MNT_OK;
}

static mnt_status memory_read(void *ctx, void *buffer, uint64_t offset, void *data,
                              uint64_t bytes)
{
    (void)ctx;
    if (bytes > 0)
        memcpy(data, (const char *)buffer + offset, (size_t)bytes);
    return MNT_OK;
}

/* ---- programs ---- */

/* Why a command cannot run; NULL if it can. supports() and prepare() agree by asking the
 * same function. */
static const char *obstacle(const mnt_cmd *cmd)
{
    return kernel_of(cmd->op) ? plain_obstacle(cmd, op_flags[cmd->op])
                              : "plain has no kernel for it";
}

static bool supports(void *ctx, const mnt_cmd *cmd)
{
    (void)ctx;
    return obstacle(cmd) == NULL;
}

static void discard(void *ctx, void *prepared)
{
    const plain_context *c = ctx;
    c->host->free(c->host->self, prepared);
}

static void make_job(plain_job *job, const mnt_cmd *cmd)
{
    job->cmd = cmd; /* stays until discard() */
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (cmd->in[i].buffer)
            job->in[i] = (const char *)cmd->in[i].buffer + cmd->in[i].offset;
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (cmd->out[i].buffer)
            job->out[i] = (char *)cmd->out[i].buffer + cmd->out[i].offset;
    job->timing.kernel = "plain";
}

static mnt_status prepare(void *ctx, const mnt_program *program, void **prepared)
{
    const plain_context *c = ctx;
    for (int i = 0; i < program->count; i++) {
        const char *why = obstacle(&program->cmds[i]);
        if (why) {
            char text[160];
            mnt_op op = program->cmds[i].op;
            snprintf(text, sizeof text, "%s: %s",
                     (unsigned)op < MNT_OP_COUNT ? op_names[op] : "?", why);
            return fail(c, MNT_UNSUPPORTED, text);
        }
    }
    size_t bytes = sizeof(plain_program) + (size_t)program->count * sizeof(plain_job);
    plain_program *p = c->host->alloc(c->host->self, bytes);
    if (!p)
        return fail(c, MNT_NO_MEMORY, "plain: no memory for a program");
    p->count = program->count;
    for (int i = 0; i < p->count; i++)
        make_job(&p->jobs[i], &program->cmds[i]);
    *prepared = p;
    return MNT_OK;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void run_timed(plain_job *job)
{
    mnt_cmd_timing *t = &job->timing;
    uint64_t start = now_ns();
    kernel_of(job->cmd->op)(job);
    uint64_t ns = now_ns() - start;
    t->min_ns = t->calls == 0 || ns < t->min_ns ? ns : t->min_ns;
    t->max_ns = ns > t->max_ns ? ns : t->max_ns;
    t->calls++;
    t->total_ns += ns;
    t->wall_ns += ns;
    t->last_start_ns = start;
    t->last_ns = ns;
}

/* The order of the program satisfies every dependency, so levels are not needed. */
static mnt_status submit(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    const plain_context *c = ctx;
    plain_program *p = prepared;
    bool stop = false;
    plain_mode saved;
    plain_mode_enter(&saved);
    for (*done = 0; *done < n && !stop; *done += !stop) {
        stop = c->host->interrupted(c->host->self);
        for (int i = 0; i < p->count && !stop; i++)
            if (c->profile)
                run_timed(&p->jobs[i]);
            else
                kernel_of(p->jobs[i].cmd->op)(&p->jobs[i]);
    }
    plain_mode_leave(&saved);
    return stop ? fail(c, MNT_INTERRUPTED, "interrupted") : MNT_OK;
}

static mnt_status wait(void *ctx)
{
    (void)ctx;
    return MNT_OK;
}

static void profile(void *ctx, bool on)
{
    plain_context *c = ctx;
    c->profile = on;
}

static mnt_status timing(void *ctx, void *prepared, mnt_cmd_timing *rows, int count)
{
    (void)ctx;
    plain_program *p = prepared;
    for (int i = 0; i < p->count; i++)
        if (!rows)
            p->jobs[i].timing = (mnt_cmd_timing){ .kernel = "plain" };
        else if (i < count)
            rows[i] = p->jobs[i].timing;
    return MNT_OK;
}

static const mnt_backend plain_backend = {
    .size = sizeof(mnt_backend),
    .abi = MNT_BACKEND_ABI,
    .name = "plain",
    .devices = devices,
    .open = plain_open,
    .close = plain_close,
    .info = info,
    .alloc = memory_alloc,
    .release = memory_release,
    .write = memory_write,
    .read = memory_read,
    .supports = supports,
    .prepare = prepare,
    .submit = submit,
    .discard = discard,
    .wait = wait,
    .profile = profile,
    .timing = timing,
    .variant = variant,
};

/* The one symbol that mnt_backend_load() looks for. */
MNT_API const mnt_backend *mnt_backend_entry(void);
const mnt_backend *mnt_backend_entry(void)
{
    return &plain_backend;
}
