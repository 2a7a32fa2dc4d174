/* SPDX-License-Identifier: MIT */
/*
 * The probe as PTX: an entry point a kernel of probe.metal, which computes the thread's
 * position and passes the rest through.
 */
#define __METAL_VERSION__ 0
#include "probe.metal"

#include "probe.h"

#define ENTRY(name)                                                                    \
    extern "C" __attribute__((nvptx_kernel)) void k_##name(                            \
        const uint32_t *in, uint32_t *out, uint32_t n, uint32_t threads)               \
    {                                                                                  \
        uint i = __nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() +      \
                 __nvvm_read_ptx_sreg_tid_x();                                         \
        if (i < threads)                                                               \
            name(in, out, n, i);                                                       \
    }
PROBE_KERNELS(ENTRY)
