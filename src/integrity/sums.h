/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a SHA256SUMS file as sha256sum(1) writes and checks them: "HEX  NAME\n". A name that holds a newline, a
 * carriage return or a backslash has those written as \n, \r and \\, and a backslash before HEX says so.
 */
#ifndef INTEGRITY_SUMS_H
#define INTEGRITY_SUMS_H

#include "core/buffer.h"
#include "integrity/digest.h"

#define SUMS_FILE_NAME "SHA256SUMS"

void sums_append(struct buffer *out, const char *hex, const char *name);

/*
 * Reads the line at *cursor (text of n_left bytes) and moves both past it. The name goes to `name`, which must hold
 * n_left + 1 bytes. Text mode ("  ") and binary mode (" *") are both accepted. false, and nothing moved, at the end of
 * the text and for anything that is not such a line.
 */
bool sums_next(const char **cursor, size_t *n_left, char hex[SHA256_HEX_BYTES], char *name);

#endif
