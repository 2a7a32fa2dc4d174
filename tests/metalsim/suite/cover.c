/* SPDX-License-Identifier: MIT */
/*
 * Runs the cases of the conformance suite one after the other, exactly as a worker of
 * mnt-conformance runs them, and prints for each what it took of the shaders, read from
 * the file that an image of the kind cover fills (shim/cover.h):
 *
 *     CASE <tab> milliseconds of processor time <tab> failures <tab> numbers of what ran
 *
 * A number is kernel * (edges + 2) + edge for an edge of a kernel's own code and for the
 * two kinds of grids behind them; -1-v is the v-th forced variant that ran. What is there
 * to be taken stands in the file. For tools/reduce alone.
 */
#include "../shim/cover.h"
#include "../../../conformance/contract/contract.h"
#include "../../../conformance/program/supervisor.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct feeder {
    const worker_job *job;
    slot *slot;
    int to, from; /* the worker's pipes */
    unsigned char *file;
    FILE *out;
} feeder;

static unsigned char *map_file(void)
{
    const char *path = getenv(COVER_FILE_ENV);
    int fd = path ? open(path, O_RDWR) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        kit_die("%s names no file that an image of the kind cover has written",
                COVER_FILE_ENV);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    cover_header h = { 0 };
    if (p != MAP_FAILED && (size_t)st.st_size >= sizeof h)
        memcpy(&h, p, sizeof h);
    if (memcmp(h.magic, COVER_MAGIC, sizeof h.magic) != 0 ||
        cover_file_bytes(&h) != (uint64_t)st.st_size)
        kit_die("%s is not of an image of the kind cover", path);
    return p;
}

static void clear(unsigned char *file)
{
    cover_header h;
    memcpy(&h, file, sizeof h);
    memset(file + cover_hits_offset(&h), 0, h.kernels * cover_row_bytes(&h));
}

static void print_hits(const unsigned char *file, FILE *out)
{
    cover_header h;
    memcpy(&h, file, sizeof h);
    const unsigned char *kernels = file + sizeof h;
    const unsigned char *edges = kernels + h.kernels * sizeof(cover_kernel);
    const unsigned char *hits = file + cover_hits_offset(&h);
    for (uint32_t k = 0; k < h.kernels; k++) {
        uint64_t row = k * cover_row_bytes(&h);
        for (uint64_t i = 0; i < cover_row_bytes(&h); i++) {
            cover_edge e = { .owner = k };
            if (!hits[row + i])
                continue;
            if (i < h.edges)
                memcpy(&e, edges + i * sizeof e, sizeof e);
            if (e.owner == k)
                fprintf(out, " %llu", (unsigned long long)(row + i));
        }
    }
}

/* Of all threads: how busy the machine is does not matter. */
static double processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void *feed(void *arg)
{
    feeder *f = arg;
    const plan *p = f->job->p;
    for (int i = 0; i < p->count; i++) {
        const plan_case *c = &p->cases[i];
        const report *r = &f->slot->report;
        char byte;
        clear(f->file);
        double begin = processor_ms();
        if (write(f->to, &i, sizeof i) != (ssize_t)sizeof i ||
            read(f->from, &byte, 1) != 1)
            break;
        fprintf(f->out, "%s%s%s\t%.0f\t%d\t", plan_op_name(c->op),
                c->text[0] ? " " : "", c->text, processor_ms() - begin,
                r->failures + r->unsupported +
                    (r->contract == CONTRACT_FAIL || r->contract == CONTRACT_SKIP));
        print_hits(f->file, f->out);
        for (int v = 0; v < f->job->s->variants; v++)
            if (r->ran[v] & 1)
                fprintf(f->out, " %d", -1 - v);
        fputc('\n', f->out);
    }
    close(f->to);
    return NULL;
}

static int run(const worker_job *job, const char *path)
{
    static slot s;
    int down[2], up[2];
    feeder f = { .job = job, .slot = &s, .file = map_file() };
    pthread_t thread;
    f.out = fopen(path, "w");
    if (!f.out || pipe(down) != 0 || pipe(up) != 0)
        kit_die("%s cannot be written", path);
    f.to = down[1];
    f.from = up[0];
    if (pthread_create(&thread, NULL, feed, &f) != 0)
        kit_die("a thread cannot be made");
    worker_main(job, &s, down[0], up[1], false);
    pthread_join(thread, NULL);
    return fclose(f.out) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    options o;
    plan p;
    config_list configs;
    if (argc < 2 || options_parse(&o, argc - 1, argv + 1) != PARSED_RUN)
        return 2;
    if (!plan_make(&p, &o))
        return 1;
    const subject *s = subject_probe(&o);
    if (!s)
        return 1;
    configs_make(&configs, &o, s);
    worker_job job = { &o, s, &configs, &p };
    int status = run(&job, argv[1]);
    configs_free(&configs);
    plan_free(&p);
    return status;
}
