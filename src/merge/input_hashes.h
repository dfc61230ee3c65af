/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes of the input files: which are recorded somewhere, what published releases they name, and whether the bytes
 * have them. Looking at records costs nothing; hashing reads a file from end to end, so it is done for what is
 * recorded, or for everything when asked.
 */
#ifndef MERGE_INPUT_HASHES_H
#define MERGE_INPUT_HASHES_H

#include "core/warnings.h"
#include "merge/hash_files.h"
#include "merge/part_share.h"
#include "source/source.h"

struct input_hashes; /* opaque */

enum input_role { INPUT_BASE, INPUT_DELTA, INPUT_ROLES };

/*
 * Weights files of both sources (an archive, and the files in it, each on its own), and the small files that a merge
 * uses: config.json of both, what is copied from the delta. Both sources are borrowed until input_hashes_free(). *out
 * is owned by the caller.
 */
enum llavamed_status input_hashes_create(struct source *base, struct source *delta, struct input_hashes **out,
                                         struct llavamed_error *error) LLAVAMED_CHECK;
void input_hashes_free(struct input_hashes *hashes); /* NULL is fine */

/* The second source is a target of which a delta is made: any release but a delta, and called so in messages. */
void input_hashes_expect_target(struct input_hashes *hashes);

/*
 * Takes the sums of a SHA256SUMS file. A name is a path from the file's own directory; where nothing is there, it is a
 * name (or the last parts of the path) of an input file. A file in an archive is known by the last parts of
 * "ARCHIVE/FOLDER/NAME" alone, when no other input is at that path. INPUT_UNSUPPORTED for a line that is none, or when
 * no name fits an input; USAGE when one fits a file of both inputs. Weights files that are not named are told as a
 * warning; of an archive either it or all of its members are to be named. INTERRUPTED, as soon as *stop_signal (may be
 * NULL) is not 0.
 */
enum llavamed_status input_hashes_add_sums(struct input_hashes *hashes, const char *sums_path,
                                           const volatile int *stop_signal, struct warnings *warnings,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * What the hashes that are known by now say: PAIR_KNOWN_WRONG when a weights file is published as another kind of
 * thing than its role wants. identities[role] is NULL unless all weights files are those of one release (an archive is
 * what its members are); static or owned by `hashes`.
 */
enum llavamed_status input_hashes_identify(struct input_hashes *hashes, const char *identities[INPUT_ROLES],
                                           struct llavamed_error *error) LLAVAMED_CHECK;

struct input_hashes_job {
    bool all; /* the SHA-256 of every file, else those that are recorded; git blobs only as recorded */
    struct hash_files_options options;
};

/* What is recorded of weights file i of a role, --sums included. NULL when there is no such file; borrowed. */
const struct recorded_hashes *input_hashes_record(const struct input_hashes *hashes, enum input_role role, size_t i);

/* The SHA-256 of all hashes that are recorded for all files. */
enum llavamed_status input_hashes_recorded(const struct input_hashes *hashes, char hex[SHA256_HEX_BYTES],
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * One merge in parts: the files that the job would read are shared out, and all but those of `part` (from 0) count from
 * then on as nothing to read. NO_MEMORY.
 */
enum llavamed_status input_hashes_share(struct input_hashes *hashes, const struct input_hashes_job *job,
                                        struct part_share *share, unsigned part,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/* Takes that back: all files are read again where the job wants them. */
void input_hashes_unshare(struct input_hashes *hashes);

/*
 * Without sources, from what is known of the weights files of one role: appends them, once for each. The name that
 * training gave the delta's release is told by is_ckpt2 then. *hashes is NULL at first. NO_MEMORY.
 */
enum llavamed_status input_hashes_restore(struct input_hashes **hashes, enum input_role role,
                                          const struct source_file *files, size_t n_files, bool is_ckpt2,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/* Notes the hash of weights file i of a role as computed; false when there is no such file. */
bool input_hashes_note(struct input_hashes *hashes, enum input_role role, size_t i, const char *sha256);

/* Whether the delta's config.json says that it is the later one of the two releases with the same weights. */
bool input_hashes_is_ckpt2(const struct input_hashes *hashes);

/* Files that the job would read, and bytes from storage. */
size_t input_hashes_wanted(const struct input_hashes *hashes, const struct input_hashes_job *job, uint64_t *n_bytes);

/* Takes what has been computed of the base for another output: both were created with the same base. */
void input_hashes_share_base(struct input_hashes *hashes, const struct input_hashes *other);

/* Hashes and compares with every record. HASH_MISMATCH (file, got, want, where), INTERRUPTED, IO, NO_MEMORY. */
enum llavamed_status input_hashes_verify(struct input_hashes *hashes, const struct input_hashes_job *job,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The SHA-256 of what was read of a small file of the second source, called by its path, when it was put into the
 * result: INPUT_CHANGED when it was hashed before and is another one now; else HASH_MISMATCH as _verify().
 */
enum llavamed_status input_hashes_check_copied(const struct input_hashes *hashes, const char *path, const char *sha256,
                                               struct llavamed_error *error) LLAVAMED_CHECK;

/* The hash of weights file i of a role, computed or else recorded; NULL when there is none. */
const char *input_hashes_weights(const struct input_hashes *hashes, enum input_role role, size_t i, bool *computed);

#endif
