/* SPDX-License-Identifier: MIT */
/*
 * The text of a case: words key=value, and the expansion of {a,b,c} into many cases.
 */
#include "kit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Start of the value behind "key=", or NULL. */
static const char *value_of(const kit_case *c, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = c->text; *p;) {
        if (strncmp(p, key, n) == 0 && p[n] == '=')
            return p + n + 1;
        p += strcspn(p, " ");
        p += strspn(p, " ");
    }
    return NULL;
}

bool kit_has(const kit_case *c, const char *key)
{
    return value_of(c, key) != NULL;
}

/* Behind a value there is a space or nothing. */
static void check_end(const kit_case *c, const char *key, const char *v,
                      const char *end)
{
    if (end == v || (*end != ' ' && *end != '\0'))
        kit_die("%s: case '%s': %s= is malformed", c->op ? c->op->name : "graph",
                c->text, key);
}

int64_t kit_int(const kit_case *c, const char *key, int64_t otherwise)
{
    const char *v = value_of(c, key);
    if (!v)
        return otherwise;
    char *end;
    int64_t n = strtoll(v, &end, 10);
    check_end(c, key, v, end);
    return n;
}

double kit_num(const kit_case *c, const char *key, double otherwise)
{
    const char *v = value_of(c, key);
    if (!v)
        return otherwise;
    char *end;
    double x = strtod(v, &end);
    check_end(c, key, v, end);
    return x;
}

const char *kit_word(const kit_case *c, const char *key, const char *otherwise,
                     char buf[24])
{
    const char *v = value_of(c, key);
    int n = v ? (int)strcspn(v, " ") : 0;
    snprintf(buf, 24, "%.*s", v ? n : 23, v ? v : otherwise);
    return buf;
}

mnt_shape kit_shape(const kit_case *c, const char *key)
{
    mnt_shape s = { 0 };
    const char *v = value_of(c, key);
    if (!v)
        kit_die("%s: case '%s' lacks the shape %s=", c->op->name, c->text, key);
    if (strncmp(v, "scalar", 6) == 0)
        return s;
    for (const char *p = v;; p++) {
        char *end;
        if (s.ndim == MNT_MAX_DIMS)
            kit_die("%s: case '%s': %s= has more than %d dims", c->op->name, c->text,
                    key, MNT_MAX_DIMS);
        s.dim[s.ndim++] = strtoll(p, &end, 10);
        if (*end != 'x') {
            check_end(c, key, p, end);
            return s;
        }
        p = end;
    }
}

void kit_append(kit_text *t, const char *format, ...)
{
    size_t used = strlen(t->s);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(t->s + used, sizeof t->s - used, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof t->s - used)
        kit_die("case too long: %s", t->s);
}

void kit_append_shape(kit_text *t, const char *key, mnt_shape shape)
{
    kit_append(t, " %s=", key);
    for (int i = 0; i < shape.ndim; i++)
        kit_append(t, "%s%" PRId64, i ? "x" : "", shape.dim[i]);
    if (shape.ndim == 0)
        kit_append(t, "scalar");
}

void kit_expand(const char *pattern, kit_text_fn fn, void *ctx)
{
    const char *open = strchr(pattern, '{');
    const char *close = open ? strchr(open, '}') : NULL;
    if (!close) {
        fn(ctx, pattern);
        return;
    }
    for (const char *p = open + 1; p <= close;) {
        size_t n = strcspn(p, ",}");
        char text[1024];
        int len = snprintf(text, sizeof text, "%.*s%.*s%s", (int)(open - pattern),
                           pattern, (int)n, p, close + 1);
        if (len < 0 || (size_t)len >= sizeof text)
            kit_die("case too long: %s", pattern);
        kit_expand(text, fn, ctx);
        p += n + 1;
    }
}

const kit_op *kit_op_find(const char *name)
{
    for (int i = 0; kit_ops[i]; i++)
        if (strcmp(kit_ops[i]->name, name) == 0)
            return kit_ops[i];
    return NULL;
}
