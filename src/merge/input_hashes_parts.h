/* SPDX-License-Identifier: Apache-2.0 */
/* What input_hashes.c, input_hashes_share.c and input_hashes_sums.c share. */
#ifndef MERGE_INPUT_HASHES_PARTS_H
#define MERGE_INPUT_HASHES_PARTS_H

#include "merge/input_hashes.h"

#define RELEASE_BYTES_MAX 128

struct input_item {
    const char *path; /* borrowed from its source */
    const char *name;
    const struct archive *archive; /* in which it lies, borrowed; NULL: a file of its own */
    enum input_role role;
    bool is_weights;
    bool is_archive;     /* its members are items themselves, as weights files right behind it */
    uint64_t n_bytes;    /* of the content */
    uint64_t read_bytes; /* from storage, when it is hashed */
    struct recorded_hashes recorded;
    char computed[SHA256_HEX_BYTES]; /* empty until hashed, as the next */
    char computed_git[GIT_BLOB_HEX_BYTES];
    bool is_others; /* another part of the merge hashes it */
};

struct input_hashes {
    struct input_item *items; /* owned; the weights files of a role are together, in the order of the source */
    size_t n_items;
    size_t first_weights[INPUT_ROLES]; /* where those of a role begin */
    size_t n_weights[INPUT_ROLES];
    const struct source_small_file *delta_config; /* or NULL */
    char delta_release[RELEASE_BYTES_MAX];
    bool expects_target;
    bool is_ckpt2; /* without delta_config */
};

/* "base", "delta", "target". */
const char *input_role_name(const struct input_hashes *hashes, enum input_role role);

/* Weights file i of a role; NULL when there is none. */
struct input_item *input_item_of(const struct input_hashes *hashes, enum input_role role, size_t i);

/* Whether the job reads a file. */
bool input_item_is_wanted(const struct input_item *item, const struct input_hashes_job *job);

#endif
