/* SPDX-License-Identifier: MIT */
/*
 * Storages and tensors: making and freeing them, strides, moving data to and from the
 * host. What a plan does with storages is in plan.c.
 */
#include "core.h"

mnti_text mnti_shape_text(mnt_shape shape)
{
    mnti_text t = { "[" };
    size_t n = 1;
    if (shape.ndim < 0 || shape.ndim > MNT_MAX_DIMS) {
        snprintf(t.s, sizeof t.s, "of %d dims (0 to %d are possible)", shape.ndim,
                 MNT_MAX_DIMS);
        return t;
    }
    for (int i = 0; i < shape.ndim && i < MNT_MAX_DIMS; i++)
        n += (size_t)snprintf(t.s + n, sizeof t.s - n, "%s%lld", i ? "," : "",
                              (long long)shape.dim[i]);
    snprintf(t.s + n, sizeof t.s - n, "]");
    return t;
}

void mnti_row_major(mnt_shape shape, int64_t stride[MNT_MAX_DIMS])
{
    int64_t step = 1;
    for (int i = shape.ndim; i-- > 0;) {
        stride[i] = step;
        step *= shape.dim[i] > 0 ? shape.dim[i] : 1;
    }
    for (int i = shape.ndim; i < MNT_MAX_DIMS; i++)
        stride[i] = 0;
}

uint64_t mnti_tensor_bytes(const mnt_tensor *t)
{
    return (uint64_t)mnt_shape_count(t->shape) * mnt_dtype_size(t->dtype);
}

mnt_operand mnti_operand(const mnt_tensor *t)
{
    const mnti_storage *s = t->storage;
    mnt_operand o = { .buffer = s->buffer,
                      .offset =
                          s->offset + (uint64_t)t->start * mnt_dtype_size(t->dtype),
                      .dtype = t->dtype,
                      .ndim = t->shape.ndim,
                      .version = s->version };
    memcpy(o.dim, t->shape.dim, sizeof o.dim);
    memcpy(o.stride, t->stride, sizeof o.stride);
    return o;
}

bool mnti_contiguous(const mnt_tensor *t)
{
    mnt_operand o = mnti_operand(t);
    return mnt_operand_contiguous(&o);
}

mnti_storage *mnti_storage_new(mnt_device *dev, uint64_t bytes, bool planned)
{
    mnti_storage *s = mnti_alloc(dev, sizeof *s);
    if (!s) {
        mnti_fail(dev, MNT_NO_MEMORY, "no memory for a tensor");
        return NULL;
    }
    *s = (mnti_storage){ .dev = dev,
                         .bytes = bytes,
                         .planned = planned,
                         .first = -1,
                         .last = -1,
                         .refs = 1 };
    return s;
}

void mnti_storage_release(mnti_storage *s)
{
    if (!s || --s->refs > 0)
        return;
    if (s->owned)
        mnti_buffer_free(s->dev, s->buffer, s->bytes);
    mnti_free(s->dev, s);
}

mnt_tensor *mnti_tensor_over(mnt_device *dev, mnt_graph *graph, mnti_storage *storage,
                             mnt_dtype dtype, mnt_shape shape, int64_t start)
{
    mnt_tensor *t = mnti_alloc(dev, sizeof *t);
    if (!t) {
        mnti_fail(dev, MNT_NO_MEMORY, "no memory for a tensor");
        return NULL;
    }
    *t = (mnt_tensor){ .dev = dev,
                       .graph = graph,
                       .storage = storage,
                       .dtype = dtype,
                       .shape = shape,
                       .start = start };
    mnti_row_major(shape, t->stride);
    storage->refs++;
    if (graph) {
        t->next = graph->tensors;
        graph->tensors = t;
    }
    return t;
}

mnt_tensor *mnti_tensor_persistent(mnt_device *dev, mnt_graph *graph, mnt_dtype dtype,
                                   mnt_shape shape)
{
    int64_t count = mnt_shape_count(shape);
    if (count < 0 || mnt_dtype_size(dtype) == 0) {
        mnti_fail(dev, MNT_SHAPE, "a tensor of shape %s is not possible",
                  mnti_shape_text(shape).s);
        return NULL;
    }
    uint64_t bytes = (uint64_t)count * mnt_dtype_size(dtype);
    mnti_storage *s = mnti_storage_new(dev, bytes, false);
    if (!s)
        return NULL;
    s->owned = true;
    mnt_tensor *t = NULL;
    if (mnti_buffer_alloc(dev, bytes, "tensor", &s->buffer) == MNT_OK)
        t = mnti_tensor_over(dev, graph, s, dtype, shape, 0);
    mnti_storage_release(s);
    return t;
}

void mnti_tensor_free(mnt_tensor *t)
{
    if (!t)
        return;
    mnti_storage_release(t->storage);
    mnti_free(t->dev, t->name);
    mnti_free(t->dev, t);
}

mnt_dtype mnt_tensor_dtype(const mnt_tensor *t)
{
    return t ? t->dtype : MNT_F32;
}

mnt_shape mnt_tensor_shape(const mnt_tensor *t)
{
    return t ? t->shape : (mnt_shape){ 0 };
}

int64_t mnt_tensor_count(const mnt_tensor *t)
{
    return t ? mnt_shape_count(t->shape) : 0;
}

const char *mnt_tensor_name(const mnt_tensor *t)
{
    return t && t->name ? t->name : "";
}

void mnt_tensor_set_name(mnt_tensor *t, const char *name)
{
    if (!t || !name || t->param)
        return;
    char *copy = mnti_strdup(t->dev, name);
    mnt_graph *g = t->graph;
    if (!copy && g && !g->compiled)
        mnti_graph_fail(g, MNT_NO_MEMORY, "tensor_set_name: no memory for %.100s",
                        name);
    if (!copy)
        return;
    for (int i = 0; g && g->cmds && t->name && i < g->cmd_count; i++)
        if (g->cmds[i].label == t->name)
            g->cmds[i].label = copy;
    mnti_free(t->dev, t->name);
    t->name = copy;
}

