/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints: a model as a safetensors file and back. Parameters are stored under
 * their names, optimizer state as "__opt.m.<name>" and "__opt.v.<name>", all sorted by
 * name; everything else is metadata (checkpoint_meta.c). The bytes are a function of
 * the model's state alone. A file is checked as a whole before anything is made of it.
 */
#include "checkpoint.h"

#include "file.h"

#include <stdlib.h>
#include <zlib.h>

#define OPT_PREFIX "__opt."
#define MOMENT_M   "__opt.m."
#define MOMENT_V   "__opt.v."
#define OPT_LENGTH 8 /* of either */
#define WHERE_MAX  340

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "checkpoints are little-endian; big-endian hosts need byte swaps here"
#endif

/* ---- saving ---- */

typedef struct item {
    char *name;
    mnt_tensor *tensor;
} item;

/* What one save holds until it is done. */
typedef struct writer {
    mnt_device *dev;
    const char *where;
    item *items; /* in order of name: the order of the data */
    size_t count;
    char *head;
    size_t head_bytes;
    uint32_t *buffer; /* of the largest tensor */
    mnti_file file;
} writer;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

static bool add_item(writer *w, const char *prefix, const char *name, mnt_tensor *t)
{
    if (!t)
        return true;
    size_t n = strlen(prefix) + strlen(name) + 1;
    char *full = mnti_alloc(w->dev, n);
    if (!full)
        return false;
    snprintf(full, n, "%s%s", prefix, name);
    w->items[w->count++] = (item){ .name = full, .tensor = t };
    return true;
}

static mnt_status collect(writer *w, const mnt_model *m)
{
    w->items = mnti_alloc(w->dev, 3 * (size_t)m->count * sizeof *w->items);
    bool ok = w->items != NULL;
    uint64_t largest = 0;
    for (int i = 0; i < m->count && ok; i++) {
        const mnti_param *p = m->params[i];
        const char *name = mnt_tensor_name(p->w);
        ok = add_item(w, "", name, p->w) && add_item(w, MOMENT_M, name, p->m) &&
             add_item(w, MOMENT_V, name, p->v);
        if (mnti_tensor_bytes(p->w) > largest)
            largest = mnti_tensor_bytes(p->w);
    }
    if (ok) {
        w->buffer = mnti_realloc(w->dev, NULL, (size_t)largest);
        ok = w->buffer != NULL;
    }
    if (!ok)
        return mnti_fail(w->dev, MNT_NO_MEMORY, "%s: no memory", w->where);
    qsort(w->items, w->count, sizeof *w->items, by_name);
    return MNT_OK;
}

static mnt_status make_head(writer *w, const mnt_model *m)
{
    mnti_facts facts = { .seed = m->seed,
                         .optimizer = m->optimizer,
                         .relaxed = m->relaxed || m->dev->relaxed };
    if (m->optimizer != MNTI_OPT_NONE)
        facts.optim = m->optim;
    mnt_status st = mnt_tensor_read(m->state, facts.state, sizeof facts.state);
    if (st)
        return st;
    mnti_st_tensor *tensors = mnti_alloc(w->dev, w->count * sizeof *tensors);
    json_t *meta = tensors ? mnti_facts_write(&facts, m->metas, m->meta_count) : NULL;
    if (meta) {
        uint64_t at = 0;
        for (size_t i = 0; i < w->count; i++) {
            const mnt_tensor *t = w->items[i].tensor;
            tensors[i] = (mnti_st_tensor){ .name = w->items[i].name,
                                           .dtype = "F32",
                                           .shape = t->shape,
                                           .begin = at,
                                           .bytes = mnti_tensor_bytes(t) };
            at += tensors[i].bytes;
        }
        st = mnti_st_write_head(w->dev, w->where, tensors, w->count, meta, &w->head,
                                &w->head_bytes);
    } else {
        st = mnti_fail(w->dev, MNT_NO_MEMORY, "%s: no memory", w->where);
    }
    json_decref(meta);
    mnti_free(w->dev, tensors);
    return st;
}

