/* SPDX-License-Identifier: Apache-2.0 */
/* Making and checking a model.sig: statement, envelope, key and bundle together. Opens no file. */
#ifndef INTEGRITY_MODEL_SIGNATURE_H
#define INTEGRITY_MODEL_SIGNATURE_H

#include "integrity/ec_key.h"
#include "integrity/oms_statement.h"
#include "integrity/sigstore_bundle.h"

/* Appends the bundle's text; sets the statement's root_sha256. NO_MEMORY; INPUT_LIMIT for more than a bundle takes. */
enum llavamed_status model_signature_make(const struct ec_key *private_key, struct oms_statement *statement,
                                          struct buffer *out, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * What the bundle says, once it is known to be signed with this key: nothing of the payload is looked at before.
 * `name` is the bundle's, for messages. SIGNATURE_MISMATCH when it is not; else what sigstore_bundle_read() and
 * oms_statement_read() give. The statement is the caller's.
 */
enum llavamed_status model_signature_open(const char *name, const char *text, size_t n_bytes,
                                          const struct ec_key *public_key, struct oms_statement *statement,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

#endif
