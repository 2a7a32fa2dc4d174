/* SPDX-License-Identifier: MIT */
/*
 * The watcher of race images. The compiler calls __tsan_* before each access of memory;
 * the functions below stand in the place of ThreadSanitizer's and know Metal's rules
 * instead. Each byte (each word, where a binding holds words) has a shadow: its last
 * write and its last reads. Two accesses, one of them a write, are a race unless
 *   - one thread made both, or both were atomic;
 *   - both are of one threadgroup and a threadgroup_barrier with the memory's flag lies
 *     between them;
 *   - both are of one simdgroup and a simdgroup_barrier with that flag lies between.
 * So nothing orders threadgroups of one dispatch. Accesses outside of all bindings and
 * reads of threadgroup memory that nobody wrote are reported, too. One worker runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim_abi.h"

const sim_services *metalsim_services;

enum {
    WHO_THREAD = 1023,
    WHO_ATOMIC = 1 << 10,
    WHO_SIMD = 1 << 11,  /* reads: by several threads of the simdgroup */
    WHO_MANY = 1 << 12,  /* reads: by several simdgroups of the threadgroup */
    WHO_GROUPS = 1 << 13 /* reads: by several threadgroups */
};

typedef struct record {
    uint32_t pc; /* from the image's beginning; 0: no access yet */
    uint32_t group;
    uint32_t epoch; /* threadgroup barriers passed */
    uint16_t simd;  /* simdgroup barriers passed */
    uint16_t who;
} record;

typedef struct cell {
    record write, read;
} cell;

typedef struct region {
    char *base;
    size_t bytes;
    int shift; /* log2 of the bytes that share a cell */
    bool threadgroup, writable;
    cell *shadow;
} region;

#define MAX_REPORTS 8
#define GAP         64 /* after the last threadgroup array */

static region device[SIM_MAX_BINDINGS], group_memory;
static unsigned devices;
static const sim_array *arrays;
static unsigned array_count;
static const sim_call *call;
static const sim_entry *entry;
static const sim_view *view;
static unsigned reports;
static struct {
    uint32_t a, b;
    const char *what;
} reported[MAX_REPORTS];

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

void metalsim_bind(const sim_services *services);
void metalsim_memory(sim_view *v, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned count);
void metalsim_dispatch(const sim_call *c, const sim_entry *e, int begins);

void metalsim_bind(const sim_services *services)
{
    metalsim_services = services;
}

/* ---- shadows ---- */
static size_t shadow_bytes(const region *r)
{
    return ((r->bytes >> r->shift) + 2) * sizeof(cell);
}

static void shadow_open(region *r)
{
    r->shadow = mmap(NULL, shadow_bytes(r), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->shadow == MAP_FAILED)
        abort();
}

static void shadow_close(region *r)
{
    if (r->shadow)
        munmap(r->shadow, shadow_bytes(r));
    r->shadow = NULL;
}

/* From a cell a word to a cell a byte, when somebody touches a part of a word. */
static void shadow_split(region *r)
{
    region fine = *r;
    fine.shift = 0;
    shadow_open(&fine);
    static const cell nothing;
    for (size_t i = 0; i <= r->bytes >> 2; i++)
        if (memcmp(&r->shadow[i], &nothing, sizeof nothing) != 0)
            for (size_t k = 0; k < 4 && 4 * i + k < r->bytes; k++)
                fine.shadow[4 * i + k] = r->shadow[i];
    shadow_close(r);
    *r = fine;
}

static int by_base(const void *a, const void *b)
{
    const region *x = a, *y = b;
    return (x->base > y->base) - (x->base < y->base);
}

