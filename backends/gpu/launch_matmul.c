/* SPDX-License-Identifier: MIT */
/*
 * Matrix products: strides, tiles and which kernel is worth it. y is row-major and whole;
 * a and b are, too, so their transposes are strides.
 */
#include "launch.h"

static mnt_product_args args_of(const mnt_cmd *cmd)
{
    const mnt_args_matmul *m = &cmd->args.matmul;
    const mnt_operand *a = &cmd->in[0], *b = &cmd->in[1], *y = &cmd->out[0];
    mnt_product_args p = { .batches = gpu_dims(y, 0, y->ndim - 2),
                           .m = y->dim[y->ndim - 2],
                           .n = y->dim[y->ndim - 1],
                           .k = a->dim[m->ta ? a->ndim - 2 : a->ndim - 1],
                           .chunk = m->chunk };
    p.a_row = m->ta ? 1 : p.k;
    p.a_step = m->ta ? p.m : 1;
    p.b_column = m->tb ? p.k : 1;
    p.b_step = m->tb ? 1 : p.n;
    p.a_batch = p.m * p.k;
    p.b_batch = b->ndim > 2 ? p.k * p.n : 0;
    if (cmd->op == MNT_OP_ID_dense) {
        p.bias = 1;
        p.relu = m->relu;
    }
    return p;
}

/* Whether lines of the operands are such that vectors of four neighbours begin at
 * multiples of four elements: each line, each product of a batch and, along k, each chunk.
 * Not by strides: those of a single column are 1 both ways. */
static bool in_fours(const mnt_cmd *cmd)
{
    const mnt_args_matmul *m = &cmd->args.matmul;
    mnt_product_args p = args_of(cmd);
    bool along_k = p.k % 4 == 0 && (p.chunk % 4 == 0 || p.chunk >= p.k);
    bool a = m->ta ? p.m % 4 == 0 : along_k;
    bool b = m->tb ? along_k : p.n % 4 == 0;
    return a && b && !(m->ta && m->tb);
}

/* Offsets are known when a command is launched. */
static bool aligned(const mnt_operand *o)
{
    return o->offset % 16 == 0;
}

/* Which of a kernel's forms: any operands, or vectors by what is transposed. */
enum { ANY, NN, NT, TN };

static int form_of(const mnt_cmd *cmd)
{
    const mnt_args_matmul *m = &cmd->args.matmul;
    if (!in_fours(cmd) || !aligned(&cmd->in[0]) || !aligned(&cmd->in[1]))
        return ANY;
    return m->ta ? TN : m->tb ? NT : NN;
}

static void emit(gpu_emit *e, const mnt_cmd *cmd, gpu_kernel kernel, uint64_t groups)
{
    mnt_product_args p = args_of(cmd);
    gpu_dispatch *d = gpu_dispatch_add(e, kernel, groups);
    gpu_bind(d, &cmd->in[0]);
    gpu_bind(d, &cmd->in[1]);
    gpu_bind(d, cmd->op == MNT_OP_ID_dense ? &cmd->in[2] : &gpu_absent);
    gpu_bind(d, &cmd->out[0]);
    gpu_args(d, &p, sizeof p);
}

static uint64_t tiles(const mnt_cmd *cmd, int64_t size)
{
    mnt_product_args p = args_of(cmd);
    return (uint64_t)p.batches * gpu_groups(p.m, size) * gpu_groups(p.n, size);
}

/* Steps of 16 along k must not cross the end of a chunk. */
static bool accepts_steps(const mnt_cmd *cmd)
{
    mnt_product_args p = args_of(cmd);
    return p.chunk % 16 == 0 || p.chunk >= p.k;
}

/* Many elements, and enough tiles for a GPU. */
static bool accepts_big(const mnt_cmd *cmd)
{
    mnt_product_args p = args_of(cmd);
    return accepts_steps(cmd) && in_fours(cmd) && p.n % 4 == 0 && p.k > 0;
}

static bool prefers_big(const mnt_cmd *cmd)
{
    mnt_product_args p = args_of(cmd);
    return p.m >= 96 && p.n >= 96 && tiles(cmd, 128) >= 128;
}

