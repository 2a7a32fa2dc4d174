/* SPDX-License-Identifier: MIT */
/* The eval command. */
#ifndef EVAL_H
#define EVAL_H

#include "common/session.h"

mnt_status eval_run(session *s);

#endif
