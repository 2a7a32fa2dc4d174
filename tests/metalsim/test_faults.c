/* SPDX-License-Identifier: MIT */
/*
 * Every fault of shaders/faults.metal is reported, with its place, and what is right is
 * not. Sanitizers end the process, so those kernels run in a child: this program with the
 * kernel's name as argument.
 *
 *   test_faults IMAGE KIND SHADERS [KERNEL]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

typedef struct fault {
    const char *kernel;
    const char *kinds; /* p plain, r race, a asan: images that see it */
    const char *text;  /* part of the report */
    uint32_t groups, threads;
} fault;

static const fault faults[] = {
    { "barrier_lines", "pra", "divergent barrier: others of its threadgroup wait at", 1,
      64 },
    { "barrier_columns", "pra", "divergent barrier: others of its threadgroup wait at",
      1, 64 },
    { "barrier_early_return", "pra",
      "returned while others of its threadgroup wait at this barrier", 1, 64 },
    { "barrier_uneven_loop", "pra", "barrier after ", 1, 64 },
    { "simd_some_lanes", "pra", "returned while others of its simdgroup wait", 1, 64 },
    { "simd_two_places", "pra", "divergent simdgroup function: other lanes are at", 1,
      64 },
    { "simd_past_the_end", "pra", "reads a lane that does not exist", 1, 64 },
    { "simd_against_barrier", "pra",
      "waits in a simdgroup function while others wait at the barrier", 1, 64 },
    { "memory_too_large", "pra", "bytes of threadgroup memory, 32768 is the limit", 1,
      64 },
    { "half_a_simdgroup_right", "", NULL, 3, 40 },
    { "no_first_barrier", "r", "race: reads threadgroup s, byte", 1, 64 },
    { "no_second_barrier", "r", "race: writes threadgroup s, byte", 1, 64 },
    { "barrier_of_nothing", "r", "race: reads threadgroup s", 1, 64 },
    { "barrier_of_device", "r", "race: reads threadgroup s", 1, 64 },
    { "barrier_of_threadgroup", "r", "race: reads x (index 0), element", 1, 64 },
    { "barrier_of_simdgroup", "r", "race: reads threadgroup s", 1, 64 },
    { "never_written", "r", "reads what nobody wrote: threadgroup s, byte 252", 1, 64 },
    { "all_write_one", "r", "race: writes threadgroup s, byte 0", 1, 64 },
    { "past_the_array", "ra", NULL, 1, 64 },
    { "barriers_right", "", NULL, 1, 64 },
    { "groups_write_one", "r", "of another threadgroup", 2, 64 },
    { "group_reads_other", "r", "of another threadgroup", 2, 64 },
    { "group_overwrites_read", "r", "race: writes x (index 0), element 0", 4, 64 },
    { "plain_counter", "r", "race: writes x (index 0), element 0", 1, 64 },
    { "half_atomic", "r", "race: writes x (index 0), element 0", 1, 64 },
    { "atomic_right", "", NULL, 2, 64 },
    { "bytes_right", "", NULL, 4, 64 },
    { "reads_past", "ra", NULL, 1, 64 },
    { "writes_past", "ra", NULL, 1, 64 },
    { "writes_before", "ra", NULL, 1, 64 },
    { "writes_constant", "r", "writes a binding that is only read: x (index 0)", 1,
      64 },
    { "reads_far", "r", "reads 4 bytes, far from all bindings", 1, 64 },
    { "bounds_of_row", "ra", NULL, 1, 64 },
    { "misaligned_vector", "a", "misaligned address", 1, 64 },
    { "signed_overflow", "a", "signed integer overflow", 1, 64 },
    { "shift_too_far", "a", "shift exponent", 1, 64 },
};

static sim_image *image;
static const char *program, *path, *kind, *shaders;
static char seen[4096];

static void note(void *context, const sim_report *r)
{
    (void)context;
    size_t n = strlen(seen);
    snprintf(seen + n, sizeof seen - n, "%s\n", r->text);
}