/* Bindings that overlap are one region. */
static void open_bindings(void)
{
    devices = 0;
    for (unsigned i = 0; i < entry->params; i++) {
        const sim_param *p = &entry->param[i];
        char *base = call->buffer[p->index];
        device[devices++] =
            (region){ .base = base,
                      .bytes = call->length[p->index],
                      .shift = p->bytes % 4 == 0 && (uintptr_t)base % 4 == 0 ? 2 : 0,
                      .writable = p->writable };
    }
    qsort(device, devices, sizeof device[0], by_base);
    unsigned n = 0;
    for (unsigned i = 0; i < devices; i++) {
        region *last = n > 0 ? &device[n - 1] : NULL;
        if (!last || device[i].base >= last->base + last->bytes) {
            device[n++] = device[i];
            continue;
        }
        char *end = device[i].base + device[i].bytes;
        if (end > last->base + last->bytes)
            last->bytes = (size_t)(end - last->base);
        last->writable |= device[i].writable;
        last->shift = last->shift < device[i].shift ? last->shift : device[i].shift;
    }
    devices = n;
    for (unsigned i = 0; i < devices; i++)
        shadow_open(&device[i]);
}

void metalsim_dispatch(const sim_call *c, const sim_entry *e, int begins)
{
    if (begins) {
        call = c;
        entry = e;
        view = NULL;
        reports = 0;
        array_count = 0;
        open_bindings();
        return;
    }
    for (unsigned i = 0; i < devices; i++)
        shadow_close(&device[i]);
    shadow_close(&group_memory);
    memset(&group_memory, 0, sizeof group_memory);
    devices = 0;
    call = NULL;
    view = NULL;
}

void metalsim_memory(sim_view *v, void *memory, unsigned long bytes,
                     const sim_array *array, unsigned count)
{
    view = v;
    arrays = array;
    array_count = count;
    memset(memory, 0xff, bytes); /* NaN, if somebody reads it all the same */
    if (group_memory.shadow) {
        memset(group_memory.shadow, 0, shadow_bytes(&group_memory));
        return;
    }
    group_memory = (region){ .base = memory,
                             .bytes = bytes,
                             .shift = 2,
                             .threadgroup = true,
                             .writable = true };
    shadow_open(&group_memory);
}

/* ---- reports ---- */
static uint32_t offset_of(const void *pc)
{
    return (uint32_t)((const char *)pc - __ehdr_start);
}

/* The innermost place of the shaders at pc, which follows the call. */
static void symbolize(uint32_t pc, char *out, size_t size)
{
    Dl_info info;
    char command[8800], line[1024];
    if (!dladdr(__ehdr_start, &info) || !info.dli_fname)
        return;
    snprintf(command, sizeof command,
             "llvm-symbolizer-19 --relativenames --no-demangle -f=none -e '%s' 0x%x "
             "2>/dev/null || addr2line -i -e '%s' 0x%x 2>/dev/null",
             info.dli_fname, pc - 1, info.dli_fname, pc - 1);
    FILE *f = popen(command, "r");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, " \n")] = '\0';
        if (!strchr(line, ':') || strstr(line, "metal_stdlib") ||
            strstr(line, "target.h") || strncmp(line, "??", 2) == 0)
            continue;
        snprintf(out, size, "%s", line);
        break;
    }
    pclose(f);
}

/* The same, asked once for each pc. */
static void place(uint32_t pc, char *out, size_t size)
{
    static struct {
        uint32_t pc;
        char text[120];
    } known[1024];
    unsigned at = pc % 1024;
    if (known[at].pc != pc) {
        char text[1024] = "?";
        symbolize(pc, text, sizeof text);
        known[at].pc = pc;
        snprintf(known[at].text, sizeof known[at].text, "%.119s", text);
    }
    snprintf(out, size, "%s", known[at].text);
}

/* The same as a site; text is for its file's name. */
static sim_site site_at(uint32_t pc, char *text, size_t size)
{
    sim_site site = { .file = text };
    place(pc, text, size);
    unsigned *number[] = { &site.line, &site.column };
    int found = 0; /* of the two, from the end of the text */
    unsigned value[2];
    for (; found < 2; found++) {
        char *colon = strrchr(text, ':'), *end;
        if (!colon)
            break;
        value[found] = (unsigned)strtoul(colon + 1, &end, 10);
        if (end == colon + 1)
            break;
        *colon = '\0';
    }
    for (int i = 0; i < found; i++)
        *number[i] = value[found - 1 - i];
    return site;
}

