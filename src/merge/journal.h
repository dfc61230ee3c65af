/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a run: which parts of the output are written, and what their bytes are, so that a later run of the
 * same command can keep them. It lies in OUT.partial while the run works and is not part of OUT.
 *
 *   file   = header | entry...
 *   header = magic "LMJOURN1" | u32 n_parts | n_parts x (label, SHA-256 of the part) | u32 CRC-32 of all before
 *   entry  = one written tile: tensor, first element, number of elements, CRC-32 of the bytes in the output, counts,
 *            CRC-32 notes of the input records that were read for it | u32 CRC-32 of the entry
 *
 * Integers are little-endian. Entries are appended with one write each, after the tile's own write. A killed process
 * loses at most the tiles it was at. After a power failure anything may be missing or torn on storage, the entries
 * included: reading stops at the first entry that is not whole, and an entry is only a claim. Whoever keeps a tile has
 * read it back from the output and found its CRC-32.
 */
#ifndef MERGE_JOURNAL_H
#define MERGE_JOURNAL_H

#include "integrity/digest.h"
#include "merge/pipeline.h"

#define JOURNAL_FILE_NAME ".llavamed-journal"

/* What makes a run the same, in parts so that a difference can be named. */
enum journal_part { JOURNAL_TOOL, JOURNAL_OPTIONS, JOURNAL_BASE, JOURNAL_DELTA, JOURNAL_PLAN, JOURNAL_PARTS };

struct journal_key {
    uint8_t sha256[JOURNAL_PARTS][32];
};

/* A piece of an input's record (a torch storage) as it was read for a tile: see source/record_crc.h. */
struct journal_note {
    uint32_t role;   /* 0 base, 1 delta */
    uint32_t crc32;
    uint64_t record; /* index of the record in its source */
    uint64_t offset; /* in the record */
    uint64_t n_bytes;
};

#define JOURNAL_NOTES_MAX 64

struct journal_entry {
    uint64_t tensor; /* of the plan */
    uint64_t first_elem;
    uint64_t n_elems;
    struct pipeline_tensor tally; /* crc32 of these bytes in the output; counts */
    uint32_t n_notes;
    struct journal_note notes[JOURNAL_NOTES_MAX];
};

struct journal; /* opaque */

/*
 * Starts a new journal at `path`, which must not exist, and writes its header. *out is owned by the caller. OUT_SPACE,
 * OUT_UNWRITABLE.
 */
enum llavamed_status journal_create(const char *path, const struct journal_key *key, struct journal **out,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Why an old journal is of no use. */
enum journal_state {
    JOURNAL_SAME,      /* it can be continued */
    JOURNAL_MISSING,   /* there is none */
    JOURNAL_DAMAGED,   /* its header cannot be read */
    JOURNAL_DIFFERENT, /* *part is the first that differs */
};

/*
 * Reads the journal at `path` and goes on with it when it is of the same run: entries that are whole are loaded (of
 * several for the same elements the last one counts), what follows them is cut off. `n_tensors` and `n_elems[]` of the
 * plan bound what an entry may say. Memory is O(file), which is refused above JOURNAL_BYTES_MAX as JOURNAL_DAMAGED.
 * *out is set for JOURNAL_SAME alone. IO, NO_MEMORY, OUT_UNWRITABLE.
 */
#define JOURNAL_BYTES_MAX 1073741824
enum llavamed_status journal_continue(const char *path, const struct journal_key *key, const uint64_t *n_elems,
                                      size_t n_tensors, struct journal **out, enum journal_state *state,
                                      enum journal_part *part, struct llavamed_error *error) LLAVAMED_CHECK;

void journal_close(struct journal *journal); /* NULL is fine; the file stays */

/*
 * The loaded entry that begins at first_elem of a tensor, or NULL; *next_elem becomes where the next loaded entry of
 * that tensor begins (UINT64_MAX: none). Borrowed. Thread-safe: loaded entries do not change.
 */
const struct journal_entry *journal_find(const struct journal *journal, uint64_t tensor, uint64_t first_elem,
                                         uint64_t *next_elem);

/* Appends an entry with one write. Thread-safe. OUT_SPACE, OUT_UNWRITABLE. */
enum llavamed_status journal_append(struct journal *journal, const struct journal_entry *entry,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Waits until all that was appended is on storage. */
enum llavamed_status journal_sync(struct journal *journal, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
