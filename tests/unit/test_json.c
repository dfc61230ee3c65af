/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"

#include "unit/harness.h"

static struct llavamed_error error;

/* Parses a copy that ends where the text ends, so that a sanitizer sees a read behind it. */
static enum llavamed_status parse_bytes(const char *text, size_t n_bytes, bool integers_only, struct json **out)
{
    char *copy = malloc(n_bytes == 0 ? 1 : n_bytes);
    if (copy == NULL) {
        return LLAVAMED_STATUS_NO_MEMORY;
    }
    memcpy(copy, text, n_bytes);
    memset(&error, 0, sizeof error);
    enum llavamed_status status = json_parse("x.json", copy, n_bytes, integers_only, out, &error);
    free(copy);
    return status;
}

static enum llavamed_status verdict(const char *text, size_t n_bytes, bool integers_only)
{
    struct json *json = NULL;
    enum llavamed_status status = parse_bytes(text, n_bytes, integers_only, &json);
    if ((status == LLAVAMED_OK) != (json != NULL)) {
        status = LLAVAMED_STATUS_INTERNAL;
    }
    json_free(json);
    return status;
}

static struct json *parse(const char *text)
{
    struct json *json = NULL;
    if (!EXPECT_U64(parse_bytes(text, strlen(text), false, &json), LLAVAMED_OK)) {
        printf("    %s: %s\n", text, error.message);
        exit(1);
    }
    return json;
}

static void valid_texts_are_accepted(void)
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.5",
        "1e5",
        "1E+5",
        "1e-5",
        "-1.25e-07",
        "1e999",
        "\"\"",
        "[]",
        "{}",
        " \t\r\n[ ] \t\r\n",
        "[1]",
        "[1,2]",
        "[[],{}]",
        "{\"\":0}",
        "{\"a\":{\"a\":1},\"A\":1}",
        "[{\"a\":1},{\"a\":1}]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
        "\"\\ud83d\\ude00\"",
        "\"\\uD83D\\uDE00\"",
        "\"\x7f\"",
        "\"\xc2\x80\"",
        "\"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf\"",
        "\"\\uffff\"",
        "{ \"a\" : [ 1 , 2 ] }",
        "123456789012345678901234567890123456789012345678901234567890123",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!EXPECT_U64(verdict(texts[i], strlen(texts[i]), false), LLAVAMED_OK)) {
            printf("    %s: %s\n", texts[i], error.message);
        }
    }
}

struct bad_text {
    const char *text;
    const char *message; /* behind "x.json: not valid JSON at " */
};

