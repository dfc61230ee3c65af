/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define SHA256_BYTES 32
#define MD5_BYTES 16

struct sha256_stream {
    EVP_MD_CTX *context;
};

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

/* libcrypto fails only for lack of memory or, in a FIPS set-up gone wrong, of the algorithm. */
static enum llavamed_status fail_library(struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_INTERNAL, "SHA-256 is not available from OpenSSL %s",
                         digest_library_version());
}

enum llavamed_status sha256_create(struct sha256_stream **out, struct llavamed_error *error)
{
    struct sha256_stream *stream = calloc(1, sizeof *stream);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (stream == NULL || context == NULL) {
        EVP_MD_CTX_free(context);
        free(stream);
        return llavamed_fail_memory(error, sizeof *stream, "a SHA-256 stream");
    }
    if (EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        free(stream);
        return fail_library(error);
    }
    stream->context = context;
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
    if (n_bytes > 0 && EVP_DigestUpdate(stream->context, bytes, n_bytes) != 1) {
        return fail_library(error);
    }
    return LLAVAMED_OK;
}

enum llavamed_status sha256_finish(struct sha256_stream *stream, char hex[SHA256_HEX_BYTES],
                                   struct llavamed_error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n_bytes = 0;
    if (EVP_DigestFinal_ex(stream->context, digest, &n_bytes) != 1 || n_bytes != SHA256_BYTES) {
        return fail_library(error);
    }
    write_hex(digest, n_bytes, hex);
    return LLAVAMED_OK;
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

static enum llavamed_status fail_md5(struct llavamed_error *error)
{
    enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                                "MD5 is not available from OpenSSL %s", digest_library_version());
    llavamed_hint(error, "--verify none goes on without checking recorded hashes");
    return status;
}

enum llavamed_status md5_create(struct md5_stream **out, struct llavamed_error *error)
{
    struct md5_stream *stream = calloc(1, sizeof *stream);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (stream == NULL || context == NULL) {
        EVP_MD_CTX_free(context);
        free(stream);
        return llavamed_fail_memory(error, sizeof *stream, "an MD5 stream");
    }
    if (EVP_DigestInit_ex(context, EVP_md5(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        free(stream);
        return fail_md5(error);
    }
    stream->context = context;
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
    if (n_bytes > 0 && EVP_DigestUpdate(stream->context, bytes, n_bytes) != 1) {
        return fail_md5(error);
    }
    return LLAVAMED_OK;
}

enum llavamed_status md5_finish(struct md5_stream *stream, char hex[MD5_HEX_BYTES], struct llavamed_error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n_bytes = 0;
    if (EVP_DigestFinal_ex(stream->context, digest, &n_bytes) != 1 || n_bytes != MD5_BYTES) {
        return fail_md5(error);
    }
    write_hex(digest, n_bytes, hex);
    return LLAVAMED_OK;
}

const char *digest_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
