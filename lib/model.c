/* SPDX-License-Identifier: MIT */
/*
 * Models: named parameters and where they live. A parameter exists by name as soon as a
 * layer asks for it; its memory comes later, in one flat segment for all that are new,
 * so that an optimizer can treat neighbours as one long vector.
 */
#include "core.h"

#include <zlib.h>

#define MAX_NAME 128
#define RESERVED "__opt."
#define MOST     ((uint64_t)1 << 62) /* bytes of a segment; keeps sums from wrapping */

void mnt_model_desc_init(mnt_model_desc *desc)
{
    if (desc)
        *desc = MNT_MODEL_DESC(.seed = 1);
}

mnt_status mnt_model_create(mnt_model **out, mnt_device *dev,
                            const mnt_model_desc *desc)
{
    if (!out || !dev)
        return mnti_fail(dev, MNT_INVALID, "model_create: an argument is NULL");
    *out = NULL;
    mnt_model_desc d = MNT_MODEL_DESC(.seed = 1);
    if (desc && !mnti_desc_read(&d, sizeof d, desc))
        return mnti_fail(dev, MNT_INVALID,
                         "model_create: the desc's size field is wrong");
    mnt_model *m = mnti_alloc(dev, sizeof *m);
    if (!m)
        return mnti_fail(dev, MNT_NO_MEMORY, "model_create: no memory");
    m->dev = dev;
    m->seed = d.seed;
    m->state = mnti_tensor_persistent(dev, NULL, MNT_U32, MNT_SHAPE(MNT_STATE_WORDS));
    if (!m->state) {
        mnt_model_destroy(m);
        return dev->failed;
    }
    uint32_t words[MNT_STATE_WORDS] = { 0 };
    const float one = 1.0f; /* P1 and P2 start as empty products */
    memcpy(&words[MNT_STATE_P1], &one, sizeof one);
    memcpy(&words[MNT_STATE_P2], &one, sizeof one);
    mnt_status st = mnt_tensor_write(m->state, words, sizeof words);
    if (st) {
        mnt_model_destroy(m);
        return st;
    }
    *out = m;
    return MNT_OK;
}

static void param_free(mnti_param *p)
{
    mnt_device *dev = p->model->dev;
    mnti_tensor_free(p->w);
    mnti_tensor_free(p->m);
    mnti_tensor_free(p->v);
    mnti_free(dev, p);
}

void mnt_model_destroy(mnt_model *m)
{
    if (!m)
        return;
    mnt_device *dev = m->dev;
    for (int i = 0; i < m->count; i++)
        param_free(m->params[i]);
    mnti_free(dev, m->params);
    for (int i = 0; i < m->meta_count; i++) {
        mnti_free(dev, m->metas[i].key);
        mnti_free(dev, m->metas[i].value);
    }
    mnti_free(dev, m->metas);
    mnti_tensor_free(m->state);
    while (m->segments) {
        struct mnti_segment *s = m->segments;
        m->segments = s->next;
        mnti_buffer_free(dev, s->buffer, s->bytes);
        mnti_free(dev, s);
    }
    mnti_free(dev, m);
}

/* Where `name` stands or would stand in the sorted list. */
static int find_slot(const mnt_model *m, const char *name, bool *found)
{
    int lo = 0, hi = m->count;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(mnt_tensor_name(m->params[mid]->w), name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = false;
    return lo;
}

mnti_param *mnti_model_param(const mnt_model *m, const char *name)
{
    bool found;
    int i = find_slot(m, name, &found);
    return found ? m->params[i] : NULL;
}

mnt_status mnti_param_name(mnt_device *dev, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > MAX_NAME)
        return mnti_fail(dev, MNT_INVALID,
                         "param: a name has 1 to %d bytes, this one has %zu", MAX_NAME,
                         n);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return mnti_fail(dev, MNT_INVALID, "param: byte %zu of the name is 0x%02x",
                             i, (unsigned char)name[i]);
    if (!mnti_utf8(name))
        return mnti_fail(dev, MNT_INVALID, "param: the name of %zu bytes is not UTF-8",
                         n);
    if (strncmp(name, RESERVED, strlen(RESERVED)) == 0)
        return mnti_fail(dev, MNT_INVALID,
                         "param: %s: names from " RESERVED " are reserved", name);
    if (strcmp(name, "__metadata__") == 0)
        return mnti_fail(dev, MNT_INVALID, "param: %s is a reserved name", name);
    return MNT_OK;
}