/* Reads a tensor from the device; NaN has one spelling in files. */
static mnt_status fetch(writer *w, mnt_tensor *t)
{
    size_t bytes = (size_t)mnti_tensor_bytes(t);
    mnt_status st = mnt_tensor_read(t, w->buffer, bytes);
    for (size_t i = 0; i < bytes / 4 && st == MNT_OK; i++)
        if ((w->buffer[i] & 0x7fffffffu) > 0x7f800000u)
            w->buffer[i] = 0x7fc00000u;
    return st;
}

/* The header goes out with a crc32 of zeros, which is put right at the end. */
static mnt_status write_content(writer *w)
{
    size_t digits = mnti_crc_position(w->head, w->head_bytes);
    if (digits == 0)
        return mnti_fail(w->dev, MNT_STATE, "%s: the header has no place for its crc32",
                         w->where);
    mnt_status st = mnti_file_write(&w->file, w->head, w->head_bytes);
    uLong crc = mnti_crc_of(w->head, w->head_bytes, digits, NULL, 0);
    for (size_t i = 0; i < w->count && st == MNT_OK; i++) {
        size_t bytes = (size_t)mnti_tensor_bytes(w->items[i].tensor);
        st = fetch(w, w->items[i].tensor);
        if (st || bytes == 0)
            continue;
        crc = crc32_z(crc, (const Bytef *)w->buffer, bytes);
        st = mnti_file_write(&w->file, w->buffer, bytes);
    }
    char text[MNTI_CRC_DIGITS + 1];
    mnti_crc_text((uint32_t)crc, text);
    return st ? st : mnti_file_patch(&w->file, digits, text, MNTI_CRC_DIGITS);
}

static void writer_free(writer *w)
{
    for (size_t i = 0; i < w->count; i++)
        mnti_free(w->dev, w->items[i].name);
    mnti_free(w->dev, w->items);
    mnti_free(w->dev, w->head);
    mnti_free(w->dev, w->buffer);
}

mnt_status mnt_model_save(mnt_model *m, const char *path)
{
    if (!m || !path || !*path)
        return mnti_fail(m ? m->dev : NULL, MNT_INVALID, "model_save: %s",
                         !m     ? "the model is NULL"
                         : path ? "the path is empty"
                                : "the path is NULL");
    mnt_status st = mnti_model_place(m);
    if (st)
        return st;
    char where[WHERE_MAX];
    snprintf(where, sizeof where, "model_save: %.300s", path);
    writer w = { .dev = m->dev, .where = where, .file = { .fd = -1 } };
    st = collect(&w, m);
    if (st == MNT_OK)
        st = make_head(&w, m);
    if (st == MNT_OK)
        st = mnti_file_create(&w.file, m->dev, "model_save", path);
    if (st == MNT_OK) {
        st = write_content(&w);
        if (st)
            mnti_file_abandon(&w.file);
        else
            st = mnti_file_commit(&w.file);
    }
    writer_free(&w);
    return st;
}

/* ---- loading ---- */

static bool is_state(const char *name)
{
    return strncmp(name, OPT_PREFIX, strlen(OPT_PREFIX)) == 0;
}

/* Returns what is wrong with a tensor of a checkpoint, or NULL. */
static const char *check_tensor(const mnti_st *st, const mnti_st_tensor *t,
                                mnti_optimizer optimizer)
{
    if (strcmp(t->dtype, "F32") != 0)
        return "is not F32";
    if (!is_state(t->name))
        return NULL;
    bool m = strncmp(t->name, MOMENT_M, OPT_LENGTH) == 0;
    if (!m && strncmp(t->name, MOMENT_V, OPT_LENGTH) != 0)
        return "has a reserved name";
    if (optimizer == MNTI_OPT_NONE || (m && optimizer == MNTI_OPT_SGD))
        return "is no state of this optimizer";
    const char *owner = t->name + OPT_LENGTH;
    const json_t *entry = json_object_get(st->header, owner);
    if (!entry || is_state(owner) || strcmp(owner, "__metadata__") == 0)
        return "belongs to no parameter";
    const json_t *mine = json_object_get(st->header, t->name);
    if (!json_equal(json_object_get(entry, "shape"), json_object_get(mine, "shape")))
        return "has another shape than its parameter";
    return NULL;
}

