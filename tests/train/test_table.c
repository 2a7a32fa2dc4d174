/* SPDX-License-Identifier: MIT */
/*
 * The table of checkpoint hashes: threads x instruction set x kernels x eager or replay
 * x fused or unfused. One network, one seed: one hash.
 */
#include "../support/nets.h"

#include <stdio.h>
#include <string.h>

#define STEPS 3

static void one_table(bool lenet, bool adam)
{
    const char *isas[SUP_MAX_ISA];
    int n = sup_isas(isas), different = 0, entries = 0;
    char want[65] = "";
    print_message("%-8s %-4s %-7s %-7s %-8s %s (%s, %s, %d steps)\n", "isa", "all",
                  "threads", "order", "fusion", "sha256 of the checkpoint",
                  lenet ? "lenet" : "mlp", adam ? "adam" : "sgd", STEPS);
    for (int k = 0; k < n * 16; k++) {
        const char *isa = isas[k / 16];
        bool ref = k & 1, eager = k & 4, unfused = k & 8;
        int threads = k & 2 ? 2 : 1;
        if (eager && unfused) /* an eager graph fuses nothing */
            continue;
        char force[48], hash[65];
        snprintf(force, sizeof force, "isa=%s%s", isa, ref ? ",all=ref" : "");
        const net_spec s = { .lenet = lenet,
                             .adam = adam,
                             .eager = eager,
                             .no_fusion = unfused,
                             .batch = adam ? 9 : 33 };
        mnt_device *dev = sup_open(force, threads);
        net_hash(dev, &s, 120, STEPS, hash);
        mnt_device_close(dev);
        if (!*want)
            strcpy(want, hash);
        different += strcmp(want, hash) != 0;
        entries++;
        print_message("%-8s %-4s %-7d %-7s %-8s %s%s\n", isa, ref ? "ref" : "-",
                      threads, eager ? "eager" : "replay",
                      unfused || eager ? "unfused" : "fused", hash,
                      strcmp(want, hash) ? "  <- differs" : "");
    }
    if (different)
        fail_msg("%d of %d hashes differ from the first", different, entries);
}

static void test_mlp(void **state)
{
    (void)state;
    one_table(false, false);
}

static void test_lenet(void **state)
{
    (void)state;
    one_table(true, false);
}

static void test_lenet_adam(void **state)
{
    (void)state;
    one_table(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_lenet),
        cmocka_unit_test(test_lenet_adam),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
