/* SPDX-License-Identifier: Apache-2.0 */
/* What files are together, by their hashes: pure. */
#ifndef VERIFY_IDENTITY_H
#define VERIFY_IDENTITY_H

#include "integrity/known_releases.h"
#include "core/warnings.h"

struct identity_file {
    const char *name;             /* borrowed; without directory */
    const struct known_file *row; /* NULL: unknown */
};

struct identity {
    enum llavamed_identity verdict;
    const char *release; /* static; NULL: of none, or of several */
    size_t n_found;
    size_t n_wanted;
    struct warnings remarks;
};

/*
 * `is_single`: the source is one file. Fills *identity, whose remarks the caller frees. A release may have been
 * published in several forms (Meta's shards, those that transformers makes of them): one of them, complete, is enough.
 * Small files count where they tell of another release; unknown ones do not. Unknown files count that have the name of
 * weights. O(files times rows of the table).
 */
void identity_judge(const struct identity_file *files, size_t n_files, bool is_single, struct identity *identity);

#endif
