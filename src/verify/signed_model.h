/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.sig in the directory: what a key's owner has signed of it. Beside the directory's own records, which anybody
 * can write anew, and never one of them: where both contradict each other, the signature is right.
 */
#ifndef VERIFY_SIGNED_MODEL_H
#define VERIFY_SIGNED_MODEL_H

#include "integrity/model_signature.h"
#include "verify/file_table.h"
#include "verify/judge.h"

struct signed_model {
    struct ec_key *key; /* owned; NULL: nobody asked */
    bool is_valid;      /* signed with that key */
    struct oms_statement statement;
};

void signed_model_deinit(struct signed_model *model);

/* The public key. What key_file_read_public() gives. */
enum llavamed_status signed_model_read_key(const char *path, struct signed_model *model,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Reads model.sig and notes its SHA-256 in its row of the table. What is wrong with it is a finding: there is none, it
 * is another key's, or not over its payload. Without a key it is not read. NO_MEMORY, INTERNAL.
 */
enum llavamed_status signed_model_read(const char *dir, struct file_table *table, struct signed_model *model,
                                       struct findings *findings, uint64_t *read_bytes,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether it names the file: then it is to be read, whatever else does. */
bool signed_model_names(const struct signed_model *model, const char *name);

/* After judge_files(): every file is one that was signed, with its bytes, and none of these lacks. O(n log n). */
void signed_model_judge(const struct signed_model *model, const struct judge *judge);

#endif
