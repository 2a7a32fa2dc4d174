/* SPDX-License-Identifier: MIT */
/*
 * Backends with one thing wrong, each the example backend with a slot replaced. Which
 * one is said by MNT_BAD when the file is loaded; its name is "bad-" and that word. What
 * the tests expect of each stands in test_plugins.c and CMakeLists.txt.
 */
#include <mnt/backend.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The example's entry, renamed by the build. */
const mnt_backend *plain_entry(void);
MNT_API const mnt_backend *mnt_backend_entry(void);

#define MOST 80
#define ROOM 256 /* bytes behind each buffer, so that a bad write hurts nobody else */

static const mnt_backend *good;

/* The hosts of open contexts, for slots that want to say something. */
static struct {
    void *ctx;
    const mnt_host *host;
} opened[MOST];

/* ---- opening ---- */

static int devices_none(void)
{
    return 0;
}

static int devices_negative(void)
{
    return -3;
}

static mnt_status open_silent(const mnt_backend_config *config, void **ctx)
{
    (void)config;
    (void)ctx;
    return MNT_DEVICE;
}

static mnt_status open_odd(const mnt_backend_config *config, void **ctx)
{
    (void)config;
    (void)ctx;
    return (mnt_status)7;
}

static mnt_status open_remembering(const mnt_backend_config *config, void **ctx)
{
    mnt_status st = good->open(config, ctx);
    int i = 0;
    while (i < MOST - 1 && opened[i].ctx)
        i++;
    if (st == MNT_OK) {
        opened[i].ctx = *ctx;
        opened[i].host = config->host;
    }
    return st;
}

static void close_remembering(void *ctx)
{
    for (int i = 0; i < MOST; i++)
        if (opened[i].ctx == ctx)
            opened[i].ctx = NULL;
    good->close(ctx);
}

static void info_null(void *ctx, mnt_backend_info *out)
{
    (void)ctx;
    out->name = NULL;
    out->detail = NULL;
}

/* ---- memory ---- */

static mnt_status alloc_roomy(void *ctx, uint64_t bytes, void **buffer)
{
    return good->alloc(ctx, bytes + ROOM, buffer);
}

static mnt_status alloc_dirty(void *ctx, uint64_t bytes, void **buffer)
{
    mnt_status st = good->alloc(ctx, bytes, buffer);
    if (st == MNT_OK)
        memset(*buffer, 0xa5, bytes < 65536 ? (size_t)bytes : 65536);
    return st;
}

static mnt_status alloc_nothing(void *ctx, uint64_t bytes, void **buffer)
{
    (void)ctx;
    (void)bytes;
    (void)buffer;
    return MNT_OK;
}

static mnt_status alloc_silent(void *ctx, uint64_t bytes, void **buffer)
{
    (void)ctx;
    (void)bytes;
    *buffer = (void *)(uintptr_t)16; /* nobody may use or release it */
    return MNT_NO_MEMORY;
}

static mnt_status write_silent(void *ctx, void *buffer, uint64_t offset,
                               const void *data, uint64_t bytes)
{
    (void)ctx;
    (void)buffer;
    (void)offset;
    (void)data;
    (void)bytes;
    return MNT_DEVICE;
}

static mnt_status read_silent(void *ctx, void *buffer, uint64_t offset, void *data,
                              uint64_t bytes)
{
    (void)ctx;
    (void)buffer;
    (void)offset;
    (void)data;
    (void)bytes;
    return MNT_IO;
}

static mnt_status wait_failing(void *ctx)
{
    int i = 0;
    while (i < MOST - 1 && opened[i].ctx != ctx)
        i++;
    const mnt_host *host = opened[i].host;
    return host->fail(host->self, MNT_DEVICE, "the cable is out");
}

/* ---- programs ---- */

static bool supports_all(void *ctx, const mnt_cmd *cmd)
{
    (void)ctx;
    (void)cmd;
    return true;
}

static mnt_status prepare_silent(void *ctx, const mnt_program *program, void **prepared)
{
    (void)ctx;
    (void)program;
    *prepared = (void *)(uintptr_t)16; /* nobody may discard it */
    return MNT_UNSUPPORTED;
}

/* A program of the example, and the commands that it was made from. */
typedef struct wrapped {
    void *inner;
    mnt_program copy; /* its commands stay until discard() */
} wrapped;

static mnt_status wrap_prepare(void *ctx, const mnt_program *program, void **prepared)
{
    wrapped *w = calloc(1, sizeof *w);
    if (!w)
        return MNT_NO_MEMORY;
    w->copy = *program;
    mnt_status st = good->prepare(ctx, program, &w->inner);
    if (st) {
        free(w);
        return st;
    }
    *prepared = w;
    return MNT_OK;
}

