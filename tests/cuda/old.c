/* SPDX-License-Identifier: MIT */
/*
 * The library of a driver that is too old: it lacks functions.
 */
int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);

int cuInit(unsigned flags)
{
    (void)flags;
    return 0;
}

int cuDriverGetVersion(int *version)
{
    *version = 10000;
    return 0;
}
