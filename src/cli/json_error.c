/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_error.h"

const char *json_text_or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

void json_emit_error(struct json_emit *emit, const struct llavamed_error *error)
{
    json_emit_number(emit, "status", (uint64_t)llavamed_exit_status(error));
    json_emit_text(emit, "code", llavamed_status_name(error->status));
    json_emit_text(emit, "message", json_text_or_null(error->message));
    json_emit_text(emit, "hint", json_text_or_null(error->hint));
    json_emit_number(emit, "n_problems", error->n_problems);
    json_emit_begin(emit, "problems", '[');
    for (size_t i = 0; i < error->n_problems && i < LLAVAMED_PROBLEMS_MAX; i++) {
        json_emit_text(emit, NULL, error->problems[i]);
    }
    json_emit_end(emit, ']');
}