static mnt_status check_crc(mnt_device *dev, const char *name, const mnti_st *st,
                            const uint8_t *head, const uint8_t *data)
{
    const char *stored = mnti_st_meta(st, MNTI_CRC_KEY);
    size_t at = mnti_crc_position(head, (size_t)st->head_bytes);
    if (!stored || strlen(stored) != MNTI_CRC_DIGITS || at == 0)
        return mnti_fail(dev, MNT_FORMAT, "%s: the crc32 is missing or malformed",
                         name);
    char right[MNTI_CRC_DIGITS + 1];
    mnti_crc_text(
        mnti_crc_of(head, (size_t)st->head_bytes, at, data, (size_t)st->data_bytes),
        right);
    if (strcmp(stored, right) != 0)
        return mnti_fail(dev, MNT_FORMAT,
                         "%s: damaged: its crc32 is %s, the file says %.8s", name,
                         right, stored);
    return MNT_OK;
}

mnt_status mnti_checkpoint_check(mnt_device *dev, const char *name, const mnti_st *st,
                                 const uint8_t *head, const uint8_t *data,
                                 mnti_facts *facts)
{
    const char *format = mnti_st_meta(st, "format");
    const char *numerics = mnti_st_meta(st, "libmnt.numerics");
    if (!format || strcmp(format, "libmnt") != 0 || !numerics)
        return mnti_fail(dev, MNT_MISMATCH, "%s: not a checkpoint of libmnt", name);
    mnt_status bad = check_crc(dev, name, st, head, data);
    if (bad)
        return bad;
    char ours[16];
    snprintf(ours, sizeof ours, "%d", MNT_NUMERICS_VERSION);
    if (strcmp(numerics, ours) != 0)
        return mnti_fail(dev, MNT_MISMATCH,
                         "%s: numerics version %.16s, this library has %s", name,
                         numerics, ours);
    const char *key = mnti_facts_read(st, facts);
    if (key)
        return mnti_fail(dev, MNT_FORMAT, "%s: metadata %s is missing or malformed",
                         name, key);
    for (size_t i = 0; i < st->count; i++) {
        const char *param = st->tensors[i].name;
        if (!is_state(param) && mnti_param_name(dev, param)) {
            char reason[200];
            snprintf(reason, sizeof reason, "%.199s", dev->error);
            return mnti_fail(dev, MNT_FORMAT, "%s: %s", name, reason);
        }
        const char *why = check_tensor(st, &st->tensors[i], facts->optimizer);
        if (why)
            return mnti_fail(dev, MNT_FORMAT, "%s: tensor %.136s %s", name,
                             st->tensors[i].name, why);
    }
    return MNT_OK;
}

/* A whole file in memory. */
typedef struct content {
    uint8_t *head, *data;
    mnti_st st;
} content;

static mnt_status get_memory(mnti_file *f, uint64_t bytes, uint8_t **out)
{
    *out = bytes <= SIZE_MAX ? mnti_realloc(f->dev, NULL, (size_t)bytes) : NULL;
    if (*out)
        return MNT_OK;
    return mnti_fail(f->dev, MNT_NO_MEMORY, "%s: %.300s: no memory for %llu bytes",
                     f->where, f->path, (unsigned long long)bytes);
}

/* The header is found good before memory for the data is asked for. */
static mnt_status read_content(mnti_file *f, const char *name, content *c)
{
    uint8_t first[MNTI_ST_PREFIX] = { 0 };
    uint64_t head_bytes;
    mnt_status st =
        mnti_file_read(f, first, f->size < sizeof first ? (size_t)f->size : 8);
    if (st == MNT_OK)
        st = mnti_st_head_bytes(f->dev, name, first, f->size, &head_bytes);
    if (st == MNT_OK)
        st = get_memory(f, head_bytes, &c->head);
    if (st)
        return st;
    memcpy(c->head, first, sizeof first);
    st = mnti_file_read(f, c->head + sizeof first, (size_t)head_bytes - sizeof first);
    if (st == MNT_OK)
        st = mnti_st_parse(f->dev, name, c->head, f->size, &c->st);
    if (st == MNT_OK)
        st = get_memory(f, c->st.data_bytes, &c->data);
    return st ? st : mnti_file_read(f, c->data, (size_t)c->st.data_bytes);
}

