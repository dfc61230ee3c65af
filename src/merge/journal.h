/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a run: which parts of the output are written, and what their bytes are, so that a later run of the
 * same command can keep them. It lies in OUT.partial while the run works, and beside OUT while that gets its name: so
 * it is there until OUT is, and never in it.
 *
 *   file   = header | entry...
 *   header = magic "LMJOURN3" | u32 n_parts | n_parts x (label of 8 bytes, SHA-256 of the part as 64 hex digits)
 *            | u32 CRC-32 of all before
 *   entry  = u64 tensor | u64 first element | u64 number of elements | u32 CRC-32 of the bytes in the output
 *            | u32 CRC-32 of the target's bytes (struct pipeline_tensor) | u32 n_notes
 *            | u64 counts: NaN, infinite, rounded, delta zero, added, overflow, lossy
 *            | n_notes x (u32 role, u32 CRC-32, u64 record, u64 offset, u64 n_bytes)
 *            | u32 CRC-32 of the entry, continued from the header's
 *
 * One entry is one written tile; notes are what the input records that were read for it had as CRC-32. Integers are
 * little-endian. Entries are appended with one write each, after the tile's own write. A killed process
 * loses at most the tiles it was at. After a power failure anything may be missing or torn on storage, the entries
 * included: reading stops at the first entry that is not whole, and an entry is only a claim. Whoever keeps a tile has
 * read it back from the output and found its CRC-32.
 */
#ifndef MERGE_JOURNAL_H
#define MERGE_JOURNAL_H

#include "integrity/digest.h"
#include "merge/pipeline.h"

#define JOURNAL_FILE_NAME ".llavamed-journal"
#define JOURNAL_BESIDE_SUFFIX ".publishing.journal"

/* What makes a run the same, in parts so that a difference can be named. */
enum journal_part { JOURNAL_TOOL, JOURNAL_OPTIONS, JOURNAL_BASE, JOURNAL_DELTA, JOURNAL_PLAN, JOURNAL_PARTS };

/* "the version of the tool", "the options", "the base"...: what is another one now, for messages; static storage. */
const char *journal_part_text(enum journal_part part);

struct journal_key {
    char sha256[JOURNAL_PARTS][SHA256_HEX_BYTES]; /* merge/run_key.h fills it */
};

/* A piece of an input's record (a torch storage) as it was read for a tile: see source/record_crc.h. */
struct journal_note {
    uint32_t role; /* 0 base, 1 delta */
    uint32_t crc32;
    uint64_t record; /* index of the record in its source; of a loaded note still to be held against the source's */
    uint64_t offset; /* in the record; the end fits 64 bits */
    uint64_t n_bytes;
};

#define JOURNAL_NOTES_MAX 64

struct journal_entry {
    uint64_t tensor; /* of the plan */
    uint64_t first_elem;
    uint64_t n_elems;                 /* at least one */
    struct pipeline_tensor tally;     /* crc32 of these bytes in the output; counts, none above what n_elems allows */
    uint32_t n_notes;                 /* at most JOURNAL_NOTES_MAX */
    const struct journal_note *notes; /* borrowed: from the caller when appended, from the journal when loaded */
    bool is_piece; /* of a loaded entry that was cut (merge/tile_fit.h): the first piece has the counts of all */
};

struct journal; /* opaque */

/*
 * Starts a new journal at `path`, which must not exist, and writes its header. *out is owned by the caller. OUT_EXISTS,
 * OUT_SPACE, OUT_UNWRITABLE (nothing is left behind), NO_MEMORY.
 */
enum llavamed_status journal_create(const char *path, const struct journal_key *key, struct journal **out,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Why an old journal is of no use. */
enum journal_state {
    JOURNAL_SAME,      /* it can be continued */
    JOURNAL_MISSING,   /* there is none */
    JOURNAL_DAMAGED,   /* its header cannot be read, or it is no regular file */
    JOURNAL_DIFFERENT, /* *part is the first that differs */
};

/* What an entry may speak of. */
struct journal_bounds {
    const uint64_t *n_elems; /* of each tensor of the plan; borrowed for the call */
    size_t n_tensors;
};

struct journal_found {
    enum journal_state state;
    enum journal_part part;  /* for JOURNAL_DIFFERENT */
    struct journal *journal; /* for JOURNAL_SAME, owned by the caller; else NULL */
    uint64_t cut_bytes;      /* for JOURNAL_SAME: what was behind the last whole entry */
};

/*
 * Reads the journal at `path` and goes on with it when it is of the same run. Entries are loaded up to the first that
 * is not whole or leaves the bounds; what follows is cut off. An entry whose elements a later one has too, all or some,
 * does not count. Links are not followed. Memory and time are O(file), which is refused above JOURNAL_BYTES_MAX as
 * JOURNAL_DAMAGED. IO, NO_MEMORY, OUT_SPACE, OUT_UNWRITABLE.
 */
#define JOURNAL_BYTES_MAX 134217728
enum llavamed_status journal_continue(const char *path, const struct journal_key *key,
                                      const struct journal_bounds *bounds, struct journal_found *found,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

void journal_close(struct journal *journal); /* NULL is fine; the file stays */

/* Whether `path` is a plain file that begins as a journal does. */
bool journal_is_at(const char *path);

/* All loaded entries, by tensor and first element, without overlap. Borrowed; thread-safe: they do not change. */
size_t journal_entries(const struct journal *journal, const struct journal_entry **entries);

/*
 * Puts others in their place: of the same order, without overlap, their notes among those that were loaded. `entries`
 * (malloc'ed, or NULL when there is none) is the journal's from then on. Before the journal is shared by threads.
 */
void journal_set_entries(struct journal *journal, struct journal_entry *entries, size_t n_entries);

/*
 * Notes that a piece was right when its entry was cut, and is not any more: the counts of what is kept are not to be
 * relied on. Thread-safe. journal_is_spoiled(): whether that happened.
 */
void journal_spoil(struct journal *journal);
bool journal_is_spoiled(const struct journal *journal);

/*
 * The loaded entry that begins at first_elem of a tensor, or NULL; *next_elem becomes where the first loaded entry
 * behind first_elem begins (UINT64_MAX: none in that tensor). Borrowed. Thread-safe. O(log n).
 */
const struct journal_entry *journal_find(const struct journal *journal, uint64_t tensor, uint64_t first_elem,
                                         uint64_t *next_elem);

/*
 * Appends an entry with one write. Thread-safe. After a failure the journal ends where it ended before. An entry that
 * would make the file larger than JOURNAL_BYTES_MAX is left out: its tile is computed again, should it come to that.
 * OUT_SPACE, OUT_UNWRITABLE.
 */
enum llavamed_status journal_append(struct journal *journal, const struct journal_entry *entry,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Waits until all that was appended before is on storage. Thread-safe. OUT_SPACE, OUT_UNWRITABLE. */
enum llavamed_status journal_sync(struct journal *journal, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
