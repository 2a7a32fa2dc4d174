/* SPDX-License-Identifier: MIT */
/* A shared object that is no backend: it lacks mnt_backend_entry. */
const char *mnt_backend_entrance(void);

const char *mnt_backend_entrance(void)
{
    return "not what is looked for";
}
