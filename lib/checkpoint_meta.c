/* SPDX-License-Identifier: MIT */
/*
 * The metadata of a checkpoint as strings and back. Every number is exact and has one
 * spelling: whole numbers in decimal, floats and state words as the 8 hex digits of
 * their bits, a schedule as "step:factor,step:factor".
 *
 * The crc32 covers the whole file, header included, with its own digits as zeros. At
 * the end: the facts of the caller's own that travel with a model.
 */
#include "checkpoint.h"

#include <zlib.h>

static const char *const optimizers[] = { "none", "sgd", "adam" };

static const struct {
    const char *key;
    size_t offset;
} floats[] = {
    { "libmnt.optim.lr", offsetof(mnt_args_optim, lr) },
    { "libmnt.optim.momentum", offsetof(mnt_args_optim, momentum) },
    { "libmnt.optim.beta1", offsetof(mnt_args_optim, beta1) },
    { "libmnt.optim.beta2", offsetof(mnt_args_optim, beta2) },
    { "libmnt.optim.eps", offsetof(mnt_args_optim, eps) },
    { "libmnt.optim.weight_decay", offsetof(mnt_args_optim, weight_decay) },
};
#define FLOATS (sizeof floats / sizeof *floats)

static uint32_t float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static int64_t step_of(const uint32_t state[MNT_STATE_WORDS])
{
    return (int64_t)((uint64_t)state[MNT_STATE_STEP_HI] << 32 |
                     state[MNT_STATE_STEP_LO]);
}

static bool put(json_t *meta, const char *key, const char *value)
{
    return json_object_set_new(meta, key, json_string(value)) == 0;
}

static bool put_optimizer(json_t *meta, const mnt_args_optim *o)
{
    char text[MNT_MAX_SCHEDULE * 32 + 1] = "";
    bool ok = true;
    for (size_t i = 0; i < FLOATS && ok; i++) {
        float f;
        memcpy(&f, (const char *)o + floats[i].offset, sizeof f);
        snprintf(text, sizeof text, "%08x", (unsigned)float_bits(f));
        ok = put(meta, floats[i].key, text);
    }
    text[0] = '\0';
    size_t n = 0;
    for (int i = 0; i < o->schedule.points && i < MNT_MAX_SCHEDULE; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld:%08x", i ? "," : "",
                              (long long)o->schedule.step[i],
                              (unsigned)float_bits(o->schedule.factor[i]));
    return ok && put(meta, "libmnt.optim.schedule", text) &&
           put(meta, "libmnt.optim.nesterov", o->nesterov ? "1" : "0") &&
           put(meta, "libmnt.optim.decoupled", o->decoupled ? "1" : "0");
}

json_t *mnti_facts_write(const mnti_facts *facts, const mnti_meta *metas, int count)
{
    json_t *meta = json_object();
    char text[8 * MNT_STATE_WORDS + 1];
    bool ok = put(meta, "format", "libmnt") && put(meta, "libmnt.version", MNT_VERSION);
    snprintf(text, sizeof text, "%d", MNT_NUMERICS_VERSION);
    ok = ok && put(meta, "libmnt.numerics", text);
    if (facts->relaxed)
        ok = ok && put(meta, "libmnt.relaxed", "1");
    snprintf(text, sizeof text, "%llu", (unsigned long long)facts->seed);
    ok = ok && put(meta, "libmnt.seed", text);
    snprintf(text, sizeof text, "%lld", (long long)step_of(facts->state));
    ok = ok && put(meta, "libmnt.step", text);
    for (int i = 0; i < MNT_STATE_WORDS; i++)
        snprintf(text + 8 * i, 9, "%08x", (unsigned)facts->state[i]);
    ok = ok && put(meta, "libmnt.state", text) && put(meta, MNTI_CRC_KEY, "00000000") &&
         put(meta, "libmnt.optimizer", optimizers[facts->optimizer]);
    if (facts->optimizer != MNTI_OPT_NONE)
        ok = ok && put_optimizer(meta, &facts->optim);
    for (int i = 0; i < count && ok; i++) {
        char key[80];
        snprintf(key, sizeof key, "user.%s", metas[i].key);
        ok = put(meta, key, metas[i].value);
    }
    if (ok)
        return meta;
    json_decref(meta);
    return NULL;
}

