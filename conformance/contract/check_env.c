/* SPDX-License-Identifier: MIT */
/*
 * The caller's floating-point environment: no call changes it (the rig looks after each
 * one), and whatever it is, the bits are the same.
 */
#include "checks.h"
#include "env.h"

#include <stdio.h>

/* Every call of the vtable once; the rows are those that round. */
static void everything(rig *r, const char *name)
{
    static const mnt_op ops[] = { MNT_OP_ID_matmul, MNT_OP_ID_div,    MNT_OP_ID_softmax,
                                  MNT_OP_ID_conv2d, MNT_OP_ID_normal, MNT_OP_ID_adam,
                                  MNT_OP_ID_mean,   MNT_OP_ID_cast };
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        sample s;
        for (int i = 0; !rig_stopped(r) && sample_make(&s, ops[k], i); i++) {
            uint64_t now = env_control(), at = 256;
            char where[64];
            env_set(env_settings[0].control);
            sample_expect(r, &s);
            env_set(now);
            void *place = rig_alloc(r, 1 << 20);
            sample_pack(&s, place, &at, 64, 0);
            snprintf(where, sizeof where, "the caller's environment: %s", name);
            if (sample_taken(r, &s))
                sample_check(r, &s, where, 0xa5, 2);
            rig_release(r, place);
            sample_free(&s);
        }
    }
}

CHECK_CLOSED(environment)
{
    uint64_t own = env_control();
    for (const env_setting *e = env_settings; e->name && !rig_stopped(r); e++) {
        env_set(e->control);
        rig_open(r, NULL);
        rig_profile(r, true);
        everything(r, e->name);
        rig_wait(r);
        rig_close(r);
        env_set(own);
    }
}