static bool new_report(uint32_t a, uint32_t b, const char *what)
{
    for (unsigned i = 0; i < reports; i++)
        if (reported[i].a == a && reported[i].b == b && reported[i].what == what)
            return false;
    if (reports == MAX_REPORTS)
        return false;
    reported[reports].a = a;
    reported[reports].b = b;
    reported[reports++].what = what;
    return true;
}

/* "y[12]" or "tile +48": what lies at p. */
static void object(const region *r, const char *p, char *out, size_t size)
{
    if (r->threadgroup) {
        for (unsigned i = 0; i < array_count; i++) {
            size_t at = (size_t)(p - r->base) - arrays[i].offset;
            if ((size_t)(p - r->base) >= arrays[i].offset && at < arrays[i].bytes)
                snprintf(out, size, "threadgroup %s, byte %zu", arrays[i].name, at);
        }
        return;
    }
    for (unsigned i = 0; i < entry->params; i++) {
        const sim_param *q = &entry->param[i];
        char *base = call->buffer[q->index];
        if (p >= base && p < base + call->length[q->index]) {
            snprintf(out, size, "%s (index %u), element %zu", q->name, q->index,
                     (size_t)(p - base) / q->bytes);
            return;
        }
    }
}

static void report(const char *what, const region *r, const char *p, const record *a,
                   const record *b)
{
    if (!new_report(a ? a->pc : 0, b->pc, what))
        return;
    char here[600], there[600], name[128] = "memory", text[2048];
    if (r)
        object(r, p, name, sizeof name);
    int n = snprintf(text, sizeof text, "%s %s", what, name);
    if (a && n > 0 && (size_t)n < sizeof text) {
        place(a->pc, there, sizeof there);
        snprintf(text + n, sizeof text - (size_t)n,
                 ", which thread %u%s accessed at %s", a->who & WHO_THREAD,
                 a->group != b->group ? " of another threadgroup" : "", there);
    }
    sim_site site = site_at(b->pc, here, sizeof here);
    metalsim_services->report(text, &site);
}

/* Ends the dispatch: the access may not happen. Names the nearest binding. */
static void report_outside(const char *p, size_t bytes, bool write, const record *b)
{
    const sim_param *nearest = NULL;
    size_t distance = SIZE_MAX;
    bool below = false;
    for (unsigned i = 0; i < entry->params; i++) {
        const sim_param *q = &entry->param[i];
        const char *base = call->buffer[q->index];
        const char *end = base + call->length[q->index];
        size_t d = p >= end ? (size_t)(p - end) : (size_t)(base - p);
        if (d < distance) {
            distance = d;
            nearest = q;
            below = p < base;
        }
    }
    const char *verb = write ? "writes" : "reads";
    char what[256];
    if (nearest && distance < (1u << 24))
        snprintf(what, sizeof what, "%s %zu bytes, %zu %s %s (index %u, %lu bytes)",
                 verb, bytes, distance, below ? "before" : "past the end of",
                 nearest->name, nearest->index, call->length[nearest->index]);
    else
        snprintf(what, sizeof what, "%s %zu bytes, far from all bindings", verb, bytes);
    char here[600];
    sim_site site = site_at(b->pc, here, sizeof here);
    metalsim_services->fail(what, &site);
}

/* ---- accesses ---- */
static inline bool same_simd(const record *a, const record *b)
{
    unsigned width = call->simd_width;
    return (a->who & WHO_THREAD) / width == (b->who & WHO_THREAD) / width;
}

static inline bool both_atomic(const record *a, const record *b)
{
    return (a->who & b->who & WHO_ATOMIC) != 0;
}

static inline bool ordered(const record *a, const record *b)
{
    if (a->pc == 0 || both_atomic(a, b))
        return true;
    if (a->group != b->group)
        return false;
    return ((a->who ^ b->who) & WHO_THREAD) == 0 || a->epoch != b->epoch ||
           (a->simd != b->simd && same_simd(a, b));
}

/* Whether a write may follow the reads that r stands for. */
static inline bool reads_ordered(const record *r, const record *b)
{
    if (r->pc == 0 || both_atomic(r, b))
        return true;
    if ((r->who & WHO_GROUPS) != 0 || !ordered(r, b))
        return false;
    if (r->epoch != b->epoch)
        return true;
    if ((r->who & WHO_MANY) != 0)
        return false;
    return (r->who & WHO_SIMD) == 0 || (r->simd != b->simd && same_simd(r, b));
}

