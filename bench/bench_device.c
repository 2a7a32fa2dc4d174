/* SPDX-License-Identifier: MIT */
/*
 * Times one device: training epochs, inference, matrix products. Prints a line of CSV
 * for each, seconds as median, 95th percentile and least of a number of rounds.
 *
 *   epoch    shuffle, every step of 60,000 images, wait; u8 data resident on the device
 *   queued   the same epochs one behind the other, one wait: the next shuffle overlaps
 *   flight   inference: many batches queued, one wait; u8 rows in, logits stay there
 *   latency  inference: one batch, wait; data as above
 *   host     inference: f32 images written, one batch, logits read
 *   matmul   a product of two f32 matrices on the device, many queued, one wait
 *   rows     softmax, sum and argmax of rows on the device, many queued, one wait
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, getopt_long */

#include "nets.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRY(call)                                                                      \
    if ((st = (call)) != MNT_OK)                                                       \
    goto done

#define LATENCIES   200
#define ROUNDS_MOST LATENCIES

typedef struct bench {
    mnt_device *dev;
    mnt_device_info info;
    mnt_dataset *train;
    const char *data, *net, *what;
    int threads, rounds;
    bool quick; /* a few rounds of small sizes: to test the program itself */
} bench;

/* One model and one graph, and what a round of it is. */
typedef struct subject {
    mnt_model *model;
    mnt_graph *g;
    mnt_tensor *in, *logits;
    int64_t batch, replays;
} subject;

typedef struct sample {
    double seconds[ROUNDS_MOST];
    int count;
} sample;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* work: images or floating-point operations in the time of one sample. */
static void print(const bench *b, const char *what, const char *name, int64_t batch,
                  sample *s, double work)
{
    qsort(s->seconds, (size_t)s->count, sizeof *s->seconds, by_value);
    double median = s->seconds[s->count / 2];
    printf("%s,%s,%lld,%s,%d,%.9f,%.9f,%.9f,%d,%.6g\n", what, name, (long long)batch,
           b->info.backend, b->info.threads, median,
           s->seconds[(s->count * 95 - 1) / 100], s->seconds[0], s->count,
           work / median);
    fflush(stdout);
}

/* ---- networks ---- */

static void subject_close(subject *u)
{
    mnt_graph_destroy(u->g);
    mnt_model_destroy(u->model);
}

typedef enum kind { TRAIN, INFER, HOST } kind;

static mnt_status subject_open(subject *u, const bench *b, const char *net, kind k,
                               int64_t batch)
{
    mnt_status st;
    *u = (subject){ .batch = batch, .replays = 1 };
    TRY(mnt_model_create(&u->model, b->dev, NULL));
    TRY(mnt_graph_create(&u->g, b->dev, u->model, NULL));
    mnt_batch in = { 0 };
    if (k == HOST)
        in.x = u->in = mnt_input(u->g, MNT_F32, MNT_SHAPE(batch, 1, 28, 28));
    else
        in = mnt_batch_input(u->g, b->train, batch);
    u->logits = nets_forward(net, u->g, in.x);
    if (k == TRAIN)
        nets_train(u->g, u->logits, in.y, 0.01f);
    else
        mnt_tensor_keep(u->logits);
    TRY(mnt_graph_compile(u->g));
done:
    return st;
}

static mnt_status run_and_wait(const bench *b, const subject *u, double *seconds)
{
    double start = now();
    mnt_status st = mnt_graph_run(u->g, u->replays);
    if (st == MNT_OK)
        st = mnt_device_wait(b->dev);
    *seconds = now() - start;
    return st;
}

/* So many replays a round that it lasts `seconds`. */
static mnt_status calibrate(const bench *b, subject *u, double seconds)
{
    double took = 0.0;
    mnt_status st = run_and_wait(b, u, &took);
    for (; st == MNT_OK && u->replays < 1 << 22;
         u->replays *= took < seconds / 16 ? 8 : 2) {
        st = run_and_wait(b, u, &took);
        if (took >= seconds)
            break;
    }
    return st;
}

