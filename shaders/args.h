/* SPDX-License-Identifier: MIT */
/*
 * Argument structs of the kernels, shared by host and shaders. Fixed-width types only,
 * 64-bit members first, so that every compiler lays them out alike; at most 384 bytes.
 * Flags are int32_t: 0 or 1.
 */
#ifndef SHADERS_ARGS_H
#define SHADERS_ARGS_H

#ifndef __METAL_VERSION__
#include <stdint.h>
#endif

#define MNT_ARGS_DIMS     6
#define MNT_ARGS_SCHEDULE 8

/* What the host computes grids with. */
#define MNT_GROUP           256 /* threads of a threadgroup, unless kernels.def says less */
#define MNT_ITEMS           4  /* elements a thread of the elementwise kernels takes */
#define MNT_ROW_LANES       32 /* threads that share a row or a sum */
#define MNT_GROUP_ROWS      8  /* rows, or sums, of a threadgroup */
#define MNT_COLUMNS         32 /* columns of a threadgroup, in kernels that take columns */
#define MNT_SUM_BLOCK       4096 /* elements a block of rule D, positions a chunk of C6 */
#define MNT_TREE_SAMPLES    64   /* samples a tree of C6 */
#define MNT_BIAS_ROWS       64   /* rows a chunk of a [N, C] bias gradient */
#define MNT_BIAS_PLANES     32   /* planes of a threadgroup, in bias_planes */
#define MNT_BIAS_SEGMENT    144  /* elements of a plane that are staged at once */
#define MNT_BIAS_COLUMNS    16   /* columns of a threadgroup, in bias_chunks */
#define MNT_BIAS_CHUNKS     4    /* chunks of MNT_BIAS_ROWS rows of it */
#define MNT_SAMPLES_COLUMNS 8    /* elements of a threadgroup, in sample_blocks */
#define MNT_ENTROPY_ROWS    1024 /* at most, in loss_group.metal */
#define MNT_ENTROPY_WIDTH   16   /* elements of a row */

/* Up to four operands over one index space, row-major; strides in elements, 0 where an
 * operand is stretched. The host merges dimensions where all operands allow it. */
typedef struct mnt_view_args {
    int64_t count; /* elements of the index space */
    int64_t dim[MNT_ARGS_DIMS];
    int64_t stride[4][MNT_ARGS_DIMS]; /* of the operands, in the order of bindings */
    int32_t ndim;
    uint32_t bits; /* scale: the factor's; fill: the value's */
} mnt_view_args;

typedef struct mnt_cast_args {
    int64_t count;
    int32_t unit; /* u8 -> f32 as x / 255 */
    int32_t unused;
} mnt_cast_args;

/* y[i, k] = table[index[i], k] */
typedef struct mnt_gather_args {
    int64_t count; /* elements of y */
    int64_t width; /* elements of a row */
    int64_t rows;  /* of the table */
    int64_t indices;
    int32_t unit;      /* as in mnt_cast_args */
    int32_t guarded;   /* there is a fault word */
    uint32_t kind, id; /* its words 0 and 1 */
} mnt_gather_args;

/* The lowest i < count with index[i] outside [0, limit) goes into the fault word. */
typedef struct mnt_fault_args {
    int64_t count, limit;
    uint32_t kind, id; /* words 0 and 1 */
} mnt_fault_args;

typedef struct mnt_batch_args {
    int64_t count, batch; /* of the permutation, of the index */
} mnt_batch_args;

/*
 * Sums of `length` elements each, by rule D; argmax takes the same. An element of x lies
 * at a place of the kept dims plus a place of the reduced ones.
 */
typedef struct mnt_reduce_args {
    int64_t outputs, length;
    int64_t blocks; /* of MNT_SUM_BLOCK elements in a sum, at least 1 */
    int64_t kept_dim[MNT_ARGS_DIMS], kept_x[MNT_ARGS_DIMS], kept_y[MNT_ARGS_DIMS];
    int64_t reduced_dim[MNT_ARGS_DIMS], reduced_x[MNT_ARGS_DIMS];
    int32_t kept_ndim, reduced_ndim;
    int32_t divide; /* mean: the last step divides by `divisor` */
    float divisor;
} mnt_reduce_args;

/* dy [rows, columns] */
typedef struct mnt_columns_args {
    int64_t rows, columns;
} mnt_columns_args;

/* Sums over planes of h w elements; block order (C5) or row-major. */
typedef struct mnt_planes_args {
    int64_t planes;
    int64_t h, w;
    int32_t in_blocks;
    int32_t unused;
} mnt_planes_args;

/* Sums over samples (C6) of parts [leaves, size], each of 64 / width samples. */
typedef struct mnt_tree_args {
    int64_t size, leaves;
    int32_t width; /* leaves a tree */
    int32_t unused;
} mnt_tree_args;