static const struct bad_text bad_texts[] = {
    {"", "byte 0: the text ends where a value belongs"},
    {"  ", "byte 2: the text ends where a value belongs"},
    {"nul", "byte 0: no value starts here"},
    {"nulL", "byte 0: no value starts here"},
    {"True", "byte 0: no value starts here"},
    {"NaN", "byte 0: no value starts here"},
    {"Infinity", "byte 0: no value starts here"},
    {"-Infinity", "byte 0: a number"},
    {"truefalse", "byte 4: more text"},
    {"1 2", "byte 2: more text"},
    {"{}}", "byte 2: more text"},
    {"[]x", "byte 2: more text"},
    {"+1", "byte 0: no value starts here"},
    {"-", "byte 0: a number"},
    {"01", "byte 0: a number"},
    {"-01", "byte 0: a number"},
    {"00", "byte 0: a number"},
    {"1.", "byte 0: a number"},
    {".5", "byte 0: no value starts here"},
    {"1.e5", "byte 0: a number"},
    {"1e", "byte 0: a number"},
    {"1e+", "byte 0: a number"},
    {"[-]", "byte 1: a number"},
    {"0x10", "byte 1: more text"},
    {"1_000", "byte 1: more text"},
    {"[", "byte 1: the text ends where a value belongs"},
    {"[1", "byte 2: no comma or closing bracket"},
    {"[1,", "byte 3: the text ends where a value belongs"},
    {"[1,]", "byte 3: no value starts here"},
    {"[,1]", "byte 1: no value starts here"},
    {"[1 2]", "byte 3: no comma or closing bracket"},
    {"[1}", "byte 2: no comma or closing bracket"},
    {"{", "byte 1: no key starts here"},
    {"{]", "byte 1: no key starts here"},
    {"{\"a\"", "byte 4: no colon"},
    {"{\"a\",1}", "byte 4: no colon"},
    {"{\"a\":}", "byte 5: no value starts here"},
    {"{\"a\":1,}", "byte 7: no key starts here"},
    {"{\"a\":1", "byte 6: no comma or closing bracket"},
    {"{\"a\":1]", "byte 6: no comma or closing bracket"},
    {"{a:1}", "byte 1: no key starts here"},
    {"{1:1}", "byte 1: no key starts here"},
    {"{'a':1}", "byte 1: no key starts here"},
    {"/**/1", "byte 0: no value starts here"},
    {"1 // x", "byte 2: more text"},
    {"\xef\xbb\xbf{}", "byte 0: no value starts here"},
    {"\"", "byte 0: a string that does not end"},
    {"\"abc", "byte 0: a string that does not end"},
    {"\"\\\"", "byte 0: a string that does not end"},
    {"\"\\", "byte 1: an escape"},
    {"\"\\x41\"", "byte 1: an escape"},
    {"\"\\'\"", "byte 1: an escape"},
    {"\"\\\n\"", "byte 1: an escape"},
    {"\"\\u\"", "byte 1: a \\u escape needs"},
    {"\"\\u123\"", "byte 1: a \\u escape needs"},
    {"\"\\u123g\"", "byte 1: a \\u escape needs"},
    {"\"\\u12", "byte 1: a \\u escape needs"},
    {"\"\\u+123\"", "byte 1: a \\u escape needs"},
    {"\"a\\u0000\"", "byte 2: \\u0000"},
    {"\"\\ud800\"", "byte 1: half of a surrogate pair"},
    {"\"\\udc00\"", "byte 1: half of a surrogate pair"},
    {"\"\\ud800\\ud800\"", "byte 1: half of a surrogate pair"},
    {"\"\\ud800\\n\\udc00\"", "byte 1: half of a surrogate pair"},
    {"\"\\ud800\\u\"", "byte 1: half of a surrogate pair"},
    {"\"\\ud800\\udc0", "byte 1: half of a surrogate pair"},
    {"\"\\ud83d\\ude00\\ude00\"", "byte 13: half of a surrogate pair"},
    {"\"\t\"", "byte 1: a control character"},
    {"\"a\n\"", "byte 2: a control character"},
    {"\"\x1f\"", "byte 1: a control character"},
    {"\"\xff\"", "byte 1: text that is not UTF-8"},
    {"\"a\x80\"", "byte 2: text that is not UTF-8"},
    {"\"\xc0\x80\"", "byte 1: text that is not UTF-8"},
    {"\"\xe0\x80\x80\"", "byte 1: text that is not UTF-8"},
    {"\"\xed\xa0\x80\"", "byte 1: text that is not UTF-8"},
    {"\"\xf4\x90\x80\x80\"", "byte 1: text that is not UTF-8"},
    {"\"\xe2\x82\"", "byte 1: text that is not UTF-8"},
    {"\"\xe2\x82", "byte 1: text that is not UTF-8"},
    {"[1,\xc2\xa0 2]", "byte 3: no value starts here"},
    {"\v1", "byte 0: no value starts here"},
};

static void bad_texts_are_refused(void)
{
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++) {
        const struct bad_text *bad = &bad_texts[i];
        char want[128];
        (void)snprintf(want, sizeof want, "x.json: not valid JSON at %s", bad->message);
        bool right = EXPECT_U64(verdict(bad->text, strlen(bad->text), false), LLAVAMED_STATUS_JSON_INVALID);
        right = EXPECT(strncmp(error.message, want, strlen(want)) == 0) && right;
        if (!right) {
            printf("    %s\n    got  %s\n    want %s\n", bad->text, error.message, want);
        }
    }
    EXPECT_U64(verdict("\"a\0b\"", 5, false), LLAVAMED_STATUS_JSON_INVALID);
    EXPECT_U64(verdict("{}\0", 3, false), LLAVAMED_STATUS_JSON_INVALID);
    EXPECT_U64(verdict("\"\\\0\"", 4, false), LLAVAMED_STATUS_JSON_INVALID);
}

