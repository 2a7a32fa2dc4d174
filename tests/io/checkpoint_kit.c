/* SPDX-License-Identifier: MIT */
/*
 * The model of the checkpoint tests. See checkpoint_kit.h.
 */
#include "checkpoint_kit.h"

#include <stdlib.h>

static uint32_t some_bits(kit_rng *r, int64_t i)
{
    static const uint32_t special[] = { 0x80000000u, 0x7f800000u, 0xff800000u,
                                        0x00000001u, 0x7fc00000u, 0x007fffffu };
    uint32_t bits = (uint32_t)kit_next(r);
    if (i < 6)
        return special[i];
    return (bits & 0x7f800000u) == 0x7f800000u ? 0x3f800000u : bits;
}

static void fill(mnt_device *dev, mnt_tensor *t, kit_rng *r)
{
    int64_t n = mnt_tensor_count(t);
    uint32_t *p = kit_alloc((size_t)n * 4);
    for (int64_t i = 0; i < n; i++)
        p[i] = some_bits(r, i);
    MUST(dev, mnt_tensor_write(t, p, (size_t)n * 4));
    free(p);
}

static mnt_args_optim options(mnti_optimizer kind)
{
    mnt_args_optim o = { .adam = kind == MNTI_OPT_ADAM,
                         .nesterov = kind == MNTI_OPT_SGD,
                         .decoupled = kind == MNTI_OPT_ADAM,
                         .lr = 0.1f,
                         .weight_decay = 1e-4f };
    if (kind == MNTI_OPT_SGD) {
        o.momentum = 0.9f;
    } else {
        o.beta1 = 0.9f;
        o.beta2 = 0.999f;
        o.eps = 1e-8f;
    }
    o.schedule = (mnt_schedule){ .points = 3,
                                 .step = { 0, 100, 5000000000 },
                                 .factor = { 0.0f, 1.0f, -0.0f } };
    return o;
}

mnt_model *kit_model(mnt_device *dev, mnti_optimizer kind)
{
    static const struct {
        const char *name;
        mnt_shape shape;
    } params[] = { { "fc.weight", { 2, { 3, 4 } } },
                   { "fc.bias", { 1, { 4 } } },
                   { "empty", { 2, { 0, 2 } } },
                   { "scalar \"\xc3\xa9\" __opt.m.", { 0, { 0 } } } };
    mnt_model *m = NULL;
    MUST(dev, mnt_model_create(&m, dev, &MNT_MODEL_DESC(.seed = UINT64_MAX - 5)));
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        assert_non_null(
            mnti_model_add(m, params[i].name, params[i].shape, (mnt_init){ 0 }));
    MUST(dev, mnti_model_place(m));
    if (kind != MNTI_OPT_NONE) {
        mnt_args_optim o = options(kind);
        MUST(dev, mnti_model_optimizer(m, kind, &o));
    }
    kit_rng r = { 3 };
    for (int i = 0; i < m->count; i++) {
        fill(dev, m->params[i]->w, &r);
        if (m->params[i]->m)
            fill(dev, m->params[i]->m, &r);
        if (m->params[i]->v)
            fill(dev, m->params[i]->v, &r);
    }
    uint32_t state[MNT_STATE_WORDS] = {
        (uint32_t)KIT_STEP, 1, 0x3f000000u, 0x3e99999au, 5, 6, 7
    };
    MUST(dev, mnt_tensor_write(m->state, state, sizeof state));
    MUST(dev, mnt_model_set_meta(m, "epoch", "3"));
    MUST(dev,
         mnt_model_set_meta(m, "batch", "\"libmnt.crc32\":\"12345678\" \xc3\xa9\n"));
    return m;
}

static void same_tensor(mnt_device *dev, mnt_tensor *a, mnt_tensor *b)
{
    assert_int_equal(!a, !b);
    if (!a)
        return;
    assert_string_equal(mnt_tensor_name(a), mnt_tensor_name(b));
    assert_int_equal(a->shape.ndim, b->shape.ndim);
    for (int i = 0; i < a->shape.ndim; i++)
        assert_int_equal(a->shape.dim[i], b->shape.dim[i]);
    void *x = sup_read(dev, a), *y = sup_read(dev, b);
    assert_memory_equal(x, y, mnti_tensor_bytes(a));
    free(x);
    free(y);
}

static void same_options(const mnt_args_optim *a, const mnt_args_optim *b)
{
    assert_int_equal(a->adam, b->adam);
    assert_int_equal(a->nesterov, b->nesterov);
    assert_int_equal(a->decoupled, b->decoupled);
    const float fa[] = {
        a->lr, a->momentum, a->beta1, a->beta2, a->eps, a->weight_decay
    };
    const float fb[] = {
        b->lr, b->momentum, b->beta1, b->beta2, b->eps, b->weight_decay
    };
    assert_memory_equal(fa, fb, sizeof fa);
    assert_int_equal(a->schedule.points, b->schedule.points);
    assert_memory_equal(a->schedule.step, b->schedule.step, sizeof a->schedule.step);
    assert_memory_equal(a->schedule.factor, b->schedule.factor,
                        sizeof a->schedule.factor);
}

void kit_assert_same(mnt_device *dev, mnt_model *a, mnt_model *b)
{
    assert_int_equal(a->seed, b->seed);
    assert_int_equal(a->optimizer, b->optimizer);
    same_options(&a->optim, &b->optim);
    same_tensor(dev, a->state, b->state);
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        same_tensor(dev, a->params[i]->w, b->params[i]->w);
        same_tensor(dev, a->params[i]->m, b->params[i]->m);
        same_tensor(dev, a->params[i]->v, b->params[i]->v);
    }
    assert_int_equal(a->meta_count, b->meta_count);
    for (int i = 0; i < a->meta_count; i++) {
        assert_string_equal(a->metas[i].key, b->metas[i].key);
        assert_string_equal(a->metas[i].value, b->metas[i].value);
    }
}

mnt_status kit_check(mnt_device *dev, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = kit_alloc(size); /* of the exact size, for sanitizers */
    memcpy(copy, bytes, size);
    mnti_st st;
    mnti_facts facts;
    mnt_status status = mnti_st_parse(dev, "memory", copy, size, &st);
    if (status == MNT_OK)
        status = mnti_checkpoint_check(dev, "memory", &st, copy, copy + st.head_bytes,
                                       &facts);
    mnti_st_free(dev, &st);
    free(copy);
    return status;
}

static size_t head_size(const uint8_t *bytes)
{
    return 8 + ((size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16);
}

void kit_replace(uint8_t *bytes, const char *from, const char *to)
{
    size_t n = strlen(from), head = head_size(bytes);
    assert_int_equal(n, strlen(to));
    for (size_t i = 8; i + n <= head; i++)
        if (memcmp(bytes + i, from, n) == 0) {
            memcpy(bytes + i, to, n);
            return;
        }
    fail_msg("the header has no %s", from);
}

void kit_seal(uint8_t *bytes, size_t size)
{
    size_t head = head_size(bytes), at = mnti_crc_position(bytes, head);
    assert_true(at > 0);
    char text[MNTI_CRC_DIGITS + 1];
    mnti_crc_text(mnti_crc_of(bytes, head, at, bytes + head, size - head), text);
    memcpy(bytes + at, text, MNTI_CRC_DIGITS);
}
