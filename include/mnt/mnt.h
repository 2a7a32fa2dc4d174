/* SPDX-License-Identifier: MIT */
/* libmnt: all of it but the interface for backend authors (mnt/backend.h). */
#ifndef MNT_MNT_H
#define MNT_MNT_H

#include <mnt/base.h>
#include <mnt/data.h>
#include <mnt/device.h>
#include <mnt/graph.h>
#include <mnt/model.h>
#include <mnt/nn.h>
#include <mnt/ops.h>
#include <mnt/profile.h>

#endif