/* Rounds of `replays` each; a sample is one replay. */
static mnt_status rounds(const bench *b, const subject *u, sample *s)
{
    mnt_status st = MNT_OK;
    for (s->count = 0; s->count < b->rounds && st == MNT_OK; s->count++) {
        st = run_and_wait(b, u, &s->seconds[s->count]);
        s->seconds[s->count] /= (double)u->replays;
    }
    return st;
}

/* Single batches: 200 of them, or as many as fit into 0.3 s, at least 5. */
static bool more(const bench *b, const sample *s, double since)
{
    int most = b->quick ? 5 : LATENCIES;
    return s->count < 5 || (s->count < most && now() - since < 0.3);
}

/* ---- what is timed ---- */

static mnt_status epoch(const bench *b, const subject *u, int64_t steps, int number)
{
    mnt_status st = mnt_dataset_shuffle(b->train, 1, number);
    return st == MNT_OK ? mnt_graph_run(u->g, steps) : st;
}

static mnt_status time_epochs(const bench *b, const char *net, int64_t batch)
{
    mnt_status st;
    subject u;
    sample s = { .count = 0 };
    int n = b->rounds;
    int64_t steps = mnt_dataset_batches(b->train, batch);
    double images = (double)(steps * batch), start;
    TRY(subject_open(&u, b, net, TRAIN, batch));
    TRY(epoch(b, &u, steps, 0)); /* warm-up */
    TRY(mnt_device_wait(b->dev));
    for (; s.count < n; s.count++) {
        start = now();
        TRY(epoch(b, &u, steps, s.count + 1));
        TRY(mnt_device_wait(b->dev));
        s.seconds[s.count] = now() - start;
    }
    print(b, "epoch", net, batch, &s, images);
    start = now();
    for (int i = 0; i < n; i++)
        TRY(epoch(b, &u, steps, i));
    TRY(mnt_device_wait(b->dev));
    s = (sample){ { (now() - start) / n }, 1 };
    print(b, "queued", net, batch, &s, images);
done:
    subject_close(&u);
    return st;
}

static mnt_status time_inference(const bench *b, const char *net, int64_t batch)
{
    mnt_status st;
    subject u;
    sample s = { .count = 0 };
    TRY(subject_open(&u, b, net, INFER, batch));
    TRY(calibrate(b, &u, b->quick ? 0.001 : 0.05));
    TRY(rounds(b, &u, &s));
    print(b, "flight", net, batch, &s, (double)batch);
    u.replays = 1;
    s.count = 0;
    for (double since = now(); more(b, &s, since); s.count++)
        TRY(run_and_wait(b, &u, &s.seconds[s.count]));
    print(b, "latency", net, batch, &s, (double)batch);
done:
    subject_close(&u);
    return st;
}

static mnt_status time_host(const bench *b, const char *net, int64_t batch)
{
    mnt_status st = MNT_NO_MEMORY;
    subject u = { 0 };
    sample s = { .count = 0 };
    size_t count = (size_t)batch * 784, out = (size_t)batch * 10;
    float *x = malloc(count * sizeof *x), *y = malloc(out * sizeof *y);
    if (!x || !y)
        goto done;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(i * 2654435761u >> 24 & 255) / 255.0f;
    TRY(subject_open(&u, b, net, HOST, batch));
    for (int warm = 3; warm >= 0; warm--) {
        double since = now();
        for (s.count = 0; warm ? s.count < 1 : more(b, &s, since); s.count++) {
            double start = now();
            TRY(mnt_tensor_write(u.in, x, count * sizeof *x));
            TRY(mnt_graph_run(u.g, 1));
            TRY(mnt_tensor_read(u.logits, y, out * sizeof *y));
            s.seconds[s.count] = now() - start;
        }
    }
    print(b, "host", net, batch, &s, (double)batch);
done:
    subject_close(&u);
    free(x);
    free(y);
    return st;
}

