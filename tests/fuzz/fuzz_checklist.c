/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a checklist.chk. Its lines are found here once more, by another way: each is one of md5sum or the first
 * that is none is the one refused. Written anew as md5sum writes, and with CR LF and empty lines, it reads the same.
 */
#include <string.h>

#include "core/buffer.h"
#include "fuzz/require.h"
#include "source/meta_parts.h"

#define LINES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a list holds; the lines beyond LINES_MAX are only counted. */
struct lines {
    struct checklist_line lines[LINES_MAX];
    size_t n_lines;
};

/* Whether the n bytes are HEX, a blank, a blank or an asterisk, and at least one byte of a name. */
static bool is_line(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool good = i < 32    ? (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
                    : i == 32 ? c == ' '
                    : i == 33 ? c == ' ' || c == '*'
                              : c != '\0';
        if (!good) {
            return false;
        }
    }
    return n > 34;
}

static void require_same_line(const struct checklist_line *got, const char *text, size_t n)
{
    bool fits = n - 34 < sizeof got->name && memchr(text + 34, '/', n - 34) == NULL;
    REQUIRE(strlen(got->hex) == 32 && memcmp(got->hex, text, 32) == 0);
    REQUIRE(strlen(got->name) == (fits ? n - 34 : 0) && memcmp(got->name, text + 34, strlen(got->name)) == 0);
}

/* Reads `text`, which ends in a NUL, with checklist_next(), each line held against the text itself. */
static enum llavamed_status read_text(const char *text, size_t n_bytes, struct lines *lines)
{
    struct llavamed_error error = {0};
    struct checklist_text list = {.path = "x", .text = text, .n_left = n_bytes};
    size_t number = 0;
    for (size_t at = 0; at < n_bytes;) {
        size_t n = 0;
        while (at + n < n_bytes && text[at + n] != '\n') {
            n++;
        }
        size_t shown = n > 0 && text[at + n - 1] == '\r' ? n - 1 : n;
        number++;
        if (shown > 0) {
            struct checklist_line line = {.hex = "untouched"};
            enum llavamed_status status = checklist_next(&list, &line, &error);
            REQUIRE(list.n_lines == number);
            if (!is_line(text + at, shown)) {
                char want[64];
                (void)snprintf(want, sizeof want, "x: line %zu is not one of md5sum", number);
                REQUIRE(status == LLAVAMED_STATUS_META_INVALID && error.status == status);
                REQUIRE(strcmp(error.message, want) == 0 && strcmp(line.hex, "untouched") == 0);
                return status;
            }
            REQUIRE(status == LLAVAMED_OK);
            require_same_line(&line, text + at, shown);
            if (lines->n_lines < LINES_MAX) {
                lines->lines[lines->n_lines] = line;
            }
            lines->n_lines++;
        }
        at += n + 1;
    }
    struct checklist_line end = {.hex = "x"};
    REQUIRE(checklist_next(&list, &end, &error) == LLAVAMED_OK && end.hex[0] == '\0' && list.n_left == 0);
    return LLAVAMED_OK;
}

static void require_round_trip(const struct lines *lines, const char *separator, const char *line_end)
{
    struct llavamed_error error;
    struct lines again = {0};
    struct buffer text;
    buffer_init(&text, 1 << 20);
    for (size_t i = 0; i < lines->n_lines; i++) {
        const struct checklist_line *line = &lines->lines[i];
        const char *name = line->name[0] == '\0' ? "a/b" : line->name;
        bool ends_in_return = name[strlen(name) - 1] == '\r'; /* one of which is taken for that of CR LF */
        buffer_printf(&text, "%s%s%s%s", line->hex, separator, name, ends_in_return ? "\r\n" : line_end);
    }
    buffer_append(&text, "", 1);
    REQUIRE(buffer_status(&text, "x", &error) == LLAVAMED_OK);
    REQUIRE(read_text(text.data, text.n_bytes - 1, &again) == LLAVAMED_OK);
    REQUIRE(again.n_lines == lines->n_lines);
    for (size_t i = 0; i < lines->n_lines; i++) {
        REQUIRE(strcmp(again.lines[i].hex, lines->lines[i].hex) == 0);
        REQUIRE(strcmp(again.lines[i].name, lines->lines[i].name) == 0);
    }
    buffer_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lines lines = {0};
    char *text = malloc(size + 1);
    REQUIRE(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (read_text(text, size, &lines) == LLAVAMED_OK && lines.n_lines <= LINES_MAX) {
        require_round_trip(&lines, "  ", "\n");
        require_round_trip(&lines, " *", "\r\n\r\n\n");
    }
    free(text);
    return 0;
}
