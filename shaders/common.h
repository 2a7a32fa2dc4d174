/* SPDX-License-Identifier: MIT */
/*
 * The beginning of every .metal file. Arithmetic as docs/numerics.md wants it: nothing
 * reassociated, no contraction, and the scalar functions that every machine shares.
 */
#ifndef SHADERS_COMMON_H
#define SHADERS_COMMON_H

#include <metal_stdlib>
using namespace metal;

#if defined(__METAL_VERSION__) && __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#endif
#pragma METAL fp contract(off)

#include <mnt/scalar.h>

#include "args.h"

#endif
