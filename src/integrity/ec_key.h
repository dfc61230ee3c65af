/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing and verifying with keys on the curves P-256, P-384 and P-521, from OpenSSL's libcrypto (3.0 or later). ECDSA
 * with SHA-256, SHA-384 and SHA-512 in this order, the signature in DER: what model_signing does with a key of each.
 * A key belongs to one thread at a time.
 */
#ifndef INTEGRITY_EC_KEY_H
#define INTEGRITY_EC_KEY_H

#include "integrity/digest.h"

/* Of a file with a key in it: no key of these curves takes a tenth of it. */
#define EC_KEY_FILE_BYTES_MAX 65536

/* Of a signature in DER: two integers of 66 bytes. */
#define EC_SIGNATURE_BYTES_MAX 160

struct ec_key; /* opaque */

/*
 * A private key in PEM, as `openssl ecparam -genkey` and `openssl genpkey` write it; `name` is what messages call it.
 * KEY_INVALID for what is no such key: encrypted (nobody is ever asked for a password), a public key, RSA, another
 * curve, a private key whose public half is another's. NO_MEMORY.
 */
enum llavamed_status ec_key_read_private(const char *name, const void *pem, size_t n_bytes, struct ec_key **out,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* The same for a public key in PEM ("BEGIN PUBLIC KEY"). */
enum llavamed_status ec_key_read_public(const char *name, const void *pem, size_t n_bytes, struct ec_key **out,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

void ec_key_free(struct ec_key *key); /* NULL is fine */

/* Overwrites what was secret, in a way that no compiler leaves out. */
void ec_key_wipe(void *bytes, size_t n_bytes);

/* "P-256". Static storage. */
const char *ec_key_curve(const struct ec_key *key);

/* SHA-256 of the public key in PEM, as OpenSSL writes it: by this hint a bundle names its key. Lives as the key. */
const char *ec_key_hint(const struct ec_key *key);

/*
 * Signs with a private key; *n_signature is the length. Where OpenSSL has deterministic nonces (RFC 6979, from 3.2 on),
 * the same bytes give the same signature. NO_MEMORY, whatever fails: the key signed when it was read.
 */
enum llavamed_status ec_key_sign(const struct ec_key *key, const void *bytes, size_t n_bytes,
                                 unsigned char signature[EC_SIGNATURE_BYTES_MAX], size_t *n_signature,
                                 struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether the signature is this key's over these bytes: *fits. NO_MEMORY. */
enum llavamed_status ec_key_verify(const struct ec_key *key, const void *bytes, size_t n_bytes,
                                   const unsigned char *signature, size_t n_signature, bool *fits,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether ec_key_sign() is deterministic with the libcrypto in use. */
bool ec_key_signs_deterministically(const struct ec_key *key);

#endif
