/* SPDX-License-Identifier: MIT */
/*
 * From commands to a prepared program: kernels are chosen, jobs planned, tasks gathered
 * into stages, scratch and caches allocated. Afterwards a replay allocates nothing.
 */
#include "driver.h"

#include "memory.h"

#include <stdio.h>
#include <string.h>

/* ---- choosing ---- */

static const cpu_kernel *find(const cpu_context *ctx, const mnt_cmd *cmd,
                              const char *variant)
{
    for (const cpu_kernel_list *list = ctx->isa->lists; *list; list++)
        for (const cpu_kernel *k = *list; k->name; k++)
            if (k->op == cmd->op && (!variant || strcmp(k->name, variant) == 0) &&
                (!k->accepts || k->accepts(cmd)))
                return k;
    return NULL;
}

const cpu_kernel *cpu_choose(const cpu_context *ctx, const mnt_cmd *cmd,
                             const char **forced)
{
    *forced = NULL;
    if (!mnt_cmd_valid(cmd))
        return NULL;
    *forced = ctx->force.op[cmd->op];
    const cpu_kernel *kernel = NULL;
    if (!*forced && ctx->force.all)
        kernel = find(ctx, cmd, ctx->force.all);
    return kernel ? kernel : find(ctx, cmd, *forced);
}

static size_t put_shapes(char *text, size_t size, const mnt_operand *o, int count)
{
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (!o[i].buffer)
            continue;
        int n = snprintf(text + used, size - used, " %s[", mnt_dtype_name(o[i].dtype));
        int ndim = o[i].ndim < MNT_MAX_DIMS ? o[i].ndim : MNT_MAX_DIMS;
        for (int d = 0; d < ndim && n >= 0 && used + (size_t)n < size; d++)
            n += snprintf(text + used + n, size - used - (size_t)n,
                          d ? ",%lld" : "%lld", (long long)o[i].dim[d]);
        if (n < 0 || used + (size_t)n + 2 > size)
            break;
        used += (size_t)n;
        text[used++] = ']';
        text[used] = '\0';
    }
    return used;
}

static mnt_status no_kernel(const cpu_context *ctx, const mnt_cmd *cmd,
                            const char *forced)
{
    char text[CPU_TEXT], shapes[CPU_TEXT / 2];
    const char *arrow = " ->";
    size_t used = put_shapes(shapes, sizeof shapes - 8, cmd->in, MNT_MAX_IN);
    memcpy(shapes + used, arrow, 4);
    put_shapes(shapes + used + 3, sizeof shapes - used - 3, cmd->out, MNT_MAX_OUT);
    if (forced)
        snprintf(text, sizeof text, "%s: the forced variant \"%.40s\" cannot run%s",
                 mnt_op_name(cmd->op), forced, shapes);
    else
        snprintf(text, sizeof text, "%s: no cpu kernel for%s", mnt_op_name(cmd->op),
                 shapes);
    return ctx->host->fail(ctx->host->self, MNT_UNSUPPORTED, text);
}

/* ---- dependencies ---- */

typedef struct span {
    uintptr_t begin, end;
} span;

static span span_of(const mnt_operand *o)
{
    span s = { 0, 0 };
    if (!o->buffer)
        return s;
    uint64_t last = 0;
    for (int d = 0; d < o->ndim; d++) {
        if (o->dim[d] <= 0)
            return s;
        last += (uint64_t)(o->dim[d] - 1) * (uint64_t)o->stride[d];
    }
    s.begin = (uintptr_t)o->buffer + (uintptr_t)o->offset;
    s.end = s.begin + (uintptr_t)((last + 1) * mnt_dtype_size(o->dtype));
    return s;
}

static bool overlap(span a, span b)
{
    return a.begin < b.end && b.begin < a.end;
}

/* Whether `cmd` writes memory of `o`. */
static bool writes(const mnt_cmd *cmd, const mnt_operand *o)
{
    span s = span_of(o);
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (overlap(s, span_of(&cmd->out[i])))
            return true;
    return false;
}

/* Whether the two commands must keep their order. */
static bool conflict(const mnt_cmd *a, const mnt_cmd *b)
{
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (writes(a, &b->in[i]) || writes(b, &a->in[i]))
            return true;
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (writes(a, &b->out[i]))
            return true;
    return false;
}

/* ---- building ---- */

static size_t round_up(size_t bytes)
{
    return (bytes + 2 * CPU_ALIGN - 1) / (2 * CPU_ALIGN) * (2 * CPU_ALIGN);
}

static void plan_cache(cpu_unit *u, const mnt_program *program)
{
    const mnt_operand *source = &u->job.cmd->in[u->job.cache_input];
    u->version = source->version;
    for (int i = 0; i < program->count && !u->self_written; i++)
        u->self_written = writes(&program->cmds[i], source);
}

static mnt_status make_unit(cpu_context *ctx, cpu_unit *u, const mnt_program *program,
                            int index)
{
    const mnt_cmd *cmd = &program->cmds[index];
    const char *forced;
    u->kernel = cpu_choose(ctx, cmd, &forced);
    if (!u->kernel)
        return no_kernel(ctx, cmd, forced);
    snprintf(u->name, sizeof u->name, "%s.%s", u->kernel->name, ctx->isa->name);
    u->timing.kernel = u->name;
    cpu_job *job = &u->job;
    job->cmd = cmd;
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (cmd->in[i].buffer)
            job->in[i] = (const char *)cmd->in[i].buffer + cmd->in[i].offset;
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (cmd->out[i].buffer)
            job->out[i] = (char *)cmd->out[i].buffer + cmd->out[i].offset;
    u->kernel->plan(job);
    if (job->cache_bytes == 0)
        return MNT_OK;
    plan_cache(u, program);
    job->cache = cpu_alloc(ctx->host, job->cache_bytes);
    if (!job->cache) {
        char text[CPU_TEXT];
        snprintf(text, sizeof text, "%s: no memory for %zu bytes of packed parameters",
                 mnt_op_name(cmd->op), job->cache_bytes);
        return ctx->host->fail(ctx->host->self, MNT_NO_MEMORY, text);
    }
    return MNT_OK;
}

