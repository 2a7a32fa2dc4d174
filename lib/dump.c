/* SPDX-License-Identifier: MIT */
/*
 * Text for people: the commands of a graph, the values of a tensor.
 */
#include "core.h"

typedef struct text {
    mnt_device *dev;
    char *s;
    size_t length, capacity;
    bool failed;
} text;

static void put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(text *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char line[512];
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (n < 0 || t->failed)
        return;
    size_t add = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    if (t->length + add + 1 > t->capacity) {
        size_t capacity = 2 * t->capacity + add + 256;
        char *s = mnti_realloc(t->dev, t->s, capacity);
        if (!s) {
            t->failed = true;
            return;
        }
        t->s = s;
        t->capacity = capacity;
    }
    memcpy(t->s + t->length, line, add + 1);
    t->length += add;
}

static mnt_status finish(text *t, const char *call, char **out)
{
    if (t->failed) {
        mnti_free(t->dev, t->s);
        return mnti_fail(t->dev, MNT_NO_MEMORY, "%s: no memory for the text", call);
    }
    *out = t->s;
    return MNT_OK;
}

static void put_operand(text *t, const mnt_graph *g, const mnt_tensor *x)
{
    const mnti_storage *s = x->storage;
    put(t, " %s%s", mnt_dtype_name(x->dtype), mnti_shape_text(x->shape).s);
    if (x->name)
        put(t, "'%.100s'", x->name);
    if (s->planned && g->compiled)
        put(t, "@%llu", (unsigned long long)s->offset);
    else if (!s->planned)
        put(t, "@own");
    if (!mnti_contiguous(x))
        put(t, "/strided");
}

static void put_args(text *t, const mnti_node *n)
{
    const mnt_args *a = &n->args;
    switch (n->op) {
    case MNT_OP_ID_matmul:
    case MNT_OP_ID_dense:
        put(t, " %c%c chunk=%lld%s", a->matmul.ta ? 'T' : 'N', a->matmul.tb ? 'T' : 'N',
            (long long)a->matmul.chunk, a->matmul.relu ? " relu" : "");
        break;
    case MNT_OP_ID_scale:
    case MNT_OP_ID_fill:
        put(t, " %g", (double)a->scale.value);
        break;
    case MNT_OP_ID_sum:
    case MNT_OP_ID_mean:
    case MNT_OP_ID_argmax:
        put(t, " axes=[%d,%d)", a->reduce.axis, a->reduce.axis + a->reduce.count);
        break;
    case MNT_OP_ID_conv2d:
    case MNT_OP_ID_conv2d_dx:
    case MNT_OP_ID_conv2d_dw:
        put(t, " stride=%d,%d pad=%d,%d dilation=%d,%d groups=%d", a->conv.stride_h,
            a->conv.stride_w, a->conv.pad_h, a->conv.pad_w, a->conv.dilation_h,
            a->conv.dilation_w, a->conv.groups);
        break;
    case MNT_OP_ID_max_pool2d:
    case MNT_OP_ID_max_pool2d_grad:
        put(t, " window=%d,%d stride=%d,%d pad=%d,%d", a->window.kernel_h,
            a->window.kernel_w, a->window.stride_h, a->window.stride_w, a->window.pad_h,
            a->window.pad_w);
        break;
    case MNT_OP_ID_conv2d_block:
        put(t, "%s%s", a->block.relu ? " relu" : "",
            a->block.pool.kernel_h ? " pool" : "");
        break;
    default:
        break;
    }
}

static void put_node(text *t, const mnt_graph *g, int line, const mnti_node *n)
{
    put(t, "%4d %-18s", line, mnt_op_name(n->op));
    for (int i = 0; i < MNT_MAX_IN; i++)
        if (n->in[i])
            put_operand(t, g, n->in[i]);
    put(t, " ->");
    for (int i = 0; i < MNT_MAX_OUT; i++)
        if (n->out[i])
            put_operand(t, g, n->out[i]);
    put_args(t, n);
    put(t, "\n");
}

