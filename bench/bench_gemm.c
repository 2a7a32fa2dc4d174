/* SPDX-License-Identifier: MIT */
/*
 * Times the cpu backend's matrix products against OpenBLAS: bench_gemm [isa [threads]].
 *
 * Both sides work in turn in one process, a pair a sample, so that a busy machine slows
 * both. Printed are the median times, the GFLOP/s of the fastest samples and the median
 * of the pairs' ratios. Packing is part of our time, except in rows marked "kept",
 * where B is a parameter packed before. The other side adds bias and relu in its own
 * loop.
 */
#define _POSIX_C_SOURCE 200809L
#include "../backends/cpu/cpu.h"
#include "../backends/cpu/pool.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES   31
#define SAMPLE_NS 2e6 /* a sample repeats a product to last this long */

extern const cpu_kernel cpu_gemm_generic[];
#if defined(__x86_64__)
extern const cpu_kernel cpu_gemm_avx2[], cpu_gemm_avx512[];
#elif defined(__aarch64__)
extern const cpu_kernel cpu_gemm_neon[];
#endif

typedef struct shape {
    int m, n, k, chunk;
    bool ta, tb, dense, kept;
    const char *what;
} shape;

static const shape shapes[] = {
    { 256, 128, 784, 208, false, false, true, false, "mlp layer 1" },
    { 256, 128, 784, 208, false, false, true, true, "mlp layer 1, kept" },
    { 256, 10, 128, 128, false, false, true, false, "mlp layer 2" },
    { 784, 128, 256, 64, true, false, false, false, "mlp dW1" },
    { 128, 10, 256, 64, true, false, false, false, "mlp dW2" },
    { 256, 128, 10, 16, false, true, false, false, "mlp dx2" },
    { 256, 784, 128, 128, false, true, false, false, "dx of 784" },
    { 1, 128, 784, 208, false, false, true, true, "one image, layer 1" },
    { 1, 10, 128, 128, false, false, true, true, "one image, layer 2" },
    { 4, 128, 784, 208, false, false, true, true, "four images" },
    { 8, 128, 784, 208, false, false, true, true, "eight images" },
    { 8, 576, 25, 25, false, false, false, false, "conv1 columns" },
    { 16, 64, 200, 200, false, false, false, false, "conv2 columns" },
    { 128, 128, 128, 128, false, false, false, false, "" },
    { 256, 256, 256, 256, false, false, false, false, "" },
    { 512, 512, 512, 256, false, false, false, false, "" },
    { 1024, 1024, 1024, 256, false, false, false, false, "" },
    { 1024, 1024, 1024, 256, true, false, false, false, "TN" },
    { 1024, 1024, 1024, 256, false, true, false, false, "NT" },
    { 1000, 1000, 1000, 256, false, false, false, false, "" },
    { 2048, 2048, 2048, 256, false, false, false, false, "" },
};

typedef struct bench {
    const shape *s;
    float *a, *b, *bias, *ours, *theirs;
    mnt_cmd cmd;
    cpu_job job;
    const cpu_kernel *kernel;
    uint64_t version;
    cpu_pool *pool;
    int threads;
    char *local[64];
    int phase, chunks;
} bench;

/* One thread: processor time, which other programs disturb less. */
static double now_ns(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *grab(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!p) {
        fprintf(stderr, "bench_gemm: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(p, 0, bytes);
    return p;
}

static float *random_floats(size_t count)
{
    float *p = grab(count * sizeof(float));
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return p;
}

static void run_chunk(void *arg, int chunk, int thread)
{
    const bench *b = arg;
    const int64_t units = b->job.units[b->phase];
    b->kernel->run(&b->job, b->phase, units * chunk / b->chunks,
                   units * (chunk + 1) / b->chunks, b->local[thread]);
}

static void run_ours(bench *b)
{
    for (b->phase = 0; b->phase < b->job.phases; b->phase++) {
        const int64_t units = b->job.units[b->phase];
        const int most = b->threads == 1 ? 1 : 4 * b->threads;
        b->chunks = units < most ? (int)units : most;
        cpu_pool_run(b->pool, b->chunks, true, run_chunk, b);
    }
}

static void run_theirs(bench *b)
{
    const shape *s = b->s;
    cblas_sgemm(CblasRowMajor, s->ta ? CblasTrans : CblasNoTrans,
                s->tb ? CblasTrans : CblasNoTrans, s->m, s->n, s->k, 1.0f, b->a,
                s->ta ? s->m : s->k, b->b, s->tb ? s->k : s->n, 0.0f, b->theirs, s->n);
    if (!s->dense)
        return;
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < s->n; j++) {
            float y = b->theirs[(size_t)i * (size_t)s->n + (size_t)j] + b->bias[j];
            b->theirs[(size_t)i * (size_t)s->n + (size_t)j] = y > 0 ? y : 0;
        }
}

static double time_of(void (*run)(bench *), bench *b, int repeats)
{
    const double start = now_ns(b->threads);
    for (int i = 0; i < repeats; i++)
        run(b);
    return (now_ns(b->threads) - start) / repeats;
}

static void operand(mnt_operand *o, void *p, int64_t rows, int64_t cols)
{
    *o = (mnt_operand){ .buffer = p,
                        .dtype = MNT_F32,
                        .ndim = 2,
                        .dim = { rows, cols },
                        .stride = { cols, 1 } };
}

static void set_up(bench *b, const cpu_kernel *list, cpu_pool *pool, const shape *s)
{
    const size_t m = (size_t)s->m, n = (size_t)s->n, k = (size_t)s->k;
    *b = (bench){ .s = s, .pool = pool, .threads = cpu_pool_threads(pool) };
    b->a = random_floats(m * k);
    b->b = random_floats(k * n);
    b->bias = random_floats(n);
    b->ours = grab(m * n * sizeof(float));
    b->theirs = grab(m * n * sizeof(float));
    b->cmd.op = s->dense ? MNT_OP_ID_dense : MNT_OP_ID_matmul;
    b->cmd.args.matmul = (mnt_args_matmul){ s->ta, s->tb, s->dense, s->chunk };
    operand(&b->cmd.in[0], b->a, s->ta ? s->k : s->m, s->ta ? s->m : s->k);
    operand(&b->cmd.in[1], b->b, s->tb ? s->n : s->k, s->tb ? s->k : s->n);
    operand(&b->cmd.in[2], b->bias, 1, s->n);
    operand(&b->cmd.out[0], b->ours, s->m, s->n);
    b->cmd.in[1].version = s->kept ? &b->version : NULL;
    for (b->kernel = list; b->kernel->op != b->cmd.op || !b->kernel->accepts(&b->cmd);)
        b->kernel++;
    b->job = (cpu_job){ .cmd = &b->cmd,
                        .in = { b->a, b->b, b->bias },
                        .out = { b->ours },
                        .cache_stale = true };
    b->kernel->plan(&b->job);
    b->job.shared = grab(b->job.shared_bytes);
    b->job.cache = grab(b->job.cache_bytes);
    for (int t = 0; t < b->threads; t++)
        b->local[t] = grab(b->job.local_bytes);
}

static void tear_down(bench *b)
{
    free(b->a);
    free(b->b);
    free(b->bias);
    free(b->ours);
    free(b->theirs);
    free(b->job.shared);
    free(b->job.cache);
    for (int t = 0; t < b->threads; t++)
        free(b->local[t]);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, SAMPLES, sizeof *v, by_value);
    return v[SAMPLES / 2];
}

