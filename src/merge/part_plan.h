/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of a merge in parts, as a text that every part writes the same and that finishing reads, which has neither
 * base nor delta: all that OUT's documents tell of them, the options, the tensors. Its SHA-256 is what parts are known
 * by to belong together. One line of JSON (merge/part_text.h):
 *
 *   {"format": "llavamed-plan", "version": 1, "tool": VERSION, "parts": N, "key": [5 x SHA-256],
 *    "recorded": SHA-256, "options": [FORMAT, DTYPE, INV_FREQ, MAX_SHARD_SIZE, VERIFY, "digests" or "", "any" or ""],
 *    "model_dtype": DTYPE, "dropped": n, "training": "ckpt2" or "",
 *    "inputs": [{"format": FORMAT, "tensors": n, "files": [[NAME, BYTES, "member" or "", SHA-256, MD5]...]} x 2],
 *    "warnings": [...], "tensors": [[NAME, ACTION, DTYPE, "32x8", "bits" or ""]...]}
 *
 * The key is that of the journal (merge/run_key.h), so names, sizes, times and samples of the inputs are in it, but for
 * what is recorded of them: "recorded" is of all hashes that are recorded beside them; "any" stands for
 * --allow-unknown-base. Where the shards are cut follows from the rest.
 */
#ifndef MERGE_PART_PLAN_H
#define MERGE_PART_PLAN_H

#include "core/buffer.h"
#include "format/shard_index.h"
#include "merge/documents.h"
#include "merge/input_hashes.h"
#include "merge/journal.h"
#include "merge/plan.h"

#define PART_PLAN_FORMAT "llavamed-plan"
#define PART_PLAN_VERSION 1
#define PART_PLAN_BYTES_MAX ((size_t)256 << 20)
#define PART_PLAN_FILES_MAX ((size_t)SHARD_COUNT_MAX + 1) /* of an input: all that an index names, and their archive */

/* What goes into the text beside the plan. */
struct part_plan_facts {
    struct plan_options options;
    enum llavamed_verify verify;
    bool digests;
    bool allow_unknown_base;
    unsigned n_parts;
    bool is_ckpt2; /* input_hashes_is_ckpt2() */
    char recorded_sha256[SHA256_HEX_BYTES];
    struct journal_key key;
};

/* All borrowed for the call. */
struct part_plan_job {
    const struct plan *plan;
    struct part_plan_facts facts;
    struct documents_input inputs[INPUT_ROLES]; /* digests: as recorded, by whoever; identity is not looked at */
    char *const *warnings; /* all from planning */
    size_t n_warnings;
};

/* Appends the line. What is wrong with the buffer stays there. */
void part_plan_append(const struct part_plan_job *job, struct buffer *out);

struct part_plan_input {
    char *format; /* owned */
    size_t n_tensors;
    struct source_file *files; /* owned, with their names; of `archive` only whether it is NULL may be looked at */
    size_t n_files;
};

/* What was read; part_plan_deinit() frees it. */
struct part_plan {
    struct plan plan; /* without indices into the inputs, and without what they have to be read for */
    struct part_plan_facts facts;
    struct part_plan_input inputs[INPUT_ROLES];
    char **warnings; /* owned, as its texts */
    size_t n_warnings;
    char sha256[SHA256_HEX_BYTES]; /* of the text */
};

/*
 * Reads the line, all of `text`, from whoever wrote it; `path` is for messages. PARTS_DIFFER: it is none, or of another
 * version of this program. What plan_cut_shards() gives; NO_MEMORY.
 */
enum llavamed_status part_plan_read(const char *path, const char *text, size_t n_bytes, struct part_plan *plan,
                                    struct llavamed_error *error) LLAVAMED_CHECK;
void part_plan_deinit(struct part_plan *plan);

/*
 * What differs first in two lines that are not the same, for a message: "the number of parts", "the base". `other` may
 * be any bytes. Static storage. NO_MEMORY counts as anything.
 */
const char *part_plan_difference(const char *text, size_t n_bytes, const char *other, size_t other_bytes);

#endif