static mnt_status time_net(const bench *b, const char *net)
{
    static const int64_t train[] = { 256, 512 }, infer[] = { 1, 16, 256, 1024, 8192 };
    mnt_status st = MNT_OK;
    int n = b->quick ? 1 : 2;
    for (int i = 0; i < n && strstr(b->what, "epoch") && st == MNT_OK; i++)
        st = time_epochs(b, net, train[i]);
    n = b->quick ? 2 : 5;
    for (int i = 0; i < n && strstr(b->what, "infer") && st == MNT_OK; i++) {
        st = time_inference(b, net, infer[i]);
        if (st == MNT_OK)
            st = time_host(b, net, infer[i]);
    }
    return st;
}

/* ---- matrix products ---- */

typedef struct product {
    int m, n, k;
    bool ta, tb;
} product;

static const product products[] = {
    { 256, 128, 784, false, false },    { 784, 128, 256, true, false },
    { 256, 784, 128, false, true },     { 147456, 8, 25, false, false },
    { 16384, 16, 200, false, false },   { 1024, 1024, 1024, false, false },
    { 2048, 2048, 2048, false, false }, { 4096, 4096, 4096, false, false },
};

static mnt_tensor *random_matrix(mnt_graph *g, int rows, int columns, mnt_status *st)
{
    mnt_tensor *t = mnt_input(g, MNT_F32, MNT_SHAPE(rows, columns));
    size_t n = (size_t)rows * (size_t)columns;
    float *v = malloc(n * sizeof *v);
    uint32_t x = 12345;
    if (!t || !v)
        *st = t ? MNT_NO_MEMORY : mnt_graph_status(g);
    for (size_t i = 0; *st == MNT_OK && i < n; i++) {
        x = x * 1664525u + 1013904223u;
        v[i] = (float)(x >> 8) / 8388608.0f - 1.0f;
    }
    if (*st == MNT_OK)
        *st = mnt_tensor_write(t, v, n * sizeof *v);
    free(v);
    return t;
}

static mnt_status time_product(const bench *b, const product *p)
{
    mnt_status st;
    subject u = { .replays = 1 };
    sample s = { .count = 0 };
    char name[64];
    TRY(mnt_graph_create(&u.g, b->dev, NULL, NULL));
    mnt_tensor *x = random_matrix(u.g, p->ta ? p->k : p->m, p->ta ? p->m : p->k, &st);
    mnt_tensor *y = random_matrix(u.g, p->tb ? p->n : p->k, p->tb ? p->k : p->n, &st);
    if (st)
        goto done;
    mnt_tensor_keep(mnt_matmul_ex(u.g, x, y, p->ta, p->tb));
    TRY(mnt_graph_compile(u.g));
    TRY(calibrate(b, &u, b->quick ? 0.001 : 0.05));
    TRY(rounds(b, &u, &s));
    snprintf(name, sizeof name, "%dx%dx%d%s", p->m, p->n, p->k,
             p->ta   ? "_tn"
             : p->tb ? "_nt"
                     : "");
    print(b, "matmul", name, p->m, &s, 2.0 * p->m * p->n * p->k);
done:
    subject_close(&u);
    return st;
}

static mnt_status time_products(const bench *b)
{
    size_t n = b->quick ? 2 : sizeof products / sizeof *products;
    mnt_status st = MNT_OK;
    for (size_t i = 0; i < n && st == MNT_OK; i++)
        st = time_product(b, &products[i]);
    return st;
}

/* ---- rows ---- */

