/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of an input that goes into the result: looked at while planning, copied at the end, which may be hours later,
 * and by then it has to be the file that it was. A file in an archive is held by its archive, whose own identity its
 * source looks at.
 */
#ifndef MERGE_DOCUMENT_COPY_H
#define MERGE_DOCUMENT_COPY_H

#include "merge/document_file.h"
#include "source/source.h"

struct document_copy {
    const struct source_small_file *file; /* borrowed; NULL: there is none */
    char *target;                         /* owned: its name in the result */
    uint64_t n_bytes;                     /* when planned, as the next */
    struct input_identity seen;
};

/*
 * That the file can be read, and what it is: nothing of this may turn out only after the merge. INPUT_LIMIT above
 * max_bytes. *copy is the caller's to document_copy_deinit() in any case.
 */
enum llavamed_status document_copy_look(const struct source_small_file *file, const char *target, uint64_t max_bytes,
                                        struct document_copy *copy, struct llavamed_error *error) LLAVAMED_CHECK;
void document_copy_deinit(struct document_copy *copy);

/* Copies it. INPUT_CHANGED when it is not what was looked at, INTERRUPTED, and as document_create(). */
enum llavamed_status document_copy_make(const struct document_copy *copy, const struct document_place *place,
                                        struct document_list *list, struct llavamed_error *error) LLAVAMED_CHECK;

/* INPUT_CHANGED when its name leads to something else by now. */
enum llavamed_status document_copy_check(const struct document_copy *copy, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
