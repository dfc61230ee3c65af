/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/small_files.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "llavamed.h"
#include "merge/notice_text.h"

#define NAME_BYTES_MAX 255

static const char *const exact_names[] = {
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "processor_config.json",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
};

/* What a text for people may be called; code and weights are not in it, whatever their name begins with. */
static const char *const text_endings[] = {".txt", ".md", ".rst", ".docx", ".pdf", ".html"};

static const char *const legal_words[] = {"license", "licence", "use_policy", "use-policy"};

/* Bytes above 0x7f are left as they are. */
static void lower_ascii(const char *text, char *lower, size_t capacity)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < capacity; i++) {
        unsigned char c = (unsigned char)text[i];
        lower[i] = (char)(c < 0x80 ? tolower(c) : c);
    }
    lower[i] = '\0';
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n_text = strlen(text);
    size_t n_ending = strlen(ending);
    return n_text >= n_ending && strcmp(text + n_text - n_ending, ending) == 0;
}

static bool is_text_name(const char *lower)
{
    for (size_t i = 0; i < sizeof text_endings / sizeof text_endings[0]; i++) {
        if (ends_with(lower, text_endings[i])) {
            return true;
        }
    }
    return strchr(lower, '.') == NULL;
}

static bool is_legal_text(const char *name)
{
    char lower[NAME_BYTES_MAX + 1];
    lower_ascii(name, lower, sizeof lower);
    if (!is_text_name(lower)) {
        return false;
    }
    for (size_t i = 0; i < sizeof legal_words / sizeof legal_words[0]; i++) {
        if (strstr(lower, legal_words[i]) != NULL) {
            return true;
        }
    }
    /* Not NOTICE-research-only.md, which an earlier merge may have left: the result gets its own. */
    return strcmp(lower, "notice") == 0 || strcmp(lower, "notice.txt") == 0 || strcmp(lower, "notice.md") == 0;
}

/* Whether a name is seen as it is: no character of it is not seen or turns the order of others. */
static bool is_printable(const char *name)
{
    char shown[NAME_BYTES_MAX + 1];
    size_t n = strlen(name);
    if (n > NAME_BYTES_MAX) {
        return false;
    }
    memcpy(shown, name, n + 1);
    llavamed_make_printable(shown);
    return strcmp(shown, name) == 0;
}

const char *small_file_target(const char *name)
{
    if (name[0] == '.' || strchr(name, '/') != NULL || !is_printable(name) || strcmp(name, NOTICE_FILE_NAME) == 0) {
        return NULL;
    }
    if (strcmp(name, "README.md") == 0) {
        return "README.delta.md";
    }
    for (size_t i = 0; i < sizeof exact_names / sizeof exact_names[0]; i++) {
        if (strcmp(name, exact_names[i]) == 0) {
            return name;
        }
    }
    if (strncmp(name, "tokenizer", strlen("tokenizer")) == 0 && ends_with(name, ".json")) {
        return name;
    }
    return is_legal_text(name) ? name : NULL;
}