/* Every text cut short is refused, whatever the cut: [{"a":[1.5e3,true,"é\ud83d\ude00"]}]. */
static void cut_texts_are_refused(void)
{
    static const char text[] = "[{\"a\":[1.5e3,true,\"\xc3\xa9\\ud83d\\ude00\"]}]";
    EXPECT_U64(verdict(text, sizeof text - 1, false), LLAVAMED_OK);
    for (size_t n = 0; n < sizeof text - 1; n++) {
        EXPECT_U64(verdict(text, n, false), LLAVAMED_STATUS_JSON_INVALID);
    }
}

static void integers_only_takes_plain_integers(void)
{
    static const char *const good[] = {"0", "1", "9007199254740991", "[10,200]", "{\"a\":[0]}"};
    static const char *const bad[] = {"-1",
                                      "-0",
                                      "1.0",
                                      "1e3",
                                      "0e0",
                                      "9007199254740992",
                                      "18446744073709551616",
                                      "[1,[-2]]",
                                      "99999999999999999999999999999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        EXPECT_U64(verdict(good[i], strlen(good[i]), true), LLAVAMED_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        EXPECT_U64(verdict(bad[i], strlen(bad[i]), true), LLAVAMED_STATUS_JSON_INVALID);
        EXPECT(strstr(error.message, "not a plain integer from 0 to 2^53 - 1") != NULL);
    }
}

