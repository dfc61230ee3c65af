/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a SHA256SUMS. What is accepted, written again, must be read as the same hash and name; what is refused
 * must leave the cursor alone. A list written anew, its line ends CR LF, is the same list.
 */
#include <string.h>

#include "fuzz/require.h"
#include "integrity/sums.h"

#define HEX_CHARS (SHA256_HEX_BYTES - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes of the name in a line of n bytes from the name on, undoing the escapes; a NUL ends no name. */
static size_t count_name(const char *text, size_t n, bool escaped)
{
    size_t count = 0;
    n -= n > 0 && text[n - 1] == '\n';
    n -= n > 0 && text[n - 1] == '\r';
    for (size_t i = 0; i < n; i++) {
        i += escaped && text[i] == '\\';
        count++;
    }
    return count;
}

static void require_sound(const char *hex, const char *name, const char *line, size_t line_bytes)
{
    bool escaped = line[0] == '\\';
    const char *at = escaped ? line + 1 : line;
    const char *rest = at + HEX_CHARS + 2;
    REQUIRE(strlen(hex) == HEX_CHARS && strspn(hex, "0123456789abcdef") == HEX_CHARS);
    REQUIRE(memcmp(at, hex, HEX_CHARS) == 0 && at[HEX_CHARS] == ' ');
    REQUIRE(name[0] != '\0' && strlen(name) == count_name(rest, line_bytes - (size_t)(rest - line), escaped));
    if (!escaped) {
        REQUIRE(strchr(name, '\n') == NULL && memcmp(rest, name, strlen(name)) == 0);
    }
}

/* Reads one line of `text`, which must be this hash and name; with_return: its line end made CR LF first. */
static void require_line(const char *text, size_t n_bytes, bool with_return, const char *hex, const char *name)
{
    char *copy = malloc(n_bytes + 1);
    char *name_again = malloc(n_bytes + 2);
    char hex_again[SHA256_HEX_BYTES];
    REQUIRE(copy != NULL && name_again != NULL && text[n_bytes - 1] == '\n');
    memcpy(copy, text, n_bytes);
    if (with_return) {
        memcpy(copy + n_bytes - 1, "\r\n", 2);
    }
    const char *cursor = copy;
    size_t n_left = n_bytes + (with_return ? 1 : 0);
    REQUIRE(sums_next(&cursor, &n_left, hex_again, name_again) && n_left == 0);
    REQUIRE(strcmp(hex_again, hex) == 0 && strcmp(name_again, name) == 0);
    free(name_again);
    free(copy);
}

static void require_round_trip(const char *hex, const char *name)
{
    struct llavamed_error error;
    struct buffer text;
    buffer_init(&text, 2 * strlen(name) + 128);
    sums_append(&text, hex, name);
    REQUIRE(buffer_status(&text, "x", &error) == LLAVAMED_OK);
    /* One line, whatever the name holds. */
    REQUIRE(memchr(text.data, '\n', text.n_bytes) == text.data + text.n_bytes - 1);
    REQUIRE(memchr(text.data, '\r', text.n_bytes) == NULL);
    require_line(text.data, text.n_bytes, false, hex, name);
    require_line(text.data, text.n_bytes, true, hex, name);
    buffer_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *cursor = (const char *)data;
    size_t n_left = size;
    char *name = malloc(size + 1);
    REQUIRE(name != NULL);
    while (n_left > 0) {
        char hex[SHA256_HEX_BYTES];
        const char *line = cursor;
        size_t before = n_left;
        const char *newline = memchr(line, '\n', before);
        size_t step = newline == NULL ? before : (size_t)(newline - line) + 1;
        if (sums_next(&cursor, &n_left, hex, name)) {
            REQUIRE(cursor == line + step && n_left == before - step);
            require_sound(hex, name, line, step);
            require_round_trip(hex, name);
        } else {
            REQUIRE(cursor == line && n_left == before);
            cursor += step;
            n_left -= step;
        }
    }
    free(name);
    return 0;
}
