/* SPDX-License-Identifier: MIT */
/*
 * A wrong kernel on purpose, launched as the cuda backend launches: as a node of a graph.
 * A tool that says nothing about it would say nothing about the backend either.
 *
 *   gpu_planted outside   writes 4 bytes behind an allocation        memcheck
 *   gpu_planted unset     reads memory that nobody wrote             initcheck
 *   gpu_planted race      reads another warp's word, no barrier      racecheck
 *   gpu_planted barrier   a barrier that half a warp does not reach  synccheck
 *   gpu_planted none      a kernel without fault
 *
 * Exit status 2 without a device, else 0, for the report is the tool's.
 */
#include "../../backends/cuda/driver.h"

#include <stdio.h>
#include <string.h>

/* One block of 64 threads; `in` has 64 words (63 in "outside"), `out` as many. */
#define KERNEL(name, body)                                                             \
    ".visible .entry " name "(.param .u64 a, .param .u64 b)\n{\n"                      \
    ".reg .pred %p;\n.reg .b32 %t, %o, %v;\n.reg .b64 %in, %out, %x;\n"                \
    ".shared .align 4 .b8 tile[256];\n"                                                \
    "ld.param.u64 %in, [a];\nld.param.u64 %out, [b];\n"                                \
    "cvta.to.global.u64 %in, %in;\ncvta.to.global.u64 %out, %out;\n"                   \
    "mov.u32 %t, %tid.x;\nmul.wide.u32 %x, %t, 4;\n"                                   \
    "add.s64 %in, %in, %x;\nadd.s64 %out, %out, %x;\n" body "ret;\n}\n"
#define STORE "st.global.u32 [%out], %v;\n"
#define SHARE                                                                          \
    "mov.u32 %o, tile;\nshl.b32 %v, %t, 2;\nadd.s32 %o, %o, %v;\n"                     \
    "st.shared.u32 [%o], %t;\n"
/* The word of thread 63 - t. */
#define OTHER                                                                          \
    "mov.u32 %o, tile;\nmov.u32 %v, 63;\nsub.s32 %v, %v, %t;\nshl.b32 %v, %v, 2;\n"    \
    "add.s32 %o, %o, %v;\nld.shared.u32 %v, [%o];\n"

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n" KERNEL(
    "outside", "mov.u32 %v, 1;\nst.global.u32 [%in], %v;\n")
    KERNEL("unset", "ld.global.u32 %v, [%in];\n" STORE)
        KERNEL("race", SHARE OTHER STORE)
            KERNEL("barrier", SHARE "setp.lt.u32 %p, %t, 16;\n@%p bra skip;\n"
                                    "bar.sync 0;\nskip:\n" OTHER STORE)
                KERNEL("none", SHARE "bar.sync 0;\n" OTHER STORE);

static cuda_driver d;

#define TRY(call)                                                                      \
    if ((r = (call)) != 0)                                                             \
    return fprintf(stderr, "gpu_planted: %s: error %d\n", #call, r), r

static int launch(const char *name, cuda_stream s)
{
    cuda_result r;
    cuda_module module;
    cuda_function f;
    cuda_graph graph;
    cuda_graph_exec exec;
    cuda_graph_node first;
    cuda_ptr in, out;
    size_t bytes = strcmp(name, "outside") == 0 ? 252 : 256;
    TRY(d.module_load(&module, ptx, 0, NULL, NULL));
    TRY(d.module_function(&f, module, name));
    TRY(d.mem_alloc(&in, bytes));
    TRY(d.mem_alloc(&out, 256));
    if (strcmp(name, "unset") != 0)
        TRY(d.mem_zero(in, 0, bytes, s));
    void *params[] = { &in, &out };
    cuda_kernel_node node = { f, { 1, 1, 1 }, { 64, 1, 1 }, 0, params, NULL };
    TRY(d.graph_create(&graph, 0));
    TRY(d.graph_kernel(&first, graph, NULL, 0, &node));
    TRY(d.graph_instantiate(&exec, graph, 0));
    TRY(d.graph_launch(exec, s));
    TRY(d.stream_wait(s));
    TRY(d.graph_exec_destroy(exec));
    TRY(d.graph_destroy(graph));
    TRY(d.mem_free(in));
    TRY(d.mem_free(out));
    return d.module_unload(module);
}

int main(int argc, char **argv)
{
    char sentence[400];
    cuda_device device;
    cuda_driver_context primary;
    cuda_stream stream;
    if (argc != 2)
        return fputs("usage: gpu_planted outside|unset|race|barrier|none\n", stderr), 2;
    if (cuda_driver_open(&d, sentence, sizeof sentence) != MNT_OK)
        return fprintf(stderr, "gpu_planted: %s\n", sentence), 2;
    if (d.device_get(&device, 0) || d.primary_retain(&primary, device) ||
        d.push(primary) || d.stream_create(&stream, CUDA_STREAM_NON_BLOCKING))
        return fputs("gpu_planted: there is no device\n", stderr), 2;
    launch(argv[1], stream);
    d.primary_release(device);
    return 0;
}
