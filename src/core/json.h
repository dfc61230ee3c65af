/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from strangers, on top of cJSON. The text is first walked by a strict scanner of our own, because cJSON keeps
 * numbers as doubles without their spelling, finds keys case-insensitively, lets the first duplicate win and cuts
 * strings at \u0000. What the scanner refuses never reaches cJSON: bytes that are not UTF-8, \u0000, lone surrogates,
 * raw control characters, anything outside RFC 8259 (a byte order mark too), nesting beyond JSON_DEPTH_MAX, more than
 * JSON_NODES_MAX values, numbers longer than cJSON's buffer for them. Objects with one key twice (also in two
 * spellings) are refused after parsing. A document takes a node of 64 bytes per value, so JSON_NODES_MAX bounds its
 * memory, plus the strings.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "core/buffer.h"

#define JSON_DEPTH_MAX 32
#define JSON_NODES_MAX 8000000
#define JSON_NUMBER_BYTES_MAX 63
#define JSON_INTEGER_MAX ((UINT64_C(1) << 53) - 1) /* the largest up to which a double tells all integers apart */

struct json;       /* opaque document */
struct json_value; /* opaque node, borrowed from its document */

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/*
 * integers_only: every number must be spelled as an integer without sign, fraction or exponent, and be at most
 * JSON_INTEGER_MAX. The text need not end in a NUL and is not kept; `path` names the file. O(n log n) time.
 * JSON_INVALID (with the byte offset), JSON_DUPLICATE_KEY (with the key), INPUT_LIMIT, NO_MEMORY.
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

/* true and *out when value is an integer from 0 to JSON_INTEGER_MAX, however spelled (1e3 is one, where allowed). */
bool json_integer(const struct json_value *value, uint64_t *out);

/* true and *out when value is a number; as a double, so for comparing with what a program wrote as one. */
bool json_number(const struct json_value *value, double *out);

bool json_is_true(const struct json_value *value); /* false for anything but `true` */

/* Version of cJSON in use, "1.7.15". Static storage. */
const char *json_library_version(void);

/* ---- Writing: text fragments, escapes as the libraries that are followed byte for byte write them ---- */

/* Bytes that are not UTF-8 (a file name may hold some) become U+FFFD, one each, in both. */

/* "..." as Python's json.dumps(ensure_ascii=True): \uXXXX (lower-case hex) for everything outside printable ASCII. */
void json_append_ascii(struct buffer *out, const char *utf8);

/* "..." as Rust's serde_json: UTF-8 kept, \b \t \n \f \r \" \\ and \u00xx for the other control characters. */
void json_append_utf8(struct buffer *out, const char *utf8);

/*
 * Where the value of a key of the root object stands in the text: [*begin, *end) of the raw value. For textual edits
 * that leave every other byte alone. Keys are compared as decoded: "\u0061" is "a". false when the root is not an
 * object or lacks the key. The text must have passed json_parse().
 */
bool json_find_root_value(const char *text, size_t n_bytes, const char *key, size_t *begin, size_t *end);

#endif
