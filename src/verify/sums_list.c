/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/sums_list.h"

#include <stdlib.h>
#include <string.h>

#include "core/sort.h"

#define HEX_CHARS (SHA256_HEX_BYTES - 1)

struct sums_parser {
    const char *shown;
    struct sums_list *list;
    size_t capacity;
    struct findings *findings;
    struct buffer canonical; /* a line as it would be written */
    char *name;              /* room for the longest */
    const char *last_name;   /* of the line before, borrowed from the list */
    bool has_lower;
    bool has_upper;
};

void sums_list_deinit(struct sums_list *list)
{
    for (size_t i = 0; i < list->n_entries; i++) {
        free(list->entries[i].name);
    }
    free(list->entries);
    *list = (struct sums_list){0};
}

static void complain(struct sums_parser *parser, size_t line, const char *what, const char *text)
{
    const struct finding_place place = {.file = parser->shown};
    findings_add(parser->findings, LLAVAMED_FINDING_RECORD_INVALID, &place, "line %zu: %s (got '%.200s')", line, what,
                 text);
}

/* Makes a digest at the start of the line lower-case, and notes the case that its letters had. */
static void fold_case(struct sums_parser *parser, char *line, size_t line_bytes, size_t number)
{
    char *hex = line + (line_bytes > 0 && line[0] == '\\');
    bool lower = false;
    bool upper = false;
    bool is_digest = line_bytes - (size_t)(hex - line) >= HEX_CHARS;
    for (size_t i = 0; i < HEX_CHARS && is_digest; i++) {
        bool is_lower = hex[i] >= 'a' && hex[i] <= 'f';
        bool is_upper = hex[i] >= 'A' && hex[i] <= 'F';
        is_digest = is_lower || is_upper || (hex[i] >= '0' && hex[i] <= '9');
        lower = lower || is_lower;
        upper = upper || is_upper;
    }
    if (!is_digest) {
        return;
    }
    for (size_t i = 0; i < HEX_CHARS; i++) {
        hex[i] = hex[i] >= 'A' && hex[i] <= 'F' ? (char)(hex[i] | 0x20) : hex[i];
    }
    bool was_mixed = parser->has_lower && parser->has_upper;
    parser->has_lower = parser->has_lower || lower;
    parser->has_upper = parser->has_upper || upper;
    if (!was_mixed && parser->has_lower && parser->has_upper) {
        char shown[SHA256_HEX_BYTES];
        memcpy(shown, hex, HEX_CHARS);
        shown[HEX_CHARS] = '\0';
        complain(parser, number, "upper-case digits of a SHA-256 in a list of lower-case ones", shown);
    }
}

static enum llavamed_status append_entry(struct sums_parser *parser, const char *hex, size_t number,
                                         struct llavamed_error *error)
{
    struct sums_list *list = parser->list;
    const char *name = strncmp(parser->name, "./", 2) == 0 ? parser->name + 2 : parser->name;
    if (name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        complain(parser, number, "not the name of a file in the directory itself", parser->name);
        return LLAVAMED_OK;
    }
    if (list->n_entries == parser->capacity) {
        size_t capacity = parser->capacity == 0 ? 32 : parser->capacity * 2;
        struct sums_entry *entries = reallocarray(list->entries, capacity, sizeof *entries);
        if (entries == NULL) {
            return llavamed_fail_memory(error, capacity * sizeof *entries, "a list of sums");
        }
        list->entries = entries;
        parser->capacity = capacity;
    }
    struct sums_entry *entry = &list->entries[list->n_entries];
    *entry = (struct sums_entry){.name = strdup(name), .line = number};
    if (entry->name == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a list of sums");
    }
    memcpy(entry->sha256, hex, SHA256_HEX_BYTES);
    list->n_entries++;
    return LLAVAMED_OK;
}

