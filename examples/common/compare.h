/* SPDX-License-Identifier: MIT */
/* --compare: the same training on two devices, side by side. */
#ifndef COMPARE_H
#define COMPARE_H

#include "common/session.h"

/* INVALID after a difference, which is printed with its tensor, element and bits. */
mnt_status compare_run(session *s);

#endif
