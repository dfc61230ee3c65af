/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a new file at any position, from several threads, and making it durable. Files are always created inside
 * a directory that is published later by rename, so a half-written one is never under a final name.
 */
#ifndef IO_OUTPUT_FILE_H
#define IO_OUTPUT_FILE_H

#include "core/error.h"

struct output_file; /* opaque */

/*
 * Creates `path`, which must not exist (O_EXCL), and reserves n_bytes where the file system can (fallocate; where it
 * cannot, nothing is lost). With `keep` a plain file of at most n_bytes that is there already is gone on with, its
 * bytes as they are, and anything else there is replaced. OUT_SPACE when the reservation finds too little, with how
 * much was missing; OUT_UNWRITABLE. *out is owned by the caller. File mode follows the umask (0666 & ~umask).
 */
enum llavamed_status output_file_create(const char *path, uint64_t n_bytes, bool keep, struct output_file **out,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/* Reads what was written there before, now or by an earlier run; false when that cannot be had. Thread-safe. */
bool output_file_read(struct output_file *file, uint64_t offset, void *buffer, size_t n_bytes);

/* Closes without any promise; the file stays. NULL is fine. */
void output_file_close(struct output_file *file);

/*
 * Writes all bytes at `offset`, retrying short writes and EINTR. Blocks that are complete by then are started on their
 * way to storage; at times this waits for one started a while ago and gives its pages back to the system. Thread-safe
 * for ranges that do not overlap. OUT_SPACE (ENOSPC, EDQUOT; says how many bytes of the file were still to come),
 * OUT_UNWRITABLE for any other failure.
 */
enum llavamed_status output_file_write(struct output_file *file, uint64_t offset, const void *bytes, size_t n_bytes,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Waits until every byte is on storage (fsync), then closes. The pointer is dead afterwards, on failure too. */
enum llavamed_status output_file_finish(struct output_file *file, struct llavamed_error *error) LLAVAMED_CHECK;

/* create + write + finish for a small file in memory. On failure the file is removed, unless it was there before. */
enum llavamed_status output_file_write_whole(const char *path, const void *bytes, size_t n_bytes,
                                             struct llavamed_error *error) LLAVAMED_CHECK;

#endif
