/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define SHA256_BYTES 32

struct sha256_stream {
    EVP_MD_CTX *context;
};

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
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n_bytes = 0;
    if (EVP_DigestFinal_ex(stream->context, digest, &n_bytes) != 1 || n_bytes != SHA256_BYTES) {
        return fail_library(error);
    }
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[SHA256_HEX_BYTES - 1] = '\0';
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

const char *digest_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
