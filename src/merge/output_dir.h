/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OUT and its sibling OUT.partial: whether a merge may write there, who is working there, and the moment in which the
 * finished directory gets its name.
 *
 * Order of calls: _open (looks only; all that a dry run needs, with _check_space), _begin, then the work inside
 * output_dir_partial() with _beat every now and then, then _publish, _abandon or _leave; _free at the end in any case.
 *
 * OUT.partial belongs to the run whose claim file lies in it (merge/claim.h). That of a run on this host that is dead
 * never blocks; one of another host, or of another pid namespace, is taken over when its heartbeat is two minutes old
 * and no other comes while we wait a few seconds. Nothing is ever removed from a directory that was not claimed by this
 * program, except that _publish with `force` removes a replaced OUT, all of whose files its own manifest names.
 *
 * A run that was taken over while it stood still finds that out from the guard before it changes anything. Should it
 * have stood still within the very call that changes something, then what that call can reach has names that no other
 * run uses, or it is undone at once: see output_publish.c, and docs/reliability.md for what is left.
 *
 * A claim is per part of the work. A whole run is part 1 of 1. So is finishing the parts of a merge: parts are at work
 * in OUT.partial at the same time, each with a claim of its own, whoever finishes them works there alone. Each puts its
 * claim first and then looks for the claims that must not be there, so that of two at once no more than one goes on.
 *
 * OUT is resolved once, in _open: a symbolic link to a directory stands for that directory. Not thread-safe, but for
 * _beat and the guard.
 */
#ifndef MERGE_OUTPUT_DIR_H
#define MERGE_OUTPUT_DIR_H

#include "core/run_guard.h"

#define OUTPUT_DIR_WORK_PREFIX ".llavamed-" /* all names of files that are there only while runs work */
#define OUTPUT_DIR_CLAIM_PREFIX ".llavamed-claim-" /* all names of claims; of no other files */
#define OUTPUT_DIR_CLAIM_NAME ".llavamed-claim-1-of-1.json"

/* All names of what parts leave in OUT.partial (part_files.h), and of no other files. */
#define OUTPUT_DIR_PARTS_PREFIX ".llavamed-parts-"
/* Behind OUT's name: the claim of whoever publishes it, and what parts left, while it is published. */
#define OUTPUT_DIR_PUBLISHING_SUFFIX ".publishing.json"
#define OUTPUT_DIR_PROBE_SUFFIX ".publishing.age-" /* how what claim_age() makes beside that claim begins */
#define OUTPUT_DIR_PARTS_SUFFIX ".publishing.parts"

/* Space that a run needs beside its files: directories, claim, rounding to blocks. output_dir_check_space() adds it. */
#define OUTPUT_DIR_MARGIN_BYTES (UINT64_C(8) << 20)

struct output_dir; /* opaque */

/* A directory or file that is read: the sources as given, and each of their weights files. */
struct output_dir_input {
    const char *role; /* "base" or "delta", for messages */
    const char *path; /* exists */
};

enum output_dir_mode {
    OUTPUT_DIR_WHOLE,  /* a run that makes all of OUT */
    OUTPUT_DIR_PART,   /* one part of a merge: _publish is not for it */
    OUTPUT_DIR_FINISH, /* gives the parts' work its name */
};

struct output_dir_work {
    enum output_dir_mode mode;
    unsigned part; /* of a part: from 0 */
    unsigned n_parts;
};

/*
 * Decides whether OUT may be written, as far as looking can tell. *dir is owned by the caller. In this order:
 *
 * OUT_OVERLAPS_INPUT: OUT or OUT.partial is the same as an input, inside one, or holds one; by device and inode of all
 *     parents, through symbolic links and "..", also for an OUT that does not exist.
 * OUT_UNWRITABLE: the parent directory is missing (hint: mkdir -p), cannot be written or is on a read-only volume; OUT
 *     is a mount point; its name is too long.
 * OUT_EXISTS: OUT exists and is neither an empty directory nor, with `force`, one that this program wrote
 *     (merge/own_output.h). OUT.partial exists
 *     and is not ours: a file, a link, or a directory that holds files and no claim.
 * OUT_BUSY: OUT.partial is claimed by a live process of this host (named), by one of which this host knows no more than
 *     a heartbeat less than two minutes old (the message and its hint tell how old, and when it can be taken over), or
 *     by what is no claim: the hint tells how to clear it.
 * IO, NO_MEMORY: a claim is there that the system cannot read now.
 *
 * Nothing is changed. Only to learn the file system's time, for the age of a heartbeat, a file is made beside the claim
 * and removed at once.
 */
