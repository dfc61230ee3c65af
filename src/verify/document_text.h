/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is read whole, because it is a record of the others: its text and its SHA-256 are of the same reading.
 */
#ifndef VERIFY_DOCUMENT_TEXT_H
#define VERIFY_DOCUMENT_TEXT_H

#include "integrity/digest.h"

struct document_text {
    char *bytes; /* owned; NUL-terminated, the NUL not counted */
    size_t n_bytes;
    char sha256[SHA256_HEX_BYTES];
};

void document_text_deinit(struct document_text *text);

/*
 * `name` is what messages call it. Links are not followed unless `follow`. INPUT_LIMIT above max_bytes; what
 * input_file_open_plain() and reading give, INPUT_CHANGED when it changed meanwhile.
 */
enum llavamed_status document_text_read(const char *path, const char *name, bool follow, size_t max_bytes,
                                        struct document_text *text, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
