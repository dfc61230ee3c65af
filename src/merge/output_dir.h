/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OUT and its sibling OUT.partial: whether a merge may write there, who is working there, and the moment in which the
 * finished directory gets its name.
 *
 * Order of calls: _open (looks only, creates nothing; all that a dry run needs, with _check_space), _begin, then the
 * work inside output_dir_partial(), then _publish or _abandon; _free at the end in any case.
 *
 * OUT.partial belongs to the run whose claim file lies in it: host name, process id, start time of the process, boot id
 * and pid namespace. A claim whose process is dead is taken over and the files beside it are removed. Nothing is ever
 * removed from a directory that holds no claim of this program, except that _publish with `force` removes a replaced
 * OUT, all of whose files its own SHA256SUMS lists.
 *
 * OUT is resolved once, in _open: a symbolic link to a directory stands for that directory. Not thread-safe.
 */
#ifndef MERGE_OUTPUT_DIR_H
#define MERGE_OUTPUT_DIR_H

#include "core/error.h"

#define OUTPUT_DIR_CLAIM_NAME ".llavamed-claim.json"

/* Space that a run needs beside its files: directories, claim, rounding to blocks. output_dir_check_space() adds it. */
#define OUTPUT_DIR_MARGIN_BYTES (UINT64_C(8) << 20)

struct output_dir; /* opaque */

/* A directory or file that is read: the sources as given, and each of their weights files. */
struct output_dir_input {
    const char *role; /* "base" or "delta", for messages */
    const char *path; /* exists */
};

/*
 * Decides whether OUT may be written, as far as looking can tell. *dir is owned by the caller. In this order:
 *
 * OUT_OVERLAPS_INPUT: OUT or OUT.partial is the same as an input, inside one, or holds one; by device and inode of all
 *     parents, through symbolic links and "..", also for an OUT that does not exist.
 * OUT_UNWRITABLE: the parent directory is missing (hint: mkdir -p), cannot be written or is on a read-only volume; OUT
 *     is a mount point; its name is too long.
 * OUT_EXISTS: OUT exists and is neither an empty directory nor, with `force`, one that this program wrote: it holds a
 *     llavamed-manifest.json with our "format", and nothing that its own SHA256SUMS does not list. OUT.partial exists
 *     and is not ours: a file, a link, or a directory that holds files and no claim.
 * OUT_BUSY: OUT.partial is claimed by a live process of this host (named), or by one of which this host can know
 *     nothing (another host, another pid namespace, a claim that cannot be read): the hint tells how to clear it.
 */
enum llavamed_status output_dir_open(const char *out, bool force, const struct output_dir_input *inputs,
                                     size_t n_inputs, struct output_dir **dir,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

void output_dir_free(struct output_dir *dir); /* NULL is fine; touches no file */

/*
 * OUT_SPACE unless n_bytes and the margin fit the volume of OUT's parent, counting what removing the leftovers of a
 * dead run sets free; the message holds needed, free and missing. *free_bytes (of the volume as it is, without that) is
 * set whenever the volume could be asked, on OUT_SPACE too; `free_bytes` may be NULL.
 */
enum llavamed_status output_dir_check_space(const struct output_dir *dir, uint64_t n_bytes, uint64_t *free_bytes,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Creates and claims OUT.partial, or takes over that of a dead run and empties it (*removed_leftovers then; may be
 * NULL). Errors as OUT.partial's in output_dir_open(), and OUT_SPACE, OUT_UNWRITABLE. On failure nothing is left to
 * abandon.
 */
enum llavamed_status output_dir_begin(struct output_dir *dir, bool *removed_leftovers,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/* Where the files go between _begin and _publish: an absolute path, borrowed. */
const char *output_dir_partial(const struct output_dir *dir);

/*
 * Gives OUT.partial its final name: removes the claim, makes the directory durable, renames it, makes the parent
 * durable. All files must have been fsynced (output_file_finish()) and closed. An existing empty OUT is replaced by
 * rename; with `force` one of ours by exchange of names, or by two renames where the system knows no exchange, then the
 * old one is removed (*old_left is true when that failed, with the reason in *error although the status is OK;
 * `old_left` may be NULL). Permission bits of a replaced directory are kept.
 *
 * OUT_EXISTS when something has come to be at OUT meanwhile; OUT_UNWRITABLE. On failure OUT is as it was and
 * OUT.partial is still there, to be abandoned.
 */
enum llavamed_status output_dir_publish(struct output_dir *dir, bool *old_left,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Removes OUT.partial, the claim last. Files in it must be closed (a network file system keeps open ones under another
 * name). Does nothing when no _begin succeeded or _publish did. OUT_UNWRITABLE tells what could not be removed: worth a
 * warning, the claim lets the next run clean up.
 */
enum llavamed_status output_dir_abandon(struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
