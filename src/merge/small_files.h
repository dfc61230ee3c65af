/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the files beside a delta's weights belong into the result, and under which name. */
#ifndef MERGE_SMALL_FILES_H
#define MERGE_SMALL_FILES_H

#include <stdbool.h>

/*
 * The name under which a file of the delta is copied byte for byte: its own, "README.delta.md" for "README.md", NULL
 * for one that is not copied ("config.json" too, which has its own way). An allow-list: generation_config.json,
 * tokenizer files, added_tokens.json, special_tokens_map.json, chat templates, processor configurations, and texts
 * whose name says licence, use policy or notice. Hidden names and those that llavamed_make_printable() would change are
 * never copied. The result is `name` or static.
 */
const char *small_file_target(const char *name);

#endif
