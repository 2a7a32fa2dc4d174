/* SPDX-License-Identifier: MIT */
/*
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
 * 1, 2, 3; SC 2011), the project's only random generator: a keyed bijection of a
 * 128-bit counter, so any number of the sequence is computed on its own. C and Metal at
 * once, for the library, the kernels and the shaders.
 */
#ifndef MNT_PHILOX_H
#define MNT_PHILOX_H

#ifdef __METAL_VERSION__
#include <metal_stdlib>
using namespace metal;
#define MNT_THREAD thread /* address space of a pointer to a thread's own memory */
#else
#include <stdint.h>
#define MNT_THREAD
#endif

/* counter[4] and key[2] to four random words; out may be counter. */
static inline void mnt_philox(const MNT_THREAD uint32_t *counter,
                              const MNT_THREAD uint32_t *key, MNT_THREAD uint32_t *out)
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* A number in [0, n) from a random word: the high half of the product. */
static inline uint32_t mnt_below(uint32_t word, uint32_t n)
{
    return (uint32_t)(((uint64_t)word * n) >> 32);
}

#endif
