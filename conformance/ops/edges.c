/* SPDX-License-Identifier: MIT */
/*
 * Sizes of random cases. Kernels break at the edges of their tiles, so a dimension is
 * t-1, t, t+1 or 2t+1 for t = 4, 8, 12, 16, 32, 64, around 256, 512 and 4096 (chunks of
 * sums), or a prime; 1 now and then, and 0 where it is allowed.
 */
#include "ops.h"

static const int64_t sizes[] = {
    2,   3,   3,   4,   5,   5,   7,   7,   8,    9,    9,    11,   11, 12,
    13,  13,  15,  16,  17,  17,  19,  23,  25,   29,   31,   31,   32, 33,
    33,  37,  41,  43,  47,  53,  61,  63,  64,   65,   67,   71,   97, 99,
    127, 129, 131, 255, 256, 257, 511, 513, 1021, 4096, 4097, 8193,
};

int64_t kit_edge(kit_rng *r, int64_t least, int64_t limit)
{
    if (least < 1 && kit_below(r, 48) == 0)
        return 0;
    int64_t n = 0;
    while (n < (int64_t)(sizeof sizes / sizeof *sizes) && sizes[n] <= limit)
        n++;
    return n == 0 || kit_below(r, 12) == 0 ? 1 : sizes[kit_below(r, n)];
}

static int64_t product(const int64_t dim[], int n)
{
    int64_t p = 1;
    for (int i = 0; i < n; i++)
        p *= dim[i] > 0 ? dim[i] : 1;
    return p;
}

void kit_edges(kit_rng *r, int64_t dim[], int n, int64_t least, int64_t cap)
{
    for (int i = 0; i < n; i++)
        dim[i] = kit_edge(r, least, cap);
    while (product(dim, n) > cap) {
        int64_t *d = &dim[kit_below(r, n)];
        if (*d > 1)
            *d = kit_edge(r, 1, *d / 2);
    }
}

mnt_shape kit_edge_shape(kit_rng *r, int fewest, int most, int64_t least, int64_t cap)
{
    mnt_shape s = { .ndim = fewest + (int)kit_below(r, most - fewest + 1) };
    kit_edges(r, s.dim, s.ndim, least, cap);
    return s;
}

bool kit_one_in(kit_rng *r, int64_t n)
{
    return kit_below(r, n) == 0;
}
