/* SPDX-License-Identifier: Apache-2.0 */
/* What source_sample() looks at, for the layouts. For src/source alone. */
#ifndef SOURCE_SAMPLE_H
#define SOURCE_SAMPLE_H

#include "integrity/digest.h"
#include "source/weights.h"

#define SAMPLE_BLOCKS 16
#define SAMPLE_BLOCK_BYTES 4096

/*
 * Feeds SAMPLE_BLOCKS blocks of the file, evenly spaced from its first bytes to its last; all of one that has no more
 * than they. Where they lie depends on the size alone. INTERRUPTED, and what reading gives.
 */
enum llavamed_status sample_feed_file(struct input_file *file, const volatile int *stop_signal,
                                      struct sha256_stream *sha256, struct llavamed_error *error) LLAVAMED_CHECK;

/* Feeds a checksum that is known without reading what it is of. */
enum llavamed_status sample_feed_crc32(struct sha256_stream *sha256, uint32_t crc32,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Feeds file i of `weights` so, and the CRC-32s of its records. */
enum llavamed_status sample_feed_weights(const struct weights *weights, size_t i, struct sha256_stream *sha256,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

#endif
