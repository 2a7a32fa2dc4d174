/* SPDX-License-Identifier: MIT */
/*
 * The simulated driver: every rule broken once is reported and refused, lawful use is
 * not, and work is as late and as disordered as the interface allows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/cuda/driver.h"
#include "cudasim.h"

#define N 64

static char report[700];
static int reports;
static char *ptx;

static cuda_driver d;
static cuda_driver_context ctx;
static cuda_stream stream;
static cuda_module module;
static cuda_function fill, scale;

static void note(void *context, const char *text)
{
    (void)context;
    if (reports++ == 0)
        snprintf(report, sizeof report, "%s", text);
}

#define GOOD(call) assert_int_equal(d.call, 0)

/* The call is refused and what it did wrong is said. */
static void check_reported(const char *call, cuda_result want, const char *part,
                           cuda_result got)
{
    if (got != want || reports != 1 || !strstr(report, part))
        fail_msg("%s: %d, %d reports, \"%s\"", call, got, reports,
                 reports ? report : "");
    reports = 0;
}
#define REPORTED(want, part, call) check_reported(#call, want, part, d.call)

static int begin(void **state)
{
    (void)state;
    char sentence[400];
    setenv("MNT_CUDA_DRIVER", CUDASIM_LIBRARY, 1);
    cudasim_on_report(note, NULL);
    cudasim_configure(NULL);
    reports = 0;
    if (cuda_driver_open(&d, sentence, sizeof sentence) != MNT_OK)
        fail_msg("%s", sentence);
    cuda_device device;
    GOOD(device_get(&device, 0));
    GOOD(primary_retain(&ctx, device));
    GOOD(push(ctx));
    GOOD(stream_create(&stream, CUDA_STREAM_NON_BLOCKING));
    GOOD(module_load(&module, ptx, 0, NULL, NULL));
    GOOD(module_function(&fill, module, "mnt_fill_32"));
    GOOD(module_function(&scale, module, "mnt_scale_flat"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    cuda_driver_context old;
    d.module_unload(module);
    d.stream_destroy(stream);
    d.pop(&old);
    d.primary_release(0);
    cuda_driver_close(&d);
    if (reports)
        fail_msg("%s", report);
    assert_int_equal(cudasim_count().contexts, 0);
    return 0;
}

/* ---- memory ---- */

static void test_memory(void **state)
{
    (void)state;
    cuda_ptr p, q;
    float host[N];
    GOOD(mem_alloc(&p, sizeof host));
    GOOD(mem_alloc(&q, sizeof host));
    GOOD(download(host, p, sizeof host, stream));
    assert_true(host[0] != host[0]); /* garbage: NaN */
    REPORTED(1, "0 bytes", mem_alloc(&p, 0));
    REPORTED(1, "not in one allocation", download(host, p + 4, sizeof host, stream));
    REPORTED(1, "not in one allocation", upload(p - 4, host, 4, stream));
    REPORTED(1, "not in one allocation", mem_zero(p, 0, sizeof host + 1, stream));
    REPORTED(1, "no allocation starts there", mem_free(p + 4));
    GOOD(mem_free(p));
    REPORTED(1, "no allocation starts there", mem_free(p));
    REPORTED(1, "not in one allocation", upload(p, host, 4, stream));
    REPORTED(400, "no stream", upload(q, host, 4, NULL));
    GOOD(mem_zero(q, 0, sizeof host, stream));
    REPORTED(0, "is used by queued work", mem_free(q));
    REPORTED(700, "freed before the copy ran", stream_wait(stream));
}

static void test_limit(void **state)
{
    (void)state;
    cuda_ptr p;
    assert_int_equal(d.mem_alloc(&p, (size_t)5 << 30), CUDA_OUT_OF_MEMORY);
    GOOD(mem_alloc(&p, (size_t)3 << 30));
    assert_int_equal(d.mem_alloc(&p, (size_t)2 << 30), CUDA_OUT_OF_MEMORY);
    GOOD(mem_free(p));
}

/* A copy from pinned memory reads it when it runs, one from other memory at once. */
static void test_lateness(void **state)
{
    (void)state;
    cuda_ptr p;
    void *pinned;
    int plain = 1, got = 0;
    cuda_event e;
    GOOD(mem_alloc(&p, sizeof plain));
    GOOD(host_alloc(&pinned, sizeof plain));
    GOOD(event_create(&e, CUDA_EVENT_NO_TIMING));
    GOOD(upload(p, &plain, sizeof plain, stream));
    plain = 2;
    GOOD(download(&got, p, sizeof got, stream));
    assert_int_equal(got, 1);
    memcpy(pinned, &plain, sizeof plain);
    GOOD(upload(p, pinned, sizeof plain, stream));
    GOOD(event_record(e, stream));
    plain = 3;
    memcpy(pinned, &plain, sizeof plain);
    GOOD(event_wait(e));
    GOOD(download(&got, p, sizeof got, stream));
    assert_int_equal(got, 3);
    REPORTED(400, "without timing", event_ms(&(float){ 0 }, e, e));
    REPORTED(1, "partly in pinned memory",
             download((char *)pinned + 2, p, sizeof got, stream));
    GOOD(upload(p, pinned, sizeof plain, stream));
    REPORTED(0, "is used by queued work", host_free(pinned));
    REPORTED(700, "freed before the copy ran", stream_wait(stream));
    d.event_destroy(e);
    d.mem_free(p);
}

/* ---- kernels ---- */

typedef struct fill_args { /* of shaders/args.h: a view and a value */
    unsigned char bytes[512];
} fill_args;

static cuda_result run(cuda_function f, unsigned groups, unsigned threads, cuda_ptr a,
                       cuda_ptr b)
{
    static fill_args args;
    void *params[] = { &a, &b, &args };
    return d.launch(f, groups, 1, 1, threads, 1, 1, 0, stream, params, NULL);
}

static void test_kernels(void **state)
{
    (void)state;
    cuda_ptr p;
    cuda_function f;
    GOOD(mem_alloc(&p, N));
    assert_int_equal(d.module_function(&f, module, "mnt_nothing"), 500);
    check_reported("launch", 1, "0 x 1 x 1 blocks", run(scale, 0, 256, p, p));
    check_reported("launch", 1, "2048 threads", run(scale, 1, 2048, p, p));
    check_reported("launch", 400, "no function",
                   run((cuda_function)stream, 1, 256, p, p));
    assert_int_equal(run(scale, 1, 256, p, p), 0);
    GOOD(stream_wait(stream));
    assert_int_equal(run(scale, 1, 256, p, p + 4096), 0); /* heard when it runs */
    REPORTED(700, "parameter 1 points to no memory", stream_wait(stream));
    assert_int_equal(d.stream_wait(stream), 700);
    assert_int_equal(d.mem_alloc(&p, 16), 700);
    GOOD(pop(&ctx));
    GOOD(push(ctx));
    assert_int_equal(d.mem_free(p), 700); /* it is freed all the same */
    assert_int_equal(cudasim_count().allocations, 0);
}

static void test_modules(void **state)
{
    (void)state;
    cuda_module m;
    assert_int_equal(d.module_load(&m, "no kernels", 0, NULL, NULL), 218);
    char *other = strdup(ptx), *at = strstr(other, ".entry mnt_scale_flat(");
    assert_non_null(at);
    char *type = strstr(at, ".u64");
    memcpy(type, ".u32", 4);
    REPORTED(218, "mnt_scale_flat: parameter 0 differs",
             module_load(&m, other, 0, NULL, NULL));
    memcpy(type, ".u64", 4);
    memcpy(at, ".entry mnt_scale_flax(", 22);
    REPORTED(218, "the module has mnt_scale_flax",
             module_load(&m, other, 0, NULL, NULL));
    strcpy(strstr(other, ".target"), ".target sm_95\n");
    assert_int_equal(d.module_load(&m, other, 0, NULL, NULL), 218);
    strcpy(strstr(other, ".version"), ".version 9.9\n.target sm_70\n");
    assert_int_equal(d.module_load(&m, other, 0, NULL, NULL), 222);
    free(other);
    REPORTED(400, "no module", module_unload((cuda_module)stream));
}

/* ---- graphs ---- */

static cuda_kernel_node nothing(void **params)
{
    return (cuda_kernel_node){
        .function = scale, .grid = { 1, 1, 1 }, .block = { 256, 1, 1 }, .params = params
    };
}

static void test_graph_rules(void **state)
{
    (void)state;
    static fill_args args;
    cuda_ptr p;
    cuda_graph g, other;
    cuda_graph_node a, b;
    cuda_graph_exec e;
    GOOD(mem_alloc(&p, N));
    void *params[] = { &p, &p, &args };
    cuda_kernel_node n = nothing(params);
    GOOD(graph_create(&g, 0));
    GOOD(graph_create(&other, 0));
    GOOD(graph_empty(&a, other, NULL, 0));
    REPORTED(1, "is no node of the graph", graph_kernel(&b, g, &a, 1, &n));
    GOOD(graph_kernel(&a, g, NULL, 0, &n));
    REPORTED(1, "1 dependencies at", graph_kernel(&b, g, NULL, 1, &n));
    REPORTED(1, "comes twice", graph_kernel(&b, g, (cuda_graph_node[]){ a, a }, 2, &n));
    REPORTED(400, "no graph", graph_kernel(&b, (cuda_graph)stream, NULL, 0, &n));
    GOOD(graph_instantiate(&e, g, 0));
    GOOD(graph_destroy(g));
    GOOD(graph_destroy(other));
    REPORTED(400, "no graph", graph_destroy(g));
    GOOD(graph_launch(e, stream));
    REPORTED(1, "it is queued 1 times", graph_exec_destroy(e));
    GOOD(stream_wait(stream));
    GOOD(graph_exec_destroy(e));
    REPORTED(400, "no executable graph", graph_launch(e, stream));
    GOOD(mem_free(p));
}

/* Two nodes write the same word: who is last changes while nothing orders them. */
static int last_writer(bool ordered)
{
    struct { /* mnt_fill_args begins with the view: count, ndim, dims, strides */
        unsigned char bytes[512];
    } args[2];
    memset(args, 0, sizeof args);
    cuda_ptr p, from[2];
    float value[2] = { 1, 2 }, got = 0;
    cuda_graph g;
    cuda_graph_node node[2];
    cuda_graph_exec e;
    GOOD(mem_alloc(&p, sizeof got));
    GOOD(graph_create(&g, 0));
    cuda_function copy;
    GOOD(module_function(&copy, module, "mnt_copy_32"));
    for (int i = 0; i < 2; i++) {
        GOOD(mem_alloc(&from[i], sizeof got));
        GOOD(upload(from[i], &value[i], sizeof got, stream));
        memcpy(args[i].bytes, &(int64_t){ 1 }, sizeof(int64_t));
        void *params[] = { &from[i], &p, &args[i] };
        cuda_kernel_node n = nothing(params);
        n.function = copy;
        GOOD(graph_kernel(&node[i], g, i && ordered ? node : NULL, i && ordered, &n));
    }
    GOOD(graph_instantiate(&e, g, 0));
    int ones = 0;
    for (int round = 0; round < 40; round++) {
        GOOD(graph_launch(e, stream));
        GOOD(download(&got, p, sizeof got, stream));
        assert_true(got == 1 || got == 2);
        ones += got == 1;
    }
    GOOD(graph_exec_destroy(e));
    GOOD(graph_destroy(g));
    GOOD(mem_free(p));
    GOOD(mem_free(from[0]));
    GOOD(mem_free(from[1]));
    return ones;
}

static void test_graph_order(void **state)
{
    (void)state;
    assert_int_equal(last_writer(true), 0);
    int ones = last_writer(false);
    assert_in_range(ones, 8, 32);
}

/* ---- contexts, events, faults ---- */

static void test_calls(void **state)
{
    (void)state;
    cuda_driver_context old;
    cuda_ptr p;
    cuda_event e, f;
    float ms;
    REPORTED(101, "no device 7", device_get(&(int){ 0 }, 7));
    REPORTED(1, "not simulated", device_attribute(&(int){ 0 }, 12345, 0));
    GOOD(pop(&old));
    REPORTED(201, "cuMemAlloc_v2 without a current context", mem_alloc(&p, 4));
    REPORTED(201, "none is current", pop(&old));
    REPORTED(201, "no context", push((cuda_driver_context)stream));
    GOOD(push(ctx));
    GOOD(event_create(&e, CUDA_EVENT_DEFAULT));
    GOOD(event_create(&f, CUDA_EVENT_DEFAULT));
    GOOD(event_wait(e)); /* never recorded: nothing to wait for */
    REPORTED(400, "never recorded", event_ms(&ms, e, f));
    GOOD(event_record(e, stream));
    GOOD(event_record(f, stream));
    REPORTED(600, "not waited for", event_ms(&ms, e, f));
    REPORTED(1, "a record is queued", event_destroy(e));
    GOOD(event_wait(f));
    GOOD(event_ms(&ms, e, f));
    assert_true(ms >= 0);
    GOOD(event_destroy(e));
    GOOD(event_destroy(f));
    REPORTED(400, "no event", event_wait(e));
    cudasim_fail("cuMemAlloc_v2", 1, 2, CUDA_OUT_OF_MEMORY);
    GOOD(mem_alloc(&p, 4));
    GOOD(mem_free(p));
    assert_int_equal(d.mem_alloc(&p, 4), 2);
    assert_int_equal(d.mem_alloc(&p, 4), 2);
    GOOD(mem_alloc(&p, 4));
    GOOD(mem_free(p));
    const char *name;
    GOOD(error_name(2, &name));
    assert_string_equal(name, "CUDA_ERROR_OUT_OF_MEMORY");
    assert_int_equal(d.error_name(12345, &name), 1);
    assert_null(name);
}

static void test_leak(void **state)
{
    (void)state;
    cuda_driver_context c;
    cuda_ptr p;
    cudasim_config two = cudasim_config_default();
    two.devices = 2;
    reports = 0;
    cudasim_configure(&two); /* too late: a context is there */
    assert_int_equal(reports, 1);
    reports = 0;
    assert_int_equal(d.init(0), 0);
    GOOD(primary_retain(&c, 1));
    GOOD(push(c));
    GOOD(mem_alloc(&p, 4));
    GOOD(pop(&c));
    REPORTED(0, "1 allocations and 0 of pinned memory are left", primary_release(1));
    REPORTED(201, "is not retained", primary_release(1));
}

int main(int argc, char **argv)
{
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!f)
        return 2;
    ptx = calloc(1, 8 << 20);
    if (!ptx || fread(ptx, 1, (8 << 20) - 1, f) == 0)
        return 2;
    fclose(f);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_limit, begin, end),
        cmocka_unit_test_setup_teardown(test_lateness, begin, end),
        cmocka_unit_test_setup_teardown(test_kernels, begin, end),
        cmocka_unit_test_setup_teardown(test_modules, begin, end),
        cmocka_unit_test_setup_teardown(test_graph_rules, begin, end),
        cmocka_unit_test_setup_teardown(test_graph_order, begin, end),
        cmocka_unit_test_setup_teardown(test_calls, begin, end),
        cmocka_unit_test_setup_teardown(test_leak, begin, end),
    };
    int failed = cmocka_run_group_tests_name("cudasim", tests, NULL, NULL);
    free(ptx);
    return failed;
}
