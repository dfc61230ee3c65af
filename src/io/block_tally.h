/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts which fixed blocks of a file have been read or written completely, by several threads in any order, so that
 * whole blocks can be given back to the page cache. Whole and aligned ones only: the kernel keeps large folios, and
 * dropping a range that ends inside one also drops what was read ahead behind it.
 */
#ifndef IO_BLOCK_TALLY_H
#define IO_BLOCK_TALLY_H

#include <stdbool.h>
#include <stdint.h>

struct block_tally; /* opaque */

/*
 * For a file of n_bytes, in blocks of block_bytes: a multiple of 4 MiB, below 4 GiB. NULL when there is no memory for
 * it: callers then do without.
 */
struct block_tally *block_tally_create(uint64_t n_bytes, uint64_t block_bytes);
void block_tally_free(struct block_tally *tally); /* NULL is fine */

/* A run of bytes that is being noted; advanced by block_tally_next(). */
struct block_run {
    uint64_t offset;
    uint64_t n_bytes;
};

/*
 * Notes the part of *run that lies in its first block and removes it from the run. True when that completed the block,
 * which is then in *block. Call until run->n_bytes is 0. Bytes noted twice count twice. Thread-safe.
 */
bool block_tally_next(struct block_tally *tally, struct block_run *run, struct block_run *block);

#endif
