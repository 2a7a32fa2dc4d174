/* SPDX-License-Identifier: MIT */
/*
 * How fast the simulator is: threads, switches between threads, multiply-adds, each the
 * best of five, with one worker and with two. Not a test.
 *
 *   metalsim_speed IMAGE
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sim.h"

typedef struct speed_args {
    uint32_t count, columns, inner;
} speed_args;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of the fastest of five runs. */
static double best(sim_engine *e, const sim_dispatch *d)
{
    double least = 1e30;
    for (int i = 0; i < 5; i++) {
        char error[512];
        double begin = now();
        if (!sim_run(e, d, error, sizeof error))
            exit(1);
        double t = now() - begin;
        least = t < least ? t : least;
    }
    return least;
}

static void measure(const sim_image *image, int workers)
{
    sim_engine *e = sim_engine_create(&(sim_options){ .workers = workers });
    size_t n = (size_t)1 << 23;
    float *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y);
    if (!e || !x || !y)
        exit(1);
    sim_binding buffer[] = { { .base = x, .length = n * sizeof *x },
                             { .base = x, .length = n * sizeof *x },
                             { .base = y, .length = n * sizeof *y } };
    speed_args args = { .count = (uint32_t)n, .columns = 128, .inner = 784 };
    sim_dispatch d = { .function = sim_image_find(image, "speed_relu"),
                       .groups = (uint32_t)(n / 256),
                       .threads = 256,
                       .binding = buffer + 1,
                       .bindings = 2,
                       .args = &args,
                       .args_bytes = sizeof args };
    double relu = (double)n / best(e, &d);
    d.function = sim_image_find(image, "speed_barrier");
    d.binding = buffer + 2;
    d.bindings = 1;
    d.groups = 16;
    double barrier = 16.0 * 256 * 784 / best(e, &d);
    d.function = sim_image_find(image, "speed_product");
    d.binding = buffer;
    d.bindings = 3;
    d.groups = 8;
    double product = 256.0 * 128 * 784 / best(e, &d);
    printf("%d worker%s: %7.1f M threads/s, %6.1f M switches/s, "
           "%5.2f G multiply-adds/s\n",
           workers, workers > 1 ? "s" : " ", relu / 1e6, barrier / 1e6, product / 1e9);
    free(x);
    free(y);
    sim_engine_destroy(e);
}

int main(int argc, char **argv)
{
    char error[512];
    sim_image *image = argc > 1 ? sim_image_open(argv[1], error, sizeof error) : NULL;
    if (!image)
        return 2;
    measure(image, 1);
    measure(image, 2);
    sim_image_close(image);
    return 0;
}
