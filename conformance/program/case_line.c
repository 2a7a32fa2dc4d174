/* SPDX-License-Identifier: MIT */
/*
 * Checks a line of the user's. Form is checked here; whether the op can take the text
 * is tried in a child, because the engine ends its process over a text that is none.
 */
#include "case_line.h"

#include "../contract/contract.h"
#include "../graphs/graphs.h"
#include "child.h"
#include "devices.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ELEMENTS (INT64_C(1) << 28) /* of an input; above, a text is a mistake */

static void check_words(const char *text)
{
    if (strpbrk(text, "{}"))
        kit_die("a brace without its partner");
    for (const char *p = text; *p;) {
        p += strspn(p, " ");
        size_t n = strcspn(p, " ");
        const char *equals = memchr(p, '=', n);
        if (n && (!equals || equals == p || equals + 1 == p + n))
            kit_die("'%.*s' is not of the form key=value", (int)(n < 60 ? n : 60), p);
        p += n;
    }
}

typedef struct attempt {
    int op;
    const char *text;
} attempt;

/* What the library refuses to record is no case either. */
static void run_reference(const kit_case *c)
{
    mnt_device *dev = devices_open_reference();
    kit_result r;
    if (!dev)
        kit_die("the reference does not open: %s", mnt_last_error(NULL));
    if (!kit_run(dev, c, (kit_mode){ .backward = true }, &r))
        kit_die("the reference says: %s", r.error);
    kit_result_free(&r);
    mnt_device_close(dev);
}

static void try_one(void *ctx, const char *text)
{
    const attempt *a = ctx;
    const kit_op *op = plan_kit_op(a->op);
    kit_case c = { .op = op };
    if (strlen(text) >= sizeof c.text)
        kit_die("the case is too long");
    check_words(text);
    if (!op) {
        graph_describe(text, stderr);
        return;
    }
    strcpy(c.text, text);
    c.replays = (int)kit_int(&c, "replays", op->flags & KIT_STATE ? 5 : 3);
    int n = op->inputs(&c, c.in);
    for (int i = 0; i < n; i++) {
        char shape[96];
        int64_t count = mnt_shape_count(c.in[i].shape);
        if (count < 0 || count > MOST_ELEMENTS || c.replays > 1000)
            kit_die("%s: case '%s': input %d %s is too large or no shape", op->name,
                    text, i, kit_shape_text(shape, sizeof shape, c.in[i].shape));
    }
    kit_case_init(&c, op, text);
    run_reference(&c);
    kit_case_free(&c);
}

static void try_text(void *ctx)
{
    const attempt *a = ctx;
    kit_expand(a->text, try_one, ctx);
}

static bool is_check(const char *where, const char *name)
{
    for (int i = 0; contract_checks[i].name; i++)
        if (strcmp(contract_checks[i].name, name) == 0)
            return true;
    complain("%s: the contract has no check '%.60s'", where, name);
    return false;
}

const char *case_line_check(const char *where, const char *line, int *op)
{
    char name[32];
    line += strspn(line, " ");
    size_t n = strcspn(line, " ");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1),
             line);
    const char *text = line + n + strspn(line + n, " ");
    *op = plan_op_index(name);
    if (*op < 0) {
        complain("%s: there is no op '%s'", where, name);
        return NULL;
    }
    if (strlen(text) >= KIT_TEXT) {
        complain("%s: more than %d characters", where, KIT_TEXT - 1);
        return NULL;
    }
    if (plan_is_contract(*op))
        return is_check(where, text) ? text : NULL;
    attempt a = { *op, text };
    child_end end = child_call(try_text, &a, 60, true);
    if (end.ok)
        return text;
    bool named = strncmp(end.text, name, strlen(name)) == 0;
    complain("%s: %s%s%s", where, named ? "" : name, named ? "" : ": ", end.text);
    return NULL;
}