static void launch_big(gpu_emit *e, const mnt_cmd *cmd)
{
    static const gpu_kernel kernel[] = { [NN] = GPU_KERNEL_product_big_nn,
                                         [NT] = GPU_KERNEL_product_big_nt,
                                         [TN] = GPU_KERNEL_product_big_tn };
    int form = form_of(cmd);
    if (form != ANY && aligned(&cmd->out[0]))
        emit(e, cmd, kernel[form], tiles(cmd, 128));
    else
        emit(e, cmd, GPU_KERNEL_product_block, tiles(cmd, 64));
}

/* Few elements: as many threads as there are chunks share a sum. */
static bool prefers_split(const mnt_cmd *cmd)
{
    return tiles(cmd, 64) < 96;
}

#define SPLIT(name)                                                                    \
    {                                                                                  \
        [ANY] = GPU_KERNEL_product_split_##name,                                       \
        [NN] = GPU_KERNEL_product_split_##name##_nn,                                   \
        [NT] = GPU_KERNEL_product_split_##name##_nt,                                   \
        [TN] = GPU_KERNEL_product_split_##name##_tn                                    \
    }

static void launch_split(gpu_emit *e, const mnt_cmd *cmd)
{
    static const gpu_kernel wide[] = SPLIT(wide), one[] = SPLIT(1), two[] = SPLIT(2),
                            four[] = SPLIT(4);
    mnt_product_args p = args_of(cmd);
    uint64_t chunks = gpu_groups(p.k, p.chunk);
    int form = form_of(cmd);
    if (chunks <= 1 && tiles(cmd, 32) >= 64)
        emit(e, cmd, wide[form], tiles(cmd, 32));
    else
        emit(e, cmd,
             (chunks <= 1   ? one
              : chunks == 2 ? two
                            : four)[form],
             tiles(cmd, 16));
}

/* Below, too few threadgroups are there to hide how long each one takes. */
static bool prefers_block(const mnt_cmd *cmd)
{
    mnt_product_args p = args_of(cmd);
    return p.m >= 48 && p.n >= 48 && tiles(cmd, 64) >= 32;
}

static void launch_block(gpu_emit *e, const mnt_cmd *cmd)
{
    emit(e, cmd, GPU_KERNEL_product_block, tiles(cmd, 64));
}

static bool prefers_tile(const mnt_cmd *cmd)
{
    mnt_product_args p = args_of(cmd);
    return p.m >= 4 && p.n >= 4;
}

static void launch_tile(gpu_emit *e, const mnt_cmd *cmd)
{
    emit(e, cmd, GPU_KERNEL_product_tile, tiles(cmd, 16));
}

/* At least one whole matrix of the hardware's. */
static bool accepts_matrix(const mnt_cmd *cmd)
{
    mnt_product_args p = args_of(cmd);
    return p.m >= 8 && p.n >= 8;
}

static void launch_matrix(gpu_emit *e, const mnt_cmd *cmd)
{
    emit(e, cmd, GPU_KERNEL_product_matrix, tiles(cmd, 64));
}

static void launch_ref(gpu_emit *e, const mnt_cmd *cmd)
{
    emit(e, cmd, GPU_KERNEL_product_ref,
         gpu_groups(gpu_count(&cmd->out[0]), MNT_GROUP));
}

#define ROWS(op)                                                                          \
    { MNT_OP_ID_##op, "big", accepts_big, launch_big, prefers_big, GPU_ANY },             \
        { MNT_OP_ID_##op, "split", NULL, launch_split, prefers_split, GPU_ANY },          \
        { MNT_OP_ID_##op, "block", accepts_steps, launch_block, prefers_block, GPU_ANY }, \
        { MNT_OP_ID_##op, "relaxed_matrix", accepts_matrix, launch_matrix,                \
          NULL,           GPU_NEEDS_MATRIX },                                             \
        { MNT_OP_ID_##op, "tile", accepts_steps, launch_tile, prefers_tile, GPU_ANY },    \
    {                                                                                     \
        MNT_OP_ID_##op, "ref", NULL, launch_ref, NULL, GPU_ANY                            \
    }

const gpu_launcher gpu_launch_matmul[] = { ROWS(matmul), ROWS(dense), { 0 } };
