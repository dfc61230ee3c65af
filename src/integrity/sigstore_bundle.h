/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Sigstore bundle, version 0.3 (github.com/sigstore/protobuf-specs, sigstore_bundle.proto) that was made with a key:
 *
 *     {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
 *      "verificationMaterial": {"publicKey": {"hint": HEX}, "tlogEntries": []},
 *      "dsseEnvelope": {"payload": BASE64, "payloadType": TEXT, "signatures": [{"sig": BASE64, "keyid": ""}]}}
 *
 * Those made with a certificate or by Sigstore's own services are told apart from it, and refused: to trust one takes
 * roots and a log that are not here.
 */
#ifndef INTEGRITY_SIGSTORE_BUNDLE_H
#define INTEGRITY_SIGSTORE_BUNDLE_H

#include "core/buffer.h"

/* Of a whole bundle: some 80,000 signed files. */
#define SIGSTORE_BUNDLE_BYTES_MAX ((size_t)16 << 20)

struct sigstore_bundle {
    char *hint;         /* owned; NULL: it does not say whose key */
    char *payload_type; /* owned */
    char *payload;      /* owned; NUL-terminated, the NUL not counted; may hold others */
    size_t payload_bytes;
    unsigned char *signature; /* owned; the first, which is the one that counts */
    size_t signature_bytes;
};

void sigstore_bundle_deinit(struct sigstore_bundle *bundle);

/*
 * `name` is the file's, for messages. Nothing is verified. JSON_INVALID, JSON_DUPLICATE_KEY, INPUT_LIMIT,
 * INPUT_UNSUPPORTED (another media type, or made without a key); NO_MEMORY. O(n log n), memory O(n).
 */
enum llavamed_status sigstore_bundle_read(const char *name, const char *text, size_t n_bytes,
                                          struct sigstore_bundle *bundle, struct llavamed_error *error) LLAVAMED_CHECK;

/* The text of a bundle with one signature, on one line without an end, as model_signing writes it. */
void sigstore_bundle_append(struct buffer *out, const struct sigstore_bundle *bundle);

#endif
