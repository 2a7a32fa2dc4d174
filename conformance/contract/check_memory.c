/* SPDX-License-Identifier: MIT */
/*
 * Memory of a context: sizes, first contents, every offset, and its order with what was
 * submitted before and after.
 */
#include "checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CHECK(alloc_nothing)
{
    void *a = rig_alloc(r, 0), *b = rig_alloc(r, 0);
    char byte = 7;
    rig_write(r, a, 0, &byte, 0);
    rig_read(r, b, 0, &byte, 0);
    rig_expect(r, byte == 7, "read of 0 bytes wrote to the host");
    rig_release(r, a);
    rig_release(r, b);
}

/* A size refused with a sentence, and small ones still granted. */
CHECK(alloc_too_much)
{
    static const uint64_t sizes[] = { UINT64_MAX, UINT64_MAX - 100, (uint64_t)1 << 62 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !rig_stopped(r); i++) {
        void *buffer;
        char call[64];
        int fails = r->host.fails;
        mnt_status st = rig_try_alloc(r, sizes[i], &buffer);
        snprintf(call, sizeof call, "alloc of %llu bytes",
                 (unsigned long long)sizes[i]);
        rig_refused(r, st, MNT_NO_MEMORY, fails, call);
    }
    float v[10] = { 0 };
    void *x = rig_floats(r, 10, 5);
    rig_read(r, x, 0, v, sizeof v);
    rig_all(r, "a small buffer after an impossible one", 5, v, 10);
}

CHECK(memory_starts_zeroed)
{
    static const uint64_t sizes[] = { 1, 3, 64, 1000, 4096, 65537, 1 << 20, 5 << 20 };
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        uint64_t n = sizes[i % (sizeof sizes / sizeof *sizes)];
        unsigned char *v = kit_alloc(n);
        void *buffer = rig_alloc(r, n);
        memset(v, 0x5a, n);
        rig_read(r, buffer, 0, v, n);
        uint64_t k = 0;
        while (k < n && v[k] == 0)
            k++;
        rig_expect(r, k == n, "alloc of %llu bytes%s: byte %llu is %02x, expected 0",
                   (unsigned long long)n,
                   i >= sizeof sizes / sizeof *sizes ? ", after a release" : "",
                   (unsigned long long)k, k < n ? v[k] : 0);
        memset(v, 0xa5, n);
        rig_write(r, buffer, 0, v, n);
        rig_release(r, buffer);
        free(v);
    }
}

#define SPAN 200

static void fill_bytes(unsigned char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 7 + seed * 31 + 1);
}

CHECK(every_offset)
{
    unsigned char want[SPAN], got[SPAN], piece[SPAN];
    void *buffer = rig_alloc(r, SPAN);
    fill_bytes(want, SPAN, 0);
    rig_write(r, buffer, 0, want, SPAN);
    for (unsigned offset = 0; offset < 70; offset++)
        for (unsigned n = offset % 3; n < 100 && !rig_stopped(r); n += 7) {
            fill_bytes(piece, n, offset + n);
            memcpy(want + offset, piece, n);
            rig_write(r, buffer, offset, piece, n);
            memset(got, 0, sizeof got);
            rig_read(r, buffer, offset, got, n);
            rig_expect(r, !memcmp(got, piece, n),
                       "%u bytes written at offset %u are not what is read there", n,
                       offset);
            memset(got, 0, sizeof got);
            rig_read(r, buffer, 0, got, SPAN);
            for (unsigned k = 0; k < SPAN; k++)
                rig_expect(r, got[k] == want[k],
                           "write of %u bytes at offset %u: byte %u is %02x, expected "
                           "%02x",
                           n, offset, k, got[k], want[k]);
        }
}

