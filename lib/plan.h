/* SPDX-License-Identifier: MIT */
/* What replay needs of the planner: guard bands and poison. */
#ifndef MNTI_PLAN_H
#define MNTI_PLAN_H

#include "core.h"

/* Fills the arena with NaN patterns, the bands between tensors included. */
mnt_status mnti_plan_poison(mnt_graph *g);

#endif
