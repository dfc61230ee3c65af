/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/ec_key.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

/* From OpenSSL 3.2 on (OSSL_SIGNATURE_PARAM_NONCE_TYPE): 1 is RFC 6979. By its name, so that a program built with an
   older one uses it too where it finds it. */
#define NONCE_TYPE "nonce-type"
#define NONCE_DETERMINISTIC 1u

struct curve {
    const char *name;
    const char *group; /* OpenSSL's name */
    const EVP_MD *(*md)(void);
};

static const struct curve curves[] = {
    {"P-256", "prime256v1", EVP_sha256},
    {"P-384", "secp384r1", EVP_sha384},
    {"P-521", "secp521r1", EVP_sha512},
};

struct ec_key {
    EVP_PKEY *pkey;
    const struct curve *curve;
    char hint[SHA256_HEX_BYTES];
};

void ec_key_free(struct ec_key *key)
{
    if (key != NULL) {
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

void ec_key_wipe(void *bytes, size_t n_bytes)
{
    OPENSSL_cleanse(bytes, n_bytes);
}

const char *ec_key_curve(const struct ec_key *key)
{
    return key->curve->name;
}

const char *ec_key_hint(const struct ec_key *key)
{
    return key->hint;
}

/*
 * A lack of memory deep within libcrypto may leave no trace but a failure: a key that seems to have no curve, a
 * signature that seems not to fit. So what fails is tried once more, and then it is asked whether there is memory now.
 */
#define ATTEMPTS 2
#define PROBE_BYTES ((size_t)4096)

static bool memory_is_out(void)
{
    void *volatile probe = malloc(PROBE_BYTES);
    bool is_out = probe == NULL;
    free(probe);
    return is_out;
}

static enum llavamed_status fail_memory(const char *what, struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_NO_MEMORY, "out of memory for %s (libcrypto)", what);
}

static enum llavamed_status fail_library(const char *what, struct llavamed_error *error)
{
    if (libcrypto_lacked_memory() || memory_is_out()) {
        return fail_memory(what, error);
    }
    return llavamed_fail(error, LLAVAMED_STATUS_INTERNAL, "OpenSSL %s fails at %s", digest_library_version(), what);
}

/* ---- Reading ---- */

static int note_password(char *buffer, int n_bytes, int is_written, void *asked)
{
    (void)buffer;
    (void)n_bytes;
    (void)is_written;
    *(bool *)asked = true;
    return -1;
}

static const char hint_private[] = "openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem makes one";
static const char hint_public[] =
    "openssl pkey -in KEY.pem -pubout -out PUB.pem writes the public key of a private one";

static enum llavamed_status fail_no_key(const char *name, bool want_private, bool other_half, bool is_encrypted,
                                        struct llavamed_error *error)
{
    const char *kind = want_private ? "private" : "public";
    if (want_private && is_encrypted) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_KEY_INVALID,
                            "%s: the key is encrypted (want one without a password: nobody is asked)", name);
        llavamed_hint(error, "openssl pkey -in ENCRYPTED.pem -out KEY.pem asks for the password and writes it without");
    } else if (other_half) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_KEY_INVALID, "%s: a %s key (want the %s one)", name,
                            want_private ? "public" : "private", kind);
        if (!want_private) {
            llavamed_hint(error, "%s", hint_public);
        }
    } else {
        (void)llavamed_fail(error, LLAVAMED_STATUS_KEY_INVALID, "%s: no %s key in PEM", name, kind);
        llavamed_hint(error, "%s", want_private ? hint_private : hint_public);
    }
    return LLAVAMED_STATUS_KEY_INVALID;
}

static EVP_PKEY *read_pem(const void *pem, size_t n_bytes, bool is_private, bool *is_encrypted)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)n_bytes);
    if (bio == NULL) {
        return NULL;
    }
    EVP_PKEY *pkey = is_private ? PEM_read_bio_PrivateKey(bio, NULL, note_password, is_encrypted)
                                : PEM_read_bio_PUBKEY(bio, NULL, note_password, is_encrypted);
    BIO_free(bio);
    return pkey;
}

static bool read_group(const EVP_PKEY *pkey, char *group, size_t n_bytes)
{
    for (int i = 0; i < ATTEMPTS && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC; i++) {
        if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, n_bytes, NULL) == 1) {
            return true;
        }
    }
    return false;
}