/* r stands for one more read. */
static inline void add_read(record *r, const record *b)
{
    unsigned keep = 0;
    if (r->pc != 0) {
        keep = r->who & WHO_GROUPS;
        if (r->group != b->group)
            keep = WHO_GROUPS;
        else if (r->epoch == b->epoch) {
            keep |= r->who & WHO_MANY;
            if (!same_simd(r, b))
                keep |= WHO_MANY;
            else if (r->simd == b->simd && ((r->who ^ b->who) & WHO_THREAD) != 0)
                keep |= WHO_SIMD;
            else if (r->simd == b->simd)
                keep |= r->who & WHO_SIMD;
        }
    }
    unsigned atomic = keep != 0 ? r->who & b->who & WHO_ATOMIC : b->who & WHO_ATOMIC;
    *r = *b;
    r->who = (uint16_t)((b->who & WHO_THREAD) | keep | atomic);
}

static void touch(region *r, char *p, size_t bytes, bool write, const record *b)
{
    size_t at = (size_t)(p - r->base);
    if (r->shift == 2 && ((at | bytes) & 3) != 0)
        shadow_split(r);
    size_t last = (at + bytes - 1) >> r->shift;
    for (size_t i = at >> r->shift; i <= last; i++) {
        cell *c = &r->shadow[i];
        char *where = r->base + (i << r->shift);
        if (!ordered(&c->write, b))
            report(write ? "race: writes" : "race: reads", r, where, &c->write, b);
        if (!write) {
            if (r->threadgroup && c->write.pc == 0)
                report("reads what nobody wrote:", r, where, NULL, b);
            add_read(&c->read, b);
            continue;
        }
        if (!reads_ordered(&c->read, b))
            report("race: writes", r, where, &c->read, b);
        c->write = *b;
        c->read.pc = 0;
        c->read.who = 0;
    }
}

static region *find(const char *p, size_t bytes)
{
    static region *last;
    if (last >= device && last < device + devices &&
        (size_t)(p - last->base) < last->bytes)
        return (size_t)(p - last->base) + bytes <= last->bytes ? last : NULL;
    for (unsigned i = 0; i < devices; i++)
        if ((size_t)(p - device[i].base) < device[i].bytes) {
            last = &device[i];
            return (size_t)(p - last->base) + bytes <= last->bytes ? last : NULL;
        }
    return NULL;
}

static bool in_array(size_t at, size_t bytes)
{
    for (unsigned i = 0; i < array_count; i++)
        if (at >= arrays[i].offset && at + bytes <= arrays[i].offset + arrays[i].bytes)
            return true;
    return false;
}

/* Of the simulator: what entry points read to find a kernel's arguments. */
static bool is_own(const char *p)
{
    const char *services = (const char *)metalsim_services;
    return (size_t)(p - view->own[0]) < view->own_bytes[0] ||
           (size_t)(p - view->own[1]) < view->own_bytes[1] ||
           (size_t)(p - services) < sizeof *metalsim_services;
}

static void access(void *pointer, size_t bytes, bool write, bool atomic, const void *pc)
{
    char *p = pointer;
    if (!call || bytes == 0)
        return;
    if (!view)
        view = metalsim_services->view();
    if (!view || view->call != call)
        return;
    unsigned simd = view->index / call->simd_width;
    bool local = group_memory.shadow &&
                 (size_t)(p - group_memory.base) < group_memory.bytes + GAP;
    record b = { .pc = offset_of(pc),
                 .group = view->group,
                 .epoch = view->epoch[local],
                 .simd = (uint16_t)view->simd_epoch[simd][local],
                 .who = (uint16_t)(view->index | (atomic ? WHO_ATOMIC : 0)) };
    if (local) {
        if (in_array((size_t)(p - group_memory.base), bytes))
            touch(&group_memory, p, bytes, write, &b);
        else
            report("accesses threadgroup memory outside of all arrays:", NULL, p, NULL,
                   &b);
        return;
    }
    region *r = find(p, bytes);
    if (r) {
        if (write && !r->writable)
            report("writes a binding that is only read:", r, p, NULL, &b);
        touch(r, p, bytes, write, &b);
        return;
    }
    intptr_t from_stack = p - (char *)__builtin_frame_address(0);
    if (from_stack > -(128 << 10) && from_stack < 128 << 10)
        return; /* a thread's own variable */
    if (p >= __ehdr_start && p < _end)
        return; /* a table of constants */
    if (is_own(p))
        return;
    report_outside(p, bytes, write, &b);
}

