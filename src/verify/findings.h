/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting what is wrong with a directory: at most LLAVAMED_FINDINGS_MAX of it in words, the rest as a number. */
#ifndef VERIFY_FINDINGS_H
#define VERIFY_FINDINGS_H

#include "core/error.h"

struct findings {
    struct llavamed_finding *list; /* owned */
    size_t n_listed;
    size_t capacity;
    uint64_t n_found;
    uint64_t n_unread; /* of them FILE_IO and FILE_CHANGED */
    bool failed;       /* out of memory: sticky, check once with findings_status() */
};

/* What a finding is about. */
struct finding_place {
    const char *file;   /* copied, as `tensor` */
    const char *tensor; /* NULL: the file as a whole */
    uint64_t offset;    /* in the file; 0: not known */
};

void findings_deinit(struct findings *findings);

/* The words follow the name of the file, and of the tensor: "is missing". They are made printable here. */
void findings_add(struct findings *findings, enum llavamed_finding_code code, const struct finding_place *place,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * A message of another part of the library, "NAME: what is wrong", as words that follow the name: what stands behind
 * it. The message as it is when it does not begin so. Points into it.
 */
const char *findings_words(const char *message, const char *name);

/* By file, offset, code, tensor, words: a total order, so that it does not depend on threads. */
void findings_sort(struct findings *findings);

enum llavamed_status findings_status(const struct findings *findings, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
