/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 8259 as a state machine: a position, the kind of each open container, and what may come next. Nothing is built.
 */
#include "core/json_scan.h"

#include <string.h>

#include "core/json.h"

struct scanner {
    const char *path;
    const unsigned char *text;
    size_t n_bytes;
    size_t pos;
    size_t n_values;
    size_t depth;
    bool in_object[JSON_DEPTH_MAX]; /* of each open container: an object, not an array */
    bool integers_only;
    struct llavamed_error *error;
};

enum expected {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_CLOSE, /* after '[' */
    EXPECT_KEY,            /* after ',' in an object */
    EXPECT_KEY_OR_CLOSE,   /* after '{' */
    EXPECT_COMMA_OR_CLOSE,
    EXPECT_NOTHING,
};

static enum llavamed_status refuse(const struct scanner *s, size_t at, const char *what)
{
    return llavamed_fail(s->error, LLAVAMED_STATUS_JSON_INVALID, "%s: not valid JSON at byte %zu: %s", s->path, at,
                         what);
}

static enum llavamed_status refuse_limit(const struct scanner *s, const char *what, size_t limit)
{
    return llavamed_fail(s->error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: JSON at byte %zu: %s (want at most %zu)", s->path,
                         s->pos, what, limit);
}

/* The byte at the position, or -1 at the end. */
static int peek(const struct scanner *s)
{
    return s->pos < s->n_bytes ? s->text[s->pos] : -1;
}

