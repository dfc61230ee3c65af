/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole SHA256SUMS as a list of claims about files of one directory. What sums_next() reads is read, and upper-case
 * digests; a "./" before a name is left out. Every line that cannot be used is a finding that names it.
 */
#ifndef VERIFY_SUMS_LIST_H
#define VERIFY_SUMS_LIST_H

#include "integrity/sums.h"
#include "verify/findings.h"

#define SUMS_LIST_BYTES_MAX (64 << 20)

struct sums_entry {
    char *name; /* owned; without '/' */
    char sha256[SHA256_HEX_BYTES]; /* lower-case */
    size_t line; /* from 1 */
};

struct sums_list {
    struct sums_entry *entries; /* owned; sorted by name, none twice */
    size_t n_entries;
    size_t odd_line; /* the first that is not byte for byte as sums_append() writes it, in order; 0: none */
};

void sums_list_deinit(struct sums_list *list);

/*
 * `shown` is the name of the list in findings: RECORD_INVALID for a line that is none, for a name outside of the
 * directory, for a second line about the same name, for upper-case digests among lower-case ones (a bit apart: in one
 * list they are damage). NO_MEMORY. O(n log n). The text is changed.
 */
enum llavamed_status sums_list_parse(char *text, size_t n_bytes, const char *shown, struct sums_list *list,
                                     struct findings *findings, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
