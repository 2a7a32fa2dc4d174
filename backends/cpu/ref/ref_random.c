/* SPDX-License-Identifier: MIT */
/*
 * Reference random numbers: uniform and normal from Philox4x32-10, and the counter's
 * advance. An element's number depends on seed, stream, counter and element alone.
 */
#include "ref.h"

/* Four words: counter (block low, block high, counter[0], stream), key = seed. */
static void ref_words(const cpu_job *job, int64_t block, uint32_t words[4])
{
    const mnt_args_random *a = &job->cmd->args.random;
    const uint32_t counter[4] = { (uint32_t)block, (uint32_t)(block >> 32),
                                  *(const uint32_t *)job->in[0], a->stream };
    const uint32_t key[2] = { (uint32_t)a->seed, (uint32_t)(a->seed >> 32) };
    mnt_philox(counter, key, words);
}

/* Word element % 4 of block element / 4: u in [0, 1), y = fma(u, hi - lo, lo). */
static void run_uniform(const cpu_job *job, int phase, int64_t begin, int64_t end,
                        char *local)
{
    (void)phase;
    (void)local;
    float lo = job->cmd->args.random.a;
    float width = job->cmd->args.random.b - lo;
    float *y = job->out[0];
    uint32_t words[4] = { 0 };
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end; i++) {
        if (i % 4 == 0)
            ref_words(job, i / 4, words);
        float u = (float)(words[i % 4] >> 8) * 0x1p-24f;
        y[i] = mnt_fmaf(u, width, lo);
    }
}

/* Two words an element (Box and Muller): u1 in (0, 1], u2 in [0, 1). */
static void run_normal(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    (void)phase;
    (void)local;
    float mean = job->cmd->args.random.a, std = job->cmd->args.random.b;
    float *y = job->out[0];
    uint32_t words[4] = { 0 };
    ref_range e = ref_elements(job, begin, end);
    for (int64_t i = e.first; i < e.end; i++) {
        if (i % 2 == 0)
            ref_words(job, i / 2, words);
        float u1 = (float)((words[i % 2 * 2] >> 8) + 1) * 0x1p-24f;
        float u2 = (float)(words[i % 2 * 2 + 1] >> 8) * 0x1p-24f;
        float radius = mnt_sqrtf(-2.0f * mnt_logf(u1));
        float z = radius * mnt_cospif(2.0f * u2);
        y[i] = mnt_fmaf(z, std, mean);
    }
}

static void run_advance(const cpu_job *job, int phase, int64_t begin, int64_t end,
                        char *local)
{
    (void)phase;
    (void)local;
    (void)begin;
    (void)end;
    const uint32_t *in = job->in[0];
    uint32_t *out = job->out[0];
    uint32_t low = in[0] + 1;
    uint32_t high = in[1] + (low == 0 ? 1 : 0);
    out[0] = low;
    out[1] = high;
}

const cpu_kernel CPU_NAME(cpu_ref_random)[] = {
    { MNT_OP_ID_uniform, "ref", NULL, ref_plan_blocks, run_uniform },
    { MNT_OP_ID_normal, "ref", NULL, ref_plan_blocks, run_normal },
    { MNT_OP_ID_advance, "ref", NULL, ref_plan_one, run_advance },
    { 0 },
};
