/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the CRC-32 of one record whose bytes are read in pieces, in any order: a list of runs, neighbours
 * joined at once, so that a record read by a few threads from front to back never holds more than a few runs.
 */
#ifndef SOURCE_RECORD_CRC_H
#define SOURCE_RECORD_CRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs of one record. Each note may move all of them, so that their number would be a factor where many tensors lie in
 * one record, apart from each other and in another order than they are read in. Reading that record again is cheaper.
 */
#define RECORD_CRC_RUNS_MAX 4096

struct record_crc_run {
    uint64_t offset; /* in the record */
    uint64_t n_bytes;
    uint32_t crc32;
};

struct record_crc {
    struct record_crc_run *runs; /* owned; by offset, neither touching nor overlapping */
    size_t n_runs;
    size_t capacity;
    bool unusable; /* bytes were noted twice, in too many runs, or memory ran out: read the whole record again */
};

void record_crc_deinit(struct record_crc *record);

/* Notes that [offset, offset + n_bytes) has this CRC-32. Never fails: what cannot be kept makes it unusable. */
void record_crc_note(struct record_crc *record, uint64_t offset, uint64_t n_bytes, uint32_t crc32);

/*
 * The first part of a record of n_bytes that no note covers: [*offset, *offset + *gap_bytes). false when there is none:
 * then the only run is the whole record, or the record is empty and there is no run. Not to be asked when unusable.
 */
bool record_crc_gap(const struct record_crc *record, uint64_t n_bytes, uint64_t *offset, uint64_t *gap_bytes);

#endif
