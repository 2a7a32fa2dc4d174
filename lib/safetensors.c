/* SPDX-License-Identifier: MIT */
/*
 * Reader and writer of safetensors headers over jansson. Every number of the header is
 * checked against the size of the file before it is used for anything.
 */
#include "safetensors.h"

#include <stdlib.h>

#define META_KEY "__metadata__"

static const struct {
    const char *name;
    unsigned bytes;
} dtypes[] = { { "F32", 4 },     { "F16", 2 },     { "BF16", 2 }, { "F64", 8 },
               { "I8", 1 },      { "U8", 1 },      { "I16", 2 },  { "U16", 2 },
               { "I32", 4 },     { "U32", 4 },     { "I64", 8 },  { "U64", 8 },
               { "F8_E4M3", 1 }, { "F8_E5M2", 1 }, { "BOOL", 1 } };

static unsigned dtype_bytes(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].bytes;
    return 0;
}

mnt_status mnti_st_head_bytes(mnt_device *dev, const char *name, const uint8_t *first,
                              uint64_t file_size, uint64_t *head_bytes)
{
    if (file_size < MNTI_ST_PREFIX)
        return mnti_fail(dev, MNT_FORMAT,
                         "%.300s: %llu bytes are too few for a safetensors file", name,
                         (unsigned long long)file_size);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | first[i];
    if (n > MNTI_ST_MAX_HEADER)
        return mnti_fail(dev, MNT_FORMAT,
                         "%.300s: the header's length is %llu, over %llu", name,
                         (unsigned long long)n, (unsigned long long)MNTI_ST_MAX_HEADER);
    if (n > file_size - MNTI_ST_PREFIX)
        return mnti_fail(dev, MNT_FORMAT,
                         "%.300s: the header's length is %llu in a file of %llu bytes",
                         name, (unsigned long long)n, (unsigned long long)file_size);
    *head_bytes = n + MNTI_ST_PREFIX;
    return MNT_OK;
}

/* An integer >= 0 at a place of an array. */
static bool natural(const json_t *array, size_t i, uint64_t *out)
{
    const json_t *v = json_array_get(array, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* Returns what is wrong with the entry, or NULL. */
static const char *read_entry(const char *key, const json_t *entry, uint64_t data_bytes,
                              mnti_st_tensor *t)
{
    *t = (mnti_st_tensor){ .name = key };
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    t->dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!t->dtype || !json_is_array(shape) || !json_is_array(offsets) ||
        json_object_size(entry) != 3)
        return "needs dtype, shape and data_offsets and nothing else";
    unsigned size = dtype_bytes(t->dtype);
    if (size == 0)
        return "has an unknown dtype";
    if (json_array_size(shape) > MNT_MAX_DIMS)
        return "has too many dims";
    t->shape.ndim = (int)json_array_size(shape);
    for (int i = 0; i < t->shape.ndim; i++) {
        uint64_t dim;
        if (!natural(shape, (size_t)i, &dim))
            return "has a dim that is no whole number of 0 or more";
        t->shape.dim[i] = (int64_t)dim;
    }
    uint64_t end;
    if (json_array_size(offsets) != 2 || !natural(offsets, 0, &t->begin) ||
        !natural(offsets, 1, &end))
        return "has data_offsets that are not two whole numbers";
    if (t->begin > end || end > data_bytes)
        return "has data_offsets outside the data";
    t->bytes = end - t->begin;
    int64_t count = mnt_shape_count(t->shape);
    if (count < 0 || (uint64_t)count * size != t->bytes)
        return "has another size than its shape";
    return NULL;
}

static mnt_status read_meta(mnt_device *dev, const char *name, json_t *meta)
{
    if (!json_is_object(meta))
        return mnti_fail(dev, MNT_FORMAT, "%.300s: " META_KEY " is no object", name);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value) if (!json_is_string(value)) return mnti_fail(
        dev, MNT_FORMAT, "%.300s: " META_KEY ": %.128s is no string", name, key);
    return MNT_OK;
}