/* 8 lower-case hex digits. */
static bool read_hex(const char *s, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 8; i++) {
        unsigned digit;
        if (s[i] >= '0' && s[i] <= '9')
            digit = (unsigned)(s[i] - '0');
        else if (s[i] >= 'a' && s[i] <= 'f')
            digit = (unsigned)(s[i] - 'a') + 10;
        else
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static bool read_float(const char *s, float *out)
{
    uint32_t bits;
    if (!read_hex(s, &bits) || (bits & 0x7f800000u) == 0x7f800000u)
        return false;
    memcpy(out, &bits, sizeof bits);
    return true;
}

/* Decimal digits without needless zeros, up to `end`. */
static bool read_decimal(const char *s, const char *end, uint64_t *out)
{
    if (s == end || (*s == '0' && s + 1 != end))
        return false;
    *out = 0;
    for (; s < end; s++) {
        if (*s < '0' || *s > '9')
            return false;
        uint64_t digit = (uint64_t)(*s - '0');
        if (*out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return true;
}

static bool read_schedule(const char *s, mnt_schedule *out)
{
    while (*s) {
        const char *colon = strchr(s, ':');
        uint64_t step;
        int i = out->points;
        if (!colon || i == MNT_MAX_SCHEDULE || !read_decimal(s, colon, &step) ||
            step > INT64_MAX || !read_float(colon + 1, &out->factor[i]) ||
            (i > 0 && (int64_t)step <= out->step[i - 1]))
            return false;
        out->step[i] = (int64_t)step;
        out->points++;
        s = colon + 9;
        if (*s == ',' && s[1])
            s++;
        else if (*s)
            return false;
    }
    return true;
}

static bool read_flag(const char *s, bool *out)
{
    *out = s && s[0] == '1';
    return s && (s[0] == '0' || s[0] == '1') && s[1] == '\0';
}

static const char *read_optimizer(const mnti_st *st, mnt_args_optim *o)
{
    for (size_t i = 0; i < FLOATS; i++) {
        const char *s = mnti_st_meta(st, floats[i].key);
        float f;
        if (!s || strlen(s) != 8 || !read_float(s, &f))
            return floats[i].key;
        memcpy((char *)o + floats[i].offset, &f, sizeof f);
    }
    const char *s = mnti_st_meta(st, "libmnt.optim.schedule");
    if (!s || !read_schedule(s, &o->schedule))
        return "libmnt.optim.schedule";
    if (!read_flag(mnti_st_meta(st, "libmnt.optim.nesterov"), &o->nesterov))
        return "libmnt.optim.nesterov";
    if (!read_flag(mnti_st_meta(st, "libmnt.optim.decoupled"), &o->decoupled))
        return "libmnt.optim.decoupled";
    return NULL;
}

const char *mnti_facts_read(const mnti_st *st, mnti_facts *out)
{
    *out = (mnti_facts){ 0 };
    const char *s = mnti_st_meta(st, "libmnt.seed");
    if (!s || !read_decimal(s, s + strlen(s), &out->seed))
        return "libmnt.seed";
    s = mnti_st_meta(st, "libmnt.relaxed");
    out->relaxed = s != NULL;
    if (s && strcmp(s, "1") != 0)
        return "libmnt.relaxed";
    s = mnti_st_meta(st, "libmnt.state");
    if (!s || strlen(s) != 8 * MNT_STATE_WORDS)
        return "libmnt.state";
    for (int i = 0; i < MNT_STATE_WORDS; i++)
        if (!read_hex(s + 8 * i, &out->state[i]))
            return "libmnt.state";
    s = mnti_st_meta(st, "libmnt.step");
    uint64_t step;
    if (!s || !read_decimal(s, s + strlen(s), &step) || step > INT64_MAX ||
        (int64_t)step != step_of(out->state))
        return "libmnt.step";
    s = mnti_st_meta(st, "libmnt.optimizer");
    int kind = MNTI_OPT_NONE;
    while (s && kind <= MNTI_OPT_ADAM && strcmp(s, optimizers[kind]) != 0)
        kind++;
    if (!s || kind > MNTI_OPT_ADAM)
        return "libmnt.optimizer";
    out->optimizer = (mnti_optimizer)kind;
    if (kind == MNTI_OPT_NONE)
        return NULL;
    out->optim.adam = kind == MNTI_OPT_ADAM;
    return read_optimizer(st, &out->optim);
}

size_t mnti_crc_position(const void *head, size_t bytes)
{
    static const char mark[] = "\"" MNTI_CRC_KEY "\":\"";
    const char *text = head;
    size_t length = sizeof mark - 1, found = 0;
    for (size_t i = MNTI_ST_PREFIX; i + length + MNTI_CRC_DIGITS < bytes; i++) {
        if (text[i] != '"' || memcmp(text + i, mark, length) != 0)
            continue;
        if (found || text[i + length + MNTI_CRC_DIGITS] != '"')
            return 0;
        found = i + length;
    }
    return found;
}

void mnti_crc_text(uint32_t crc, char digits[MNTI_CRC_DIGITS + 1])
{
    snprintf(digits, MNTI_CRC_DIGITS + 1, "%08x", (unsigned)crc);
}

uint32_t mnti_crc_of(const void *head, size_t head_bytes, size_t position,
                     const void *data, size_t data_bytes)
{
    static const Bytef zeros[MNTI_CRC_DIGITS] = "00000000";
    size_t after = position + MNTI_CRC_DIGITS;
    uLong crc = crc32_z(0, head, position);
    crc = crc32_z(crc, zeros, sizeof zeros);
    crc = crc32_z(crc, (const Bytef *)head + after, head_bytes - after);
    if (data_bytes > 0) /* with NULL zlib would start afresh */
        crc = crc32_z(crc, data, data_bytes);
    return (uint32_t)crc;
}

/* ---- facts of the caller's own ---- */

static int find_meta(const mnt_model *m, const char *key, bool *found)
{
    int i = 0;
    while (i < m->meta_count && strcmp(m->metas[i].key, key) < 0)
        i++;
    *found = i < m->meta_count && strcmp(m->metas[i].key, key) == 0;
    return i;
}

static bool key_is_plain(const char *key)
{
    size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    return n >= 1 && n <= 64 && key[n] == '\0';
}

static void remove_meta(mnt_model *m, int i)
{
    mnti_free(m->dev, m->metas[i].key);
    mnti_free(m->dev, m->metas[i].value);
    m->meta_count--;
    memmove(&m->metas[i], &m->metas[i + 1],
            (size_t)(m->meta_count - i) * sizeof *m->metas);
}

static mnt_status add_meta(mnt_model *m, int i, const char *key, char *value)
{
    mnti_meta *grown =
        mnti_realloc(m->dev, m->metas, (size_t)(m->meta_count + 1) * sizeof *grown);
    if (grown)
        m->metas = grown;
    char *own = grown ? mnti_strdup(m->dev, key) : NULL;
    if (!own) {
        mnti_free(m->dev, value);
        return mnti_fail(m->dev, MNT_NO_MEMORY, "model_set_meta: no memory for %s",
                         key);
    }
    memmove(&m->metas[i + 1], &m->metas[i],
            (size_t)(m->meta_count - i) * sizeof *m->metas);
    m->metas[i] = (mnti_meta){ .key = own, .value = value };
    m->meta_count++;
    return MNT_OK;
}

mnt_status mnt_model_set_meta(mnt_model *m, const char *key, const char *value)
{
    if (!m || !key)
        return mnti_fail(m ? m->dev : NULL, MNT_INVALID, "model_set_meta: %s is NULL",
                         m ? "key" : "the model");
    if (!key_is_plain(key))
        return mnti_fail(m->dev, MNT_INVALID,
                         "model_set_meta: the key \"%.64s\" is not 1 to 64 bytes of "
                         "[a-z0-9_.]",
                         key);
    bool found;
    int i = find_meta(m, key, &found);
    if (!value) {
        if (found)
            remove_meta(m, i);
        return MNT_OK;
    }
    if (strlen(value) > 4096 || !mnti_utf8(value))
        return mnti_fail(m->dev, MNT_INVALID,
                         "model_set_meta: the value of %s is over 4096 bytes or not "
                         "UTF-8",
                         key);
    char *copy = mnti_strdup(m->dev, value);
    if (!copy)
        return mnti_fail(m->dev, MNT_NO_MEMORY, "model_set_meta: no memory for %s",
                         key);
    if (!found)
        return add_meta(m, i, key, copy);
    mnti_free(m->dev, m->metas[i].value);
    m->metas[i].value = copy;
    return MNT_OK;
}

const char *mnt_model_get_meta(const mnt_model *m, const char *key)
{
    if (!m || !key)
        return NULL;
    bool found;
    int i = find_meta(m, key, &found);
    return found ? m->metas[i].value : NULL;
}
