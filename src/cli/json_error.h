/* SPDX-License-Identifier: Apache-2.0 */
/* What every --json document begins with. */
#ifndef CLI_JSON_ERROR_H
#define CLI_JSON_ERROR_H

#include "cli/json_emit.h"
#include "llavamed.h"

/* "status" (the exit status), "code", "message", "hint", "n_problems" and "problems": members of the open object. */
void json_emit_error(struct json_emit *emit, const struct llavamed_error *error);

/* For json_emit_text(): NULL for a text that is empty. */
const char *json_text_or_null(const char *text);

#endif
