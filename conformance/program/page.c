/* SPDX-License-Identifier: MIT */
/*
 * The readable page of a certificate, made from its JSON.
 */
#include "certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static long long num(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static double real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static bool yes(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

/* Text inside a table or a line: no bars, no line ends. */
static void put_text(FILE *f, const char *s)
{
    for (; *s; s++)
        if (*s == '|')
            fputs("\\|", f);
        else
            fputc(*s == '\n' ? ' ' : *s, f);
}

static void put_head(FILE *f, const json_t *c)
{
    const json_t *d = json_object_get(c, "device"), *t = json_object_get(c, "totals");
    fprintf(f, "# Backend %s: %s\n\n", str(c, "backend"),
            yes(c, "conforms") ? "conforms" : "does not conform");
    fprintf(f,
            "%lld tuples of %lld cases in %lld ops on %lld runs: %lld mismatches, %lld "
            "crashes,\n%lld contract failures, %lld thin, %lld cases unsupported.\n",
            num(t, "tuples"), num(t, "cases"), num(t, "ops"), num(t, "runs"),
            num(t, "mismatches"), num(t, "crashes"), num(t, "contract"), num(t, "thin"),
            num(t, "unsupported"));
    if (!yes(c, "complete")) {
        fputs("**Partial**: ", f);
        put_text(f, str(c, "partial"));
        fputs(".\n", f);
    }
    fputs("\n| | |\n|---|---|\n| device | ", f);
    put_text(f, str(d, "name"));
    fputs(" |\n| detail | ", f);
    put_text(f, str(d, "detail"));
    fprintf(f, " |\n| libmnt | %s, numerics %lld |\n", str(c, "library"),
            num(c, "numerics"));
    fprintf(f, "| compiler | %s |\n| system | %s |\n| date | %s |\n",
            str(c, "compiler"), str(c, "os"), str(c, "date"));
    fprintf(f, "| seed | %lld, %lld random cases an op |\n", num(c, "seed"),
            num(c, "generated"));
    fprintf(f, "| time | %.0f s in %lld processes |\n\n", real(c, "seconds"),
            num(c, "jobs"));
    fputs("A tuple is a case, a direction (forward, backward) and a set of kernels "
          "that it ran on.\n\n",
          f);
}

static void put_failures(FILE *f, const json_t *c)
{
    size_t i;
    json_t *x;
    const json_t *list = json_object_get(c, "failures");
    if (json_array_size(list) == 0)
        return;
    fputs("## Failures\n\n", f);
    json_array_foreach((json_t *)(uintptr_t)list, i, x)
    {
        fputs("- ", f);
        put_text(f, str(x, "sentence"));
        fputc('\n', f);
        if (*str(x, "command"))
            fprintf(f, "  `%s`\n", str(x, "command"));
    }
    fputc('\n', f);
}

static void put_ops(FILE *f, const json_t *c)
{
    size_t i;
    json_t *op, *type;
    const char *name;
    fputs("## Ops\n\nErrors are those of the backend's bits against the oracle: in "
          "units of the last place, and\nas a share of the bound.\n\n"
          "| op | type | cases | forward | backward | same bits | ulp | share |\n"
          "|---|---|---:|---:|---:|---|---:|---:|\n",
          f);
    json_array_foreach(json_object_get(c, "ops"), i, op)
    {
        bool first = true;
        json_object_foreach(json_object_get(op, "dtypes"), name, type)
        {
            fprintf(f, "| %s | %s | %lld |", first ? str(op, "name") : "", name,
                    num(type, "cases"));
            if (first)
                fprintf(f, " %lld | %lld |", num(op, "forward"), num(op, "backward"));
            else
                fputs(" | |", f);
            if (num(type, "tuples") == 0) /* nothing of it ran */
                fputs(" - | - | - |\n", f);
            else
                fprintf(f, " %s | %.3g | %.3g |\n",
                        yes(type, "bit_equal") ? "yes" : "no", real(type, "worst_ulp"),
                        real(type, "worst_share"));
            first = false;
        }
    }
    fputc('\n', f);
}

static void put_rows(FILE *f, const json_t *c)
{
    size_t i;
    json_t *row, *cases;
    const char *kernel;
    fputs("## Rows of ops.def and kernels\n\n| op | cases | kernels (cases) "
          "|\n|---|---:|---|\n",
          f);
    json_array_foreach(json_object_get(c, "rows"), i, row)
    {
        bool first = true;
        fprintf(f, "| %s | %lld |", str(row, "name"), num(row, "cases"));
        json_object_foreach(json_object_get(row, "kernels"), kernel, cases)
        {
            fputs(first ? " " : ", ", f);
            put_text(f, *kernel ? kernel : "(no name)");
            fprintf(f, " %lld", (long long)json_integer_value(cases));
            first = false;
        }
        fputs(" |\n", f);
    }
    fputc('\n', f);
}

static void put_checks(FILE *f, const json_t *c)
{
    size_t i;
    json_t *x;
    const json_t *list = json_object_get(c, "contract");
    if (json_array_size(list) > 0)
        fputs("## Contract\n\n| check | outcome | |\n|---|---|---|\n", f);
    json_array_foreach((json_t *)(uintptr_t)list, i, x)
    {
        fprintf(f, "| %s | %s | ", str(x, "name"), str(x, "outcome"));
        put_text(f, str(x, "text"));
        fputs(" |\n", f);
    }
    list = json_object_get(c, "unsupported");
    if (json_array_size(list) > 0)
        fputs("\n## Unsupported\n\n| op | cases | the first |\n|---|---:|---|\n", f);
    json_array_foreach((json_t *)(uintptr_t)list, i, x)
    {
        fprintf(f, "| %s | %lld | ", str(x, "op"), num(x, "cases"));
        put_text(f, str(x, "sentence"));
        fputs(" |\n", f);
    }
}

char *page_make(const json_t *root)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    put_head(f, root);
    put_failures(f, root);
    put_ops(f, root);
    put_rows(f, root);
    put_checks(f, root);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}
