/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a JSON text. What is accepted is written again, escaped and not, and must parse to the same tree; every
 * member of a root object must be where json_find_root_value() says; what is refused must say so in a clean message.
 * Memory is linear in the text's size.
 */
#include <string.h>

#include "core/json.h"
#include "fuzz_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void append_function(struct buffer *out, const char *utf8);

/* The containers that are open on the way through a tree. */
struct walk {
    const struct json_value *open[JSON_DEPTH_MAX];
    size_t depth;
};

static void write_scalar(struct buffer *out, const struct json_value *value, append_function *append)
{
    uint64_t integer;
    switch (json_kind_of(value)) {
    case JSON_NULL:
        buffer_append_text(out, "null");
        break;
    case JSON_BOOL:
        buffer_append_text(out, "true");
        break;
    case JSON_NUMBER:
        if (json_integer(value, &integer)) {
            buffer_printf(out, "%llu", (unsigned long long)integer);
        } else {
            buffer_append_text(out, "-0.5e0");
        }
        break;
    case JSON_STRING:
        append(out, json_string(value));
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        abort();
    }
}

static void write_tree(struct buffer *out, const struct json_value *root, append_function *append)
{
    struct walk walk = {.depth = 0};
    const struct json_value *value = root;
    while (value != NULL) {
        if (json_key(value) != NULL) {
            append(out, json_key(value));
            buffer_append_text(out, " :");
        }
        enum json_kind kind = json_kind_of(value);
        if (kind == JSON_ARRAY || kind == JSON_OBJECT) {
            buffer_append_text(out, kind == JSON_ARRAY ? "[" : "{");
            REQUIRE(walk.depth < JSON_DEPTH_MAX);
            walk.open[walk.depth++] = value;
            value = json_first(value);
        } else {
            write_scalar(out, value, append);
            value = walk.depth == 0 ? NULL : json_next(value);
            buffer_append_text(out, value == NULL ? "" : ",\n");
        }
        while (value == NULL && walk.depth > 0) {
            const struct json_value *closed = walk.open[--walk.depth];
            buffer_append_text(out, json_kind_of(closed) == JSON_ARRAY ? "]" : "}");
            value = walk.depth == 0 ? NULL : json_next(closed);
            buffer_append_text(out, value == NULL ? "" : ",\n");
        }
    }
}

static void require_clean_error(enum llavamed_status status, const struct llavamed_error *error)
{
    REQUIRE(status == LLAVAMED_STATUS_JSON_INVALID || status == LLAVAMED_STATUS_JSON_DUPLICATE_KEY ||
            status == LLAVAMED_STATUS_INPUT_LIMIT);
    REQUIRE(error->status == status && strncmp(error->message, "x: ", 3) == 0);
    REQUIRE(text_is_utf8(error->message, strlen(error->message)));
    REQUIRE(strpbrk(error->message, "\n\r\t\x1b") == NULL);
}

/* The text of each root member, parsed alone, writes as the member does. */
static void require_root_values_found(const char *text, size_t n_bytes, const struct json_value *root)
{
    size_t n_left = 64;
    struct llavamed_error error;
    for (const struct json_value *member = json_first(root); member != NULL && n_left > 0; member = json_next(member)) {
        n_left--;
        size_t begin = n_bytes;
        size_t end = 0;
        REQUIRE(json_find_root_value(text, n_bytes, json_key(member), &begin, &end));
        REQUIRE(begin < end && end < n_bytes);
        struct json *alone = NULL;
        REQUIRE(json_parse("x", text + begin, end - begin, false, &alone, &error) == LLAVAMED_OK);
        REQUIRE(json_kind_of(json_root(alone)) == json_kind_of(member));
        const char *string = json_string(member);
        REQUIRE(string == NULL || strcmp(string, json_string(json_root(alone))) == 0);
        json_free(alone);
    }
}

static void require_round_trip(const struct json *json, append_function *append, append_function *other, size_t max)
{
    struct buffer first;
    struct buffer again;
    struct buffer expected;
    struct json *copy = NULL;
    struct llavamed_error error;
    buffer_init(&first, max);
    buffer_init(&again, max);
    buffer_init(&expected, max);
    write_tree(&first, json_root(json), append);
    REQUIRE(buffer_status(&first, "x", &error) == LLAVAMED_OK);
    REQUIRE(json_parse("x", first.data, first.n_bytes, false, &copy, &error) == LLAVAMED_OK);
    /* Written the other way, so that an escape which both sides get wrong shows. */
    write_tree(&again, json_root(copy), other);
    write_tree(&expected, json_root(json), other);
    REQUIRE(again.n_bytes == expected.n_bytes && memcmp(again.data, expected.data, again.n_bytes) == 0);
    json_free(copy);
    buffer_deinit(&first);
    buffer_deinit(&again);
    buffer_deinit(&expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct llavamed_error error = {0};
    struct json *strict = NULL;
    struct json *json = NULL;
    enum llavamed_status strict_status = json_parse("x", text, size, true, &strict, &error);
    REQUIRE((strict_status == LLAVAMED_OK) == (strict != NULL));
    fuzz_memory_reset();
    enum llavamed_status status = json_parse("x", text, size, false, &json, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 4096 + 64 * size);
    REQUIRE((status == LLAVAMED_OK) == (json != NULL));
    REQUIRE(strict_status != LLAVAMED_OK || status == LLAVAMED_OK);
    if (status == LLAVAMED_OK) {
        REQUIRE(text_is_utf8(text, size));
        require_round_trip(json, json_append_ascii, json_append_utf8, 8 * size + 64);
        require_round_trip(json, json_append_utf8, json_append_ascii, 8 * size + 64);
        if (json_kind_of(json_root(json)) == JSON_OBJECT) {
            require_root_values_found(text, size, json_root(json));
        }
    } else {
        require_clean_error(status, &error);
    }
    json_free(strict);
    json_free(json);
    return 0;
}
