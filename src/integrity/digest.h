/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256, MD5 and git blob streams, from OpenSSL's libcrypto (3.0 or later). A stream belongs to one thread at a time.
 */
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

/*
 * The name that git gives a file's content (`git hash-object FILE`), with SHA-1. n_bytes is the size of the whole
 * content, of which no more and no less is to follow. The same contract as MD5.
 */
#define GIT_BLOB_HEX_BYTES 41 /* with the NUL */

struct git_blob_stream; /* opaque */

enum llavamed_status git_blob_create(uint64_t n_bytes, struct git_blob_stream **out,
                                     struct llavamed_error *error) LLAVAMED_CHECK;
void git_blob_free(struct git_blob_stream *stream); /* NULL is fine */
enum llavamed_status git_blob_update(struct git_blob_stream *stream, const void *bytes, size_t n_bytes,
                                     struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status git_blob_finish(struct git_blob_stream *stream, char hex[GIT_BLOB_HEX_BYTES],
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/* ---- For the other modules that call libcrypto ---- */

/* Whether what failed last was an allocation; forgets what failed. errno must have been 0 before the call. */
bool libcrypto_lacked_memory(void);

void libcrypto_forget_errors(void);

/* Version of the libcrypto in use: "3.0.19". Static storage. */
const char *digest_library_version(void);

#endif
