/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an OpenSSF Model Signing signature says of a model (model-signing-spec, v1.0): an in-toto statement, version 1,
 * that names each file with its SHA-256, as the package model_signing writes and checks it.
 *
 *     _type                    https://in-toto.io/Statement/v1
 *     subject[0]               the model's name, which is for people alone, and the SHA-256 over the raw digests of all
 *                              resources, one after the other as they are listed
 *     predicateType            https://model_signing/signature/v1.0
 *     predicate.serialization  {method: "files", hash_type: "sha256", allow_symlinks: false, ignore_paths: [...]}
 *     predicate.resources[]    {algorithm: "sha256", digest: HEX, name: PATH}, sorted by name (that package: by the
 *                              components of the path); no reader minds the order, but the subject's digest has it
 *
 * Paths are relative to the model, with '/'. What lies at or below an ignored path is neither signed nor checked; git's
 * own files are ignored whatever the statement says, as that package does unless it is told otherwise.
 */
#ifndef INTEGRITY_OMS_STATEMENT_H
#define INTEGRITY_OMS_STATEMENT_H

#include "core/buffer.h"
#include "integrity/digest.h"

#define OMS_PAYLOAD_TYPE "application/vnd.in-toto+json"
#define OMS_FILE_NAME "model.sig"

struct oms_file {
    const char *name; /* borrowed: of a statement that was read, from its texts */
    char sha256[SHA256_HEX_BYTES];
};

struct oms_statement {
    const char *model_name; /* as a file's */
    struct oms_file *files; /* sorted by name (strcmp), none twice */
    size_t n_files;
    const char **ignored; /* as a file's name */
    size_t n_ignored;
    char root_sha256[SHA256_HEX_BYTES]; /* set when it is written or read */
    char *texts;                        /* owned; NULL of one that is written */
};

/* For what oms_statement_read() made: files and ignored are owned then, too. */
void oms_statement_deinit(struct oms_statement *statement);

/* What is ignored in a model whose signature lies in it: model.sig and git's files. Ends with NULL. */
extern const char *const oms_ignored_usually[];

/* The text of a statement, indented by two as that package does, without an end of line. Sets root_sha256. */
enum llavamed_status oms_statement_append(struct buffer *out, struct oms_statement *statement,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Reads the payload of a signature that was verified; `name` is that of the signature's file, for messages.
 * JSON_INVALID for what is no such statement, or names a file twice; JSON_DUPLICATE_KEY, INPUT_LIMIT;
 * INPUT_UNSUPPORTED for another version of it, files in pieces ("shards") and other hashes; HASH_MISMATCH when the
 * subject's digest is not that of the resources; NO_MEMORY. O(n log n), memory O(n).
 */
enum llavamed_status oms_statement_read(const char *name, const char *text, size_t n_bytes,
                                        struct oms_statement *statement, struct llavamed_error *error) LLAVAMED_CHECK;

/* The file of this name, or NULL. O(log n). */
const struct oms_file *oms_statement_find(const struct oms_statement *statement, const char *path);

/* Whether the file at `path` is neither signed nor checked. */
bool oms_statement_ignores(const struct oms_statement *statement, const char *path);

#endif
