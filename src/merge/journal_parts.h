/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's form in memory; no files here. For journal*.c and the tests of the form alone. */
#ifndef MERGE_JOURNAL_PARTS_H
#define MERGE_JOURNAL_PARTS_H

#include "merge/journal.h"

#define JOURNAL_MAGIC "LMJOURN3"
#define JOURNAL_LABEL_BYTES 8
#define JOURNAL_HEADER_BYTES (8 + 4 + JOURNAL_PARTS * (JOURNAL_LABEL_BYTES + SHA256_HEX_BYTES - 1) + 4)
#define JOURNAL_NOTE_BYTES 32
#define JOURNAL_ENTRY_BYTES_MIN 96
#define JOURNAL_ENTRY_BYTES_MAX (JOURNAL_ENTRY_BYTES_MIN + JOURNAL_NOTES_MAX * JOURNAL_NOTE_BYTES)

/* Writes the header and returns its CRC-32. */
uint32_t journal_encode_header(const struct journal_key *key, uint8_t header[JOURNAL_HEADER_BYTES]);

/* JOURNAL_SAME, JOURNAL_DAMAGED or JOURNAL_DIFFERENT with *part, which is left alone otherwise. */
enum journal_state journal_judge_header(const uint8_t header[JOURNAL_HEADER_BYTES], const struct journal_key *key,
                                        enum journal_part *part);

/* Writes an entry and returns its bytes. It must be one that journal_append() allows. */
size_t journal_encode_entry(const struct journal_entry *entry, uint32_t header_crc32,
                            uint8_t bytes[JOURNAL_ENTRY_BYTES_MAX]);

/* What stands behind the header of a journal. Borrowed. */
struct journal_text {
    const uint8_t *bytes;
    size_t n_bytes;
    uint32_t header_crc32;
};

/*
 * Reads the entry that begins at `offset`, which lies in the text or at its end; its notes go to `notes`, which has
 * room for all that the rest of the text can hold, or for JOURNAL_NOTES_MAX. Returns its bytes; 0 when it is not whole
 * or leaves the bounds: nothing is then said of *entry.
 */
size_t journal_decode_entry(const struct journal_text *text, size_t offset, const struct journal_bounds *bounds,
                            struct journal_entry *entry, struct journal_note *notes);

/* Entries that were loaded. */
struct journal_list {
    struct journal_entry *entries; /* owned */
    size_t n_entries;
    struct journal_note *notes; /* owned: of all entries */
};

void journal_list_deinit(struct journal_list *list);

/*
 * Loads what is whole of the entries, without those that a later one overlaps, sorted by tensor and first element.
 * *whole_bytes is where the first entry begins that is not whole. NO_MEMORY.
 */
enum llavamed_status journal_list_load(const struct journal_text *text, const struct journal_bounds *bounds,
                                       struct journal_list *list, size_t *whole_bytes,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Drops entries (in the order in which they were written) that share an element with a later one. NO_MEMORY. */
enum llavamed_status journal_drop_overlapped(struct journal_list *list, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