static void wrap_discard(void *ctx, void *prepared)
{
    wrapped *w = prepared;
    good->discard(ctx, w->inner);
    free(w);
}

static mnt_status wrap_timing(void *ctx, void *prepared, mnt_cmd_timing *rows,
                              int count)
{
    const wrapped *w = prepared;
    return good->timing(ctx, w->inner, rows, count);
}

static mnt_status submit_less(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    mnt_status st = good->submit(ctx, prepared, n - 1, done);
    *done = n - 1;
    return st;
}

static mnt_status submit_more(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    mnt_status st = good->submit(ctx, prepared, n, done);
    *done = n + 1;
    return st;
}

static mnt_status submit_negative(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    mnt_status st = good->submit(ctx, prepared, n, done);
    *done = -n;
    return st;
}

static mnt_status submit_silent(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    (void)ctx;
    (void)prepared;
    *done = n + 5;
    return MNT_DEVICE;
}

static mnt_status submit_stopping(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    (void)ctx;
    (void)prepared;
    (void)n;
    *done = 0;
    return MNT_INTERRUPTED;
}

static mnt_status submit_nothing(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    (void)ctx;
    (void)prepared;
    *done = n;
    return MNT_OK;
}

static char *first_byte(const mnt_operand *o)
{
    return (char *)o->buffer + o->offset;
}

/* Runs the program step by step and spoils what each product has made. */
static mnt_status spoil(void *ctx, void *prepared, int64_t n, int64_t *done,
                        void (*spoiler)(const mnt_cmd *cmd, int64_t count))
{
    const wrapped *w = prepared;
    mnt_status st = MNT_OK;
    for (*done = 0; *done < n && st == MNT_OK;) {
        int64_t one = 0;
        st = good->submit(ctx, w->inner, 1, &one);
        *done += one;
        for (int i = 0; i < w->copy.count; i++) {
            const mnt_cmd *cmd = &w->copy.cmds[i];
            const mnt_operand *y = &cmd->out[0];
            int64_t count = 1;
            for (int d = 0; d < y->ndim; d++)
                count *= y->dim[d];
            if ((cmd->op == MNT_OP_ID_matmul || cmd->op == MNT_OP_ID_dense) && count)
                spoiler(cmd, count);
        }
    }
    return st;
}

static void one_ulp(const mnt_cmd *cmd, int64_t count)
{
    uint32_t bits;
    char *last = first_byte(&cmd->out[0]) + (count - 1) * 4;
    memcpy(&bits, last, sizeof bits);
    if ((bits & 0x7f800000u) != 0x7f800000u && (bits & 0x7fffffffu) != 0)
        bits ^= 1u;
    memcpy(last, &bits, sizeof bits);
}

static void beyond_end(const mnt_cmd *cmd, int64_t count)
{
    const float stray = 1.0f;
    memcpy(first_byte(&cmd->out[0]) + count * 4, &stray, sizeof stray);
}

static mnt_status submit_ulp(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    return spoil(ctx, prepared, n, done, one_ulp);
}

static mnt_status submit_outside(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    return spoil(ctx, prepared, n, done, beyond_end);
}

/* A fault word that points at no command, of a kind that there is not. */
static mnt_status submit_wild_fault(void *ctx, void *prepared, int64_t n, int64_t *done)
{
    const wrapped *w = prepared;
    const uint32_t word[4] = { 99, 4000000000u, 7, 8 };
    for (int i = 0; i < w->copy.count; i++)
        if (w->copy.cmds[i].op == MNT_OP_ID_cross_entropy)
            memcpy(first_byte(&w->copy.cmds[i].out[1]), word, sizeof word);
    return good->submit(ctx, w->inner, n, done);
}

/* ---- timing ---- */

static mnt_status timing_null(void *ctx, void *prepared, mnt_cmd_timing *rows,
                              int count)
{
    mnt_status st = good->timing(ctx, prepared, rows, count);
    for (int i = 0; rows && i < count; i++)
        rows[i].kernel = NULL;
    return st;
}

static mnt_status timing_silent(void *ctx, void *prepared, mnt_cmd_timing *rows,
                                int count)
{
    (void)ctx;
    (void)prepared;
    (void)rows;
    (void)count;
    return MNT_DEVICE;
}

/* Whatever was forced, another kernel claims to have run. */
static mnt_status timing_other(void *ctx, void *prepared, mnt_cmd_timing *rows,
                               int count)
{
    mnt_status st = good->timing(ctx, prepared, rows, count);
    for (int i = 0; rows && i < count; i++)
        rows[i].kernel = "other";
    return st;
}

