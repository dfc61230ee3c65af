/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/base64.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_append(struct buffer *out, const void *bytes, size_t n_bytes)
{
    const unsigned char *at = bytes;
    while (n_bytes > 0) {
        size_t n = n_bytes < 3 ? n_bytes : 3;
        uint32_t word = (uint32_t)at[0] << 16;
        word |= n > 1 ? (uint32_t)at[1] << 8 : 0;
        word |= n > 2 ? (uint32_t)at[2] : 0;
        char chars[4];
        for (size_t i = 0; i < 4; i++) {
            chars[i] = i <= n ? alphabet[word >> (18 - 6 * i) & 63] : '=';
        }
        buffer_append(out, chars, sizeof chars);
        at += n;
        n_bytes -= n;
    }
}

/* 0 to 63, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* n_chars of four are digits, the others padding; false when they are not what an encoder writes. */
static bool decode_group(const char *text, size_t n_chars, unsigned char *out)
{
    uint32_t word = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < n_chars ? value_of(text[i]) : 0;
        if (value < 0) {
            return false;
        }
        word = word << 6 | (uint32_t)value;
    }
    size_t n_bytes = n_chars - 1;
    for (size_t i = 0; i < n_bytes; i++) {
        out[i] = (unsigned char)(word >> (16 - 8 * i));
    }
    return (word & (0xffffffu >> (8 * n_bytes))) == 0;
}

bool base64_decode(const char *text, size_t n_chars, unsigned char *out, size_t *n_bytes)
{
    size_t n = 0;
    if (n_chars % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < n_chars; i += 4) {
        size_t n_digits = 4;
        if (i + 4 == n_chars && text[i + 3] == '=') {
            n_digits = text[i + 2] == '=' ? 2 : 3;
        }
        if (!decode_group(text + i, n_digits, out + n)) {
            return false;
        }
        n += n_digits - 1;
    }
    *n_bytes = n;
    return true;
}
