/* SPDX-License-Identifier: Apache-2.0 */
/* What a directory says of itself: SHA256SUMS, llavamed-manifest.json, the shard indices; and a list given beside. */
#ifndef VERIFY_RECORDS_H
#define VERIFY_RECORDS_H

#include "format/shard_index.h"
#include "verify/file_table.h"
#include "verify/sums_list.h"

struct records {
    bool is_there[CLAIMANTS]; /* and could be read */
    const char *names[CLAIMANTS]; /* what findings call them; borrowed */
    struct sums_list given;
    struct sums_list sums;
    struct recorded_output manifest;
    bool has_index[INDEX_KINDS];
    struct shard_index indices[INDEX_KINDS];
    bool is_signed; /* set by the caller: a signature says what belongs in the directory, whatever else does */
};

extern const char *const records_index_names[INDEX_KINDS];

void records_deinit(struct records *records);

/*
 * Reads all records that are plain files of the table, each with its SHA-256, and the list at `given` (NULL: none).
 * What is wrong with one of the directory's is a finding, or noted in its row when it cannot be read. For the given
 * one: INPUT_MISSING, INPUT_UNREADABLE, IO...; NO_MEMORY. *read_bytes grows by what was read.
 */
enum llavamed_status records_read(const char *dir, const char *given, struct file_table *table,
                                  struct records *records, struct findings *findings, uint64_t *read_bytes,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/* Fills the claims of the table's rows, making rows for what is claimed and not there. */
enum llavamed_status records_claim(const struct records *records, struct file_table *table,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* Who says what belongs in the directory; CLAIMANTS: nobody. */
enum claimant records_authority(const struct records *records);

#endif
