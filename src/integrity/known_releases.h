/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of published releases, by SHA-256: LLaMA-1 as Meta gave it and as transformers converts it, Vicuna v1.1 (the
 * same names and shapes as LLaMA-1, so often taken for it), the LLaVA-Med delta. Sizes where they were published.
 */
#ifndef INTEGRITY_KNOWN_RELEASES_H
#define INTEGRITY_KNOWN_RELEASES_H

#include "integrity/digest.h"

enum known_kind {
    KNOWN_LLAMA1,
    KNOWN_DELTA, /* a delta for LLaMA-1 */
    KNOWN_OTHER, /* another model */
    KNOWN_SHARED /* the same in several releases: tells nothing */
};

struct known_file {
    const char *sha256;  /* 64 lower-case hex digits */
    const char *name;    /* file name in the release */
    const char *release; /* "LLaMA-1 7B" */
    enum known_kind kind;
    bool is_weights;
    uint64_t n_bytes;   /* 0: not published */
    const char *source; /* where the hash was published */
};

/* The row of a hash (64 lower-case hex digits) and size, or NULL. A size that differs from a known one is no match. */
const struct known_file *known_release_find(const char *sha256, uint64_t n_bytes);

/* All rows, for listing them. */
size_t known_release_rows(const struct known_file **rows);

#endif
