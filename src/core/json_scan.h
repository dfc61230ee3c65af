/* SPDX-License-Identifier: Apache-2.0 */
/* The strict look at a JSON text that comes before cJSON sees it; json.h tells what it refuses. */
#ifndef CORE_JSON_SCAN_H
#define CORE_JSON_SCAN_H

#include "core/error.h"

/*
 * LLAVAMED_OK when the text is one JSON value within the limits of json.h. JSON_INVALID and INPUT_LIMIT name `path` and
 * the byte. No allocation, no recursion, O(n_bytes).
 */
enum llavamed_status json_scan(const char *path, const char *text, size_t n_bytes, bool integers_only,
                               struct llavamed_error *error) LLAVAMED_CHECK;

#endif