/* Whether the line is what is written for these, and comes where it is written. */
static bool is_canonical(struct sums_parser *parser, const char *line, size_t line_bytes, const char *hex)
{
    struct buffer *made = &parser->canonical;
    made->n_bytes = 0;
    sums_append(made, hex, parser->name);
    bool is_alike = !made->failed && made->n_bytes == line_bytes && memcmp(made->data, line, line_bytes) == 0;
    return is_alike && (parser->last_name == NULL || strcmp(parser->last_name, parser->name) < 0);
}

/* `line` with its end, which the last one may lack. */
static enum llavamed_status read_line(struct sums_parser *parser, char *line, size_t line_bytes, size_t number,
                                      struct llavamed_error *error)
{
    char hex[SHA256_HEX_BYTES];
    const char *cursor = line;
    size_t n_left = line_bytes;
    fold_case(parser, line, line_bytes, number);
    if (!sums_next(&cursor, &n_left, hex, parser->name)) {
        char shown[256];
        size_t n = line_bytes < sizeof shown - 1 ? line_bytes : sizeof shown - 1;
        memcpy(shown, line, n);
        shown[n] = '\0';
        shown[strcspn(shown, "\r\n")] = '\0';
        complain(parser, number, "not a line of a SHA256SUMS", shown);
        parser->last_name = NULL;
        return LLAVAMED_OK;
    }
    struct sums_list *list = parser->list;
    if (list->odd_line == 0 && !is_canonical(parser, line, line_bytes, hex)) {
        list->odd_line = number;
    }
    size_t before = list->n_entries;
    enum llavamed_status status = append_entry(parser, hex, number, error);
    if (list->n_entries > before) {
        parser->last_name = list->entries[before].name;
    }
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    const struct sums_entry *entry_a = a;
    const struct sums_entry *entry_b = b;
    int order = strcmp(entry_a->name, entry_b->name);
    return order != 0 ? order : (entry_a->line > entry_b->line) - (entry_a->line < entry_b->line);
}

/* Of several lines about one name the first is kept. */
static void keep_first(struct sums_parser *parser)
{
    struct sums_list *list = parser->list;
    sort_array(list->entries, list->n_entries, sizeof *list->entries, compare_entries);
    size_t n = 0;
    for (size_t i = 0; i < list->n_entries; i++) {
        struct sums_entry *entry = &list->entries[i];
        if (n > 0 && strcmp(list->entries[n - 1].name, entry->name) == 0) {
            complain(parser, entry->line, "a name that another line has already", entry->name);
            free(entry->name);
        } else {
            list->entries[n++] = *entry;
        }
    }
    list->n_entries = n;
}

enum llavamed_status sums_list_parse(char *text, size_t n_bytes, const char *shown, struct sums_list *list,
                                     struct findings *findings, struct llavamed_error *error)
{
    *list = (struct sums_list){0};
    struct sums_parser parser = {.shown = shown, .list = list, .findings = findings, .name = malloc(n_bytes + 1)};
    if (parser.name == NULL) {
        return llavamed_fail_memory(error, n_bytes + 1, "a list of sums");
    }
    buffer_init(&parser.canonical, SUMS_LIST_BYTES_MAX * (size_t)2 + SHA256_HEX_BYTES);
    enum llavamed_status status = LLAVAMED_OK;
    size_t number = 0;
    for (size_t at = 0; at < n_bytes && status == LLAVAMED_OK;) {
        const char *newline = memchr(text + at, '\n', n_bytes - at);
        size_t line_bytes = newline == NULL ? n_bytes - at : (size_t)(newline - (text + at)) + 1;
        status = read_line(&parser, text + at, line_bytes, ++number, error);
        at += line_bytes;
    }
    if (status == LLAVAMED_OK && parser.canonical.failed) {
        status = llavamed_fail_memory(error, n_bytes, "a list of sums");
    }
    keep_first(&parser);
    buffer_deinit(&parser.canonical);
    free(parser.name);
    return status;
}
