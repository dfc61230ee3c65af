/* SPDX-License-Identifier: Apache-2.0 */
/* Header and entries of a journal, as journal.h lays them out: to bytes and back. */
#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "integrity/crc32.h"
#include "merge/journal_parts.h"

#define HEX_BYTES (SHA256_HEX_BYTES - 1)
#define PART_BYTES (JOURNAL_LABEL_BYTES + HEX_BYTES)
#define CRC_BYTES 4
#define NOTES_OFFSET (JOURNAL_ENTRY_BYTES_MIN - CRC_BYTES)

static const char magic[8] = JOURNAL_MAGIC; /* without its NUL */

static const char labels[JOURNAL_PARTS][JOURNAL_LABEL_BYTES] = {
    [JOURNAL_TOOL] = "tool",   [JOURNAL_OPTIONS] = "options", [JOURNAL_BASE] = "base",
    [JOURNAL_DELTA] = "delta", [JOURNAL_PLAN] = "plan",
};

const char *journal_part_text(enum journal_part part)
{
    static const char *const texts[JOURNAL_PARTS] = {
        [JOURNAL_TOOL] = "the version of the tool",
        [JOURNAL_OPTIONS] = "the options",
        [JOURNAL_BASE] = "the base",
        [JOURNAL_DELTA] = "the delta",
        [JOURNAL_PLAN] = "the plan of the result",
    };
    return texts[part];
}

uint32_t journal_encode_header(const struct journal_key *key, uint8_t header[JOURNAL_HEADER_BYTES])
{
    uint8_t *p = header;
    memcpy(p, magic, sizeof magic);
    store_le32(p + sizeof magic, JOURNAL_PARTS);
    p += sizeof magic + 4;
    for (int i = 0; i < JOURNAL_PARTS; i++, p += PART_BYTES) {
        memcpy(p, labels[i], JOURNAL_LABEL_BYTES);
        memcpy(p + JOURNAL_LABEL_BYTES, key->sha256[i], HEX_BYTES);
    }
    uint32_t crc32 = crc32_update(0, header, (size_t)(p - header));
    store_le32(p, crc32);
    return crc32;
}

enum journal_state journal_judge_header(const uint8_t header[JOURNAL_HEADER_BYTES], const struct journal_key *key,
                                        enum journal_part *part)
{
    uint8_t wanted[JOURNAL_HEADER_BYTES];
    (void)journal_encode_header(key, wanted);
    const size_t end = JOURNAL_HEADER_BYTES - CRC_BYTES;
    if (memcmp(header, wanted, sizeof magic + 4) != 0 || crc32_update(0, header, end) != load_le32(header + end)) {
        return JOURNAL_DAMAGED;
    }
    int first = JOURNAL_PARTS;
    for (int i = JOURNAL_PARTS; i-- > 0;) {
        size_t at = sizeof magic + 4 + (size_t)i * PART_BYTES;
        if (memcmp(header + at, wanted + at, JOURNAL_LABEL_BYTES) != 0) {
            return JOURNAL_DAMAGED;
        }
        if (memcmp(header + at, wanted + at, PART_BYTES) != 0) {
            first = i;
        }
    }
    if (first == JOURNAL_PARTS) {
        return JOURNAL_SAME;
    }
    *part = (enum journal_part)first;
    return JOURNAL_DIFFERENT;
}

/* Whether an entry says what can be of a tensor of so many elements. */
static bool is_possible(const struct journal_entry *entry, uint64_t tensor_elems)
{
    const struct pipeline_tensor *tally = &entry->tally;
    const uint64_t n = entry->n_elems;
    /* Each of the two operands can overflow. */
    const uint64_t n_of_each = tally->n_overflow / 2 + tally->n_overflow % 2;
    bool counts = tally->counts.n_nan <= n && tally->counts.n_infinite <= n && tally->counts.n_rounded <= n &&
                  tally->counts.n_delta_zero <= n && tally->counts.n_lossy <= n && tally->n_added <= n &&
                  n_of_each <= n;
    if (n == 0 || entry->first_elem > tensor_elems || n > tensor_elems - entry->first_elem || !counts) {
        return false;
    }
    for (uint32_t i = 0; i < entry->n_notes; i++) {
        uint64_t end;
        if (entry->notes[i].role > 1 || !checked_add_u64(entry->notes[i].offset, entry->notes[i].n_bytes, &end)) {
            return false;
        }
    }
    return true;
}

