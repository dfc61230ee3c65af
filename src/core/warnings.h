/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of warnings. */
#ifndef CORE_WARNINGS_H
#define CORE_WARNINGS_H

#include "core/error.h"

struct warnings {
    char **texts; /* owned */
    size_t n_texts;
    size_t capacity;
    bool failed; /* out of memory: sticky, check once with warnings_status() */
};

void warnings_deinit(struct warnings *warnings);
void warnings_add(struct warnings *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum llavamed_status warnings_status(const struct warnings *warnings, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