enum llavamed_status output_dir_open(const char *out, bool force, const struct output_dir_input *inputs,
                                     size_t n_inputs, struct output_dir **dir,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same for other work than a whole run. A whole run is refused where parts have been at work, a part where a whole
 * run has (OUT_EXISTS); a part while it is finished, finishing while a part is at work (OUT_BUSY). For a part
 * _begin keeps all files; leftovers are not told of.
 */
enum llavamed_status output_dir_open_for(const struct output_dir_work *work, const char *out, bool force,
                                         const struct output_dir_input *inputs, size_t n_inputs,
                                         struct output_dir **dir, struct llavamed_error *error) LLAVAMED_CHECK;

/* Lets go of a part that is done: its claim goes, its files stay. Does nothing when the claim is not ours any more. */
void output_dir_end_part(struct output_dir *dir);

void output_dir_free(struct output_dir *dir); /* NULL is fine; touches no file */

/*
 * Has _begin end as INTERRUPTED while it waits or removes what an earlier run left, and _empty, as soon as *stop_signal
 * (borrowed) is not 0.
 */
void output_dir_heed(struct output_dir *dir, const volatile int *stop_signal);

/*
 * OUT_SPACE unless n_bytes and the margin fit the volume of OUT's parent, counting what removing the leftovers of a
 * dead run sets free; the message holds needed, free and missing. *free_bytes (of the volume as it is, without that) is
 * set whenever the volume could be asked, on OUT_SPACE too; `free_bytes` may be NULL.
 */
enum llavamed_status output_dir_check_space(const struct output_dir *dir, uint64_t n_bytes, uint64_t *free_bytes,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * For finishing, after _begin: OUT_BUSY while a part is at work, which may have come since where this run stood still
 * for as long as a claim is respected. Waits a few seconds for a sign of life where only that tells.
 */
enum llavamed_status output_dir_check_alone(const struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

/* What n_bytes of files in `dir` will take of the volume of `other` beyond its leftovers; 0 on another volume. */
uint64_t output_dir_growth_on(const struct output_dir *dir, const struct output_dir *other, uint64_t n_bytes);

/*
 * Creates and claims OUT.partial, or takes over that of a dead run (*had_leftovers when that one left files; may be
 * NULL): with keep_files
 * what that run wrote stays as it is, nothing of it can be trusted unread; else it is removed. What a run left that
 * died while it published is completed or undone first, so OUT may come to be or be replaced here. Waits a few seconds
 * for a sign of life where only that tells. Errors as OUT.partial's in output_dir_open(), and OUT_SPACE,
 * OUT_UNWRITABLE, INTERRUPTED, IO. On failure nothing is left to abandon.
 */
enum llavamed_status output_dir_begin(struct output_dir *dir, bool keep_files, bool *had_leftovers,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Where _begin has left what a dead run had replaced, when that could not be removed because something else has come to
 * it or OUT is not whole; NULL: there was none. Borrowed.
 */
const char *output_dir_kept(const struct output_dir *dir);

/*
 * Removes what _begin kept. OUT_BUSY when the claim is not ours any more; OUT_UNWRITABLE. INTERRUPTED (_heed): some of
 * it is left, as by a run that was killed.
 */
enum llavamed_status output_dir_empty(struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Shows that this run lives: to be called a few times a second, from any one thread between _begin and _free; most
 * calls do nothing. false when the claim is found to be somebody else's or gone: the run should stop, _publish would
 * refuse.
 */
bool output_dir_beat(struct output_dir *dir);

/* OUT_BUSY unless the claim is still ours; IO, NO_MEMORY when it cannot be read to tell. Thread-safe. */
enum llavamed_status output_dir_check_claim(struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

/* The same as a guard for whatever changes files in OUT.partial, between _begin and _publish. Borrowed. */
const struct run_guard *output_dir_guard(const struct output_dir *dir);

/*
 * After a failure between _begin and the end: when the claim is not ours any more, *error becomes OUT_BUSY in place of
 * what an output that is another run's now has led to. Returns its status.
 */
enum llavamed_status output_dir_explain(struct output_dir *dir, struct llavamed_error *error);

/* The last component of OUT, links and ".." resolved. Borrowed. */
const char *output_dir_name(const struct output_dir *dir);

/* Where the files go between _begin and _publish: an absolute path, borrowed. */
const char *output_dir_partial(const struct output_dir *dir);

/*
 * Gives OUT.partial its final name: checks that it holds what its manifest names and nothing else, checks the claim and
 * moves it beside OUT, makes the directory durable, renames it, makes the parent durable. All files must have been
 * fsynced (output_file_finish()) and closed. An existing empty OUT is replaced by rename; with `force` one of ours by
 * exchange of names, or by two renames where the system knows no exchange, then the old one is removed (*old_left is
 * true when that failed, with the reason in *error although the status is OK; `old_left` may be NULL). Permission bits
 * of a replaced directory are kept. When the process dies on the way, the next _begin with this OUT goes on from there.
 *
 * OUT_BUSY when another run has taken over; OUT_EXISTS when something has come to be at OUT meanwhile; OUT_UNWRITABLE;
 * IO, NO_MEMORY when a claim cannot be read.
 * On failure OUT is as it was and OUT.partial is still there, to be abandoned or left.
 */
enum llavamed_status output_dir_publish(struct output_dir *dir, bool *old_left,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * After _publish: whether another run has come to this OUT since, as far as can be told. What lies beside OUT may be
 * its own then.
 */
bool output_dir_has_successor(const struct output_dir *dir);

/*
 * Removes OUT.partial, the claim last. (Of a part, whose files the caller has removed, the claim alone, and what then
 * is empty but for the plan.) Files in it must be closed (a network file system keeps open ones under another
 * name). Does nothing when no _begin succeeded, _publish did, or the claim is not ours any more. OUT_UNWRITABLE tells
 * what could not be removed: worth a warning, the claim lets the next run clean up.
 */
enum llavamed_status output_dir_abandon(struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Lets go of OUT.partial as it is, for a later run of the same command: that one, on whatever host, need not wait. Does
 * nothing when _abandon would not.
 */
void output_dir_leave(struct output_dir *dir);

#endif
