/* SPDX-License-Identifier: Apache-2.0 */
#include "core/warnings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARNINGS_FIRST 8

void warnings_deinit(struct warnings *warnings)
{
    for (size_t i = 0; i < warnings->n_texts; i++) {
        free(warnings->texts[i]);
    }
    free(warnings->texts);
    *warnings = (struct warnings){0};
}

void warnings_add(struct warnings *warnings, const char *format, ...)
{
    if (warnings->n_texts == warnings->capacity) {
        size_t capacity = warnings->capacity == 0 ? WARNINGS_FIRST : warnings->capacity * 2;
        char **texts = realloc(warnings->texts, capacity * sizeof *texts);
        if (texts == NULL) {
            warnings->failed = true;
            return;
        }
        warnings->texts = texts;
        warnings->capacity = capacity;
    }
    char text[LLAVAMED_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    llavamed_make_printable(text);
    char *copy = strdup(text);
    if (copy == NULL) {
        warnings->failed = true;
        return;
    }
    warnings->texts[warnings->n_texts++] = copy;
}

enum llavamed_status warnings_status(const struct warnings *warnings, struct llavamed_error *error)
{
    return warnings->failed ? llavamed_fail_memory(error, LLAVAMED_MESSAGE_BYTES, "a warning") : LLAVAMED_OK;
}
