/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A zip archive of a checkpoint's directory, as the LLaVA-Med deltas were released: read in place, never unpacked to
 * disk. The checkpoint is in one folder of it; what macOS adds ("__MACOSX/", "._name") is not seen. For src/source, and
 * for whoever hashes what lies in one.
 */
#ifndef SOURCE_ARCHIVE_H
#define SOURCE_ARCHIVE_H

#include "format/zip_member.h"
#include "io/directory.h"

struct archive; /* opaque; thread-safe once it is open */

/*
 * Whether the file is a zip archive that is not itself a weights file of torch: by its first bytes, and by the name of
 * its first entry. ZIP_INVALID for one that cannot be read as it is: empty, a volume of several, with something before
 * it. What opening and reading give.
 */
enum llavamed_status archive_probe(const char *path, bool *is_archive, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Reads the directory of the archive and finds the folder that holds weights: the one nearest to the root. An archive
 * without weights opens: the folder of the file nearest to the root is taken. INPUT_UNSAFE: a name that leads out of
 * the archive; INPUT_UNSUPPORTED: several folders could be meant; ZIP_*, INPUT_*; INTERRUPTED as soon as *stop_signal
 * (may be NULL) is not 0. *out is owned by the caller.
 */
enum llavamed_status archive_open(const char *path, const volatile int *stop_signal, struct archive **out,
                                  struct llavamed_error *error) LLAVAMED_CHECK;
void archive_close(struct archive *archive); /* NULL is fine */

/* The names of the files of the folder, without those below it. Borrowed. */
const struct directory_listing *archive_listing(const struct archive *archive);

/* The archive file itself. Borrowed. */
struct input_file *archive_file(const struct archive *archive);

/* "PATH/FOLDER/NAME", for messages; owned by the caller, NULL when out of memory. */
char *archive_member_path(const struct archive *archive, const char *name);

/* The entry of a name of the listing, NULL for another name. Borrowed. */
const struct zip_entry *archive_entry(const struct archive *archive, const char *name);

/* Refuses a symbolic link (zip -y), whose content is where it leads. INPUT_UNSUPPORTED. */
enum llavamed_status archive_check_file(const struct zip_entry *entry, const char *path,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/* A stored file of the folder as a file of its own. */
enum llavamed_status archive_open_stored(const struct archive *archive, const char *name, struct input_file **out,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* A file of the folder, stored or deflated, from front to back. The archive is borrowed until it is closed. */
enum llavamed_status archive_open_member(const struct archive *archive, const char *name, struct zip_member **out,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* All of a small file, stored or deflated. *bytes is owned by the caller, NUL-terminated. INPUT_LIMIT, CRC_MISMATCH. */
enum llavamed_status archive_read_whole(const struct archive *archive, const char *name, size_t max_bytes, char **bytes,
                                        size_t *n_bytes, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
