/* SPDX-License-Identifier: MIT */
/*
 * Random numbers: uniform and normal from Philox4x32-10, and the counter's advance. A
 * thread makes one block of four words: four numbers of the uniform, two of the normal.
 * An element's number depends on seed, stream, counter and element alone.
 */
#include "common.h"

/* Counter (block low, block high, replay, stream), key = seed. */
static inline void random_words(constant mnt_random_args &p, uint32_t replay,
                                int64_t block, thread uint32_t *words)
{
    uint32_t counter[4] = { uint32_t(block), uint32_t(uint64_t(block) >> 32), replay,
                            p.stream };
    uint32_t key[2] = { uint32_t(p.seed), uint32_t(p.seed >> 32) };
    mnt_philox(counter, key, words);
}

/* u in [0, 1), y = fma(u, hi - lo, lo). */
kernel void random_uniform(device const uint32_t *counter [[buffer(0)]],
                           device float *y [[buffer(1)]],
                           constant mnt_random_args &p [[buffer(2)]],
                           uint group [[threadgroup_position_in_grid]],
                           uint tid [[thread_index_in_threadgroup]])
{
    int64_t block = int64_t(group) * MNT_GROUP + tid;
    if (block * 4 >= p.count)
        return;
    uint32_t words[4];
    random_words(p, counter[0], block, words);
    float width = p.b - p.a;
    for (int k = 0; k < 4; k++) {
        int64_t i = block * 4 + k;
        float u = float(words[k] >> 8) * 0x1p-24f;
        if (i < p.count)
            y[i] = mnt_fmaf(u, width, p.a);
    }
}

/* Box and Muller, two words an element: u1 in (0, 1], u2 in [0, 1). */
kernel void random_normal(device const uint32_t *counter [[buffer(0)]],
                          device float *y [[buffer(1)]],
                          constant mnt_random_args &p [[buffer(2)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint tid [[thread_index_in_threadgroup]])
{
    int64_t block = int64_t(group) * MNT_GROUP + tid;
    if (block * 2 >= p.count)
        return;
    uint32_t words[4];
    random_words(p, counter[0], block, words);
    for (int k = 0; k < 2; k++) {
        int64_t i = block * 2 + k;
        float u1 = float((words[2 * k] >> 8) + 1) * 0x1p-24f;
        float u2 = float(words[2 * k + 1] >> 8) * 0x1p-24f;
        float radius = mnt_sqrtf(-2.0f * mnt_logf(u1));
        float z = radius * mnt_cospif(2.0f * u2);
        if (i < p.count)
            y[i] = mnt_fmaf(z, p.b, p.a);
    }
}

/* counter[2] += 1 as one number of 64 bits, in place. One thread. */
kernel void random_advance(device const uint32_t *counter [[buffer(0)]],
                           device uint32_t *after [[buffer(1)]],
                           constant mnt_random_args &p [[buffer(2)]])
{
    uint32_t low = counter[0] + 1;
    uint32_t high = counter[1] + (low == 0 ? 1u : 0u);
    (void)p;
    after[0] = low;
    after[1] = high;
}
