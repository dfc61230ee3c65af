/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/sums.h"

#include <string.h>

#define HEX_CHARS (SHA256_HEX_BYTES - 1)

void sums_append(struct buffer *out, const char *hex, const char *name)
{
    if (strpbrk(name, "\n\r\\") == NULL) {
        buffer_printf(out, "%s  %s\n", hex, name);
        return;
    }
    buffer_printf(out, "\\%s  ", hex);
    for (const char *p = name; *p != '\0'; p++) {
        switch (*p) {
        case '\n':
            buffer_append(out, "\\n", 2);
            break;
        case '\r':
            buffer_append(out, "\\r", 2);
            break;
        case '\\':
            buffer_append(out, "\\\\", 2);
            break;
        default:
            buffer_append(out, p, 1);
        }
    }
    buffer_append(out, "\n", 1);
}

static bool is_hex(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        bool letter = text[i] >= 'a' && text[i] <= 'f';
        if (!digit && !letter) {
            return false;
        }
    }
    return true;
}

/* Copies n bytes to `name`, undoing the escapes; false for a stray backslash or a NUL. */
static bool copy_name(const char *text, size_t n, bool escaped, char *name)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\0') {
            return false;
        }
        if (escaped && c == '\\') {
            i++;
            if (i == n) {
                return false;
            }
            c = text[i] == 'n' ? '\n' : text[i] == 'r' ? '\r' : text[i] == '\\' ? '\\' : '\0';
            if (c == '\0') {
                return false;
            }
        }
        name[used++] = c;
    }
    name[used] = '\0';
    return used > 0;
}

bool sums_next(const char **cursor, size_t *n_left, char hex[SHA256_HEX_BYTES], char *name)
{
    if (*n_left == 0) {
        return false;
    }
    const char *line = *cursor;
    const char *newline = memchr(line, '\n', *n_left);
    size_t line_bytes = newline == NULL ? *n_left : (size_t)(newline - line);
    size_t step = newline == NULL ? line_bytes : line_bytes + 1;
    /* CR LF, from a list that went through another system; a name that really ends so is written escaped. */
    line_bytes -= line_bytes > 0 && line[line_bytes - 1] == '\r';
    bool escaped = line[0] == '\\';
    size_t start = escaped ? 1 : 0;
    if (line_bytes < start + HEX_CHARS + 3 || !is_hex(line + start, HEX_CHARS)) {
        return false;
    }
    const char *rest = line + start + HEX_CHARS;
    size_t name_bytes = line_bytes - start - HEX_CHARS - 2;
    if (rest[0] != ' ' || (rest[1] != ' ' && rest[1] != '*') || !copy_name(rest + 2, name_bytes, escaped, name)) {
        return false;
    }
    memcpy(hex, line + start, HEX_CHARS);
    hex[HEX_CHARS] = '\0';
    *cursor = line + step;
    *n_left -= step;
    return true;
}
