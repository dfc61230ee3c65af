/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A torch file in zip form (torch.h) that can be read only from front to back, as a deflated member of an archive.
 *
 * torch.save writes the pickle first, then the storages, then what is left, then the directory. So the pickle tells
 * what is in each storage before it comes, and the local headers tell which one comes. Sizes are not told by then,
 * since torch leaves them to the descriptors: a storage's is known from the pickle, any other record's end is where a
 * descriptor says that it is. Headers, the pickle and the small records are kept, and at the end the reader of whole
 * files (torch_file_read()) reads what was kept: a file is accepted only if that one accepts it and finds every storage
 * where it was streamed from, with the CRC-32 that it had. Records that no storage refers to are read over.
 *
 * Refused here though readable otherwise, since it cannot be streamed: a pickle that is not the first record, a record
 * whose size is neither in its local header nor in a descriptor (INPUT_UNSUPPORTED); a record that holds bytes which in
 * every field are the descriptor of what comes before them (as what reading on from there meets); a pickle above
 * ZIP_MEMBER_KEPT_BYTES_MAX, more than TORCH_STREAM_KEPT_MAX bytes to be kept (INPUT_LIMIT).
 */
#ifndef FORMAT_TORCH_STREAM_H
#define FORMAT_TORCH_STREAM_H

#include "format/pickle.h"
#include "format/zip_member.h"

#define TORCH_STREAM_KEPT_MAX ((size_t)3 * ZIP_MEMBER_KEPT_BYTES_MAX)

struct torch_stream; /* opaque; one thread at a time */

/*
 * Reads the file's front, up to the end of the pickle. `member` is borrowed, at its start. *out is owned by the caller.
 * ZIP_*, TORCH_*, PICKLE_*, INPUT_*, CRC_MISMATCH.
 */
enum llavamed_status torch_stream_open(struct zip_member *member, bool check_crc, struct torch_stream **out,
                                       struct llavamed_error *error) LLAVAMED_CHECK;
void torch_stream_close(struct torch_stream *stream); /* NULL is fine */

/* Borrowed. */
const struct pickle_state_dict *torch_stream_dict(const struct torch_stream *stream);

#define TORCH_STREAM_END SIZE_MAX

/*
 * Goes on to the next storage: its index in dict->storages, or TORCH_STREAM_END at the end of the file, when all has
 * been checked. The one before must have been read whole. As torch_stream_open().
 */
enum llavamed_status torch_stream_next(struct torch_stream *stream, size_t *storage,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* The next n_bytes of the storage, which must have as many. */
enum llavamed_status torch_stream_read(struct torch_stream *stream, void *buffer, size_t n_bytes,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

#endif
