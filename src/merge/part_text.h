/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of parts (part_plan.h, part_record.h) are spelled in: JSON, one line each, all printable ASCII. A text
 * may be any bytes (the name of a file may): what is not printable ASCII, '%', '"' and '\' are %XX, so that it comes
 * back as it was. A number that may not fit a double stands as a text of decimal digits.
 */
#ifndef MERGE_PART_TEXT_H
#define MERGE_PART_TEXT_H

#include "core/buffer.h"
#include "core/json.h"

void part_append_text(struct buffer *out, const char *text); /* with its quotes */

/*
 * The text of a JSON string, in memory of the caller's; *out is NULL when it is none, or not spelled so. NO_MEMORY.
 */
enum llavamed_status part_take_text(const struct json_value *value, char **out,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Decimal digits, no more of them than needed, behind which `end` comes; *text goes behind that. false: not so. */
bool part_take_number(const char **text, char end, uint64_t *number);

/* A JSON string that is a number; one that is lower-case hex of n_digits (copied, with a NUL), or that or empty. */
bool part_read_number(const struct json_value *value, uint64_t *number);
bool part_read_hex(const struct json_value *value, size_t n_digits, bool or_empty, char *hex);

/* The string of a member that is one, else NULL. */
const char *part_member_string(const struct json_value *object, const char *key);

/* The values of an array, when it has exactly n of them; else false. */
bool part_read_row(const struct json_value *array, const struct json_value **values, size_t n);

/* The first child of an array member and how many there are; false when it is no array. */
bool part_member_array(const struct json_value *object, const char *key, const struct json_value **first, size_t *n);

#endif