static int by_offset(const void *a, const void *b)
{
    const mnti_st_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Offsets must run through the data without gap or overlap. */
static mnt_status check_layout(mnt_device *dev, const char *name, const mnti_st *st)
{
    uint64_t at = 0;
    for (size_t i = 0; i < st->count; i++) {
        const mnti_st_tensor *t = &st->tensors[i];
        if (t->begin != at)
            return mnti_fail(dev, MNT_FORMAT,
                             "%.300s: tensor %.128s starts at byte %llu, not at %llu",
                             name, t->name, (unsigned long long)t->begin,
                             (unsigned long long)at);
        at += t->bytes;
    }
    if (at != st->data_bytes)
        return mnti_fail(dev, MNT_FORMAT,
                         "%.300s: its tensors have %llu bytes, its data %llu", name,
                         (unsigned long long)at, (unsigned long long)st->data_bytes);
    return MNT_OK;
}

static mnt_status read_entries(mnt_device *dev, const char *name, mnti_st *st)
{
    size_t n = json_object_size(st->header);
    st->tensors = mnti_alloc(dev, n * sizeof *st->tensors);
    if (!st->tensors)
        return mnti_fail(dev, MNT_NO_MEMORY, "%.300s: no memory for %zu tensors", name,
                         n);
    const char *key;
    json_t *value;
    json_object_foreach(st->header, key, value)
    {
        if (strcmp(key, META_KEY) == 0) {
            mnt_status bad = read_meta(dev, name, value);
            if (bad)
                return bad;
            st->meta = value;
            continue;
        }
        const char *why = json_is_object(value) ? read_entry(key, value, st->data_bytes,
                                                             &st->tensors[st->count])
                                                : "is no object";
        if (why)
            return mnti_fail(dev, MNT_FORMAT, "%.300s: tensor %.128s %s", name, key,
                             why);
        st->count++;
    }
    qsort(st->tensors, st->count, sizeof *st->tensors, by_offset);
    return check_layout(dev, name, st);
}

mnt_status mnti_st_parse(mnt_device *dev, const char *name, const uint8_t *head,
                         uint64_t file_size, mnti_st *out)
{
    *out = (mnti_st){ 0 };
    mnti_st st = { 0 };
    mnt_status bad = mnti_st_head_bytes(dev, name, head, file_size, &st.head_bytes);
    if (bad)
        return bad;
    st.data_bytes = file_size - st.head_bytes;
    const char *text = (const char *)head + MNTI_ST_PREFIX;
    size_t length = (size_t)(st.head_bytes - MNTI_ST_PREFIX);
    if (length == 0 || text[0] != '{')
        return mnti_fail(dev, MNT_FORMAT, "%.300s: the header does not start with {",
                         name);
    json_error_t error;
    st.header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    /* jansson says nothing about most allocations that fail. */
    if (!st.header &&
        (!error.text[0] || json_error_code(&error) == json_error_out_of_memory))
        return mnti_fail(dev, MNT_NO_MEMORY, "%.300s: no memory for the header", name);
    if (!st.header)
        return mnti_fail(dev, MNT_FORMAT, "%.300s: the header is no JSON: %.120s", name,
                         error.text);
    bad = read_entries(dev, name, &st);
    if (bad)
        mnti_st_free(dev, &st);
    else
        *out = st;
    return bad;
}

const char *mnti_st_meta(const mnti_st *st, const char *key)
{
    return json_string_value(json_object_get(st->meta, key));
}

void mnti_st_free(mnt_device *dev, mnti_st *st)
{
    json_decref(st->header);
    mnti_free(dev, st->tensors);
    *st = (mnti_st){ 0 };
}

/* Appends to an array that may be NULL; false: no memory. */
static bool append(json_t *array, int64_t value)
{
    return json_array_append_new(array, json_integer((json_int_t)value)) == 0;
}

static json_t *make_entry(const mnti_st_tensor *t)
{
    json_t *entry = json_object(), *shape = json_array(), *offsets = json_array();
    bool ok = append(offsets, (int64_t)t->begin) &&
              append(offsets, (int64_t)(t->begin + t->bytes));
    for (int i = 0; i < t->shape.ndim && ok; i++)
        ok = append(shape, t->shape.dim[i]);
    ok = ok && json_object_set(entry, "shape", shape) == 0 &&
         json_object_set(entry, "data_offsets", offsets) == 0 &&
         json_object_set_new(entry, "dtype", json_string(t->dtype)) == 0;
    json_decref(shape);
    json_decref(offsets);
    if (ok)
        return entry;
    json_decref(entry);
    return NULL;
}

/* The header as JSON; NULL: no memory. */
static json_t *make_root(const mnti_st_tensor *tensors, size_t count, json_t *meta)
{
    json_t *root = json_object();
    bool ok = json_object_set(root, META_KEY, meta) == 0;
    for (size_t i = 0; i < count && ok; i++)
        ok = json_object_set_new(root, tensors[i].name, make_entry(&tensors[i])) == 0;
    if (ok)
        return root;
    json_decref(root);
    return NULL;
}

mnt_status mnti_st_write_head(mnt_device *dev, const char *name,
                              const mnti_st_tensor *tensors, size_t count, json_t *meta,
                              char **out, size_t *bytes)
{
    *out = NULL;
    for (size_t i = 0; i < count; i++)
        if (!mnti_utf8(tensors[i].name))
            return mnti_fail(dev, MNT_INVALID,
                             "%.300s: the name of tensor %zu is not UTF-8", name, i);
    const size_t flags = JSON_COMPACT | JSON_SORT_KEYS;
    json_t *root = make_root(tensors, count, meta);
    size_t length = root ? json_dumpb(root, NULL, 0, flags) : 0;
    size_t whole = (length + 7) / 8 * 8;
    char *head = length ? mnti_alloc(dev, MNTI_ST_PREFIX + whole) : NULL;
    char *text = head ? head + MNTI_ST_PREFIX : NULL;
    mnt_status st = MNT_OK;
    if (!head || json_dumpb(root, text, length, flags) != length)
        st = mnti_fail(dev, MNT_NO_MEMORY, "%.300s: no memory for the header", name);
    else if (whole > MNTI_ST_MAX_HEADER)
        st = mnti_fail(dev, MNT_LIMIT, "%.300s: a header of %zu bytes is over %llu",
                       name, whole, (unsigned long long)MNTI_ST_MAX_HEADER);
    json_decref(root);
    if (st) {
        mnti_free(dev, head);
        return st;
    }
    for (unsigned i = 0; i < MNTI_ST_PREFIX; i++)
        head[i] = (char)(unsigned char)((uint64_t)whole >> (8 * i) & 255);
    memset(text + length, ' ', whole - length);
    *out = head;
    *bytes = MNTI_ST_PREFIX + whole;
    return MNT_OK;
}

bool mnti_utf8(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    while (*p) {
        unsigned c = *p++;
        int more = c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if (more < 0 || c > 0xf4)
            return false;
        uint32_t code = more == 0 ? c : c & (0x3fu >> more);
        for (int i = 0; i < more; i++, p++) {
            if ((*p & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*p & 0x3fu);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) ||
            code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}
