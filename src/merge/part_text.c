/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/part_text.h"

#include <stdlib.h>
#include <string.h>

static const char upper_digits[] = "0123456789ABCDEF";

static bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '%' && c != '"' && c != '\\';
}

void part_append_text(struct buffer *out, const char *text)
{
    buffer_append_text(out, "\"");
    while (*text != '\0') {
        size_t n = 0;
        while (is_plain(text[n])) {
            n++;
        }
        buffer_append(out, text, n);
        text += n;
        if (*text != '\0') {
            unsigned char byte = (unsigned char)*text++;
            const char escape[3] = {'%', upper_digits[byte >> 4], upper_digits[byte & 15]};
            buffer_append(out, escape, sizeof escape);
        }
    }
    buffer_append_text(out, "\"");
}

static int digit_of(char c)
{
    const char *at = c == '\0' ? NULL : strchr(upper_digits, c);
    return at == NULL ? -1 : (int)(at - upper_digits);
}

/* In place; false for what part_append_text() does not write. */
static bool decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (is_plain(*from)) {
            *to++ = *from++;
            continue;
        }
        int high = *from == '%' ? digit_of(from[1]) : -1;
        int low = high < 0 ? -1 : digit_of(from[2]);
        if (low < 0 || (high == 0 && low == 0) || is_plain((char)(16 * high + low))) {
            return false;
        }
        *to++ = (char)(16 * high + low);
        from += 3;
    }
    *to = '\0';
    return true;
}

enum llavamed_status part_take_text(const struct json_value *value, char **out, struct llavamed_error *error)
{
    const char *spelled = value == NULL ? NULL : json_string(value);
    *out = NULL;
    if (spelled == NULL) {
        return LLAVAMED_OK;
    }
    char *text = strdup(spelled);
    if (text == NULL) {
        return llavamed_fail_memory(error, strlen(spelled), "a text");
    }
    if (!decode(text)) {
        free(text);
        text = NULL;
    }
    *out = text;
    return LLAVAMED_OK;
}

bool part_take_number(const char **text, char end, uint64_t *number)
{
    const char *at = *text;
    size_t n = strspn(at, "0123456789");
    uint64_t value = 0;
    if (n == 0 || (n > 1 && at[0] == '0') || at[n] != end) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(at[i] - '0'), &value)) {
            return false;
        }
    }
    *number = value;
    *text = at + n + (end != '\0');
    return true;
}

bool part_read_number(const struct json_value *value, uint64_t *number)
{
    const char *text = value == NULL ? NULL : json_string(value);
    return text != NULL && part_take_number(&text, '\0', number);
}

bool part_read_hex(const struct json_value *value, size_t n_digits, bool or_empty, char *hex)
{
    const char *text = value == NULL ? NULL : json_string(value);
    size_t n = text == NULL ? 0 : strspn(text, "0123456789abcdef");
    if (text == NULL || text[n] != '\0' || (n != n_digits && !(or_empty && n == 0))) {
        return false;
    }
    memcpy(hex, text, n + 1);
    return true;
}

const char *part_member_string(const struct json_value *object, const char *key)
{
    const struct json_value *value = json_kind_of(object) == JSON_OBJECT ? json_member(object, key) : NULL;
    return value == NULL ? NULL : json_string(value);
}

bool part_read_row(const struct json_value *array, const struct json_value **values, size_t n)
{
    const struct json_value *value = array != NULL && json_kind_of(array) == JSON_ARRAY ? json_first(array) : NULL;
    for (size_t i = 0; i < n; i++) {
        if (value == NULL) {
            return false;
        }
        values[i] = value;
        value = json_next(value);
    }
    return value == NULL;
}

bool part_member_array(const struct json_value *object, const char *key, const struct json_value **first, size_t *n)
{
    const struct json_value *array = json_kind_of(object) == JSON_OBJECT ? json_member(object, key) : NULL;
    if (array == NULL || json_kind_of(array) != JSON_ARRAY) {
        return false;
    }
    *first = json_first(array);
    *n = 0;
    for (const struct json_value *value = *first; value != NULL; value = json_next(value)) {
        ++*n;
    }
    return true;
}
