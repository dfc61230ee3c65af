/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/model_signature.h"

#include <string.h>

#include "integrity/dsse.h"

#define PAYLOAD_BYTES_MAX (SIGSTORE_BUNDLE_BYTES_MAX / 4 * 3)

static enum llavamed_status make_pae(struct buffer *pae, const char *type, const void *payload, size_t n_bytes,
                                     struct llavamed_error *error)
{
    buffer_init(pae, n_bytes + strlen(type) + DSSE_PAE_OVERHEAD_BYTES);
    dsse_append_pae(pae, type, payload, n_bytes);
    return buffer_status(pae, "a signature", error);
}

/* ---- Making ---- */

/* The key's own check of what it signed costs little, and a signature that cannot be verified is worth nothing. */
static enum llavamed_status sign(const struct ec_key *key, const struct buffer *pae,
                                 unsigned char signature[EC_SIGNATURE_BYTES_MAX], size_t *n_signature,
                                 struct llavamed_error *error)
{
    bool fits = false;
    enum llavamed_status status = ec_key_sign(key, pae->data, pae->n_bytes, signature, n_signature, error);
    if (status == LLAVAMED_OK) {
        status = ec_key_verify(key, pae->data, pae->n_bytes, signature, *n_signature, &fits, error);
    }
    if (status == LLAVAMED_OK && !fits) {
        status = llavamed_fail(error, LLAVAMED_STATUS_NO_MEMORY,
                               "a signature that was just made does not verify, as where memory runs out");
    }
    return status;
}

static enum llavamed_status append_signed(const struct ec_key *key, const struct buffer *payload, struct buffer *out,
                                          struct llavamed_error *error)
{
    unsigned char signature[EC_SIGNATURE_BYTES_MAX];
    struct sigstore_bundle bundle = {.payload = payload->data, .payload_bytes = payload->n_bytes};
    char type[] = OMS_PAYLOAD_TYPE;
    char hint[SHA256_HEX_BYTES];
    struct buffer pae;
    enum llavamed_status status = make_pae(&pae, type, payload->data, payload->n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = sign(key, &pae, signature, &bundle.signature_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        memcpy(hint, ec_key_hint(key), sizeof hint);
        bundle.hint = hint;
        bundle.payload_type = type;
        bundle.signature = signature;
        sigstore_bundle_append(out, &bundle);
        status = buffer_status(out, "a signature", error);
    }
    buffer_deinit(&pae);
    return status;
}

enum llavamed_status model_signature_make(const struct ec_key *private_key, struct oms_statement *statement,
                                          struct buffer *out, struct llavamed_error *error)
{
    struct buffer payload;
    buffer_init(&payload, PAYLOAD_BYTES_MAX);
    enum llavamed_status status = oms_statement_append(&payload, statement, error);
    if (status == LLAVAMED_OK) {
        status = append_signed(private_key, &payload, out, error);
    }
    buffer_deinit(&payload);
    return status;
}

/* ---- Checking ---- */

static enum llavamed_status check_signature(const char *name, const struct sigstore_bundle *bundle,
                                            const struct ec_key *key, struct llavamed_error *error)
{
    if (bundle->hint != NULL && strcmp(bundle->hint, ec_key_hint(key)) != 0) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_SIGNATURE_MISMATCH,
                            "%s: signed with another key (got the one with SHA-256 %.64s, want %s)", name, bundle->hint,
                            ec_key_hint(key));
        return LLAVAMED_STATUS_SIGNATURE_MISMATCH;
    }
    if (strcmp(bundle->payload_type, OMS_PAYLOAD_TYPE) != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                             "%s: a signature over something else (got %.100s, want " OMS_PAYLOAD_TYPE ")", name,
                             bundle->payload_type);
    }
    struct buffer pae;
    bool fits = false;
    enum llavamed_status status = make_pae(&pae, bundle->payload_type, bundle->payload, bundle->payload_bytes, error);
    if (status == LLAVAMED_OK) {
        status = ec_key_verify(key, pae.data, pae.n_bytes, bundle->signature, bundle->signature_bytes, &fits, error);
    }
    buffer_deinit(&pae);
    if (status == LLAVAMED_OK && !fits) {
        status = llavamed_fail(error, LLAVAMED_STATUS_SIGNATURE_MISMATCH,
                               "%s: the signature is not this key's over the payload: one of them was changed", name);
    }
    return status;
}

enum llavamed_status model_signature_open(const char *name, const char *text, size_t n_bytes,
                                          const struct ec_key *public_key, struct oms_statement *statement,
                                          struct llavamed_error *error)
{
    struct sigstore_bundle bundle = {0};
    enum llavamed_status status = sigstore_bundle_read(name, text, n_bytes, &bundle, error);
    if (status == LLAVAMED_OK) {
        status = check_signature(name, &bundle, public_key, error);
    }
    if (status == LLAVAMED_OK) {
        status = oms_statement_read(name, bundle.payload, bundle.payload_bytes, statement, error);
    }
    sigstore_bundle_deinit(&bundle);
    return status;
}