static void skip_space(struct scanner *s)
{
    int c = peek(s);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        s->pos++;
        c = peek(s);
    }
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* Four hexadecimal digits at `at`, or -1. */
static int hex4(const struct scanner *s, size_t at)
{
    if (s->n_bytes < 4 || at > s->n_bytes - 4) {
        return -1;
    }
    int value = 0;
    for (size_t i = 0; i < 4; i++) {
        int c = s->text[at + i];
        int letter = c | 0x20;
        if (is_digit(c)) {
            value = value * 16 + (c - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            value = value * 16 + (letter - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

/* At the 'u' of a \u escape. Surrogates must come as a pair, high then low. */
static enum llavamed_status scan_unicode_escape(struct scanner *s)
{
    int unit = hex4(s, s->pos + 1);
    if (unit < 0) {
        return refuse(s, s->pos - 1, "a \\u escape needs four hexadecimal digits");
    }
    if (unit == 0) {
        return refuse(s, s->pos - 1, "\\u0000 is not allowed in text");
    }
    bool is_half = unit >= 0xdc00 && unit <= 0xdfff;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        bool escaped = s->n_bytes - s->pos > 6 && s->text[s->pos + 5] == '\\' && s->text[s->pos + 6] == 'u';
        int low = escaped ? hex4(s, s->pos + 7) : -1;
        is_half = low < 0xdc00 || low > 0xdfff;
        if (!is_half) {
            s->pos += 6;
        }
    }
    if (is_half) {
        return refuse(s, s->pos - 1, "half of a surrogate pair");
    }
    s->pos += 5;
    return LLAVAMED_OK;
}

/* At a backslash inside a string. */
static enum llavamed_status scan_escape(struct scanner *s)
{
    s->pos++;
    int c = peek(s);
    if (c == 'u') {
        return scan_unicode_escape(s);
    }
    if (c <= 0 || strchr("\"\\/bfnrt", c) == NULL) {
        return refuse(s, s->pos - 1, "an escape that JSON does not have");
    }
    s->pos++;
    return LLAVAMED_OK;
}

/* At a byte of 0x80 or more inside a string. A run of such bytes is made of whole characters or is not UTF-8. */
static enum llavamed_status scan_non_ascii(struct scanner *s)
{
    size_t begin = s->pos;
    while (s->pos < s->n_bytes && s->text[s->pos] >= 0x80) {
        s->pos++;
    }
    if (!text_is_utf8((const char *)s->text + begin, s->pos - begin)) {
        return refuse(s, begin, "text that is not UTF-8");
    }
    return LLAVAMED_OK;
}

/* A byte of a string that stands for itself. */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* At the opening quote. */
static enum llavamed_status scan_string(struct scanner *s)
{
    size_t begin = s->pos++;
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && s->pos < s->n_bytes) {
        size_t pos = s->pos;
        while (pos < s->n_bytes && is_plain(s->text[pos])) {
            pos++;
        }
        s->pos = pos;
        int c = peek(s);
        if (c == '"') {
            s->pos++;
            return LLAVAMED_OK;
        }
        if (c == '\\') {
            status = scan_escape(s);
        } else if (c >= 0x80) {
            status = scan_non_ascii(s);
        } else if (c >= 0) {
            status = refuse(s, s->pos, "a control character in a string");
        }
    }
    return status != LLAVAMED_OK ? status : refuse(s, begin, "a string that does not end");
}

/* Skips digits; false when there is none. */
static bool skip_digits(struct scanner *s)
{
    size_t begin = s->pos;
    while (is_digit(peek(s))) {
        s->pos++;
    }
    return s->pos > begin;
}

/* Whether the digits [begin, pos) spell at most JSON_INTEGER_MAX; no more than JSON_NUMBER_BYTES_MAX of them. */
static bool digits_fit(const struct scanner *s, size_t begin)
{
    uint64_t value = 0;
    for (size_t i = begin; i < s->pos; i++) {
        value = value * 10 + (uint64_t)(s->text[i] - '0');
        if (value > JSON_INTEGER_MAX) {
            return false;
        }
    }
    return true;
}

/* At a digit or a minus sign. */
static enum llavamed_status scan_number(struct scanner *s)
{
    size_t begin = s->pos;
    bool plain = peek(s) != '-';
    s->pos += plain ? 0 : 1;
    bool leading_zero = peek(s) == '0';
    size_t digits = s->pos;
    bool valid = skip_digits(s) && !(leading_zero && s->pos - digits > 1);
    if (valid && peek(s) == '.') {
        plain = false;
        s->pos++;
        valid = skip_digits(s);
    }
    if (valid && (peek(s) == 'e' || peek(s) == 'E')) {
        plain = false;
        s->pos++;
        s->pos += peek(s) == '+' || peek(s) == '-' ? 1 : 0;
        valid = skip_digits(s);
    }
    if (!valid) {
        return refuse(s, begin, "a number that JSON does not allow");
    }
    if (s->integers_only && !(plain && digits_fit(s, begin))) {
        return refuse(s, begin, "a number that is not a plain integer from 0 to 2^53 - 1");
    }
    if (s->pos - begin > JSON_NUMBER_BYTES_MAX) {
        s->pos = begin;
        return refuse_limit(s, "too long a number", JSON_NUMBER_BYTES_MAX);
    }
    return LLAVAMED_OK;
}

/* At the first letter of true, false or null, or at anything that starts no value. */
static enum llavamed_status scan_literal(struct scanner *s)
{
    static const char *const literals[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        size_t n = strlen(literals[i]);
        if (s->n_bytes - s->pos >= n && memcmp(s->text + s->pos, literals[i], n) == 0) {
            s->pos += n;
            return LLAVAMED_OK;
        }
    }
    return refuse(s, s->pos, peek(s) < 0 ? "the text ends where a value belongs" : "no value starts here");
}

static enum expected after_value(const struct scanner *s)
{
    return s->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_CLOSE;
}

static enum llavamed_status scan_value(struct scanner *s, enum expected *expected)
{
    int c = peek(s);
    if (s->n_values == JSON_NODES_MAX) {
        return refuse_limit(s, "too many values", JSON_NODES_MAX);
    }
    s->n_values++;
    if (c == '{' || c == '[') {
        if (s->depth == JSON_DEPTH_MAX) {
            return refuse_limit(s, "nested too deeply", JSON_DEPTH_MAX);
        }
        s->in_object[s->depth++] = c == '{';
        s->pos++;
        *expected = c == '{' ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
        return LLAVAMED_OK;
    }
    *expected = after_value(s);
    if (c == '"') {
        return scan_string(s);
    }
    return c == '-' || is_digit(c) ? scan_number(s) : scan_literal(s);
}

/* A key and its colon. */
static enum llavamed_status scan_key(struct scanner *s, enum expected *expected)
{
    if (peek(s) != '"') {
        return refuse(s, s->pos, "no key starts here");
    }
    enum llavamed_status status = scan_string(s);
    if (status != LLAVAMED_OK) {
        return status;
    }
    skip_space(s);
    if (peek(s) != ':') {
        return refuse(s, s->pos, "no colon after a key");
    }
    s->pos++;
    *expected = EXPECT_VALUE;
    return LLAVAMED_OK;
}

/* Closes the innermost container if its closing bracket is here. */
static bool close_container(struct scanner *s, enum expected *expected)
{
    if (peek(s) != (s->in_object[s->depth - 1] ? '}' : ']')) {
        return false;
    }
    s->pos++;
    s->depth--;
    *expected = after_value(s);
    return true;
}

static enum llavamed_status scan_step(struct scanner *s, enum expected *expected)
{
    switch (*expected) {
    case EXPECT_VALUE_OR_CLOSE:
        return close_container(s, expected) ? LLAVAMED_OK : scan_value(s, expected);
    case EXPECT_VALUE:
        return scan_value(s, expected);
    case EXPECT_KEY_OR_CLOSE:
        return close_container(s, expected) ? LLAVAMED_OK : scan_key(s, expected);
    case EXPECT_KEY:
        return scan_key(s, expected);
    case EXPECT_COMMA_OR_CLOSE:
        if (close_container(s, expected)) {
            return LLAVAMED_OK;
        }
        if (peek(s) != ',') {
            return refuse(s, s->pos, "no comma or closing bracket after a value");
        }
        s->pos++;
        *expected = s->in_object[s->depth - 1] ? EXPECT_KEY : EXPECT_VALUE;
        return LLAVAMED_OK;
    case EXPECT_NOTHING:
        break;
    }
    return refuse(s, s->pos, "more text after the value");
}

enum llavamed_status json_scan(const char *path, const char *text, size_t n_bytes, bool integers_only,
                               struct llavamed_error *error)
{
    struct scanner s = {.path = path,
                        .text = (const unsigned char *)text,
                        .n_bytes = n_bytes,
                        .integers_only = integers_only,
                        .error = error};
    enum expected expected = EXPECT_VALUE;
    enum llavamed_status status = LLAVAMED_OK;
    skip_space(&s);
    while (status == LLAVAMED_OK && !(expected == EXPECT_NOTHING && s.pos == s.n_bytes)) {
        status = scan_step(&s, &expected);
        skip_space(&s);
    }
    return status;
}