void mnt_tensor_keep(mnt_tensor *t)
{
    if (t && !(t->graph && t->graph->compiled)) /* later its place is shared */
        t->storage->keep = true;
}

mnt_tensor *mnt_tensor_grad(const mnt_tensor *t)
{
    return t ? t->grad : NULL;
}

/* A tensor's name or, without one, whose result it is. */
static mnti_text shown_name(const mnt_tensor *t)
{
    mnti_text text = { "without a name" };
    const mnt_graph *g = t->graph;
    if (t->name)
        snprintf(text.s, sizeof text.s, "%s", t->name);
    for (int i = 0; !t->name && g && i < g->count; i++)
        for (int o = 0; o < MNT_MAX_OUT && g->nodes[i].op != MNTI_VIEW; o++)
            if (g->nodes[i].out[o] == t)
                snprintf(text.s, sizeof text.s, "from %s", mnt_op_name(g->nodes[i].op));
    return text;
}

/* Parameters get their memory late: anybody who looks makes it now. */
static mnt_status place(mnt_tensor *t)
{
    return t->param && !t->param->placed ? mnti_model_place(t->param->model) : MNT_OK;
}

static mnt_status check_transfer(mnt_tensor *t, const void *data, size_t bytes,
                                 const char *call)
{
    if (!t)
        return mnti_fail(NULL, MNT_INVALID, "%s: the tensor is NULL", call);
    if (!data && bytes)
        return mnti_fail(t->dev, MNT_INVALID, "%s: the data pointer is NULL", call);
    if (bytes != mnti_tensor_bytes(t))
        return mnti_fail(
            t->dev, MNT_SHAPE, "%s: tensor %s is %s %s of %llu bytes, not %zu", call,
            shown_name(t).s, mnt_dtype_name(t->dtype), mnti_shape_text(t->shape).s,
            (unsigned long long)mnti_tensor_bytes(t), bytes);
    mnt_status st = place(t);
    if (st)
        return st;
    const mnti_storage *s = t->storage;
    if (s->dead)
        return mnti_fail(t->dev, MNT_STATE,
                         "%s: tensor %s %s was fused away; keep it before compile",
                         call, shown_name(t).s, mnti_shape_text(t->shape).s);
    if (!s->buffer)
        return mnti_fail(t->dev, MNT_STATE,
                         "%s: tensor %s %s has no memory before compile", call,
                         shown_name(t).s, mnti_shape_text(t->shape).s);
    if (s->planned && !s->keep)
        return mnti_fail(
            t->dev, MNT_STATE,
            "%s: the memory of tensor %s %s is reused; keep it before compile", call,
            shown_name(t).s, mnti_shape_text(t->shape).s);
    return MNT_OK;
}

mnt_status mnt_tensor_write(mnt_tensor *t, const void *data, size_t bytes)
{
    mnt_status st = check_transfer(t, data, bytes, "tensor_write");
    if (st)
        return st;
    if (!mnti_contiguous(t))
        return mnti_fail(t->dev, MNT_STATE, "tensor_write: tensor %s is a strided view",
                         shown_name(t).s);
    mnt_operand o = mnti_operand(t);
    st = MNTI_CALL(t->dev, write, t->dev->ctx, o.buffer, o.offset, data, bytes);
    if (st == MNT_OK && t->storage->version) /* views of parameters too */
        ++*t->storage->version;
    return st;
}

/* Copies the elements of a strided operand, read whole into `span`, in row-major order.
 */
static void pack(const mnt_tensor *t, const char *span, char *out)
{
    size_t size = mnt_dtype_size(t->dtype);
    int64_t count = mnt_shape_count(t->shape), index[MNT_MAX_DIMS] = { 0 }, at = 0;
    for (int64_t i = 0; i < count; i++) {
        memcpy(out + (size_t)i * size, span + (size_t)at * size, size);
        for (int d = t->shape.ndim; d-- > 0;) {
            at += t->stride[d];
            if (++index[d] < t->shape.dim[d])
                break;
            at -= t->stride[d] * t->shape.dim[d];
            index[d] = 0;
        }
    }
}

static mnt_status read_strided(mnt_tensor *t, void *data)
{
    int64_t extent = 1;
    for (int d = 0; d < t->shape.ndim; d++)
        extent += (t->shape.dim[d] - 1) * t->stride[d];
    size_t bytes = (size_t)extent * mnt_dtype_size(t->dtype);
    char *span = mnti_alloc(t->dev, bytes);
    if (!span)
        return mnti_fail(t->dev, MNT_NO_MEMORY, "tensor_read: no memory for %zu bytes",
                         bytes);
    mnt_operand o = mnti_operand(t);
    mnt_status st =
        MNTI_CALL(t->dev, read, t->dev->ctx, o.buffer, o.offset, span, bytes);
    if (st == MNT_OK)
        pack(t, span, data);
    mnti_free(t->dev, span);
    return st;
}

mnt_status mnt_tensor_read(mnt_tensor *t, void *data, size_t bytes)
{
    mnt_status st = check_transfer(t, data, bytes, "tensor_read");
    if (st)
        return st;
    if ((st = mnti_sync(t->dev)) != MNT_OK)
        return st;
    if (!mnti_contiguous(t))
        return read_strided(t, data);
    mnt_operand o = mnti_operand(t);
    return MNTI_CALL(t->dev, read, t->dev->ctx, o.buffer, o.offset, data, bytes);
}