static enum llavamed_status find_curve(const char *name, const EVP_PKEY *pkey, const struct curve **curve,
                                       struct llavamed_error *error)
{
    char group[64] = "";
    const char *type = EVP_PKEY_get0_type_name(pkey);
    if (read_group(pkey, group, sizeof group)) {
        for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
            if (strcmp(group, curves[i].group) == 0) {
                *curve = &curves[i];
                return LLAVAMED_OK;
            }
        }
    }
    if (memory_is_out()) {
        return fail_memory("a key", error);
    }
    return llavamed_fail(error, LLAVAMED_STATUS_KEY_INVALID,
                         "%s: a key that no model signature is made with (got %.40s%s%.40s, want EC on P-256, P-384 "
                         "or P-521)",
                         name, type == NULL ? "an unknown kind" : type, group[0] == '\0' ? "" : " on ", group);
}

/* The hint is of one form of the key, however the file wrote its point, or its curve where it did not name it. */
static enum llavamed_status make_hint(struct ec_key *key, struct llavamed_error *error)
{
    char *text = NULL;
    enum llavamed_status status;
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok =
        bio != NULL &&
        EVP_PKEY_set_utf8_string_param(key->pkey, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_GROUP) == 1 &&
        EVP_PKEY_set_utf8_string_param(key->pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                       OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED) == 1 &&
        PEM_write_bio_PUBKEY(bio, key->pkey) == 1;
    long n_bytes = ok ? BIO_get_mem_data(bio, &text) : 0;
    status = n_bytes > 0 ? sha256_of(text, (size_t)n_bytes, key->hint, error) : fail_library("a public key", error);
    BIO_free(bio);
    return status;
}

/* Both halves of a private key belong together: what it signs can be verified. */
static enum llavamed_status check_pair(const char *name, const struct ec_key *key, struct llavamed_error *error)
{
    errno = 0;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (context == NULL) {
        return fail_library("a key", error);
    }
    bool fits = false;
    for (int i = 0; i < ATTEMPTS && !fits; i++) {
        fits = EVP_PKEY_pairwise_check(context) == 1;
    }
    EVP_PKEY_CTX_free(context);
    if (fits) {
        return LLAVAMED_OK;
    }
    if (libcrypto_lacked_memory() || memory_is_out()) {
        return fail_memory("a key", error);
    }
    return llavamed_fail(error, LLAVAMED_STATUS_KEY_INVALID, "%s: its private and its public half are of two keys",
                         name);
}

static enum llavamed_status read_key(const char *name, const void *pem, size_t n_bytes, bool is_private,
                                     struct ec_key **out, struct llavamed_error *error)
{
    bool is_encrypted = false;
    bool ignored = false;
    struct ec_key *key = calloc(1, sizeof *key);
    /* Without memory for its own state at the first use, libcrypto 3.0 would use that state all the same, and crash. */
    if (key == NULL || OSSL_LIB_CTX_get0_global_default() == NULL) {
        free(key);
        return llavamed_fail_memory(error, sizeof *key, "a key");
    }
    errno = 0;
    enum llavamed_status status = LLAVAMED_OK;
    key->pkey = n_bytes <= EC_KEY_FILE_BYTES_MAX ? read_pem(pem, n_bytes, is_private, &is_encrypted) : NULL;
    if (key->pkey == NULL && (errno == ENOMEM || memory_is_out())) {
        status = fail_memory("a key", error);
    } else if (key->pkey == NULL) {
        EVP_PKEY *other = n_bytes <= EC_KEY_FILE_BYTES_MAX ? read_pem(pem, n_bytes, !is_private, &ignored) : NULL;
        bool other_half = other != NULL || (!is_private && (is_encrypted || ignored));
        status = fail_no_key(name, is_private, other_half, is_encrypted, error);
        EVP_PKEY_free(other);
    }
    if (status == LLAVAMED_OK) {
        status = find_curve(name, key->pkey, &key->curve, error);
    }
    if (status == LLAVAMED_OK) {
        status = make_hint(key, error);
    }
    if (status == LLAVAMED_OK && is_private) {
        status = check_pair(name, key, error);
    }
    libcrypto_forget_errors();
    if (status == LLAVAMED_OK) {
        *out = key;
        key = NULL;
    }
    ec_key_free(key);
    return status;
}

