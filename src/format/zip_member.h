/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of one entry of a zip archive, stored or deflated, read from front to back in a fixed memory
 * (ZIP_MEMBER_INPUT_BYTES and what inflate takes). Its CRC-32 and its sizes are checked at the end.
 */
#ifndef FORMAT_ZIP_MEMBER_H
#define FORMAT_ZIP_MEMBER_H

#include "format/zip.h"

/*
 * The most that is kept of what describes a deflated member's tensors: a pickle, a header, an index. They deflate to a
 * thousandth, and what is made of each byte takes up to 40, so a small archive could ask for gigabytes. LLaMA 65B has
 * 200 KB.
 */
#define ZIP_MEMBER_KEPT_BYTES_MAX (4 << 20)

#define ZIP_MEMBER_INPUT_BYTES 262144

struct zip_member; /* opaque; one thread at a time */

/*
 * `archive` and `entry` are borrowed until the member is closed. `name` is how messages call it (copied), such as
 * "delta.zip/llava/pytorch_model.bin". *out is owned by the caller.
 */
enum llavamed_status zip_member_open(struct input_file *archive, const struct zip_entry *entry, const char *name,
                                     struct zip_member **out, struct llavamed_error *error) LLAVAMED_CHECK;
void zip_member_close(struct zip_member *member); /* NULL is fine */

/* Has reading end as INTERRUPTED as soon as *stop_signal (borrowed; may be NULL) is not 0. */
void zip_member_heed(struct zip_member *member, const volatile int *stop_signal);

const char *zip_member_name(const struct zip_member *member);
uint64_t zip_member_bytes(const struct zip_member *member);    /* of the content */
uint64_t zip_member_position(const struct zip_member *member); /* of the content's next byte */

/* Bytes taken from the archive file so far. */
uint64_t zip_member_bytes_read(const struct zip_member *member);

/*
 * The next n_bytes of the content. *crc32, which may be NULL, becomes the CRC-32 of just these. INPUT_TRUNCATED when
 * they leave the content as the directory gives its size; ZIP_INVALID when the deflate data is damaged, or shorter or
 * longer than its sizes say; what input_file_read() gives; INTERRUPTED, see zip_member_heed().
 */
enum llavamed_status zip_member_read(struct zip_member *member, void *buffer, size_t n_bytes, uint32_t *crc32,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * After the last byte was read: that the deflate data ends there and the CRC-32 is that of the directory (CRC_MISMATCH;
 * check_crc false leaves that out). All bytes must have been read.
 */
enum llavamed_status zip_member_finish(struct zip_member *member, bool check_crc,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* All of a small member, checked; *bytes is owned by the caller and NUL-terminated. INPUT_LIMIT above max_bytes. */
enum llavamed_status zip_member_read_whole(struct input_file *archive, const struct zip_entry *entry, const char *name,
                                           size_t max_bytes, char **bytes, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
