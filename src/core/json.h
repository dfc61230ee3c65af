/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from strangers, on top of cJSON. The text is first walked by a strict scanner of our own, because cJSON keeps
 * numbers as doubles without their spelling, finds keys case-insensitively, lets the first duplicate win and cuts
 * strings at \u0000. What the scanner refuses never reaches cJSON: bytes that are not UTF-8, \u0000, lone surrogates,
 * raw control characters, anything outside RFC 8259, nesting beyond JSON_DEPTH_MAX, more than JSON_NODES_MAX values.
 * Objects with one key twice (also in two spellings) are refused after parsing.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "core/buffer.h"

#define JSON_DEPTH_MAX 32
#define JSON_NODES_MAX 8000000

struct json;  /* opaque document */
struct json_value; /* opaque node, borrowed from its document */

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/*
 * integers_only: every number must be spelled as an integer without sign, fraction or exponent, and be at most 2^53.
 * JSON_INVALID (with the byte offset), JSON_DUPLICATE_KEY (with the key), INPUT_LIMIT, NO_MEMORY; `path` names the file.
 */
enum llavamed_status json_parse(const char *path, const char *text, size_t n_bytes, bool integers_only,
                                struct json **out, struct llavamed_error *error) LLAVAMED_CHECK;
void json_free(struct json *json); /* NULL is fine */

const struct json_value *json_root(const struct json *json);
enum json_kind json_kind_of(const struct json_value *value);

/* Key of a member while iterating an object; NULL for array elements and the root. */
const char *json_key(const struct json_value *value);

/* First child / next sibling of an object or array in text order; NULL at the end. O(1). */
const struct json_value *json_first(const struct json_value *value);
const struct json_value *json_next(const struct json_value *value);

/* Member with exactly this key, or NULL. O(members). */
const struct json_value *json_member(const struct json_value *object, const char *key);

const char *json_string(const struct json_value *value); /* NULL unless a string */

/* true and *out when value is a number that is an integer from 0 to 2^53. */
bool json_integer(const struct json_value *value, uint64_t *out);

/* ---- Writing: text fragments, escapes as the libraries that are followed byte for byte write them ---- */

/* "..." as Python's json.dumps(ensure_ascii=True): \uXXXX (lower-case hex) for everything outside printable ASCII. */
void json_append_ascii(struct buffer *out, const char *utf8);

/* "..." as Rust's serde_json: UTF-8 kept, \b \t \n \f \r \" \\ and \u00xx for the other control characters. */
void json_append_utf8(struct buffer *out, const char *utf8);

/*
 * Where the value of a key of the root object stands in the text: [*begin, *end) of the raw value. For textual edits
 * that leave every other byte alone. false when the root is not an object or lacks the key. The text must have passed
 * json_parse().
 */
bool json_find_root_value(const char *text, size_t n_bytes, const char *key, size_t *begin, size_t *end);

#endif
