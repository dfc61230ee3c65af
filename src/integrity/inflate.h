/* SPDX-License-Identifier: Apache-2.0 */
/* Raw deflate data (RFC 1951), as in zip entries, decompressed from front to back. zlib's own inflate. */
#ifndef INTEGRITY_INFLATE_H
#define INTEGRITY_INFLATE_H

#include "core/error.h"

struct inflate_stream; /* opaque; about 40 KiB */

/* *out is owned by the caller. NO_MEMORY. */
enum llavamed_status inflate_create(struct inflate_stream **out, struct llavamed_error *error) LLAVAMED_CHECK;
void inflate_free(struct inflate_stream *stream); /* NULL is fine */

/* What goes in and where it comes out; inflate_step() moves both forward and counts them down. */
struct inflate_io {
    const uint8_t *in;
    size_t in_bytes;
    uint8_t *out;
    size_t out_bytes;
};

enum inflate_result {
    INFLATE_MORE,    /* all of `in` was taken, or `out` is full */
    INFLATE_END,     /* the data ended; what is left of `in` lies behind it */
    INFLATE_DAMAGED, /* not deflate data */
    INFLATE_NO_MEMORY
};

/* One stream, one thread at a time. After END, DAMAGED or NO_MEMORY the stream is only good for inflate_free(). */
enum inflate_result inflate_step(struct inflate_stream *stream, struct inflate_io *io);

#endif
