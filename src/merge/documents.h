/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that lies beside the shards in OUT: the delta's small files (the target's, where a delta is made), config.json,
 * the shard index, the notice, the model card, the manifest, SHA256SUMS and the signature.
 *
 * documents_prepare() runs while planning: it picks and opens the delta's files, so that every problem with them is
 * found before a byte is written. documents_write() runs at the end, after source_finish() of both sources, and takes
 * these files only as they were.
 * Every byte written but the signature's is a function of the inputs and of the options that determine bytes.
 */
#ifndef MERGE_DOCUMENTS_H
#define MERGE_DOCUMENTS_H

#include "integrity/ec_key.h"
#include "merge/document_file.h"
#include "merge/input_hashes.h"
#include "merge/pipeline.h"
#include "merge/plan.h"
#include "source/source.h"

/* Most files that are copied from a delta, largest of them, largest config.json. */
#define DOCUMENTS_COPIED_MAX 100
#define DOCUMENTS_FILE_BYTES_MAX (UINT64_C(64) << 20)
#define DOCUMENTS_CONFIG_BYTES_MAX (1 << 20)

struct documents; /* opaque */

/*
 * `small_files` are the delta's (source_small_files()); these and `plan` are borrowed until
 * documents_free(). *out is owned by the caller. Which files are copied: merge/small_files.h.
 *
 * config.json: must be a JSON object (JSON_INVALID, JSON_DUPLICATE_KEY); "torch_dtype" or "dtype", where it is a string
 * that does not name plan->model_dtype, is edited in the text and no other byte changes. INPUT_UNREADABLE for a file
 * that cannot be opened, INPUT_LIMIT for one above its cap and for more than DOCUMENTS_COPIED_MAX that would be copied,
 * INTERRUPTED once stop_signal, which may be NULL, is set.
 */
enum llavamed_status documents_prepare(const struct source_small_file *small_files, size_t n_small_files,
                                       const struct plan *plan, const volatile int *stop_signal,
                                       struct documents **out, struct llavamed_error *error) LLAVAMED_CHECK;
void documents_free(struct documents *documents); /* NULL is fine */

/*
 * What documents_prepare() wants to be told: no config.json, config.json or added_tokens.json that do not fit the
 * planned tensors. Borrowed. The caller adds them to its own and passes all to documents_write().
 */
size_t documents_warnings(const struct documents *documents, char *const **warnings);

/* At least as many bytes as documents_write() will write: for the space check. */
uint64_t documents_planned_bytes(const struct documents *documents);

/* SHA-256 of an input file: NULL when nobody knows it, else recorded beside the file or computed by this run. */
struct documents_digest {
    const char *sha256;
    bool computed;
};

/* One input as the manifest tells it. */
struct documents_input {
    const char *format;              /* source_format() */
    const struct source_file *files; /* source_files(), borrowed */
    size_t n_files;
    const char *identity;                   /* the published release it is, NULL when unknown */
    const struct documents_digest *digests; /* as files, borrowed */
    size_t n_tensors;
    bool crc_checked; /* the option; a format without checksums is told as such anyway */
};

struct documents_job {
    const char *directory;         /* where the shards are already, complete */
    const struct run_guard *guard; /* may be NULL: asked before each file is created */
    const volatile int *stop_signal;   /* may be NULL: looked at before each file, and while one is copied */
    const struct input_hashes *hashes; /* NULL: what is copied is held against no hash */
    const struct pipeline_outcome *outcome;
    struct documents_input base;
    struct documents_input delta;
    struct plan_options options;
    char *const *warnings; /* all of the run that are a function of the inputs, in a fixed order */
    size_t n_warnings;
    const struct ec_key *signing_key; /* NULL: not signed */
    const char *model_name;           /* what a signature calls it */
};

struct documents_result {
    char manifest_sha256[SHA256_HEX_BYTES];
    char subject_sha256[SHA256_HEX_BYTES]; /* of a signature: merge/signature_file.h; else empty */
    uint64_t written_bytes;
};

/*
 * The delta's own files alone, of which a part of a merge writes all: appends them to the list (owned by the caller).
 * `hashes` as in struct documents_job. Errors as documents_write().
 */
enum llavamed_status documents_write_copies(const struct documents *documents, const struct document_place *place,
                                            const struct input_hashes *hashes, struct document_list *list,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Once more before the result gets its name: INPUT_CHANGED when one of the delta's own files, config.json too, is not
 * what it was while planning.
 */
enum llavamed_status documents_check_inputs(const struct documents *documents,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Whether they would be the same if they were written now: *differs is the name in the result of the first that is not
 * as recorded, NULL when all are; borrowed. Names that are recorded and would not be written are not looked for: parts
 * of one plan have the same. As hash_files().
 */
enum llavamed_status documents_compare_copies(const struct documents *documents, const struct document_list *recorded,
                                              const struct hash_files_options *options, const char **differs,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

/* Their names in the result, i from 0; NULL behind the last. Borrowed. */
const char *documents_copy_name(const struct documents *documents, size_t i);

/*
 * All the others, where the delta's own are there already: the list says which, and gets the others appended. Writes
 * and fsyncs as documents_write().
 */
enum llavamed_status documents_write_made(const struct plan *plan, const struct documents_job *job,
                                          struct document_list *list, struct documents_result *result,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Writes and fsyncs every document into job->directory, SHA256SUMS last, but for a signature. OUT_SPACE,
 * OUT_UNWRITABLE, OUT_EXISTS (a name taken already: a bug of the caller's or somebody else in there), IO, NO_MEMORY,
 * INTERRUPTED. A file of the delta that is not what it was while planning, or not what has its computed hash, is
 * INPUT_CHANGED; one without the hash that is recorded is HASH_MISMATCH.
 */
enum llavamed_status documents_write(const struct documents *documents, const struct documents_job *job,
                                     struct documents_result *result, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