/* Rows of logits, losses or products. */
typedef struct mnt_rows_args {
    int64_t rows, width;
    float divisor;   /* (float)rows */
    uint32_t id;     /* of the command, for the fault word */
    int32_t guarded; /* there is a fault word */
    int32_t unused;
} mnt_rows_args;

typedef struct mnt_random_args {
    uint64_t seed;
    int64_t count;
    uint32_t stream;
    float a, b; /* uniform: lo, hi; normal: mean, std */
    int32_t unused;
} mnt_random_args;

typedef struct mnt_optimizer_args {
    int64_t count;
    int64_t step[MNT_ARGS_SCHEDULE];
    float factor[MNT_ARGS_SCHEDULE];
    int32_t points;
    int32_t nesterov, decoupled;
    int32_t velocity; /* sgd has a velocity */
    int32_t guarded;  /* there is a fault word to look at */
    int32_t unused;
    float lr, momentum, beta1, beta2, eps, weight_decay;
} mnt_optimizer_args;

/* y = op(a) op(b): element (i, k) of op(a) is a[i a_row + k a_step], element (k, j) of
 * op(b) is b[k b_step + j b_column]. */
typedef struct mnt_product_args {
    int64_t batches, m, n, k, chunk;
    int64_t a_batch, a_row, a_step;
    int64_t b_batch, b_step, b_column;
    int32_t bias, relu;
} mnt_product_args;
#define MNT_MATRIX_THREADS 128 /* of the kernel with simdgroup matrices */

/* Convolutions and what is fused with them. Single dims are below 2^30, so that sums of
 * two coordinates fit 32 bits; products of dims are made in 64 bits. */
typedef struct mnt_conv_args {
    int64_t count; /* elements that the kernel writes */
    int64_t n;
    int32_t c, h, w;          /* image */
    int32_t o, oh, ow;        /* result of the convolution */
    int32_t c_group, o_group; /* channels a group */
    int32_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int32_t chunk; /* channels */
    int32_t bias, relu;
    /* Pool behind it; kernel_h 0: none. yh, yw: what is stored. */
    int32_t pool_h, pool_w, pool_stride_h, pool_stride_w, pool_pad_h, pool_pad_w;
    int32_t yh, yw;
    int32_t winners; /* the winners' index is wanted */
    int32_t samples; /* conv2d_dw: of one part */
} mnt_conv_args;

/* Weight gradients from threadgroup memory: what is staged is `rows` lines of `columns`
 * of an image with its padding, `pitch` apart, planes `plane` apart. */
#define MNT_WEIGHT_IMAGE   4096 /* floats of a staged image, at most */
#define MNT_WEIGHT_SEGMENT 256  /* elements of a list that are staged at once */
typedef struct mnt_weight_args {
    int64_t n;
    int64_t weights; /* elements of dw */
    int32_t groups;
    int32_t c, h, w;
    int32_t o, oh, ow;
    int32_t c_group, o_group;
    int32_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int32_t yw;       /* windows in a line of the pool */
    int32_t list;     /* elements of a plane's list */
    int32_t channels; /* of a threadgroup's block */
    int32_t samples;  /* of a part: 1, 2, 4 or 8 */
    int32_t rows, columns, pitch, plane;
    int32_t padded;             /* taps can lie in the padding */
    int32_t blocks_c, blocks_o; /* of channels, in a group */
    /* 2^32 over a divisor, rounded up; 0: the divisor is 1. */
    uint32_t by_columns, by_rows, by_taps, by_kw, by_windows, by_two_lines;
} mnt_weight_args;

#define MNT_TILE_GROUP   128  /* threads of a threadgroup, convolutions in tiles */
#define MNT_TILE_FLOATS  6144 /* that it stages at a time, at most */
#define MNT_TILE_WINDOWS 7168 /* the same, of windows with one winner each */
/*
 * A convolution in tiles. A quad is a square of 2x2 positions at even places: a pool's
 * window, or what one thread makes of an image. A threadgroup makes quads_y x quads_x of
 * them for `samples` samples and `blocks` register blocks of channels.
 */
typedef struct mnt_tile_args {
    mnt_conv_args conv;
    int32_t tiles_x, tiles_y; /* of a sample */
    int32_t groups;           /* threadgroups, by channels, that share such a tile */
    int32_t quads_x, quads_y, samples, blocks;
    int32_t channels;    /* that are summed over: staged at a time */
    int32_t rows, pitch; /* of a staged plane */
    int32_t linear;      /* the planes are staged as they lie in memory */
    /* 1 / what stands in the name, for small quotients */
    float per_block, per_sample, per_line; /* threads; quads of a tile, of its row */
    float per_channels, per_rows, per_pitch;
    float per_tap; /* float4s of weights */
} mnt_tile_args;

/* Windows over planes of images: x [planes, h, w], windows [planes, oh, ow]. */
typedef struct mnt_window_args {
    int64_t count; /* elements that the kernel writes */
    int32_t h, w, oh, ow;
    int32_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int32_t winners;
    int32_t unused;
} mnt_window_args;

#endif
