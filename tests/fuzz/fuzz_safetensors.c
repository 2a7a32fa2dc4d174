/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the safetensors reader, and on what it accepts the checkpoint's checks,
 * with the crc32 put right first, since no fuzzer would guess it.
 */
#include "checkpoint.h"
#include "fuzz.h"

static void check_layout(const mnti_st *st)
{
    uint64_t at = 0;
    for (size_t i = 0; i < st->count; i++) {
        const mnti_st_tensor *t = &st->tensors[i];
        fuzz_expect(t->begin == at && t->bytes <= st->data_bytes - at);
        at += t->bytes;
    }
    fuzz_expect(at == st->data_bytes);
}

/* Writes what was read and reads it again. */
static void check_writer(mnt_device *dev, const mnti_st *st)
{
    json_t *meta = st->meta ? json_deep_copy(st->meta) : json_object();
    char *head;
    size_t bytes;
    mnt_status status =
        mnti_st_write_head(dev, "fuzz", st->tensors, st->count, meta, &head, &bytes);
    json_decref(meta);
    if (status) {
        fuzz_expect(status == MNT_LIMIT || status == MNT_NO_MEMORY);
        return;
    }
    mnti_st again;
    fuzz_expect(mnti_st_parse(dev, "fuzz", (const uint8_t *)head,
                              bytes + st->data_bytes, &again) == MNT_OK);
    fuzz_expect(again.count == st->count && again.data_bytes == st->data_bytes);
    mnti_st_free(dev, &again);
    mnti_free(dev, head);
}

static void check_checkpoint(mnt_device *dev, const mnti_st *st, uint8_t *file,
                             size_t size)
{
    size_t head = (size_t)st->head_bytes, at = mnti_crc_position(file, head);
    const char *stored = mnti_st_meta(st, MNTI_CRC_KEY);
    if (at && stored && strlen(stored) == MNTI_CRC_DIGITS) {
        char text[MNTI_CRC_DIGITS + 1];
        mnti_crc_text(mnti_crc_of(file, head, at, file + head, size - head), text);
        memcpy(file + at, text, MNTI_CRC_DIGITS);
    }
    mnti_st sealed;
    mnti_facts facts;
    if (mnti_st_parse(dev, "fuzz", file, size, &sealed) != MNT_OK)
        return;
    mnt_status status =
        mnti_checkpoint_check(dev, "fuzz", &sealed, file, file + head, &facts);
    fuzz_expect(status == MNT_OK || status == MNT_FORMAT || status == MNT_MISMATCH);
    if (status == MNT_OK) {
        json_t *meta = mnti_facts_write(&facts, NULL, 0);
        fuzz_expect(meta != NULL);
        json_decref(meta);
    }
    mnti_st_free(dev, &sealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mnt_device *dev = fuzz_device();
    uint8_t *file = malloc(size ? size : 1);
    if (!file)
        return 0;
    if (size)
        memcpy(file, data, size);
    mnti_st st;
    dev->error[0] = '\0';
    mnt_status status = mnti_st_parse(dev, "fuzz", file, size, &st);
    if (status) {
        fuzz_expect(status == MNT_FORMAT || status == MNT_NO_MEMORY);
        fuzz_expect(dev->error[0] && !st.header);
    } else {
        check_layout(&st);
        check_writer(dev, &st);
        check_checkpoint(dev, &st, file, size);
    }
    mnti_st_free(dev, &st);
    free(file);
    return 0;
}