/* MNT_FORCE=softmax=ref,sum=ref,argmax=ref chooses other variants. */
static mnt_status time_rows(const bench *b, int rows, int width)
{
    static const char *const names[] = { "softmax", "sum", "argmax" };
    mnt_status st = MNT_OK;
    for (int i = 0; i < 3 && st == MNT_OK; i++) {
        subject u = { .replays = 1 };
        sample s = { .count = 0 };
        char name[64];
        TRY(mnt_graph_create(&u.g, b->dev, NULL, NULL));
        mnt_tensor *x = random_matrix(u.g, rows, width, &st);
        if (st)
            goto done;
        mnt_tensor_keep(i == 0   ? mnt_softmax(u.g, x)
                        : i == 1 ? mnt_sum(u.g, x, 1)
                                 : mnt_argmax(u.g, x, 1));
        TRY(mnt_graph_compile(u.g));
        TRY(calibrate(b, &u, b->quick ? 0.001 : 0.02));
        TRY(rounds(b, &u, &s));
        snprintf(name, sizeof name, "%s_%dx%d", names[i], rows, width);
        print(b, "rows", name, rows, &s, (double)rows * width);
    done:
        subject_close(&u);
    }
    return st;
}

/* ---- the command ---- */

static mnt_status open_data(bench *b)
{
    if (strcmp(b->data, "synth") == 0)
        return mnt_synth_open(&b->train, b->dev, b->quick ? 2048 : 60000, 1, MNT_TRAIN);
    return mnt_mnist_open(&b->train, b->dev, b->data, MNT_TRAIN);
}

static mnt_status run(bench *b)
{
    mnt_status st;
    b->info.size = sizeof b->info;
    TRY(mnt_device_get_info(b->dev, &b->info));
    TRY(open_data(b));
    printf("what,name,batch,backend,threads,median_s,p95_s,least_s,rounds,rate\n");
    if (strstr(b->net, "mlp"))
        TRY(time_net(b, "mlp"));
    if (strstr(b->net, "lenet"))
        TRY(time_net(b, "lenet"));
    if (strstr(b->what, "matmul"))
        TRY(time_products(b));
    if (strstr(b->what, "rows")) {
        TRY(time_rows(b, 256, 100));
        TRY(time_rows(b, 4096, 1000));
        TRY(time_rows(b, 256, 50000));
    }
done:
    mnt_dataset_close(b->train);
    return st;
}

static int usage(void)
{
    fputs("usage: bench_device [--backend NAME] [--threads N] [--data DIR|synth]\n"
          "                    [--net mlp,lenet] [--what epoch,infer,matmul,rows] "
          "[--quick]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "backend", required_argument, NULL, 'b' },
        { "threads", required_argument, NULL, 't' },
        { "data", required_argument, NULL, 'd' },
        { "net", required_argument, NULL, 'n' },
        { "what", required_argument, NULL, 'w' },
        { "rounds", required_argument, NULL, 'r' },
        { "quick", no_argument, NULL, 'q' },
        { NULL, 0, NULL, 0 },
    };
    bench b = { .data = "synth", .net = "mlp,lenet", .what = "epoch,infer,matmul" };
    const char *backend = NULL;
    for (int c; (c = getopt_long(argc, argv, "", longopts, NULL)) != -1;) {
        if (c == 'b')
            backend = optarg;
        else if (c == 't')
            b.threads = atoi(optarg);
        else if (c == 'd')
            b.data = optarg;
        else if (c == 'n')
            b.net = optarg;
        else if (c == 'w')
            b.what = optarg;
        else if (c == 'r')
            b.rounds = atoi(optarg);
        else if (c == 'q')
            b.quick = true;
        else
            return usage();
    }
    if (b.rounds == 0)
        b.rounds = b.quick ? 3 : 9;
    if (optind != argc || b.threads < 0 || b.rounds < 1 || b.rounds > ROUNDS_MOST)
        return usage();
    mnt_status st = mnt_device_open(
        &b.dev, &MNT_DEVICE_DESC(.backend = backend, .threads = b.threads));
    if (st == MNT_OK)
        st = run(&b);
    if (st)
        fprintf(stderr, "bench_device: %s\n", mnt_last_error(b.dev));
    mnt_device_close(b.dev);
    return st ? 1 : 0;
}
