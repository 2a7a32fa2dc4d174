/* SPDX-License-Identifier: MIT */
/*
 * --table: ops by backends and data types from certificates. Nothing in it depends on
 * the machine that a certificate was made on, so the table in the documentation is
 * reproduced byte by byte.
 */
#include "certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum cell {
    CELL_EMPTY, /* the op has no such data type */
    CELL_SAME,
    CELL_PARTLY, /* some cases are unsupported */
    CELL_UNSUPPORTED,
    CELL_DIFFERS
} cell;

typedef struct column {
    const char *backend;
    cell cells[PLAN_MAX_OPS][MNT_DTYPE_COUNT];
    bool complete;
} column;

typedef struct table {
    column columns[OPTIONS_MAX_CERTS];
    int count;
    json_t *roots[OPTIONS_MAX_CERTS];
    int root_count;
} table;

static bool bad(const char *path, const char *why)
{
    complain("--table: %s: %s", path, why);
    return false;
}

static cell worse(cell a, cell b)
{
    return a > b ? a : b;
}

/* Of one data type of one op; false if the object is none. */
static bool read_cell(const json_t *type, cell *out)
{
    const json_t *cases = json_object_get(type, "cases");
    const json_t *unsupported = json_object_get(type, "unsupported");
    const json_t *equal = json_object_get(type, "bit_equal");
    if (!json_is_integer(cases) || !json_is_integer(unsupported) ||
        !(json_is_boolean(equal) || json_is_null(equal)))
        return false;
    json_int_t n = json_integer_value(cases), u = json_integer_value(unsupported);
    cell c = u == 0 ? CELL_SAME : u >= n ? CELL_UNSUPPORTED : CELL_PARTLY;
    if (json_is_null(equal)) /* nothing was compared */
        c = CELL_UNSUPPORTED;
    *out = worse(*out, json_is_false(equal) ? CELL_DIFFERS : c);
    return true;
}

static bool read_op(column *c, const json_t *op, const char *path)
{
    const char *name = json_string_value(json_object_get(op, "name")), *type;
    json_t *types = json_object_get(op, "dtypes"), *value;
    int index = name ? plan_op_index(name) : -1;
    if (!name || !json_is_object(types))
        return bad(path, "an entry of \"ops\" is no op");
    if (index < 0) {
        complain("--table: %s: op \"%.40s\" is not of this suite", path, name);
        return false;
    }
    json_object_foreach(types, type, value)
    {
        int k = 0;
        while (k < MNT_DTYPE_COUNT && strcmp(mnt_dtype_name((mnt_dtype)k), type) != 0)
            k++;
        if (k == MNT_DTYPE_COUNT || !read_cell(value, &c->cells[index][k])) {
            complain("--table: %s: op \"%s\" has a malformed data type \"%.20s\"", path,
                     name, type);
            return false;
        }
    }
    return true;
}

static column *column_of(table *t, const char *backend)
{
    int i = 0;
    while (i < t->count && strcmp(t->columns[i].backend, backend) != 0)
        i++;
    if (i == t->count)
        t->columns[t->count++] = (column){ .backend = backend, .complete = true };
    return &t->columns[i];
}

static bool read_root(table *t, const json_t *root, const char *path)
{
    const char *backend = json_string_value(json_object_get(root, "backend"));
    const json_t *numerics = json_object_get(root, "numerics");
    json_t *ops = json_object_get(root, "ops"), *op;
    size_t i;
    if (json_integer_value(json_object_get(root, "format")) != CERTIFICATE_FORMAT ||
        !backend || !json_is_array(ops))
        return bad(path, "not a certificate of this program");
    if (json_integer_value(numerics) != MNT_NUMERICS_VERSION)
        return bad(path, "a certificate of another numerics version");
    column *c = column_of(t, backend);
    c->complete = c->complete && json_is_true(json_object_get(root, "complete"));
    json_array_foreach(ops, i, op)
    {
        if (!read_op(c, op, path))
            return false;
    }
    return true;
}

static bool read_file(table *t, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root && error.line > 0)
        complain("--table: %s: line %d: %s", path, error.line, error.text);
    else if (!root)
        complain("--table: %s", error.text);
    if (!root)
        return false;
    t->roots[t->root_count++] = root;
    return read_root(t, root, path);
}

static int by_backend(const void *a, const void *b)
{
    return strcmp(((const column *)a)->backend, ((const column *)b)->backend);
}

static bool used(const column *c, int type)
{
    for (int op = 0; op < plan_op_count(); op++)
        if (c->cells[op][type])
            return true;
    return false;
}

static void print_table(const table *t)
{
    static const char *const words[] = { "", "yes", "partly", "no", "differs" };
    printf("| op |");
    for (int i = 0; i < t->count; i++)
        for (int k = 0; k < MNT_DTYPE_COUNT; k++)
            if (used(&t->columns[i], k))
                printf(" %s %s%s |", t->columns[i].backend,
                       mnt_dtype_name((mnt_dtype)k),
                       t->columns[i].complete ? "" : " (partial)");
    printf("\n|---|");
    for (int i = 0; i < t->count; i++)
        for (int k = 0; k < MNT_DTYPE_COUNT; k++)
            if (used(&t->columns[i], k))
                printf("---|");
    printf("\n");
    for (int op = 0; op < plan_op_count(); op++) {
        if (plan_is_contract(op))
            continue;
        printf("| %s |", plan_op_name(op));
        for (int i = 0; i < t->count; i++)
            for (int k = 0; k < MNT_DTYPE_COUNT; k++)
                if (used(&t->columns[i], k))
                    printf(" %s |", words[t->columns[i].cells[op][k]]);
        printf("\n");
    }
}

int table_print(const options *o)
{
    table *t = kit_alloc(sizeof *t);
    bool ok = true;
    for (int i = 0; ok && i < o->cert_count; i++)
        ok = read_file(t, o->cert[i]);
    if (ok) {
        qsort(t->columns, (size_t)t->count, sizeof *t->columns, by_backend);
        print_table(t);
    }
    for (int i = 0; i < t->root_count; i++)
        json_decref(t->roots[i]);
    free(t);
    return ok ? 0 : 1;
}
