/* SPDX-License-Identifier: MIT */
/* Between probe_main.c, which knows the probes, and the machine that runs a kernel. */
#ifndef PROBE_H
#define PROBE_H

#include <stddef.h>
#include <stdint.h>

/* ORDER: probe_host.cpp, probe_cuda.c. */
#define PROBE_KERNELS(X)                                                               \
    X(probe_pairs)                                                                     \
    X(probe_fma)                                                                       \
    X(probe_random)                                                                    \
    X(probe_sweep)                                                                     \
    X(probe_matmul)                                                                    \
    X(probe_conv_dw)                                                                   \
    X(probe_philox)                                                                    \
    X(probe_edge)

enum probe_kernel {
#define PROBE_ID(name) ID_##name,
    PROBE_KERNELS(PROBE_ID)
#undef PROBE_ID
};

#ifdef __cplusplus
extern "C" {
#endif

/* Prepares the machine; returns its name, NULL with *why set if it cannot run here. */
const char *probe_open(const char **why);
/* Runs threads 0..threads of a kernel. 0 on success. */
int probe_run(enum probe_kernel id, const uint32_t *in, size_t in_words, uint32_t *out,
              size_t out_words, uint32_t n, uint32_t threads);

#ifdef __cplusplus
}
#endif
#endif
