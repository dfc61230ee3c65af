/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/digest.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/phase.h"

struct algorithm {
    const char *name;
    const EVP_MD *(*md)(void);
    unsigned n_bytes;
    bool optional; /* a system's policy may forbid it, and the job can be done without it */
};

static const struct algorithm algorithm_sha256 = {"SHA-256", EVP_sha256, 32, false};
static const struct algorithm algorithm_md5 = {"MD5", EVP_md5, 16, true};
static const struct algorithm algorithm_sha1 = {"SHA-1", EVP_sha1, 20, true};

/* hex has room for 2 * n_bytes + 1. */
static void write_hex(const unsigned char *digest, size_t n_bytes, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n_bytes; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * n_bytes] = '\0';
}

/*
 * Whether what failed last was an allocation. One that leaves nothing in the queue had no memory for that either; one
 * that made an algorithm seem unsupported has left its errno, which callers set to 0 before.
 */
bool libcrypto_lacked_memory(void)
{
    int errno_value = errno;
    unsigned long code = ERR_get_error();
    bool lacked = code == 0 || errno_value == ENOMEM;
    for (; code != 0; code = ERR_get_error()) {
        lacked = lacked || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    return lacked;
}

void libcrypto_forget_errors(void)
{
    ERR_clear_error();
}

/*
 * An allocation deep within libcrypto may leave no trace but an algorithm that seems to be missing: for that once, or
 * from then on where 3.0 has written down that its provider has none. The default provider has them all, unless only
 * FIPS-approved ones are asked of it.
 */
static bool is_available(const struct algorithm *algorithm)
{
    EVP_MD *md = EVP_MD_fetch(NULL, algorithm->name, NULL);
    bool found = md != NULL ||
                 (OSSL_PROVIDER_available(NULL, "default") == 1 && EVP_default_properties_is_fips_enabled(NULL) == 0);
    EVP_MD_free(md);
    ERR_clear_error();
    return found;
}

/* libcrypto fails only for lack of memory or, in a FIPS set-up, of the algorithm. */
static enum llavamed_status fail_library(const struct algorithm *algorithm, struct llavamed_error *error)
{
    if (libcrypto_lacked_memory() || is_available(algorithm)) {
        return llavamed_fail(error, LLAVAMED_STATUS_NO_MEMORY, "out of memory for %s (libcrypto)", algorithm->name);
    }
    enum llavamed_status status = llavamed_fail(
        error, algorithm->optional ? LLAVAMED_STATUS_INPUT_UNSUPPORTED : LLAVAMED_STATUS_INTERNAL,
        "%s is not available from OpenSSL %s", algorithm->name, digest_library_version());
    if (algorithm->optional) {
        llavamed_hint(error, "--verify none goes on without checking recorded hashes");
    }
    return status;
}

static enum llavamed_status context_create(const struct algorithm *algorithm, EVP_MD_CTX **out,
                                           struct llavamed_error *error)
{
    errno = 0;
    /* Without memory for its own state at the first use, libcrypto 3.0 would use that state all the same, and crash. */
    EVP_MD_CTX *context = OSSL_LIB_CTX_get0_global_default() == NULL ? NULL : EVP_MD_CTX_new();
    if (context == NULL) {
        return llavamed_fail_memory(error, sizeof(void *), "a hash");
    }
    if (EVP_DigestInit_ex(context, algorithm->md(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return fail_library(algorithm, error);
    }
    *out = context;
    return LLAVAMED_OK;
}

static enum llavamed_status context_update(const struct algorithm *algorithm, EVP_MD_CTX *context, const void *bytes,
                                           size_t n_bytes, struct llavamed_error *error)
{
    errno = 0;
    bool ok = n_bytes == 0 || EVP_DigestUpdate(context, bytes, n_bytes) == 1;
    return ok ? LLAVAMED_OK : fail_library(algorithm, error);
}

static enum llavamed_status context_finish(const struct algorithm *algorithm, EVP_MD_CTX *context, char *hex,
                                           struct llavamed_error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n_bytes = 0;
    errno = 0;
    if (EVP_DigestFinal_ex(context, digest, &n_bytes) != 1 || n_bytes != algorithm->n_bytes) {
        return fail_library(algorithm, error);
    }
    write_hex(digest, n_bytes, hex);
    return LLAVAMED_OK;
}

/* ---- SHA-256 ---- */

struct sha256_stream {
    EVP_MD_CTX *context;
};

enum llavamed_status sha256_create(struct sha256_stream **out, struct llavamed_error *error)
{
    struct sha256_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return llavamed_fail_memory(error, sizeof *stream, "a SHA-256 stream");
    }
    enum llavamed_status status = context_create(&algorithm_sha256, &stream->context, error);
    if (status != LLAVAMED_OK) {
        free(stream);
        return status;
    }
    *out = stream;
    return LLAVAMED_OK;
}

void sha256_free(struct sha256_stream *stream)
{
    if (stream != NULL) {
        EVP_MD_CTX_free(stream->context);
        free(stream);
    }
}

enum llavamed_status sha256_update(struct sha256_stream *stream, const void *bytes, size_t n_bytes,
                                   struct llavamed_error *error)
{
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_SHA256);
    enum llavamed_status status = context_update(&algorithm_sha256, stream->context, bytes, n_bytes, error);
    (void)phase_change(before);
    phase_count(LLAVAMED_PHASE_SHA256, n_bytes);
    return status;
}

enum llavamed_status sha256_finish(struct sha256_stream *stream, char hex[SHA256_HEX_BYTES],
                                   struct llavamed_error *error)
{
    return context_finish(&algorithm_sha256, stream->context, hex, error);
}

enum llavamed_status sha256_of(const void *bytes, size_t n_bytes, char hex[SHA256_HEX_BYTES],
                               struct llavamed_error *error)
{
    struct sha256_stream *stream = NULL;
    enum llavamed_status status = sha256_create(&stream, error);
    if (status == LLAVAMED_OK) {
        status = sha256_update(stream, bytes, n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_finish(stream, hex, error);
    }
    sha256_free(stream);
    return status;
}

/* ---- MD5 ---- */

struct md5_stream {
    EVP_MD_CTX *context;
};

enum llavamed_status md5_create(struct md5_stream **out, struct llavamed_error *error)
{
    struct md5_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return llavamed_fail_memory(error, sizeof *stream, "an MD5 stream");
    }
    enum llavamed_status status = context_create(&algorithm_md5, &stream->context, error);
    if (status != LLAVAMED_OK) {
        free(stream);
        return status;
    }
    *out = stream;
    return LLAVAMED_OK;
}

void md5_free(struct md5_stream *stream)
{
    if (stream != NULL) {
        EVP_MD_CTX_free(stream->context);
        free(stream);
    }
}

enum llavamed_status md5_update(struct md5_stream *stream, const void *bytes, size_t n_bytes,
                                struct llavamed_error *error)
{
    return context_update(&algorithm_md5, stream->context, bytes, n_bytes, error);
}

enum llavamed_status md5_finish(struct md5_stream *stream, char hex[MD5_HEX_BYTES], struct llavamed_error *error)
{
    return context_finish(&algorithm_md5, stream->context, hex, error);
}

/* ---- Git blobs ---- */

struct git_blob_stream {
    EVP_MD_CTX *context;
};

/* "blob SIZE" and a NUL come before the content (gitformat: loose objects). */
enum llavamed_status git_blob_create(uint64_t n_bytes, struct git_blob_stream **out, struct llavamed_error *error)
{
    char header[32];
    int header_bytes = snprintf(header, sizeof header, "blob %llu", (unsigned long long)n_bytes) + 1;
    struct git_blob_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return llavamed_fail_memory(error, sizeof *stream, "a SHA-1 stream");
    }
    enum llavamed_status status = context_create(&algorithm_sha1, &stream->context, error);
    if (status == LLAVAMED_OK) {
        status = context_update(&algorithm_sha1, stream->context, header, (size_t)header_bytes, error);
    }
    if (status != LLAVAMED_OK) {
        git_blob_free(stream);
        return status;
    }
    *out = stream;
    return LLAVAMED_OK;
}

void git_blob_free(struct git_blob_stream *stream)
{
    if (stream != NULL) {
        EVP_MD_CTX_free(stream->context);
        free(stream);
    }
}

enum llavamed_status git_blob_update(struct git_blob_stream *stream, const void *bytes, size_t n_bytes,
                                     struct llavamed_error *error)
{
    return context_update(&algorithm_sha1, stream->context, bytes, n_bytes, error);
}

enum llavamed_status git_blob_finish(struct git_blob_stream *stream, char hex[GIT_BLOB_HEX_BYTES],
                                     struct llavamed_error *error)
{
    return context_finish(&algorithm_sha1, stream->context, hex, error);
}

const char *digest_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
