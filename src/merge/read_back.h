/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a shard back from storage, piece by piece: its SHA-256, the digests of its tensors, and whether it holds what
 * was written.
 */
#ifndef MERGE_READ_BACK_H
#define MERGE_READ_BACK_H

#include "merge/pipeline.h"

struct read_back; /* opaque; belongs to one thread at a time */

/*
 * Opens a shard of the plan that is complete and on storage; its cached pages are dropped, as far as the system does.
 * `outcome` holds the CRC-32 of every tensor of the plan, known by now for those of this shard, and gets their digests
 * where it has room for them. Both are borrowed until read_back_close(). HASH_MISMATCH for a file of another size, and
 * what opening gives.
 */
enum llavamed_status read_back_open(const char *directory, const struct plan *plan, size_t shard,
                                    struct pipeline_outcome *outcome, struct read_back **out,
                                    struct llavamed_error *error) LLAVAMED_CHECK;
void read_back_close(struct read_back *back); /* NULL is fine */

/*
 * Reads the next piece into `buffer` and judges it. *n_read is its length, 0 at the end of the file. HASH_MISMATCH
 * names the tensor that differs, or the header.
 */
enum llavamed_status read_back_next(struct read_back *back, void *buffer, size_t buffer_bytes, size_t *n_read,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* At the end. Lower-case hex. */
enum llavamed_status read_back_sha256(struct read_back *back, char hex[SHA256_HEX_BYTES],
                                      struct llavamed_error *error) LLAVAMED_CHECK;

#endif