enum llavamed_status ec_key_read_private(const char *name, const void *pem, size_t n_bytes, struct ec_key **out,
                                         struct llavamed_error *error)
{
    return read_key(name, pem, n_bytes, true, out, error);
}

enum llavamed_status ec_key_read_public(const char *name, const void *pem, size_t n_bytes, struct ec_key **out,
                                        struct llavamed_error *error)
{
    return read_key(name, pem, n_bytes, false, out, error);
}

/* ---- Signing and verifying ---- */

/* Deterministic nonces where this libcrypto knows them; it ignores what it does not know. */
static bool choose_nonces(EVP_PKEY_CTX *context)
{
    const OSSL_PARAM *known = EVP_PKEY_CTX_settable_params(context);
    if (known == NULL || OSSL_PARAM_locate_const(known, NONCE_TYPE) == NULL) {
        return false;
    }
    unsigned int type = NONCE_DETERMINISTIC;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(NONCE_TYPE, &type), OSSL_PARAM_construct_end()};
    return EVP_PKEY_CTX_set_params(context, params) == 1;
}

bool ec_key_signs_deterministically(const struct ec_key *key)
{
    EVP_PKEY_CTX *owned_by_md = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_so = context != NULL && EVP_DigestSignInit(context, &owned_by_md, key->curve->md(), NULL, key->pkey) == 1 &&
                 choose_nonces(owned_by_md);
    EVP_MD_CTX_free(context);
    libcrypto_forget_errors();
    return is_so;
}

static bool sign_once(const struct ec_key *key, const void *bytes, size_t n_bytes, unsigned char *signature, size_t *n)
{
    EVP_PKEY_CTX *owned_by_md = NULL;
    *n = EC_SIGNATURE_BYTES_MAX;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestSignInit(context, &owned_by_md, key->curve->md(), NULL, key->pkey) == 1;
    if (ok) {
        (void)choose_nonces(owned_by_md);
        ok = EVP_DigestSign(context, signature, n, bytes, n_bytes) == 1;
    }
    EVP_MD_CTX_free(context);
    return ok;
}

enum llavamed_status ec_key_sign(const struct ec_key *key, const void *bytes, size_t n_bytes,
                                 unsigned char signature[EC_SIGNATURE_BYTES_MAX], size_t *n_signature,
                                 struct llavamed_error *error)
{
    size_t n = 0;
    bool ok = false;
    errno = 0;
    for (int i = 0; i < ATTEMPTS && !ok; i++) {
        ok = sign_once(key, bytes, n_bytes, signature, &n);
    }
    libcrypto_forget_errors();
    if (!ok) {
        /* The key has signed when it was read. What failed to be set up since then may stay so: the next run tells. */
        return llavamed_fail(error, LLAVAMED_STATUS_NO_MEMORY, "OpenSSL %s fails at signing, as where memory runs out",
                             digest_library_version());
    }
    *n_signature = n;
    return LLAVAMED_OK;
}

/* Any other result than 1 is no proof, whatever its reason. */
static bool verify_once(const struct ec_key *key, const void *bytes, size_t n_bytes, const unsigned char *signature,
                        size_t n_signature, bool *begins)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    *begins = context != NULL && EVP_DigestVerifyInit(context, NULL, key->curve->md(), NULL, key->pkey) == 1;
    bool fits = *begins && EVP_DigestVerify(context, signature, n_signature, bytes, n_bytes) == 1;
    EVP_MD_CTX_free(context);
    return fits;
}

enum llavamed_status ec_key_verify(const struct ec_key *key, const void *bytes, size_t n_bytes,
                                   const unsigned char *signature, size_t n_signature, bool *fits,
                                   struct llavamed_error *error)
{
    bool begins = false;
    bool is_right = false;
    errno = 0;
    for (int i = 0; i < ATTEMPTS && !is_right; i++) {
        is_right = verify_once(key, bytes, n_bytes, signature, n_signature, &begins);
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (!begins) {
        status = fail_library("verifying a signature", error);
    } else if (!is_right && memory_is_out()) {
        status = fail_memory("verifying a signature", error);
    } else {
        *fits = is_right;
    }
    libcrypto_forget_errors();
    return status;
}
