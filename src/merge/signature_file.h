/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.sig in OUT: a signature over every other file of it, from the digests that the run has of them anyway. It is
 * the last file that is written. Neither SHA256SUMS nor the manifest name it: a signature is over them, and is another
 * one each time it is made where OpenSSL has no deterministic nonces.
 */
#ifndef MERGE_SIGNATURE_FILE_H
#define MERGE_SIGNATURE_FILE_H

#include "integrity/model_signature.h"
#include "merge/document_file.h"
#include "merge/pipeline.h"
#include "merge/plan.h"

/* All borrowed. */
struct signature_job {
    const struct ec_key *key;
    const char *model_name; /* the last component of OUT */
    const struct plan *plan;
    const struct pipeline_outcome *outcome; /* has the digests of the shards */
};

/* Most bytes that model.sig takes beside n_shards shards and the documents: for the space check. */
uint64_t signature_file_planned_bytes(size_t n_shards);

/*
 * Signs all shards and the documents in the list, to which model.sig is added. subject_sha256: the digest over all
 * digests, by which other documents may call the model. What document_create() and model_signature_make() give.
 */
enum llavamed_status signature_file_write(const struct signature_job *job, const struct document_place *place,
                                          struct document_list *list, char subject_sha256[SHA256_HEX_BYTES],
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Whether the OUT in `directory` says that it is signed with this key, which is not verified; with NULL for the key,
 * true. NO_MEMORY, IO...: failures of this run alone.
 */
enum llavamed_status signature_file_look(const char *directory, const struct ec_key *key, bool *is_signed,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

#endif