static bool grow(mnt_model *m)
{
    if (m->count < m->capacity)
        return true;
    int capacity = m->capacity ? 2 * m->capacity : 16;
    mnti_param **p =
        mnti_realloc(m->dev, m->params, (size_t)capacity * sizeof *m->params);
    if (!p)
        return false;
    m->params = p;
    m->capacity = capacity;
    return true;
}

mnti_param *mnti_model_add(mnt_model *m, const char *name, mnt_shape shape,
                           mnt_init init)
{
    mnt_device *dev = m->dev;
    if (mnti_param_name(dev, name))
        return NULL;
    int64_t count = mnt_shape_count(shape);
    if (count < 0) {
        mnti_fail(dev, MNT_SHAPE, "param: %s cannot have shape %s", name,
                  mnti_shape_text(shape).s);
        return NULL;
    }
    mnti_param *p = mnti_alloc(dev, sizeof *p);
    mnti_storage *s = mnti_storage_new(dev, (uint64_t)count * 4, false);
    if (p && s && grow(m)) {
        p->model = m;
        p->init = init;
        p->w = mnti_tensor_over(dev, NULL, s, MNT_F32, shape, 0);
        if (p->w)
            p->w->name = mnti_strdup(dev, name);
    }
    mnti_storage_release(s);
    if (!p || !p->w || !p->w->name) {
        mnti_fail(dev, MNT_NO_MEMORY, "param: no memory for %s", name);
        if (p)
            mnti_tensor_free(p->w);
        mnti_free(dev, p);
        return NULL;
    }
    p->w->storage->version = &m->version;
    p->w->param = p;
    p->w->needs_grad = p->w->leaf = true;
    bool found;
    int at = find_slot(m, name, &found);
    memmove(&m->params[at + 1], &m->params[at],
            (size_t)(m->count - at) * sizeof *m->params);
    m->params[at] = p;
    m->count++;
    return p;
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + MNTI_ALIGN - 1) / MNTI_ALIGN * MNTI_ALIGN;
}

/* `bytes` and those of one more parameter; once over MOST it stays there. */
static uint64_t total(uint64_t bytes, const mnti_param *p)
{
    return bytes > MOST ? bytes : bytes + padded(p->w->storage->bytes);
}

/* A new flat block of the model's; NULL after a failure. */
static void *add_segment(mnt_model *m, uint64_t bytes)
{
    if (bytes > MOST) {
        mnti_fail(m->dev, MNT_NO_MEMORY, "model: the parameters take over 2^62 bytes");
        return NULL;
    }
    struct mnti_segment *s = mnti_alloc(m->dev, sizeof *s);
    if (!s) {
        mnti_fail(m->dev, MNT_NO_MEMORY, "model: no memory");
        return NULL;
    }
    if (mnti_buffer_alloc(m->dev, bytes, "model", &s->buffer)) {
        mnti_free(m->dev, s);
        return NULL;
    }
    s->bytes = bytes;
    s->next = m->segments;
    m->segments = s;
    return s->buffer;
}

/* First values: a command of the backend's own, so that they are the same everywhere.
 */
static mnt_status initialise(mnti_param *p, mnt_tensor *counter)
{
    mnt_model *m = p->model;
    const char *name = mnt_tensor_name(p->w);
    mnti_node node = { .op = MNT_OP_ID_fill, .out = { p->w } };
    switch (p->init.kind) {
    case MNT_INIT_ZERO:
        return MNT_OK; /* a segment is zero when it is made */
    case MNT_INIT_CONSTANT:
        node.args.scale.value = p->init.a;
        break;
    case MNT_INIT_UNIFORM:
    case MNT_INIT_NORMAL:
        node.op =
            p->init.kind == MNT_INIT_UNIFORM ? MNT_OP_ID_uniform : MNT_OP_ID_normal;
        node.in[0] = counter;
        node.args.random = (mnt_args_random){
            .seed = m->seed,
            .stream = (uint32_t)crc32(0, (const Bytef *)name, (uInt)strlen(name)),
            .a = p->init.a,
            .b = p->init.b,
        };
        break;
    default:
        return mnti_fail(m->dev, MNT_INVALID, "param: %s has an unknown init kind %d",
                         name, (int)p->init.kind);
    }
    return mnti_execute(m->dev, &node, 0);
}

