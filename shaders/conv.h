/* SPDX-License-Identifier: MIT */
/*
 * Convolutions by definition: what the kernels for any geometry are made of, and what
 * those for some geometries go back to where a value needs it.
 */
#ifndef SHADERS_CONV_H
#define SHADERS_CONV_H

#include "common.h"

/* The sum at (oy, ox): `image` is the group's first channel in the sample, `weights` the
 * output channel's kernels. */
static inline float conv_at(constant mnt_conv_args &p, device const float *image,
                            device const float *weights, int oy, int ox)
{
    int y0 = oy * p.stride_h - p.pad_h, x0 = ox * p.stride_w - p.pad_w;
    int64_t plane = int64_t(p.h) * p.w, taps = int64_t(p.kh) * p.kw;
    float y = 0.0f;
    for (int first = 0; first < p.c_group; first += p.chunk) {
        int end = min(p.c_group, first + p.chunk);
        float s = 0.0f;
        for (int c = first; c < end; c++)
            for (int i = 0; i < p.kh; i++) {
                int iy = y0 + i * p.dilation_h;
                if (iy < 0 || iy >= p.h)
                    continue;
                device const float *row = image + c * plane + int64_t(iy) * p.w;
                device const float *tap = weights + c * taps + i * p.kw;
                for (int j = 0; j < p.kw; j++) {
                    int ix = x0 + j * p.dilation_w;
                    if (ix >= 0 && ix < p.w)
                        s = fma(row[ix], tap[j], s);
                }
            }
        y = y + s;
    }
    return y;
}

#endif
