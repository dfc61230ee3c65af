/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as text: strings written as other libraries write them, and the place of a value for a textual edit. */
#include <string.h>

#include "core/json.h"

#define REPLACEMENT_CHARACTER 0xfffd

/* Decodes the character at p (NUL-terminated text); returns its bytes. What is not UTF-8 is one byte of U+FFFD. */
static size_t decode_utf8(const char *p, uint32_t *character)
{
    const unsigned char *bytes = (const unsigned char *)p;
    size_t n = bytes[0] < 0x80 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    if (strnlen(p, n) < n || !text_is_utf8(p, n)) {
        *character = REPLACEMENT_CHARACTER;
        return 1;
    }
    uint32_t value = n == 1 ? bytes[0] : bytes[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    *character = value;
    return n;
}

/* Encodes a character other than a surrogate; returns its bytes. */
static size_t encode_utf8(uint32_t character, char out[4])
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    size_t n = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (character & 0x3f));
        character >>= 6;
    }
    out[0] = (char)((0xf00u >> n & 0xffu) | character);
    return n;
}

/* The escape of an ASCII character that JSON must escape, or NULL. Both libraries agree on these. */
static const char *short_escape(uint32_t character)
{
    switch (character) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\t':
        return "\\t";
    case '\n':
        return "\\n";
    case '\f':
        return "\\f";
    case '\r':
        return "\\r";
    default:
        return NULL;
    }
}

static void append_unicode_escape(struct buffer *out, uint32_t character)
{
    if (character >= 0x10000) {
        uint32_t offset = character - 0x10000;
        buffer_printf(out, "\\u%04x\\u%04x", 0xd800 + (offset >> 10), 0xdc00 + (offset & 0x3ff));
    } else {
        buffer_printf(out, "\\u%04x", character);
    }
}

/* How many of the first bytes are written as they are in both ways: nearly all of nearly every name. */
static size_t plain_bytes(const char *text)
{
    size_t n = 0;
    while (text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\') {
        n++;
    }
    return n;
}

static void append_string(struct buffer *out, const char *utf8, bool ascii_only)
{
    buffer_append(out, "\"", 1);
    const char *p = utf8;
    while (*p != '\0') {
        size_t n_plain = plain_bytes(p);
        if (n_plain > 0) {
            buffer_append(out, p, n_plain);
            p += n_plain;
            continue;
        }
        uint32_t character;
        size_t n = decode_utf8(p, &character);
        const char *escape = short_escape(character);
        if (escape != NULL) {
            buffer_append_text(out, escape);
        } else if (character < 0x20 || (ascii_only && character >= 0x7f)) {
            append_unicode_escape(out, character);
        } else {
            char encoded[4];
            buffer_append(out, encoded, encode_utf8(character, encoded));
        }
        p += n;
    }
    buffer_append(out, "\"", 1);
}

void json_append_ascii(struct buffer *out, const char *utf8)
{
    append_string(out, utf8, true);
}

void json_append_utf8(struct buffer *out, const char *utf8)
{
    append_string(out, utf8, false);
}

/* A text that json_parse() has accepted; the bounds are kept all the same. */
struct span {
    const char *text;
    size_t n_bytes;
};

static bool is_one_of(const struct span *span, size_t pos, const char *set)
{
    return pos < span->n_bytes && span->text[pos] != '\0' && strchr(set, span->text[pos]) != NULL;
}

static size_t skip_space(const struct span *span, size_t pos)
{
    while (is_one_of(span, pos, " \t\n\r")) {
        pos++;
    }
    return pos;
}

/* From the opening quote to behind the closing one. */
static size_t skip_string(const struct span *span, size_t pos)
{
    pos++;
    while (pos < span->n_bytes && span->text[pos] != '"') {
        pos += span->text[pos] == '\\' ? 2 : 1;
    }
    return pos < span->n_bytes ? pos + 1 : span->n_bytes;
}

/* From the first byte of a value to behind its last. */
static size_t skip_value(const struct span *span, size_t pos)
{
    size_t depth = 0;
    while (pos < span->n_bytes) {
        if (span->text[pos] == '"') {
            pos = skip_string(span, pos);
        } else if (is_one_of(span, pos, "{[")) {
            depth++;
            pos++;
        } else if (depth > 0 && is_one_of(span, pos, "}]")) {
            depth--;
            pos++;
        } else if (depth > 0) {
            pos++;
        } else {
            while (pos < span->n_bytes && !is_one_of(span, pos, ",]} \t\n\r")) {
                pos++;
            }
        }
        if (depth == 0) {
            break;
        }
    }
    return pos;
}

static uint32_t hex4(const char *digits)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t c = (unsigned char)digits[i];
        value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Decodes the escape at `at` (a backslash) of a string that ends at `end`; returns the bytes it takes. */
static size_t decode_escape(const char *at, const char *end, uint32_t *character)
{
    static const char letters[] = "bfnrt";
    static const char meanings[] = "\b\f\n\r\t";
    if (end - at < 6 || at[1] != 'u') {
        const char *letter = at[1] == '\0' ? NULL : strchr(letters, at[1]);
        *character = (unsigned char)(letter == NULL ? at[1] : meanings[letter - letters]);
        return 2;
    }
    *character = hex4(at + 2);
    if (*character < 0xd800 || *character > 0xdbff || end - at < 12) {
        return 6;
    }
    *character = 0x10000 + ((*character & 0x3ff) << 10) + (hex4(at + 8) & 0x3ff);
    return 12;
}

/* Whether the string [begin, end) of the text, quotes included, decodes to `key`. */
static bool string_equals(const struct span *span, size_t begin, size_t end, const char *key)
{
    const char *p = span->text + begin + 1;
    const char *stop = span->text + end - 1;
    while (p < stop) {
        char decoded[4] = {*p};
        size_t n = 1;
        size_t taken = 1;
        if (*p == '\\' && stop - p >= 2) {
            uint32_t character;
            taken = decode_escape(p, stop, &character);
            n = encode_utf8(character, decoded);
        }
        if (*key == '\0' || strncmp(key, decoded, n) != 0) {
            return false;
        }
        key += n;
        p += taken;
    }
    return *key == '\0';
}

bool json_find_root_value(const char *text, size_t n_bytes, const char *key, size_t *begin, size_t *end)
{
    struct span span = {text, n_bytes};
    size_t pos = skip_space(&span, 0);
    if (!is_one_of(&span, pos, "{")) {
        return false;
    }
    do {
        size_t key_begin = skip_space(&span, pos + 1);
        if (!is_one_of(&span, key_begin, "\"")) {
            return false;
        }
        size_t key_end = skip_string(&span, key_begin);
        size_t colon = skip_space(&span, key_end);
        size_t value_begin = skip_space(&span, colon + 1);
        size_t value_end = skip_value(&span, value_begin);
        if (string_equals(&span, key_begin, key_end, key)) {
            *begin = value_begin;
            *end = value_end;
            return true;
        }
        pos = skip_space(&span, value_end);
    } while (is_one_of(&span, pos, ","));
    return false;
}
