/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and MD5 streams, from OpenSSL's libcrypto (3.0 or later). A stream belongs to one thread at a time. */
#ifndef INTEGRITY_DIGEST_H
#define INTEGRITY_DIGEST_H

#include "core/error.h"

#define SHA256_HEX_BYTES 65 /* with the NUL */

struct sha256_stream; /* opaque */

enum llavamed_status sha256_create(struct sha256_stream **out, struct llavamed_error *error) LLAVAMED_CHECK;
void sha256_free(struct sha256_stream *stream); /* NULL is fine */
enum llavamed_status sha256_update(struct sha256_stream *stream, const void *bytes, size_t n_bytes,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* Lower-case hex. The stream can only be freed afterwards. */
enum llavamed_status sha256_finish(struct sha256_stream *stream, char hex[SHA256_HEX_BYTES],
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* All at once. */
enum llavamed_status sha256_of(const void *bytes, size_t n_bytes, char hex[SHA256_HEX_BYTES],
                               struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * MD5, for the sums that Meta's releases came with: it tells damage, not forgery. The same contract as SHA-256, but
 * INPUT_UNSUPPORTED where the system's policy forbids MD5.
 */
#define MD5_HEX_BYTES 33 /* with the NUL */

struct md5_stream; /* opaque */

enum llavamed_status md5_create(struct md5_stream **out, struct llavamed_error *error) LLAVAMED_CHECK;
void md5_free(struct md5_stream *stream); /* NULL is fine */
enum llavamed_status md5_update(struct md5_stream *stream, const void *bytes, size_t n_bytes,
                                struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status md5_finish(struct md5_stream *stream, char hex[MD5_HEX_BYTES],
                                struct llavamed_error *error) LLAVAMED_CHECK;

/* Version of the libcrypto in use: "3.0.19". Static storage. */
const char *digest_library_version(void);

#endif