/* ---- what the compiler calls ---- */
#define PC __builtin_return_address(0)
#define ACCESSES(n)                                                                    \
    void __tsan_read##n(void *p);                                                      \
    void __tsan_read##n(void *p)                                                       \
    {                                                                                  \
        access(p, n, false, false, PC);                                                \
    }                                                                                  \
    void __tsan_write##n(void *p);                                                     \
    void __tsan_write##n(void *p)                                                      \
    {                                                                                  \
        access(p, n, true, false, PC);                                                 \
    }                                                                                  \
    void __tsan_read_write##n(void *p);                                                \
    void __tsan_read_write##n(void *p)                                                 \
    {                                                                                  \
        access(p, n, false, false, PC);                                                \
        access(p, n, true, false, PC);                                                 \
    }                                                                                  \
    void __tsan_unaligned_read##n(void *p);                                            \
    void __tsan_unaligned_read##n(void *p)                                             \
    {                                                                                  \
        access(p, n, false, false, PC);                                                \
    }                                                                                  \
    void __tsan_unaligned_write##n(void *p);                                           \
    void __tsan_unaligned_write##n(void *p)                                            \
    {                                                                                  \
        access(p, n, true, false, PC);                                                 \
    }                                                                                  \
    void __tsan_unaligned_read_write##n(void *p);                                      \
    void __tsan_unaligned_read_write##n(void *p)                                       \
    {                                                                                  \
        access(p, n, false, false, PC);                                                \
        access(p, n, true, false, PC);                                                 \
    }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_init(void);
void __tsan_init(void)
{
}
void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
    (void)pc;
}
void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}
void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    access((void *)(uintptr_t)from, bytes, false, false, PC);
    access(to, bytes, true, false, PC);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes);
void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    access((void *)(uintptr_t)from, bytes, false, false, PC);
    access(to, bytes, true, false, PC);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes);
void *__tsan_memset(void *to, int value, size_t bytes)
{
    access(to, bytes, true, false, PC);
    return memset(to, value, bytes);
}

typedef uint32_t word;
word __tsan_atomic32_load(const volatile word *p, int order);
word __tsan_atomic32_load(const volatile word *p, int order)
{
    (void)order;
    access((void *)(uintptr_t)p, 4, false, true, PC);
    return *p;
}
void __tsan_atomic32_store(volatile word *p, word x, int order);
void __tsan_atomic32_store(volatile word *p, word x, int order)
{
    (void)order;
    access((void *)(uintptr_t)p, 4, true, true, PC);
    *p = x;
}
#define ATOMIC(name, expression)                                                       \
    word __tsan_atomic32_##name(volatile word *p, word x, int order);                  \
    word __tsan_atomic32_##name(volatile word *p, word x, int order)                   \
    {                                                                                  \
        (void)order;                                                                   \
        access((void *)(uintptr_t)p, 4, true, true, PC);                               \
        word old = *p;                                                                 \
        *p = expression;                                                               \
        return old;                                                                    \
    }
ATOMIC(exchange, x)
ATOMIC(fetch_add, old + x)
ATOMIC(fetch_sub, old - x)
ATOMIC(fetch_and, old &x)
ATOMIC(fetch_or, old | x)
ATOMIC(fetch_xor, old ^ x)
int __tsan_atomic32_compare_exchange_val(volatile word *p, word expected, word x,
                                         int order, int fail);
int __tsan_atomic32_compare_exchange_val(volatile word *p, word expected, word x,
                                         int order, int fail)
{
    (void)order, (void)fail;
    access((void *)(uintptr_t)p, 4, true, true, PC);
    word old = *p;
    if (old == expected)
        *p = x;
    return (int)old;
}
