/* SPDX-License-Identifier: MIT */
/*
 * Finds out what is to be judged: opens the device once, sorts what variant() lists
 * into settings and variants, and opens each setting that lists variants of its own.
 */
#include "subject.h"

#include "child.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_KEYS 8

/* A word for the whole device, and its values. */
typedef struct key {
    char name[24];
    char value[16][40];
    int count;
} key;

typedef struct probe {
    const options *o;
    subject *s;
    key keys[MAX_KEYS];
    int key_count;
} probe;

static bool refuse(probe *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(probe *p, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(p->s->error, sizeof p->s->error, format, ap);
    va_end(ap);
    return false;
}

static mnt_op op_of(const char *name, size_t length)
{
    for (int op = 0; op < MNT_OP_COUNT; op++)
        if (strlen(mnt_op_name((mnt_op)op)) == length &&
            strncmp(mnt_op_name((mnt_op)op), name, length) == 0)
            return (mnt_op)op;
    return MNT_OP_COUNT;
}

bool subject_forced(const char **rest, mnt_op *op, char variant[40])
{
    while (**rest) {
        const char *word = *rest;
        size_t n = strcspn(word, ","), name = strcspn(word, "=,");
        *rest = word + n + (word[n] == ',');
        *op = op_of(word, name);
        if (*op == MNT_OP_COUNT || word[name] != '=')
            continue;
        snprintf(variant, 40, "%.*s", (int)(n - name - 1), word + name + 1);
        return true;
    }
    return false;
}

bool subject_relaxed(const char *name)
{
    return strncmp(name, "relaxed", 7) == 0;
}

bool subject_is_variant(const char *kernel, const char *variant)
{
    size_t n = strlen(variant);
    return strncmp(kernel, variant, n) == 0 && (kernel[n] == '\0' || kernel[n] == '.');
}

bool subject_load(const options *o, char *error, size_t size)
{
    static bool loaded;
    if (!o->plugin || loaded)
        return true;
    loaded = mnt_backend_load(o->plugin) == MNT_OK;
    if (!loaded)
        snprintf(error, size, "--plugin: %s", mnt_last_error(NULL));
    return loaded;
}

mnt_device *subject_open(const options *o, const subject *s, const char *force,
                         int threads, char *error, size_t size)
{
    mnt_device *dev = NULL;
    if (!subject_load(o, error, size))
        return NULL;
    mnt_device_desc desc =
        MNT_DEVICE_DESC(.backend = s->backend[0] ? s->backend : NULL,
                        .index = o->device, .threads = threads, .force = force);
    if (mnt_device_open(&dev, &desc) != MNT_OK)
        snprintf(error, size, "%s", mnt_last_error(NULL));
    return dev;
}

/* ---- in the child ---- */

static bool note_key(probe *p, const char *word, size_t name)
{
    int k = 0;
    char text[24];
    snprintf(text, sizeof text, "%.*s", (int)name, word);
    while (k < p->key_count && strcmp(p->keys[k].name, text) != 0)
        k++;
    if (k == MAX_KEYS || (k < p->key_count && p->keys[k].count == 16))
        return refuse(p, "%s: variant() lists more than the suite can hold",
                      p->s->backend);
    key *slot = &p->keys[k];
    if (k == p->key_count)
        p->key_count++;
    memcpy(slot->name, text, sizeof text);
    snprintf(slot->value[slot->count++], 40, "%s", word + name + 1);
    return true;
}

static bool note_variant(probe *p, int setting, mnt_op op, const char *name)
{
    subject *s = p->s;
    if (s->variants == SUBJECT_MAX_VARIANTS)
        return refuse(p, "%s: variant() lists more than %d variants", s->backend,
                      SUBJECT_MAX_VARIANTS);
    subject_variant *v = &s->variant[s->variants++];
    *v = (subject_variant){ .setting = setting, .op = op };
    snprintf(v->name, sizeof v->name, "%s", name);
    for (int i = 0; i < s->variants; i++) {
        subject_variant *other = &s->variant[i];
        if (other == v || other->setting != setting || other->op != op)
            continue;
        if (strcmp(other->name, v->name) == 0)
            return refuse(p, "%s: variant() lists %s=%s twice", s->backend,
                          mnt_op_name(op), v->name);
        other->choices++;
        v->choices = other->choices - 1;
    }
    v->choices++;
    return true;
}

/* What a device lists: its keys (setting -1), or the variants of its ops. */
static bool read_variants(probe *p, mnt_device *dev, int setting)
{
    const char *word;
    for (int i = 0; (word = mnt_device_variant(dev, i)); i++) {
        size_t name = strcspn(word, "=");
        mnt_op op = op_of(word, name);
        if (i > 8192)
            return refuse(p, "%s: variant() does not end", p->s->backend);
        if (name == 0 || word[name] != '=' || strlen(word) > 60 || strchr(word, ','))
            return refuse(p, "%s: variant() lists \"%.60s\", which is not name=variant",
                          p->s->backend, word);
        bool ok = true;
        if (op == MNT_OP_COUNT && setting < 0)
            ok = note_key(p, word, name);
        else if (op != MNT_OP_COUNT && setting >= 0)
            ok = note_variant(p, setting, op, word + name + 1);
        if (!ok)
            return false;
    }
    return true;
}

static bool add_setting(probe *p, const char *force, bool lists)
{
    subject *s = p->s;
    if (s->settings == SUBJECT_MAX_SETTINGS)
        return refuse(p, "%s: variant() lists more than %d settings", s->backend,
                      SUBJECT_MAX_SETTINGS);
    snprintf(s->setting[s->settings].force, SUBJECT_FORCE, "%s", force);
    s->setting[s->settings++].lists = lists;
    return true;
}

/* force + ",key=value"; false if it does not fit. */
static bool put_word(char force[SUBJECT_FORCE], const key *k, int value)
{
    size_t n = strlen(force);
    int more = snprintf(force + n, SUBJECT_FORCE - n, "%s%s=%s", n ? "," : "", k->name,
                        k->value[value]);
    return more > 0 && (size_t)more < SUBJECT_FORCE - n;
}

/* Every choice of the keys from k on. single: of those with one value (taken or left);
 * else of those with several, each of which stands in every setting. */
static bool combine(probe *p, int k, const char *force, bool single)
{
    while (k < p->key_count && (p->keys[k].count == 1) != single)
        k++;
    if (k == p->key_count)
        return !*force || add_setting(p, force, !single);
    if (single && !combine(p, k + 1, force, single))
        return false;
    for (int v = 0; v < p->keys[k].count; v++) {
        char longer[SUBJECT_FORCE];
        snprintf(longer, sizeof longer, "%s", force);
        if (!put_word(longer, &p->keys[k], v))
            return refuse(p, "%s: variant() lists names too long for a force string",
                          p->s->backend);
        if (!combine(p, k + 1, longer, single))
            return false;
    }
    return true;
}

/* The settings that list variants come first, without those of single keys. */
static bool make_settings(probe *p)
{
    subject *s = p->s;
    if (!add_setting(p, "", false) || !combine(p, 0, "", false))
        return false;
    int several = s->settings;
    if (several == 1)
        s->setting[0].lists = true;
    for (int i = several > 1 ? 1 : 0; i < several; i++) {
        /* combine() adds the bare setting again; it is the first of its block. */
        int first = s->settings;
        if (!combine(p, 0, s->setting[i].force, true))
            return false;
        if (s->settings > first &&
            strcmp(s->setting[first].force, s->setting[i].force) == 0) {
            memmove(&s->setting[first], &s->setting[first + 1],
                    (size_t)(s->settings - first - 1) * sizeof *s->setting);
            s->settings--;
        }
    }
    for (int i = several; i < s->settings; i++)
        s->setting[i].lists = false;
    return true;
}

static bool list_variants(probe *p)
{
    subject *s = p->s;
    for (int i = 0; i < s->settings; i++) {
        char error[KIT_SENTENCE];
        if (!s->setting[i].lists)
            continue;
        mnt_device *dev =
            subject_open(p->o, s, s->setting[i].force, 1, error, sizeof error);
        if (!dev)
            return refuse(p,
                          "%s: variant() lists \"%s\", but a device does not open with "
                          "it: %.300s",
                          s->backend, s->setting[i].force, error);
        bool ok = read_variants(p, dev, i);
        mnt_device_close(dev);
        if (!ok)
            return false;
    }
    return true;
}

static bool describe(probe *p, mnt_device *dev)
{
    subject *s = p->s;
    mnt_device_info info = { .size = sizeof info };
    if (mnt_device_get_info(dev, &info) != MNT_OK)
        return refuse(p, "%s", mnt_last_error(dev));
    snprintf(s->backend, sizeof s->backend, "%s", info.backend);
    snprintf(s->device, sizeof s->device, "%s", info.name);
    snprintf(s->detail, sizeof s->detail, "%s", info.detail);
    s->threads = info.threads;
    s->memory = info.memory_bytes;
    return true;
}

static void probe_main(void *ctx)
{
    probe *p = ctx;
    const options *o = p->o;
    char error[KIT_SENTENCE] = "";
    int before = mnt_backend_count();
    if (!subject_load(o, error, sizeof error)) {
        refuse(p, "%s", error);
        return;
    }
    const char *name = o->plugin ? mnt_backend_name(before) : o->backend;
    snprintf(p->s->backend, sizeof p->s->backend, "%s", name ? name : "");
    p->s->built_in = !o->plugin;
    mnt_device *dev = subject_open(o, p->s, o->force ? o->force : "", OPTIONS_THREADS,
                                   error, sizeof error);
    if (!dev) {
        refuse(p, "--%s: %s",
               o->force                                   ? "force"
               : o->device > 0 && strstr(error, "index ") ? "device"
               : o->plugin                                ? "plugin"
                                                          : "backend",
               error);
        return;
    }
    bool ok = describe(p, dev);
    if (ok && o->force)
        ok = add_setting(p, o->force, false);
    else if (ok)
        ok = read_variants(p, dev, -1) && make_settings(p);
    mnt_device_close(dev);
    if (ok)
        list_variants(p);
}

const subject *subject_probe(const options *o)
{
    probe p = { .o = o, .s = child_shared(sizeof *p.s) };
    child_end end = child_call(probe_main, &p, o->limit, false);
    if (end.ok && p.s->error[0] == '\0')
        return p.s;
    if (end.ok)
        complain("%s", p.s->error);
    else
        complain("--%s: opening the device %s", o->plugin ? "plugin" : "backend",
                 end.text);
    return NULL;
}
