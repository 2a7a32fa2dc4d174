/* SPDX-License-Identifier: MIT */
/* The train command. */
#ifndef TRAIN_H
#define TRAIN_H

#include "common/session.h"

mnt_status train_run(session *s);

#endif