mnt_status mnti_model_place(mnt_model *m)
{
    uint64_t bytes = 0;
    bool any = false;
    for (int i = 0; i < m->count; i++)
        if (!m->params[i]->placed) {
            any = true;
            bytes = total(bytes, m->params[i]);
        }
    if (!any)
        return MNT_OK;
    mnt_tensor *counter = mnti_tensor_persistent(m->dev, NULL, MNT_U32, MNT_SHAPE(2));
    void *block = counter ? add_segment(m, bytes) : NULL;
    mnt_status st = block ? MNT_OK : m->dev->failed;
    uint64_t offset = 0;
    for (int i = 0; i < m->count && st == MNT_OK; i++) {
        mnti_param *p = m->params[i];
        if (p->placed)
            continue;
        p->w->storage->buffer = block;
        p->w->storage->offset = offset;
        offset += padded(p->w->storage->bytes);
        st = initialise(p, counter);
        p->placed = st == MNT_OK;
    }
    mnti_tensor_free(counter);
    m->version++;
    return st;
}

static mnt_tensor *state_tensor(mnti_param *p, void *block, uint64_t offset)
{
    mnt_device *dev = p->model->dev;
    mnti_storage *s = mnti_storage_new(dev, p->w->storage->bytes, false);
    if (!s)
        return NULL;
    s->buffer = block;
    s->offset = offset;
    mnt_tensor *t = mnti_tensor_over(dev, NULL, s, MNT_F32, p->w->shape, 0);
    mnti_storage_release(s);
    return t;
}

static mnt_tensor **state_slot(mnti_param *p, bool first_moment)
{
    return first_moment ? &p->m : &p->v;
}

/* Moment tensors for the parameters that lack them, laid out as their parameters are.
 */
static mnt_status add_moments(mnt_model *m, bool first_moment)
{
    uint64_t bytes = 0;
    bool any = false;
    for (int i = 0; i < m->count; i++)
        if (!*state_slot(m->params[i], first_moment)) {
            any = true; /* one of no elements has moments of no elements */
            bytes = total(bytes, m->params[i]);
        }
    if (!any)
        return MNT_OK;
    void *block = add_segment(m, bytes);
    if (!block)
        return m->dev->failed;
    uint64_t offset = 0;
    for (int i = 0; i < m->count; i++) {
        mnt_tensor **t = state_slot(m->params[i], first_moment);
        if (*t)
            continue;
        *t = state_tensor(m->params[i], block, offset);
        if (!*t)
            return m->dev->failed;
        offset += padded(m->params[i]->w->storage->bytes);
    }
    return MNT_OK;
}

mnt_status mnti_model_optimizer(mnt_model *m, mnti_optimizer kind,
                                const mnt_args_optim *args)
{
    static const char *const names[] = { "none", "sgd", "adam" };
    if (m->optimizer != MNTI_OPT_NONE && m->optimizer != kind)
        return mnti_fail(m->dev, MNT_STATE, "%s: the model holds the state of %s",
                         names[kind], names[m->optimizer]);
    mnt_status st = mnti_model_place(m);
    if (st == MNT_OK && kind == MNTI_OPT_ADAM)
        st = add_moments(m, true);
    if (st == MNT_OK && (kind == MNTI_OPT_ADAM || args->momentum != 0.0f))
        st = add_moments(m, false);
    if (st)
        return st;
    m->optimizer = kind;
    m->optim = *args;
    return MNT_OK;
}

int mnt_model_param_count(const mnt_model *m)
{
    return m ? m->count : 0;
}

mnt_tensor *mnt_model_param(const mnt_model *m, int i)
{
    return m && i >= 0 && i < m->count ? m->params[i]->w : NULL;
}

