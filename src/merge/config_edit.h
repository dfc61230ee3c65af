/* SPDX-License-Identifier: Apache-2.0 */
/* The one edit that a merge may have to make in config.json: the dtype it tells. */
#ifndef MERGE_CONFIG_EDIT_H
#define MERGE_CONFIG_EDIT_H

#include "core/json.h"

/*
 * Appends the text of a config.json to `out` with the values of the root's "torch_dtype" and "dtype" (its name in newer
 * releases of transformers) replaced by "DTYPE" where they are strings that differ from it. All other bytes stay, and
 * a key that is absent or no string stays so. `text` must have passed json_parse() and `root` be its root, an object.
 * *changed tells whether there was anything to replace. Memory is checked with buffer_status().
 */
void config_edit_dtype(const char *text, size_t n_bytes, const struct json_value *root, const char *dtype,
                       struct buffer *out, bool *changed);

#endif
