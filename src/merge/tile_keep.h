/* SPDX-License-Identifier: Apache-2.0 */
/* Noting in the journal what tiles became, and keeping tiles that an interrupted run has written. */
#ifndef MERGE_TILE_KEEP_H
#define MERGE_TILE_KEEP_H

#include "io/output_file.h"
#include "merge/tile.h"

/* What the reads of one tile tell of the inputs' checksums. */
struct tile_notes {
    struct source_notes base;
    struct source_notes delta;
};

/*
 * The tile that begins at first_elem of a tensor: the loaded entry of the journal that begins there, if it has no more
 * than max_elems elements (then *n_elems is its number); else NULL, and *n_elems, which the caller has set, becomes no
 * more than leaves the next entry whole. NULL without a journal.
 */
const struct journal_entry *tile_find_kept(const struct pipeline_job *job, size_t tensor, uint64_t first_elem,
                                           uint64_t max_elems, uint64_t *n_elems);

/* Reads tile->kept back from the output into `out`. true when the bytes are those of its journal entry. */
bool tile_is_kept(const struct pipeline_job *job, const struct tile *tile, struct output_file *file, void *out);

/* What the reads for a kept tile told when it was made. */
void tile_kept_notes(const struct journal_entry *entry, struct tile_notes *notes);

/*
 * tile_is_kept(), and then the tile is done: *tally is what it was, and the sources know the checksums of what was read
 * for it. false: it is to be computed.
 */
bool tile_reuse(const struct pipeline_job *job, const struct tile *tile, struct output_file *file, void *out,
                struct pipeline_tensor *tally);

/*
 * Hands on a tile that was computed: to the job's sink, or, with its CRC-32 in *tally, into its shard. The scratch is
 * free by then.
 */
enum llavamed_status tile_deliver(const struct pipeline_job *job, const struct tile *tile, struct output_file *file,
                                  const void *out, const struct tile_scratch *scratch, struct pipeline_tensor *tally,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/* Appends a tile that was computed and written to the journal, where there is one. */
enum llavamed_status tile_append(const struct pipeline_job *job, const struct tile *tile,
                                 const struct pipeline_tensor *tally, const struct tile_notes *notes,
                                 struct llavamed_error *error) LLAVAMED_CHECK;

/* tile_append(), and the sources take the notes. */
enum llavamed_status tile_written(const struct pipeline_job *job, const struct tile *tile,
                                  const struct pipeline_tensor *tally, const struct tile_notes *notes,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