mnt_tensor *mnt_model_find(const mnt_model *m, const char *name)
{
    mnti_param *p = m && name ? mnti_model_param(m, name) : NULL;
    return p ? p->w : NULL;
}

int64_t mnt_model_step(mnt_model *m)
{
    uint32_t words[MNT_STATE_WORDS];
    if (!m || mnt_tensor_read(m->state, words, sizeof words))
        return -1;
    return (int64_t)((uint64_t)words[MNT_STATE_STEP_HI] << 32 |
                     words[MNT_STATE_STEP_LO]);
}

uint64_t mnt_model_seed(const mnt_model *m)
{
    return m ? m->seed : 0;
}

/* The graph's stand-in for a parameter: same storage, a gradient of its own. */
static mnt_tensor *stand_in(mnt_graph *g, mnti_param *p)
{
    for (int i = 0; i < g->param_count; i++)
        if (g->params[i]->param == p)
            return g->params[i];
    if (g->param_count == g->param_capacity) {
        int capacity = g->param_capacity ? 2 * g->param_capacity : 16;
        mnt_tensor **list =
            mnti_realloc(g->dev, g->params, (size_t)capacity * sizeof *list);
        if (!list)
            return mnti_graph_fail(g, MNT_NO_MEMORY, "param: no memory");
        g->params = list;
        g->param_capacity = capacity;
    }
    const mnt_tensor *w = p->w;
    mnt_tensor *t = mnti_tensor_over(g->dev, g, w->storage, w->dtype, w->shape, 0);
    if (!t || (t->name = mnti_strdup(g->dev, w->name)) == NULL)
        return mnti_graph_fail(g, MNT_NO_MEMORY, "param: no memory for %s", w->name);
    t->param = p;
    t->needs_grad = t->leaf = true;
    g->params[g->param_count++] = t;
    return t;
}

static mnti_param *new_param(mnt_graph *g, const char *name, mnt_shape shape,
                             mnt_init init)
{
    mnt_status st = mnti_param_name(g->dev, name);
    if (!st && (unsigned)init.kind > MNT_INIT_NORMAL)
        st = mnti_fail(g->dev, MNT_INVALID, "param: %s has an unknown init kind %d",
                       name, (int)init.kind);
    mnti_param *p = st ? NULL : mnti_model_add(g->model, name, shape, init);
    if (p)
        return p;
    if (!st)
        st = mnt_shape_count(shape) < 0 ? MNT_SHAPE : MNT_NO_MEMORY;
    mnti_graph_fail(g, st, "%s", g->dev->error);
    return NULL;
}

mnt_tensor *mnt_param(mnt_graph *g, const char *name, mnt_shape shape, mnt_init init)
{
    if (!g || g->status)
        return NULL;
    if (!g->model)
        return mnti_graph_fail(g, MNT_STATE, "param: %.128s: the graph has no model",
                               name ? name : "(null)");
    if (!name)
        return mnti_graph_fail(g, MNT_INVALID, "param: the name is NULL");
    mnt_model *m = g->model;
    mnti_param *p = mnti_model_param(m, name);
    if (!p && m->loaded)
        return mnti_graph_fail(g, MNT_NOT_FOUND,
                               "param: the loaded model has no parameter %.128s", name);
    if (!p && (p = new_param(g, name, shape, init)) == NULL)
        return NULL;
    const mnt_shape *have = &p->w->shape;
    bool same = have->ndim == shape.ndim;
    for (int i = 0; same && i < shape.ndim; i++)
        same = have->dim[i] == shape.dim[i];
    if (!same)
        return mnti_graph_fail(g, MNT_SHAPE, "param: %s is %s in the model, %s here",
                               name, mnti_shape_text(*have).s,
                               mnti_shape_text(shape).s);
    if (g->eager) {
        mnt_status st = mnti_model_place(m);
        if (st)
            return mnti_graph_fail(g, st, "%s", g->dev->error);
    }
    return stand_in(g, p);
}

mnt_tensor *mnt_graph_param(const mnt_graph *g, int i)
{
    return g && i >= 0 && i < g->param_count ? g->params[i] : NULL;
}
