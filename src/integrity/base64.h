/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 as RFC 4648, section 4: the usual alphabet, with padding, without line ends. */
#ifndef INTEGRITY_BASE64_H
#define INTEGRITY_BASE64_H

#include "core/buffer.h"

void base64_append(struct buffer *out, const void *bytes, size_t n_bytes);

/* The most bytes that n_chars of base64 can stand for. */
#define BASE64_DECODED_BYTES_MAX(n_chars) ((n_chars) / 4 * 3)

/*
 * Decodes text of n_chars into `out`, which has room for BASE64_DECODED_BYTES_MAX(n_chars). Strict: false for a
 * character outside the alphabet, for a length that is no multiple of 4, and for what no encoder writes: padding in
 * another place than the end, bits set that stand for nothing. One text alone stands for given bytes, then.
 */
bool base64_decode(const char *text, size_t n_chars, unsigned char *out, size_t *n_bytes);

#endif
