/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file that is in the directory, or that some record of it names: what it is, what is claimed of it, and, once it
 * was read, what it holds. Claims are judged in judge_files.h, nothing is decided here.
 */
#ifndef VERIFY_FILE_TABLE_H
#define VERIFY_FILE_TABLE_H

#include "verify/findings.h"
#include "verify/recorded_output.h"
#include "verify/shard_view.h"

enum file_kind { FILE_KIND_ABSENT, FILE_KIND_PLAIN, FILE_KIND_LINK, FILE_KIND_DIRECTORY, FILE_KIND_OTHER };

/* Who claims something of a file. The first that there is says what belongs in the directory. */
enum claimant { CLAIMANT_GIVEN, CLAIMANT_SUMS, CLAIMANT_MANIFEST, CLAIMANTS };

#define INDEX_KINDS 2 /* of safetensors, of torch files */

struct file_claim {
    const char *sha256; /* borrowed from the record; NULL: no claim */
    size_t line;        /* in a list of sums */
};

struct table_file {
    char *name; /* owned */
    enum file_kind kind;
    uint64_t n_bytes; /* of a plain one, when it was looked at; as device and inode */
    uint64_t device;
    uint64_t inode;
    struct file_claim claims[CLAIMANTS];
    const struct recorded_file *recorded; /* the manifest's; NULL: not in it */
    bool is_indexed[INDEX_KINDS];         /* an index names it */
    bool is_given_list;                   /* the list that is given lies in the directory: it is this file */
    bool is_shard;                        /* its header is to be read */
    bool is_wanted;                       /* to be read */

    /* What reading it gave. */
    bool is_read; /* to its end; sha256 is of all of it */
    char sha256[SHA256_HEX_BYTES];
    enum llavamed_status failure; /* of reading it */
    char *failure_words;          /* owned: what follows the name */
    enum llavamed_status header_failure;
    char *header_words;      /* owned */
    struct shard_view *view; /* owned; NULL: it is no shard, or its header cannot be read */
    bool is_cut;             /* by its header it has another length: `view` is that of the recorded one */
    bool is_summed;          /* the CRC-32s in `view` were computed */
};

struct file_table {
    struct table_file *files; /* owned, sorted by name */
    size_t n_files;
};

void file_table_deinit(struct file_table *table);

/*
 * All that is in the directory, by lstat(). What directory_list() gives; what goes away meanwhile is absent.
 * INTERRUPTED as soon as *stop_signal (may be NULL) is not 0.
 */
enum llavamed_status file_table_list(const char *dir, const volatile int *stop_signal, struct file_table *table,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/* Makes sure that there is a row for each of the names, which may repeat. Rows move. O(n log n). */
enum llavamed_status file_table_add(struct file_table *table, const char *const *names, size_t n_names,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* The row of this name, or NULL. O(log n). */
struct table_file *file_table_find(const struct file_table *table, const char *name);

/* Whether all claims there are about the file, one at least, are true of what was read. */
bool table_file_is_as_claimed(const struct table_file *file);

#endif
