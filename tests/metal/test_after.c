/* SPDX-License-Identifier: MIT */
/*
 * What comes after: work behind a failure is not sent, and the failure keeps its name; a
 * step with timing on, command by command, has the bits of one without.
 */
#include "session.h"

#include <stdio.h>
#include <string.h>

/* Three command buffers are under way when the first of them fails: the fourth is not
 * sent. Nothing else that goes wrong later takes the failure's place. */
static void test_not_sent(void **state)
{
    (void)state;
    session s;
    metalsim_config c = metalsim_config_default();
    c.command_ns = 40000000; /* one replay a command buffer */
    metalsim_configure(&c);
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_graph_run(s.g, 3)); /* measured, so that none is waited for */
    MUST(s.dev, mnt_device_wait(s.dev));
    uint64_t before = metalsim_count().command_buffers;
    metalsim_fail(METALSIM_FAIL_EXECUTION, 0, 1, 2);
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_graph_run(s.g, STEPS));
    metalsim_fail(METALSIM_FAIL_COMMAND_BUFFER, 0, -1, 0);
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_graph_run(s.g, 1));
    MUST_FAIL(s.dev, MNT_DEVICE, "a command buffer failed (timeout)",
              mnt_device_wait(s.dev));
    assert_true(metalsim_count().command_buffers - before <= 3);
    session_close(&s);
}

static void test_timed_bits(void **state)
{
    (void)state;
    session s;
    char hex[65];
    session_open(&s, "metal", NULL);
    MUST(s.dev, mnt_device_profile(s.dev, true));
    MUST(s.dev, mnt_graph_run(s.g, STEPS / 2));
    MUST(s.dev, mnt_device_profile(s.dev, false));
    MUST(s.dev, mnt_graph_run(s.g, STEPS - STEPS / 2));
    session_hash(&s, hex);
    session_close(&s);
    assert_string_equal(hex, cpu_hash());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { SESSION_TEST(test_not_sent),
                                        SESSION_TEST(test_timed_bits) };
    if (!session_main(argc, argv)) {
        fprintf(stderr, "usage: %s IMAGE OTHER\n", argv[0]);
        return 2;
    }
    return cmocka_run_group_tests_name("after", tests, NULL, NULL);
}