CHECK(buffers_apart)
{
    enum { N = 40, BYTES = 777 };
    unsigned char want[BYTES], got[BYTES];
    void *buffers[N];
    for (unsigned i = 0; i < N; i++) {
        buffers[i] = rig_alloc(r, BYTES);
        fill_bytes(want, BYTES, i);
        rig_write(r, buffers[i], 0, want, BYTES);
    }
    for (unsigned i = 0; i < N && !rig_stopped(r); i++) {
        fill_bytes(want, BYTES, i);
        memset(got, 0, sizeof got);
        rig_read(r, buffers[i], 0, got, BYTES);
        rig_expect(r, !memcmp(want, got, BYTES),
                   "buffer %u of %d was overwritten by a "
                   "write to another",
                   i, N);
        if (i % 2)
            rig_release(r, buffers[i]);
    }
    for (unsigned i = 0; i < N && !rig_stopped(r); i += 2) {
        fill_bytes(want, BYTES, i);
        rig_read(r, buffers[i], 0, got, BYTES);
        rig_expect(r, !memcmp(want, got, BYTES),
                   "buffer %u changed when others were released", i);
    }
}

/* ---- order ---- */

#define LONG ((int64_t)1 << 17) /* elements */
#define MANY 300                /* replays: work for some milliseconds */

typedef struct adder {
    void *x, *total, *program;
    mnt_cmd cmd;
} adder;

static void adder_open(rig *r, adder *a)
{
    a->x = rig_floats(r, LONG, 1);
    a->total = rig_floats(r, LONG, 0);
    a->cmd = rig_accumulate(rig_vector(a->x, LONG), rig_vector(a->total, LONG));
    a->program = rig_prepare(r, &a->cmd, 1);
}

static void adder_expect(rig *r, void *total, const char *what, float want)
{
    float *got = kit_alloc((size_t)LONG * sizeof *got);
    rig_read(r, total, 0, got, (uint64_t)LONG * sizeof *got);
    rig_all(r, what, want, got, LONG);
    free(got);
}

CHECK(write_waits_its_turn)
{
    adder a;
    adder_open(r, &a);
    rig_submit(r, a.program, MANY);
    rig_set(r, a.x, LONG, 2);
    rig_submit(r, a.program, 3);
    adder_expect(r, a.total,
                 "300 replays + 1, a write of the addend, 3 replays + 2: the write was "
                 "not seen in its place",
                 MANY + 6);
    rig_submit(r, a.program, MANY);
    rig_set(r, a.total, LONG, 10);
    rig_submit(r, a.program, 2);
    adder_expect(r, a.total, "a write of the total behind 300 queued replays, 2 more",
                 14);
}

/* The caller's bytes are its own again when write() returns. */
CHECK(write_takes_its_data)
{
    adder a;
    float *v = kit_alloc((size_t)LONG * sizeof *v);
    adder_open(r, &a);
    for (int64_t i = 0; i < LONG; i++)
        v[i] = 5;
    rig_submit(r, a.program, MANY);
    rig_write(r, a.total, 0, v, (uint64_t)LONG * sizeof *v);
    memset(v, 0xff, (size_t)LONG * sizeof *v);
    rig_submit(r, a.program, 1);
    adder_expect(r, a.total,
                 "a write whose source was overwritten behind the call, + 1", 6);
    free(v);
}

CHECK(read_waits)
{
    adder a;
    adder_open(r, &a);
    for (int i = 1; i <= 3; i++) {
        rig_submit(r, a.program, MANY);
        adder_expect(r, a.total, "a read right behind 300 queued replays",
                     (float)(i * MANY));
    }
}

CHECK(release_while_queued)
{
    adder a;
    adder_open(r, &a);
    void *keep = rig_alloc(r, (uint64_t)LONG * 4);
    mnt_operand x = rig_vector(a.x, LONG), y = rig_vector(keep, LONG);
    mnt_cmd copy = rig_elementwise(MNT_OP_ID_copy, &x, NULL, y, 0);
    void *last = rig_prepare(r, &copy, 1);
    rig_submit(r, a.program, MANY);
    rig_submit(r, last, 1);
    rig_release(r, a.x);
    /* What now gets its memory must not be what the queue reads. */
    for (int i = 0; i < 4; i++)
        rig_floats(r, LONG, -100);
    adder_expect(r, a.total, "an addend released behind 300 queued replays", MANY);
    adder_expect(r, keep, "a copy queued before its source was released", 1);
    rig_discard(r, a.program);
    rig_discard(r, last);
}