static int chunks_of(const cpu_context *ctx, int64_t units)
{
    int threads = cpu_pool_threads(ctx->pool);
    int most = threads == 1 ? 1 : 4 * threads;
    return units < most ? (int)units : most;
}

/* Whether unit `u` may join the stage whose tasks are [first, last). */
static bool joins(const cpu_program *p, const cpu_stage *stage, int u)
{
    if (stage->chunks > CPU_POOL_MAX_CHUNKS / 2 || p->units[u].job.phases != 1)
        return false;
    for (int t = stage->first; t < stage->last; t++) {
        const cpu_job *other = &p->units[p->tasks[t].unit].job;
        if (other->phases != 1 || conflict(other->cmd, p->units[u].job.cmd))
            return false;
    }
    return true;
}

/*
 * Jobs of one phase share a stage with their predecessors when neither touches what the
 * other writes. Shared scratch of a stage's jobs lies side by side.
 */
static void make_stages(cpu_program *p, size_t *shared_bytes)
{
    size_t used = 0;
    for (int u = 0; u < p->count; u++) {
        cpu_job *job = &p->units[u].job;
        for (int phase = 0; phase < job->phases; phase++) {
            if (job->units[phase] <= 0)
                continue;
            cpu_task *task = &p->tasks[p->task_count++];
            *task = (cpu_task){ u, phase, chunks_of(p->ctx, job->units[phase]) };
            cpu_stage *stage = p->stage_count ? &p->stages[p->stage_count - 1] : NULL;
            if (!stage || !joins(p, stage, u)) {
                stage = &p->stages[p->stage_count++];
                stage->first = stage->last = p->task_count - 1;
                used = 0;
            }
            stage->last++;
            stage->chunks += task->chunks;
            p->units[u].shared_at = used;
        }
        used += round_up(job->shared_bytes);
        if (used > *shared_bytes)
            *shared_bytes = used;
    }
}

static mnt_status grow(cpu_context *ctx, char **block, size_t *have, size_t want,
                       size_t times)
{
    if (want <= *have)
        return MNT_OK;
    char *fresh = want <= SIZE_MAX / times ? cpu_alloc(ctx->host, want * times) : NULL;
    if (!fresh) {
        char text[CPU_TEXT];
        snprintf(text, sizeof text, "cpu: no memory for scratch of %zu x %zu bytes",
                 times, want);
        return ctx->host->fail(ctx->host->self, MNT_NO_MEMORY, text);
    }
    cpu_free(ctx->host, *block);
    *block = fresh;
    *have = want;
    return MNT_OK;
}

static mnt_status build(cpu_program *p, const mnt_program *program)
{
    cpu_context *ctx = p->ctx;
    size_t local = 0, shared = 0, tasks = 0;
    for (int i = 0; i < p->count; i++) {
        mnt_status status = make_unit(ctx, &p->units[i], program, i);
        if (status != MNT_OK)
            return status;
        if (p->units[i].job.local_bytes > local)
            local = p->units[i].job.local_bytes;
        tasks += (size_t)p->units[i].job.phases;
    }
    p->tasks = cpu_alloc(ctx->host, tasks * sizeof *p->tasks);
    p->stages = cpu_alloc(ctx->host, tasks * sizeof *p->stages);
    if (!p->tasks || !p->stages)
        return ctx->host->fail(ctx->host->self, MNT_NO_MEMORY,
                               "cpu: no memory for a program's stages");
    make_stages(p, &shared);
    mnt_status status = grow(ctx, &ctx->shared, &ctx->shared_bytes, shared, 1);
    if (status == MNT_OK)
        status = grow(ctx, &ctx->local, &ctx->local_bytes, round_up(local),
                      (size_t)cpu_pool_threads(ctx->pool));
    return status;
}

mnt_status cpu_prepare(void *ctx, const mnt_program *program, void **prepared)
{
    cpu_context *c = ctx;
    *prepared = NULL;
    size_t head = round_up(sizeof(cpu_program));
    char *block =
        cpu_alloc(c->host, head + (uint64_t)program->count * sizeof(cpu_unit));
    if (!block)
        return c->host->fail(c->host->self, MNT_NO_MEMORY,
                             "cpu: no memory for a program");
    cpu_program *p = (void *)block;
    p->ctx = c;
    p->units = (void *)(block + head);
    p->count = program->count;
    mnt_status status = build(p, program);
    if (status != MNT_OK) {
        cpu_discard(c, p);
        return status;
    }
    *prepared = p;
    return MNT_OK;
}

void cpu_discard(void *ctx, void *prepared)
{
    const cpu_context *c = ctx;
    cpu_program *p = prepared;
    if (!p)
        return;
    for (int i = 0; i < p->count; i++)
        cpu_free(c->host, p->units[i].job.cache);
    cpu_free(c->host, p->stages);
    cpu_free(c->host, p->tasks);
    cpu_free(c->host, p);
}