static bool run(const fault *f, sim_order order)
{
    sim_engine *e =
        sim_engine_create(&(sim_options){ .order = order, .seed = 3, .report = note });
    if (!e)
        return false;
    /* 128 words, to the byte, so that AddressSanitizer sees the ends. */
    uint32_t *x = calloc(128, sizeof *x);
    char error[512];
    bool ok = false;
    if (x) {
        x[0] = 0x7fffffff;
        ok = sim_run(
            e,
            &(sim_dispatch){ .function = sim_image_find(image, f->kernel),
                             .groups = f->groups,
                             .threads = f->threads,
                             .binding = &(sim_binding){ .base = x, .length = 512 },
                             .bindings = 1 },
            error, sizeof error);
    }
    free(x);
    sim_engine_destroy(e);
    return ok;
}

/* Line of the comment "fault: NAME", 0 if there is none. */
static unsigned marked_line(const char *name)
{
    FILE *f = fopen(shaders, "r");
    assert_non_null(f);
    char line[512], want[128];
    snprintf(want, sizeof want, "// fault: %s\n", name);
    unsigned number = 0, found = 0;
    while (!found && fgets(line, sizeof line, f)) {
        number++;
        if (strstr(line, want))
            found = number;
    }
    fclose(f);
    return found;
}

/* Whether text names the line; not every sanitizer gives the column. */
static bool names_line(const char *text, unsigned line)
{
    char place[64];
    int n = snprintf(place, sizeof place, "faults.metal:%u", line);
    for (const char *at = strstr(text, place); at; at = strstr(at + 1, place))
        if (at[n] < '0' || at[n] > '9')
            return true;
    return false;
}

static void expect(const fault *f, const char *text)
{
    unsigned line = marked_line(f->kernel);
    bool placed = line > 0 ? names_line(text, line) : strstr(text, f->kernel) != NULL;
    if ((f->text && !strstr(text, f->text)) || !placed)
        fail_msg("%s: wanted \"%s\" in line %u, got:\n%s", f->kernel,
                 f->text ? f->text : "a report", line, text);
}

static void check_in_child(const fault *f)
{
    char command[2048];
    snprintf(command, sizeof command, "'%s' '%s' %s '%s' %s 2>&1", program, path, kind,
             shaders, f->kernel);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    static char text[1 << 16];
    size_t n = fread(text, 1, sizeof text - 1, p);
    text[n] = '\0';
    int status = pclose(p);
    if (status == 0)
        fail_msg("%s: no sanitizer said anything", f->kernel);
    expect(f, text);
    if (!strstr(text, "metalsim: that was kernel ") || !strstr(text, f->kernel))
        fail_msg("%s: the kernel is not named:\n%s", f->kernel, text);
}

static void test_fault(void **state)
{
    const fault *f = *state;
    static const sim_order orders[] = { SIM_FORWARD, SIM_REVERSE, SIM_RANDOM };
    bool wanted = strchr(f->kinds, kind[0]) != NULL;
    if (wanted && kind[0] == 'a' && !strchr(f->kinds, 'p')) {
        check_in_child(f);
        return;
    }
    if (!wanted && f->kinds[0] != '\0' && kind[0] != 'r')
        skip(); /* what this image does not see may do anything */
    for (int i = 0; i < 3; i++) {
        seen[0] = '\0';
        bool ok = run(f, orders[i]);
        if (!wanted) {
            if (!ok)
                fail_msg("%s is right, but:\n%s", f->kernel, seen);
        } else {
            assert_false(ok);
            if (orders[i] == SIM_FORWARD)
                expect(f, seen);
        }
    }
}

#define COUNT (sizeof faults / sizeof faults[0])

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    program = argv[0];
    path = argv[1];
    kind = argv[2];
    shaders = argv[3];
    char error[512];
    image = sim_image_open(path, error, sizeof error);
    if (!image) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    if (argc > 4) {
        for (size_t i = 0; i < COUNT; i++)
            if (strcmp(faults[i].kernel, argv[4]) == 0)
                run(&faults[i], SIM_FORWARD);
        return 0;
    }
    struct CMUnitTest tests[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        tests[i] =
            (struct CMUnitTest){ .name = faults[i].kernel,
                                 .test_func = test_fault,
                                 .initial_state = (void *)(uintptr_t)&faults[i] };
    int failed = _cmocka_run_group_tests("faults", tests, COUNT, NULL, NULL);
    sim_image_close(image);
    return failed;
}