/* The largest difference, relative to the sum of magnitudes that K allows. */
static double difference(const bench *b)
{
    double worst = 0;
    for (size_t i = 0; i < (size_t)b->s->m * (size_t)b->s->n; i++) {
        const double d = (double)b->ours[i] - (double)b->theirs[i];
        worst = d > worst ? d : -d > worst ? -d : worst;
    }
    return worst / b->s->k;
}

static void compare(bench *b)
{
    const shape *s = b->s;
    double ours[SAMPLES], theirs[SAMPLES], ratio[SAMPLES];
    run_ours(b);
    b->job.cache_stale = !s->kept;
    run_ours(b);
    run_theirs(b);
    const double once = time_of(run_ours, b, 3);
    const int repeats = once > SAMPLE_NS ? 1 : (int)(SAMPLE_NS / once) + 1;
    for (int i = 0; i < SAMPLES; i++) {
        ours[i] = time_of(run_ours, b, repeats);
        theirs[i] = time_of(run_theirs, b, repeats);
        ratio[i] = theirs[i] / ours[i];
    }
    const double flops = 2.0 * s->m * s->n * s->k;
    const double us = median(ours) / 1e3, other = median(theirs) / 1e3; /* sorted now */
    printf("%5dx%5dx%5d %c%c %-7s %9.1f us %7.1f GFLOP/s %9.1f us %7.1f GFLOP/s "
           "%5.2f  %s%s\n",
           s->m, s->n, s->k, s->ta ? 'T' : 'N', s->tb ? 'T' : 'N', b->kernel->name, us,
           flops / ours[0], other, flops / theirs[0], median(ratio), s->what,
           difference(b) < 1e-6 ? "" : "  DIFFERS");
    fflush(stdout);
}

static void *host_alloc(void *self, size_t bytes)
{
    (void)self;
    return malloc(bytes);
}

static void host_free(void *self, void *p)
{
    (void)self;
    free(p);
}

static mnt_status host_fail(void *self, mnt_status status, const char *sentence)
{
    (void)self;
    fprintf(stderr, "bench_gemm: %s\n", sentence);
    return status;
}

static const cpu_kernel *list_of(const char *isa)
{
#if defined(__x86_64__)
    if (!isa)
        isa = __builtin_cpu_supports("avx512dq") ? "avx512"
              : __builtin_cpu_supports("avx2")   ? "avx2"
                                                 : "generic";
    if (strcmp(isa, "avx512") == 0)
        return cpu_gemm_avx512;
    if (strcmp(isa, "avx2") == 0)
        return cpu_gemm_avx2;
#elif defined(__aarch64__)
    if (!isa || strcmp(isa, "neon") == 0)
        return cpu_gemm_neon;
#endif
    return isa && strcmp(isa, "generic") != 0 ? NULL : cpu_gemm_generic;
}

int main(int argc, char **argv)
{
    const cpu_kernel *list = list_of(argc > 1 ? argv[1] : NULL);
    const int threads = argc > 2 ? atoi(argv[2]) : 1;
    if (!list || threads < 1 || threads > 64) {
        fprintf(stderr, "usage: bench_gemm [generic|avx2|avx512|neon [threads]]\n");
        return 2;
    }
    const mnt_host host = {
        .size = sizeof host, .alloc = host_alloc, .free = host_free, .fail = host_fail
    };
    cpu_pool *pool;
    if (cpu_pool_create(&pool, &host, threads) != MNT_OK)
        return 1;
    openblas_set_num_threads(threads);
    printf("%s, %d threads; OpenBLAS: %s\n", argc > 1 ? argv[1] : "best", threads,
           openblas_get_config());
    printf("    m     n     k op variant       ours                       OpenBLAS"
           "                    ratio\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench b;
        set_up(&b, list, pool, &shapes[i]);
        compare(&b);
        tear_down(&b);
    }
    cpu_pool_destroy(pool);
    return 0;
}
