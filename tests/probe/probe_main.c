/* SPDX-License-Identifier: MIT */
/*
 * The probes: inputs, and one line a probe with the hash of what the machine answered.
 * `probe [STRIDE]`: every STRIDE-th of the 2^32 inputs of each function (251; 1 takes a
 * GPU). Two machines agree when their lines agree; "edge" lines may differ (numerics
 * B3).
 */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>

/* Zeros, subnormals, the smallest normals, ties, thirds, large ones, infinities, NaN.
 */
static const uint32_t values[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x00400000, 0x807fffff, 0x00800000,
    0x80800000, 0x00800001, 0x00ffffff, 0x01000000, 0x01000001, 0x1e3ce508, 0x1f800000,
    0x20000000, 0x33800000, 0x33800001, 0x34000000, 0x3effffff, 0x3f000000, 0x3f7fffff,
    0x3f800000, 0xbf800000, 0x3f800001, 0x3eaaaaab, 0x40490fdb, 0xc0490fdb, 0x40400000,
    0x4b000000, 0x4b7fffff, 0x4b800000, 0x4b800001, 0x5f800000, 0x7e967699, 0x7f000000,
    0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
};
#define VALUES (sizeof values / sizeof *values)

static uint64_t hash_words(const uint32_t *w, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ w[i]) * 1099511628211u;
    return h;
}

static int probe(const char *label, enum probe_kernel id, const uint32_t *in,
                 size_t in_words, size_t out_words, uint32_t n, uint32_t threads)
{
    uint32_t *out = calloc(out_words, sizeof *out);
    if (!out || probe_run(id, in, in_words, out, out_words, n, threads)) {
        printf("%-12s failed\n", label);
        free(out);
        return 1;
    }
    printf("%-12s %016llx\n", label, (unsigned long long)hash_words(out, out_words));
    free(out);
    return 0;
}

/* Numbers in (-1, 1) and, now and then, tiny or huge ones, from a small generator. */
static void fill(uint32_t *w, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t exponent = 0x3e000000u - ((seed >> 27) << 24);
        w[i] = (seed & 0x80000000u) |
               ((exponent & 0x7f000000u) + ((seed >> 3) & 0xffffff));
    }
}

static int products(void)
{
    enum { M = 33, K = 784, N = 16, IMAGES = 130 };
    static uint32_t mm[3 + M * K + K * N], conv[IMAGES * (64 + 36)];
    static const uint32_t chunks[] = { 208, 64, 256 };
    int bad = 0;
    fill(mm + 3, sizeof mm / sizeof *mm - 3, 5);
    for (int i = 0; i < 3; i++) {
        char label[32];
        mm[0] = M;
        mm[1] = K;
        mm[2] = chunks[i];
        snprintf(label, sizeof label, "matmul %u", (unsigned)chunks[i]);
        bad |= probe(label, ID_probe_matmul, mm, sizeof mm / 4, M * N, N, M * N);
    }
    fill(conv, sizeof conv / sizeof *conv, 6);
    return bad |
           probe("conv dw", ID_probe_conv_dw, conv, sizeof conv / 4, 9, IMAGES, 9);
}

static int sweeps(uint32_t stride)
{
    static const char *const names[] = { "exp",     "log", "cospi", "tanh",
                                         "sigmoid", "erf", "sqrt" };
    uint64_t inputs = ((UINT64_C(1) << 32) + stride - 1) / stride;
    uint32_t each = 4096, threads = (uint32_t)((inputs + each - 1) / each);
    int bad = 0;
    for (uint32_t f = 0; f < 7; f++) {
        uint32_t in[2] = { f, stride };
        bad |= probe(names[f], ID_probe_sweep, in, 2, threads, each, threads);
    }
    return bad;
}

static int edge(void)
{
    static const uint32_t in[] = { 0x3f7fffff, 0x00800000, 0xbf7fffff, 0x00800000,
                                   0x1fffffff, 0x20000000, 0x00800001, 0x3f7ffffe };
    uint32_t out[4];
    if (probe_run(ID_probe_edge, in, 8, out, 4, 4, 4))
        return 1;
    for (int i = 0; i < 4; i++)
        printf("edge         %08x * %08x = %08x\n", (unsigned)in[2 * i],
               (unsigned)in[2 * i + 1], (unsigned)out[i]);
    return 0;
}

int main(int argc, char **argv)
{
    const char *why = "";
    const char *name = probe_open(&why);
    uint32_t stride = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 251;
    if (!name || stride == 0) {
        fprintf(stderr, "probe: %s\n",
                name ? "the stride is not a positive number" : why);
        return 1;
    }
    printf("machine      %s\nstride       %u\n", name, (unsigned)stride);
    const uint32_t seed[2] = { 0x12345678, 0x9abcdef0 };
    int bad = probe("pairs", ID_probe_pairs, values, VALUES, 8 * VALUES * VALUES,
                    VALUES, VALUES * VALUES);
    bad |= probe("fma", ID_probe_fma, values, VALUES, VALUES * VALUES * VALUES, VALUES,
                 VALUES * VALUES * VALUES);
    bad |= probe("random", ID_probe_random, seed, 2, 8192, 64, 8192);
    bad |= probe("philox", ID_probe_philox, seed, 2, 6 * 4096, 3, 4096);
    return bad | products() | sweeps(stride) | edge();
}
