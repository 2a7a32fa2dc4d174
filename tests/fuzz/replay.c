/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target on files, without a fuzzer: to replay a finding, and to run the
 * seeds with any compiler as a test.
 */
#include "fuzz.h"

#include <stdio.h>

static int run(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    uint8_t *copy = malloc(n ? n : 1); /* of the exact size, for sanitizers */
    if (!copy)
        return 1;
    memcpy(copy, data, n);
    for (size_t cut = 0; cut <= n && cut < 4096; cut++)
        LLVMFuzzerTestOneInput(copy, n - cut);
    free(copy);
    return 0;
}

int main(int argc, char **argv)
{
    int bad = argc < 2;
    for (int i = 1; i < argc; i++)
        bad |= run(argv[i]);
    return bad;
}
