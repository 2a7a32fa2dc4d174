/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 (FIPS 180-4), so that hashes printed by the tests are those of sha256sum.
 * The constants are computed from their definition: the first 32 bits of the fractional
 * parts of square and cube roots of the first primes.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>

typedef struct sha_tables {
    uint32_t h[8], k[64];
} sha_tables;

/* floor(2^32 frac(root of p)), by integer bisection: no trust in libm's last bit. */
static uint32_t root_bits(unsigned p, int power)
{
    uint64_t lo = 0, hi = (uint64_t)20 << 32;
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        long double r = (long double)mid / 4294967296.0L;
        long double v = power == 2 ? r * r : r * r * r;
        if (v <= (long double)p)
            lo = mid;
        else
            hi = mid;
    }
    return (uint32_t)lo;
}

static void make_tables(sha_tables *t)
{
    int n = 0;
    for (unsigned p = 2; n < 64; p++) {
        bool prime = true;
        for (unsigned d = 2; d * d <= p; d++)
            prime = prime && p % d != 0;
        if (!prime)
            continue;
        if (n < 8)
            t->h[n] = root_bits(p, 2);
        t->k[n++] = root_bits(p, 3);
    }
}

static uint32_t rotr(uint32_t x, int n)
{
    return (x >> n) | (x << (32 - n));
}

static void block(uint32_t h[8], const uint32_t k[64], const unsigned char *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | (uint32_t)p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ (a >> 3)) + w[i - 7] +
               (rotr(b, 17) ^ rotr(b, 19) ^ (b >> 10));
    }
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t1 = s[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +
                      ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +
                      ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

void sup_sha256(const void *data, size_t bytes, char hex[65])
{
    sha_tables t;
    make_tables(&t);
    const unsigned char *p = data;
    size_t left = bytes;
    for (; left >= 64; left -= 64, p += 64)
        block(t.h, t.k, p);
    unsigned char tail[128] = { 0 };
    if (left)
        memcpy(tail, p, left);
    tail[left] = 0x80;
    size_t end = left < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        tail[end - 1 - (size_t)i] = (unsigned char)((uint64_t)bytes * 8 >> (8 * i));
    for (size_t at = 0; at < end; at += 64)
        block(t.h, t.k, tail + at);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", (unsigned)t.h[i]);
}
