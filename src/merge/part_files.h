/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a merge leave in OUT.partial beside their shards and claims:
 *
 *   .llavamed-parts-plan.json            the plan (part_plan.h): by the first part, the same by all
 *   .llavamed-parts-journal-K-of-N       the journal of part K, from its start until OUT is finished
 *   .llavamed-parts-record-K-of-N.json   its record (part_record.h), once it is done
 *   .llavamed-parts-all.json             by whoever finishes: the lines of the plan and of all records, in whose place
 *                                        it comes; it is beside OUT (OUT.publishing.parts) while that is published
 *
 * All of them get their names complete and on storage.
 */
#ifndef MERGE_PART_FILES_H
#define MERGE_PART_FILES_H

#include "core/run_guard.h"
#include "merge/output_dir.h"

#define PART_PLAN_NAME OUTPUT_DIR_PARTS_PREFIX "plan.json"
#define PART_ALL_NAME OUTPUT_DIR_PARTS_PREFIX "all.json"
#define PART_NAME_BYTES 64
#define PART_ALL_BYTES_MAX ((size_t)1 << 30)

/* Parts from 0. */
void part_record_name(unsigned part, unsigned n_parts, char name[PART_NAME_BYTES]);
void part_journal_name(unsigned part, unsigned n_parts, char name[PART_NAME_BYTES]);

/* Unlike any other's. */
void part_draft_name(char name[PART_NAME_BYTES]);

/*
 * The bytes of a plain file, owned by the caller, NUL-terminated; *text is NULL when there is none of this name. What
 * is there and cannot be read: PARTS_DIFFER, or IO, NO_MEMORY.
 */
enum llavamed_status part_file_read(const char *path, size_t max_bytes, char **text, size_t *n_bytes,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether `path` is a plain file that begins as a plan does. */
bool part_all_is_at(const char *path);

/* Puts these bytes at DIRECTORY/NAME, in the place of what is there, after a look whether `guard` allows it. */
enum llavamed_status part_file_write(const char *directory, const char *name, const struct run_guard *guard,
                                     const char *text, size_t n_bytes, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Puts the plan there, unless it is: of several at once with different plans one alone succeeds. PARTS_DIFFER: there is
 * another one; the message says in what it differs. OUT_SPACE, OUT_UNWRITABLE, IO, NO_MEMORY.
 */
enum llavamed_status part_files_put_plan(const char *directory, const char *text, size_t n_bytes,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* PARTS_DIFFER for `found` in place of `text`. */
enum llavamed_status part_files_fail_plan(const char *directory, const char *text, size_t n_bytes, const char *found,
                                          size_t found_bytes, struct llavamed_error *error);

#endif
