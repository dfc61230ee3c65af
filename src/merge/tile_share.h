/* SPDX-License-Identifier: Apache-2.0 */
/* Making the tiles of all results that take the same elements of the base, which are read once. */
#ifndef MERGE_TILE_SHARE_H
#define MERGE_TILE_SHARE_H

#include "merge/tile_keep.h"

/* The part that one result has in it: cut by tile_cut() with the others. */
struct tile_share {
    const struct pipeline_job *job; /* all borrowed for the call */
    struct tile *tile;
    struct output_file *file;
    void *out;                     /* tile_bytes: gets the result */
    struct pipeline_tensor *tally; /* zero; gets what there is to tell of the tile */
    bool reused;                   /* set: an interrupted run had written it */
};

/* A worker's own. */
struct tile_room {
    const struct tile_scratch *scratch; /* whose notes are the next */
    struct tile_notes *notes;
    void *base; /* tile_bytes; NULL is fine for a single share */
};

/*
 * Computes, writes and notes all of them; or keeps what an interrupted run has written. One base stands behind all
 * results: where its records carry CRC-32s, a tile is kept only when it was made from the bytes that are noted for
 * source_finish(), which are those that the others are made from. Thread-safe for different tiles.
 */
enum llavamed_status tile_make_all(struct tile_share *shares, size_t n_shares, const struct tile_room *room,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

#endif