mnt_status mnt_graph_dump(const mnt_graph *g, char **out)
{
    if (!g || !out)
        return mnti_fail(g ? g->dev : NULL, MNT_INVALID,
                         "graph_dump: an argument is NULL");
    *out = NULL;
    text t = { .dev = g->dev };
    put(&t, "graph '%.100s' on %s: %s\n", g->name, g->dev->backend->name,
        g->status     ? g->error
        : g->compiled ? "compiled"
                      : "recorded");
    int line = 0;
    for (int i = 0; i < g->count; i++)
        if (g->nodes[i].op != MNTI_VIEW && !g->nodes[i].dead)
            put_node(&t, g, line++, &g->nodes[i]);
    if (g->compiled)
        put(&t, "%d commands after joining, arena %llu bytes, %llu without reuse\n",
            g->cmd_count, (unsigned long long)g->arena_bytes,
            (unsigned long long)g->unplanned_bytes);
    return finish(&t, "graph_dump", out);
}

static void put_value(text *t, const mnt_tensor *x, const char *at)
{
    float f;
    int32_t i;
    uint32_t u;
    switch (x->dtype) {
    case MNT_F32:
        memcpy(&f, at, sizeof f);
        put(t, "%.9g", (double)f);
        break;
    case MNT_I32:
        memcpy(&i, at, sizeof i);
        put(t, "%d", (int)i);
        break;
    case MNT_U32:
        memcpy(&u, at, sizeof u);
        put(t, "%u", (unsigned)u);
        break;
    case MNT_U8:
        put(t, "%u", (unsigned)*(const unsigned char *)at);
        break;
    default:
        put(t, "0x%02x%02x", (unsigned)(unsigned char)at[1],
            (unsigned)(unsigned char)at[0]);
        break;
    }
}

/* Values of one axis and those inside it, as nested brackets. */
static void put_axis(text *t, const mnt_tensor *x, const char *data, int axis,
                     int64_t limit)
{
    if (axis == x->shape.ndim) {
        put_value(t, x, data);
        return;
    }
    int64_t inner = 1;
    for (int i = axis + 1; i < x->shape.ndim; i++)
        inner *= x->shape.dim[i];
    size_t step = (size_t)inner * mnt_dtype_size(x->dtype);
    int64_t n = x->shape.dim[axis];
    put(t, "[");
    for (int64_t i = 0; i < n; i++) {
        if (i == limit) {
            put(t, ", ...");
            break;
        }
        if (i > 0) {
            if (axis == x->shape.ndim - 1)
                put(t, ", ");
            else
                put(t, ",\n%*s", axis + 1, "");
        }
        put_axis(t, x, data + (size_t)i * step, axis + 1, limit);
    }
    put(t, "]");
}

mnt_status mnt_tensor_format(mnt_tensor *x, int64_t limit, char **out)
{
    if (!x || !out || limit < 0)
        return mnti_fail(x ? x->dev : NULL, MNT_INVALID,
                         "tensor_format: an argument is NULL or the limit below 0");
    *out = NULL;
    size_t bytes = (size_t)mnti_tensor_bytes(x);
    char *data = mnti_alloc(x->dev, bytes);
    if (!data)
        return mnti_fail(x->dev, MNT_NO_MEMORY, "tensor_format: no memory");
    mnt_status st = mnt_tensor_read(x, data, bytes);
    if (st == MNT_OK) {
        text t = { .dev = x->dev };
        put(&t, "%s %s%s ", x->name ? x->name : "tensor", mnt_dtype_name(x->dtype),
            mnti_shape_text(x->shape).s);
        put_axis(&t, x, data, 0, limit);
        put(&t, "\n");
        st = finish(&t, "tensor_format", out);
    }
    mnti_free(x->dev, data);
    return st;
}