/* The right bits, and a name that says that they were given up. */
static mnt_status timing_relaxed(void *ctx, void *prepared, mnt_cmd_timing *rows,
                                 int count)
{
    mnt_status st = good->timing(ctx, prepared, rows, count);
    for (int i = 0; rows && i < count; i++)
        rows[i].kernel = "relaxed_fast";
    return st;
}

/* ---- the tables ---- */

static void wrap(mnt_backend *b)
{
    b->alloc = alloc_roomy;
    b->prepare = wrap_prepare;
    b->discard = wrap_discard;
    b->timing = wrap_timing;
}

#define SLOT(name)                                                                     \
    if (strcmp(kind, "null-" #name) == 0)                                              \
        b->name = NULL;

static void empty_slot(mnt_backend *b, const char *kind)
{
    SLOT(devices)
    SLOT(open)
    SLOT(close)
    SLOT(info)
    SLOT(alloc)
    SLOT(release)
    SLOT(write)
    SLOT(read)
    SLOT(supports)
    SLOT(prepare)
    SLOT(submit)
    SLOT(discard)
    SLOT(wait)
    SLOT(profile)
    SLOT(timing)
    SLOT(variant)
    SLOT(name)
}

#define IS(word) (strcmp(kind, (word)) == 0)

static void change_open(mnt_backend *b, const char *kind)
{
    if (IS("abi"))
        b->abi = MNT_BACKEND_ABI + 1;
    else if (IS("small"))
        b->size = sizeof *b - sizeof b->variant;
    else if (IS("shouting"))
        b->name = "Bad Name";
    else if (IS("auto"))
        b->name = "auto";
    else if (IS("endless"))
        b->name = "a-name-of-more-than-thirty-two-letters";
    else if (IS("taken"))
        b->name = "cpu";
    else if (IS("no-device"))
        b->devices = devices_none;
    else if (IS("negative-devices"))
        b->devices = devices_negative;
    else if (IS("open-silent"))
        b->open = open_silent;
    else if (IS("open-odd"))
        b->open = open_odd;
    else if (IS("info-null"))
        b->info = info_null;
}

static void change_memory(mnt_backend *b, const char *kind)
{
    if (IS("alloc-nothing"))
        b->alloc = alloc_nothing;
    else if (IS("alloc-silent"))
        b->alloc = alloc_silent;
    else if (IS("alloc-dirty"))
        b->alloc = alloc_dirty;
    else if (IS("write-silent"))
        b->write = write_silent;
    else if (IS("read-silent"))
        b->read = read_silent;
    else if (IS("wait-failing"))
        b->wait = wait_failing;
    else if (IS("timing-null"))
        b->timing = timing_null;
    else if (IS("timing-silent"))
        b->timing = timing_silent;
    else if (IS("timing-other"))
        b->timing = timing_other;
    else if (IS("relaxed"))
        b->timing = timing_relaxed;
}

static void change_programs(mnt_backend *b, const char *kind)
{
    if (IS("supports-all"))
        b->supports = supports_all;
    else if (IS("prepare-silent"))
        b->prepare = prepare_silent;
    else if (IS("submit-less"))
        b->submit = submit_less;
    else if (IS("submit-more"))
        b->submit = submit_more;
    else if (IS("submit-negative"))
        b->submit = submit_negative;
    else if (IS("submit-silent"))
        b->submit = submit_silent;
    else if (IS("submit-stopping"))
        b->submit = submit_stopping;
    else if (IS("submit-nothing"))
        b->submit = submit_nothing;
    if (!IS("ulp") && !IS("outside") && !IS("wild-fault"))
        return;
    wrap(b);
    b->submit = IS("ulp")       ? submit_ulp
                : IS("outside") ? submit_outside
                                : submit_wild_fault;
}

const mnt_backend *mnt_backend_entry(void)
{
    static mnt_backend tables[MOST];
    static char names[MOST][48];
    static int count;
    const char *kind = getenv("MNT_BAD");
    if (!kind || IS("null-entry") || count == MOST)
        return NULL;
    good = plain_entry();
    mnt_backend *b = &tables[count];
    *b = *good;
    snprintf(names[count], sizeof names[count], "bad-%.24s", kind);
    b->name = names[count++];
    b->open = open_remembering;
    b->close = close_remembering;
    empty_slot(b, kind);
    change_open(b, kind);
    change_memory(b, kind);
    change_programs(b, kind);
    return b;
}
