/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a SOURCE as they lie there, whatever is in them: for who wants their bytes, not their tensors. No header
 * is read, but the directory of an archive.
 */
#ifndef SOURCE_SOURCE_LISTING_H
#define SOURCE_SOURCE_LISTING_H

#include "source/archive.h"

struct source_listing_file {
    char *name; /* owned: below the source, "7B/params.json"; of an archive's file "ARCHIVE/NAME" */
    char *path; /* owned; of an archive's file: for messages */
    char *member; /* owned; what the archive calls it; NULL of a plain file */
    uint64_t n_bytes; /* of an archive's file: of what is in it */
    uint64_t n_stored; /* what reading it takes from storage */
    const struct archive *archive; /* borrowed from the listing, with `member` */
};

struct source_listing {
    struct source_listing_file *files; /* owned */
    size_t n_files;
    size_t capacity;
    struct archive *archive; /* owned; then the first file is the archive itself, the others are in it */
    bool is_single;          /* the source is one file, which is no archive */
    const volatile int *stop_signal; /* borrowed; may be NULL */
};

/*
 * A file; an archive that can be opened and what lies in the folder of its weights; or the plain files of a directory,
 * links followed, and of those sub-directories of it that hold a params.json (Meta's release). Names that begin with a
 * dot are left out. A repository of the hub cache is its snapshot. INPUT_MISSING; what looking and opening give;
 * INPUT_UNSAFE for a link that leaves the cache's repository; INPUT_UNSUPPORTED when there is no file; INTERRUPTED as
 * soon as *stop_signal (may be NULL) is not 0.
 */
enum llavamed_status source_listing_open(const char *spec, const char *role, const volatile int *stop_signal,
                                         struct source_listing *listing, struct llavamed_error *error) LLAVAMED_CHECK;
void source_listing_close(struct source_listing *listing);

#endif