static mnt_status add_params(mnt_model *m, const mnti_st *st)
{
    const mnt_init zero = { .kind = MNT_INIT_ZERO };
    for (size_t i = 0; i < st->count; i++) {
        const mnti_st_tensor *t = &st->tensors[i];
        if (!is_state(t->name) && !mnti_model_add(m, t->name, t->shape, zero))
            return MNT_NO_MEMORY; /* name and shape were checked */
    }
    return mnti_model_place(m);
}

/* Gives the parameters the state that the file has, which may be more than today's
 * options ask for: velocities stay when the momentum is set to 0. */
static mnt_status add_state(mnt_model *m, const mnti_st *st, const mnti_facts *facts)
{
    if (facts->optimizer == MNTI_OPT_NONE)
        return MNT_OK;
    mnt_args_optim args = facts->optim;
    for (size_t i = 0; i < st->count; i++)
        if (strncmp(st->tensors[i].name, MOMENT_V, OPT_LENGTH) == 0)
            args.momentum = 1.0f;
    mnt_status bad = mnti_model_optimizer(m, facts->optimizer, &args);
    m->optim = facts->optim;
    return bad;
}

static mnt_tensor *target(const mnt_model *m, const char *name)
{
    if (!is_state(name))
        return mnti_model_param(m, name)->w;
    const mnti_param *p = mnti_model_param(m, name + OPT_LENGTH);
    return strncmp(name, MOMENT_M, OPT_LENGTH) == 0 ? p->m : p->v;
}

static mnt_status add_metas(mnt_model *m, const char *name, const mnti_st *st)
{
    const char *key;
    json_t *value;
    json_t *meta = json_object_get(st->header, "__metadata__");
    json_object_foreach(meta, key, value)
    {
        if (strncmp(key, "user.", 5) != 0)
            continue;
        mnt_status bad = mnt_model_set_meta(m, key + 5, json_string_value(value));
        if (bad)
            return bad == MNT_INVALID
                       ? mnti_fail(m->dev, MNT_FORMAT,
                                   "%s: metadata %.80s is malformed", name, key)
                       : bad;
    }
    return MNT_OK;
}

static mnt_status fill_model(mnt_model *m, const char *name, const content *c,
                             const mnti_facts *facts)
{
    mnt_status st = add_params(m, &c->st);
    if (st == MNT_OK)
        st = add_state(m, &c->st, facts);
    for (size_t i = 0; i < c->st.count && st == MNT_OK; i++) {
        const mnti_st_tensor *t = &c->st.tensors[i];
        st = mnt_tensor_write(target(m, t->name), c->data + t->begin, (size_t)t->bytes);
    }
    if (st == MNT_OK)
        st = mnt_tensor_write(m->state, facts->state, sizeof facts->state);
    if (st == MNT_OK)
        st = add_metas(m, name, &c->st);
    m->version++;
    m->loaded = true;
    m->relaxed = facts->relaxed;
    return st;
}

mnt_status mnt_model_load(mnt_model **out, mnt_device *dev, const char *path)
{
    if (!out || !dev || !path)
        return mnti_fail(dev, MNT_INVALID, "model_load: %s is NULL",
                         !out   ? "out"
                         : !dev ? "dev"
                                : "the path");
    *out = NULL;
    char name[WHERE_MAX];
    snprintf(name, sizeof name, "model_load: %.300s", path);
    mnti_file file;
    content c = { 0 };
    mnti_facts facts;
    mnt_model *m = NULL;
    mnt_status st = mnti_file_open(&file, dev, "model_load", path);
    if (st)
        return st;
    st = read_content(&file, name, &c);
    mnti_file_close(&file);
    if (st == MNT_OK)
        st = mnti_checkpoint_check(dev, name, &c.st, c.head, c.data, &facts);
    if (st == MNT_OK)
        st = mnt_model_create(&m, dev, &MNT_MODEL_DESC(.seed = facts.seed));
    if (st == MNT_OK)
        st = fill_model(m, name, &c, &facts);
    mnti_st_free(dev, &c.st);
    mnti_free(dev, c.head);
    mnti_free(dev, c.data);
    if (st)
        mnt_model_destroy(m);
    else
        *out = m;
    return st;
}
