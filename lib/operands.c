/* SPDX-License-Identifier: MIT */
/*
 * What data types and ranks the operands of each op have: one table, so that backends
 * need not repeat it; and that their elements can be counted. Whether the dims fit
 * together was settled when the op was recorded.
 *
 * A word describes one operand: its type, its rank, and ? where it may be absent.
 *   type  f f32, i i32, b u8, u u32, x the index of a pool (u8 or i32), n f32 or i32,
 *         c f32, i32 or u8, a any; n and a are the first output's type
 *   rank  a digit; + 2 or more; * that of the first output; p the same, at least 1; ^ the
 *         same, at least 2; m 2 or the same; r the same and the reduced axes
 */
#include "core.h"

typedef struct row {
    const char *in, *out;
} row;

static const row rows[MNT_OP_COUNT] = {
    [MNT_OP_ID_matmul] = { "f^ fm", "f^" },
    [MNT_OP_ID_dense] = { "f2 f2 f1?", "f2" },
    [MNT_OP_ID_add] = { "f* f*", "f*" },
    [MNT_OP_ID_sub] = { "f* f*", "f*" },
    [MNT_OP_ID_mul] = { "f* f*", "f*" },
    [MNT_OP_ID_div] = { "f* f*", "f*" },
    [MNT_OP_ID_scale] = { "f*", "f*" },
    [MNT_OP_ID_relu] = { "f*", "f*" },
    [MNT_OP_ID_relu_grad] = { "f* f*", "f*" },
    [MNT_OP_ID_bias_add] = { "f^ f1", "f^" },
    [MNT_OP_ID_bias_grad] = { "f+", "f1" },
    [MNT_OP_ID_sum] = { "fr", "f*" },
    [MNT_OP_ID_mean] = { "fr", "f*" },
    [MNT_OP_ID_argmax] = { "fr", "i*" },
    [MNT_OP_ID_softmax] = { "fp", "fp" },
    [MNT_OP_ID_softmax_grad] = { "fp fp", "fp" },
    [MNT_OP_ID_cross_entropy] = { "f2 i1 u1?", "f0 u1?" },
    [MNT_OP_ID_cross_entropy_grad] = { "f2 i1 f0", "f2" },
    [MNT_OP_ID_cross_entropy_both] = { "f2 i1 f0 u1?", "f0 f2 u1?" },
    [MNT_OP_ID_accuracy_count] = { "f2 i1", "i0" },
    [MNT_OP_ID_conv2d] = { "f4 f4", "f4" },
    [MNT_OP_ID_conv2d_dx] = { "f4 f4", "f4" },
    [MNT_OP_ID_conv2d_dw] = { "f4 f4", "f4" },
    [MNT_OP_ID_im2col] = { "f4", "f3" },
    [MNT_OP_ID_col2im] = { "f3", "f4" },
    [MNT_OP_ID_max_pool2d] = { "f4", "f4 x4" },
    [MNT_OP_ID_max_pool2d_grad] = { "f4 x4", "f4" },
    [MNT_OP_ID_conv2d_block] = { "f4 f4 f1?", "f4 x4?" },
    [MNT_OP_ID_conv2d_pool_dx] = { "f4 x4 f4", "f4" },
    [MNT_OP_ID_conv2d_pool_dw] = { "f4 f4 x4", "f4" },
    [MNT_OP_ID_conv2d_pool_db] = { "f4 x4", "f1" },
    [MNT_OP_ID_copy] = { "a*", "a*" },
    [MNT_OP_ID_cast] = { "c*", "c*" },
    [MNT_OP_ID_gather] = { "cp i1 u1?", "cp u1?" },
    [MNT_OP_ID_batch_index] = { "i1 i1", "i1 i1" },
    [MNT_OP_ID_fill] = { "", "c*" },
    [MNT_OP_ID_accumulate] = { "n* n*", "n*" },
    [MNT_OP_ID_uniform] = { "u1", "f*" },
    [MNT_OP_ID_normal] = { "u1", "f*" },
    [MNT_OP_ID_advance] = { "u1", "u1" },
    [MNT_OP_ID_optimizer_step] = { "u1 u1?", "u1" },
    [MNT_OP_ID_sgd] = { "f1 f1 f1? u1 u1?", "f1 f1?" },
    [MNT_OP_ID_adam] = { "f1 f1 f1 f1 u1 u1?", "f1 f1 f1" },
};