size_t journal_encode_entry(const struct journal_entry *entry, uint32_t header_crc32,
                            uint8_t bytes[JOURNAL_ENTRY_BYTES_MAX])
{
    assert(entry->n_notes <= JOURNAL_NOTES_MAX && is_possible(entry, UINT64_MAX));
    const struct pipeline_tensor *tally = &entry->tally;
    store_le64(bytes, entry->tensor);
    store_le64(bytes + 8, entry->first_elem);
    store_le64(bytes + 16, entry->n_elems);
    store_le32(bytes + 24, tally->crc32);
    store_le32(bytes + 28, tally->target_crc32);
    store_le32(bytes + 32, entry->n_notes);
    store_le64(bytes + 36, tally->counts.n_nan);
    store_le64(bytes + 44, tally->counts.n_infinite);
    store_le64(bytes + 52, tally->counts.n_rounded);
    store_le64(bytes + 60, tally->counts.n_delta_zero);
    store_le64(bytes + 68, tally->n_added);
    store_le64(bytes + 76, tally->n_overflow);
    store_le64(bytes + 84, tally->counts.n_lossy);
    uint8_t *p = bytes + NOTES_OFFSET;
    for (uint32_t i = 0; i < entry->n_notes; i++, p += JOURNAL_NOTE_BYTES) {
        const struct journal_note *note = &entry->notes[i];
        store_le32(p, note->role);
        store_le32(p + 4, note->crc32);
        store_le64(p + 8, note->record);
        store_le64(p + 16, note->offset);
        store_le64(p + 24, note->n_bytes);
    }
    const size_t end = (size_t)(p - bytes);
    store_le32(p, crc32_update(header_crc32, bytes, end));
    return end + CRC_BYTES;
}

size_t journal_decode_entry(const struct journal_text *text, size_t offset, const struct journal_bounds *bounds,
                            struct journal_entry *entry, struct journal_note *notes)
{
    assert(offset <= text->n_bytes);
    const uint8_t *bytes = text->bytes + offset;
    const size_t n_left = text->n_bytes - offset;
    if (n_left < JOURNAL_ENTRY_BYTES_MIN) {
        return 0;
    }
    const uint32_t n_notes = load_le32(bytes + 32);
    if (n_notes > JOURNAL_NOTES_MAX || n_notes > (n_left - JOURNAL_ENTRY_BYTES_MIN) / JOURNAL_NOTE_BYTES) {
        return 0;
    }
    const size_t end = NOTES_OFFSET + n_notes * (size_t)JOURNAL_NOTE_BYTES;
    if (crc32_update(text->header_crc32, bytes, end) != load_le32(bytes + end)) {
        return 0;
    }
    *entry = (struct journal_entry){
        .tensor = load_le64(bytes),
        .first_elem = load_le64(bytes + 8),
        .n_elems = load_le64(bytes + 16),
        .tally = {.crc32 = load_le32(bytes + 24),
                  .target_crc32 = load_le32(bytes + 28),
                  .counts = {.n_nan = load_le64(bytes + 36),
                             .n_infinite = load_le64(bytes + 44),
                             .n_rounded = load_le64(bytes + 52),
                             .n_delta_zero = load_le64(bytes + 60),
                             .n_lossy = load_le64(bytes + 84)},
                  .n_added = load_le64(bytes + 68),
                  .n_overflow = load_le64(bytes + 76)},
        .n_notes = n_notes,
        .notes = notes,
    };
    const uint8_t *p = bytes + NOTES_OFFSET;
    for (uint32_t i = 0; i < n_notes; i++, p += JOURNAL_NOTE_BYTES) {
        notes[i] = (struct journal_note){.role = load_le32(p),
                                         .crc32 = load_le32(p + 4),
                                         .record = load_le64(p + 8),
                                         .offset = load_le64(p + 16),
                                         .n_bytes = load_le64(p + 24)};
    }
    bool possible = entry->tensor < bounds->n_tensors && is_possible(entry, bounds->n_elems[entry->tensor]);
    return possible ? end + CRC_BYTES : 0;
}