static void limits_hold(void)
{
    const size_t depth = JSON_DEPTH_MAX;
    char text[256];
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    EXPECT_U64(verdict(text, 2 * depth, false), LLAVAMED_OK);
    memset(text, '[', depth + 1);
    memset(text + depth + 1, ']', depth + 1);
    EXPECT_U64(verdict(text, 2 * depth + 2, false), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT_TEXT(error.message, "x.json: JSON at byte 32: nested too deeply (want at most 32)");

    memset(text, '7', sizeof text);
    EXPECT_U64(verdict(text, JSON_NUMBER_BYTES_MAX, false), LLAVAMED_OK);
    EXPECT_U64(verdict(text, JSON_NUMBER_BYTES_MAX + 1, false), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT_TEXT(error.message, "x.json: JSON at byte 0: too long a number (want at most 63)");

    /* One value more than allowed: refused before anything is built. */
    size_t n_bytes = 2 * (size_t)JSON_NODES_MAX + 1;
    char *many = malloc(n_bytes);
    if (!EXPECT(many != NULL)) {
        return;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        many[i] = i % 2 == 0 ? ',' : '0';
    }
    many[0] = '[';
    many[n_bytes - 1] = ']';
    EXPECT_U64(verdict(many, n_bytes, false), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "too many values (want at most 8000000)") != NULL);
    free(many);
}

static void duplicate_keys_are_refused(void)
{
    static const char *const texts[] = {
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"b\":{},\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"\xc3\xa9\":1,\"\\u00e9\":2}",
        "{\"\xf0\x9f\x98\x80\":1,\"\\uD83D\\uDE00\":2}",
        "{\"/\":1,\"\\/\":2}",
        "{\"\":1,\"\":2}",
        "[0,{\"x\":[{\"b\":{},\"c\":[],\"b\":0}]}]",
        "{\"x\":{\"y\":1},\"z\":{\"k\":1,\"k\":1}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        EXPECT_U64(verdict(texts[i], strlen(texts[i]), false), LLAVAMED_STATUS_JSON_DUPLICATE_KEY);
    }
    EXPECT_U64(verdict(texts[2], strlen(texts[2]), false), LLAVAMED_STATUS_JSON_DUPLICATE_KEY);
    EXPECT_TEXT(error.message, "x.json: key 'a' is there twice in one object");

    /* Far apart in a large object, and the same object with that key changed. */
    struct buffer large;
    buffer_init(&large, 1u << 24);
    for (int i = 0; i < 100000; i++) {
        buffer_printf(&large, "%s\"key.%d\":0", i == 0 ? "{" : ",", i);
    }
    size_t before = large.n_bytes;
    buffer_append_text(&large, ",\"key.7\":0}");
    EXPECT_U64(verdict(large.data, large.n_bytes, false), LLAVAMED_STATUS_JSON_DUPLICATE_KEY);
    large.data[before + 2] = 'K';
    EXPECT_U64(verdict(large.data, large.n_bytes, false), LLAVAMED_OK);
    buffer_deinit(&large);
}

static void documents_are_walked(void)
{
    struct json *json = parse("{\"Key\":1,\"key\":[true,null,\"\\ud83d\\ude00\\n\"],\"o\":{},\"f\":1.5,\"a\":[]}");
    const struct json_value *root = json_root(json);
    EXPECT_U64(json_kind_of(root), JSON_OBJECT);
    EXPECT(json_key(root) == NULL);
    EXPECT(json_next(root) == NULL);
    EXPECT_TEXT(json_key(json_first(root)), "Key");
    const struct json_value *array = json_member(root, "key");
    if (!EXPECT(array != NULL)) {
        json_free(json);
        return;
    }
    EXPECT_U64(json_kind_of(array), JSON_ARRAY);
    const struct json_value *item = json_first(array);
    EXPECT_U64(json_kind_of(item), JSON_BOOL);
    EXPECT(json_key(item) == NULL);
    item = json_next(item);
    EXPECT_U64(json_kind_of(item), JSON_NULL);
    item = json_next(item);
    EXPECT_U64(json_kind_of(item), JSON_STRING);
    EXPECT_TEXT(json_string(item), "\xf0\x9f\x98\x80\n");
    EXPECT(json_next(item) == NULL);
    EXPECT(json_first(json_member(root, "o")) == NULL);
    EXPECT(json_first(json_member(root, "a")) == NULL);
    EXPECT(json_member(root, "KEY") == NULL);
    EXPECT(json_member(array, "key") == NULL);
    EXPECT(json_string(array) == NULL);
    json_free(json);
    json_free(NULL);
}

struct number_case {
    const char *text;
    bool is_integer;
    uint64_t value;
};

static void integers_are_told_from_other_numbers(void)
{
    static const struct number_case cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"2147483648", true, 2147483648},
        {"13476839424", true, 13476839424},
        {"9007199254740991", true, 9007199254740991},
        {"9007199254740992", false, 0},
        {"9007199254740993", false, 0},
        {"1e300", false, 0},
        {"1e999", false, 0},
        {"-1", false, 0},
        {"1.5", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
        {"[1]", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json *json = parse(cases[i].text);
        uint64_t value = 0;
        EXPECT(json_integer(json_root(json), &value) == cases[i].is_integer);
        EXPECT_U64(value, cases[i].value);
        json_free(json);
    }
}

/* Wanted texts: Python 3.11 json.dumps(text), and the names in a header that the safetensors library 0.8.0 wrote. */
static void strings_are_written_as_others_write_them(void)
{
    static const char text[] = "\"\\/\b\t\n\f\r\x01\x1f\x7f\xc2\x80\xc3\xa9\xe4\xb8\xad"
                               "\xe2\x80\xa8\xef\xbf\xbf\xf0\x9f\x98\x80'<";
    struct buffer out;
    buffer_init(&out, 4096);
    json_append_ascii(&out, text);
    EXPECT_TEXT(out.data, "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\\u007f\\u0080\\u00e9\\u4e2d\\u2028\\uffff"
                          "\\ud83d\\ude00'<\"");
    buffer_deinit(&out);
    json_append_utf8(&out, text);
    EXPECT_TEXT(out.data, "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\xc2\x80\xc3\xa9\xe4\xb8\xad"
                          "\xe2\x80\xa8\xef\xbf\xbf\xf0\x9f\x98\x80'<\"");
    buffer_deinit(&out);
    json_append_ascii(&out, "");
    json_append_utf8(&out, "");
    EXPECT_TEXT(out.data, "\"\"\"\"");
    buffer_deinit(&out);
    json_append_ascii(&out, "a\xff\xe2\x82");
    EXPECT_TEXT(out.data, "\"a\\ufffd\\ufffd\\ufffd\"");
    buffer_deinit(&out);
    json_append_utf8(&out, "\xc3");
    EXPECT_TEXT(out.data, "\"\xef\xbf\xbd\"");
    buffer_deinit(&out);
}

/* Every character there is, both ways: what is written parses back to itself. */
static void all_characters_survive(void)
{
    for (uint32_t c = 1; c < 0x110000; c += c < 0x3000 ? 1 : 61) {
        if (c >= 0xd800 && c < 0xe000) {
            continue;
        }
        struct buffer escaped;
        struct buffer kept;
        buffer_init(&escaped, 64);
        buffer_init(&kept, 64);
        if (c < 0x10000) {
            buffer_printf(&escaped, "\"\\u%04X\"", c);
        } else {
            buffer_printf(&escaped, "\"\\u%04x\\u%04X\"", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        }
        struct json *first = parse(escaped.data);
        buffer_deinit(&escaped);
        json_append_utf8(&kept, json_string(json_root(first)));
        json_append_ascii(&escaped, json_string(json_root(first)));
        struct json *second = parse(kept.data);
        struct json *third = parse(escaped.data);
        if (strcmp(json_string(json_root(first)), json_string(json_root(second))) != 0 ||
            strcmp(json_string(json_root(first)), json_string(json_root(third))) != 0) {
            EXPECT(false);
            printf("    U+%04X\n", c);
        }
        json_free(first);
        json_free(second);
        json_free(third);
        buffer_deinit(&escaped);
        buffer_deinit(&kept);
    }
    EXPECT(harness_case_failures == 0);
}

static void expect_root_value(const char *text, const char *key, const char *want)
{
    size_t begin = 0;
    size_t end = 0;
    char got[128] = "(none)";
    if (json_find_root_value(text, strlen(text), key, &begin, &end)) {
        (void)snprintf(got, sizeof got, "%.*s", (int)(end - begin), text + begin);
    }
    EXPECT_TEXT(got, want);
}

static void root_values_are_found_in_the_text(void)
{
    static const char text[] = " {\n  \"o\" : {\"x\": [\"}\", {\"y\":\"\\\"]\"}]} ,\n"
                               "  \"s\": \"a,\\\"}\\\\\" , \"n\":-1.5e3\n,"
                               "\"t\":true,\"l\":[ 1 , [ ] ],"
                               "\"\\u0065\\u006E\\n\\/\\ud83d\\ude00\":null,\"\":{}, \"last\":0}\n";
    struct json *json = parse(text);
    json_free(json);
    expect_root_value(text, "o", "{\"x\": [\"}\", {\"y\":\"\\\"]\"}]}");
    expect_root_value(text, "s", "\"a,\\\"}\\\\\"");
    expect_root_value(text, "n", "-1.5e3");
    expect_root_value(text, "t", "true");
    expect_root_value(text, "l", "[ 1 , [ ] ]");
    expect_root_value(text, "en\n/\xf0\x9f\x98\x80", "null");
    expect_root_value(text, "", "{}");
    expect_root_value(text, "last", "0");
    expect_root_value(text, "x", "(none)");
    expect_root_value(text, "y", "(none)");
    expect_root_value(text, "S", "(none)");
    expect_root_value(text, "las", "(none)");
    expect_root_value(text, "lastt", "(none)");
    expect_root_value("{}", "a", "(none)");
    expect_root_value("[\"a\"]", "a", "(none)");
    expect_root_value("\"a\"", "a", "(none)");
    /* Outside the contract, yet within bounds. */
    expect_root_value("", "a", "(none)");
    expect_root_value("{\"a", "a", "(none)");
    expect_root_value("{\"b\"", "a", "(none)");
    expect_root_value("{\"b\":", "a", "(none)");
    expect_root_value("{\"b\":\"\\", "a", "(none)");
}

static void version_is_told(void)
{
    EXPECT(json_library_version() != NULL && strncmp(json_library_version(), "1.", 2) == 0);
}

int main(void)
{
    CASE(valid_texts_are_accepted);
    CASE(bad_texts_are_refused);
    CASE(cut_texts_are_refused);
    CASE(integers_only_takes_plain_integers);
    CASE(limits_hold);
    CASE(duplicate_keys_are_refused);
    CASE(documents_are_walked);
    CASE(integers_are_told_from_other_numbers);
    CASE(strings_are_written_as_others_write_them);
    CASE(all_characters_survive);
    CASE(root_values_are_found_in_the_text);
    CASE(version_is_told);
    return harness_end();
}