static bool type_fits(char type, const mnt_operand *o, const mnt_cmd *cmd)
{
    mnt_dtype t = o->dtype, y = cmd->out[0].dtype;
    switch (type) {
    case 'f':
        return t == MNT_F32;
    case 'i':
        return t == MNT_I32;
    case 'b':
        return t == MNT_U8;
    case 'u':
        return t == MNT_U32;
    case 'x':
        return t == MNT_U8 || t == MNT_I32;
    case 'n':
        return t == y && (t == MNT_F32 || t == MNT_I32);
    case 'c':
        return t == MNT_F32 || t == MNT_I32 || t == MNT_U8;
    default:
        return t == y && mnt_dtype_size(t) > 0;
    }
}

static bool reduced(const mnt_cmd *cmd)
{
    const mnt_args_reduce *a = &cmd->args.reduce;
    int n = cmd->in[0].ndim;
    return a->axis >= 0 && a->count >= 0 && a->count <= n && a->axis <= n - a->count &&
           n == cmd->out[0].ndim + a->count;
}

static bool rank_fits(char rank, const mnt_operand *o, const mnt_cmd *cmd)
{
    int n = o->ndim, common = cmd->out[0].ndim;
    if (n < 0 || n > MNT_MAX_DIMS)
        return false;
    switch (rank) {
    case '*':
        return n == common;
    case 'p':
        return n == common && n >= 1;
    case '^':
        return n == common && n >= 2;
    case '+':
        return n >= 2;
    case 'm':
        return n == 2 || n == common;
    case 'r':
        return reduced(cmd);
    default:
        return n == rank - '0';
    }
}

static bool absent(const mnt_operand *o)
{
    return !o->buffer && o->ndim == 0 && o->dtype == MNT_F32;
}

static bool operands_fit(const char *words, const mnt_operand *o, int most,
                         const mnt_cmd *cmd)
{
    for (int i = 0; i < most; i++) {
        if (!*words) {
            if (!absent(&o[i]))
                return false;
            continue;
        }
        bool optional = words[2] == '?';
        if (!(optional && absent(&o[i])) &&
            !(type_fits(words[0], &o[i], cmd) && rank_fits(words[1], &o[i], cmd)))
            return false;
        words += optional ? 3 : 2;
        words += *words == ' ';
    }
    return true;
}

/* Whether the elements, and the bytes from the first to the last, can be counted. Axes
 * of length 0 do not hide the others: kernels multiply those. */
static bool countable(const mnt_operand *o)
{
    const int64_t most = INT64_MAX / 16;
    int64_t count = 1, span = 0;
    for (int d = 0; d < o->ndim; d++) {
        int64_t n = o->dim[d] > 0 ? o->dim[d] : 1, gaps = n - 1;
        if (o->dim[d] < 0 || o->stride[d] < 0 || n > most / count)
            return false;
        count *= n;
        if (gaps > 0 && o->stride[d] > (most - span) / gaps)
            return false;
        span += gaps * o->stride[d];
    }
    return true;
}

static bool all_countable(const mnt_operand *o, int count)
{
    for (int i = 0; i < count; i++)
        if (!countable(&o[i]))
            return false;
    return true;
}

bool mnt_cmd_valid(const mnt_cmd *cmd)
{
    if ((unsigned)cmd->op >= MNT_OP_COUNT)
        return false;
    const row *r = &rows[cmd->op];
    return operands_fit(r->in, cmd->in, MNT_MAX_IN, cmd) &&
           operands_fit(r->out, cmd->out, MNT_MAX_OUT, cmd) &&
           all_countable(cmd->in, MNT_MAX_IN) && all_countable(cmd->out, MNT_MAX_OUT);
}
