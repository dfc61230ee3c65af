/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the config.json, params.json and added_tokens.json beside weights. An edit of the dtype changes that
 * value alone and needs no second one; numbers are warned of exactly when they differ from the tensors'; a base whose
 * config is the delta's own is refused for nothing that the two share.
 */
#include <string.h>

#include "fuzz_memory.h"
#include "merge/base_signs.h"
#include "merge/config_edit.h"
#include "source/config_check.h"
#include "source/recognise.h"

#define DTYPE_NAME "bfloat16"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_dtype_key(const char *key)
{
    return key != NULL && (strcmp(key, "dtype") == 0 || strcmp(key, "torch_dtype") == 0);
}

static void require_same_value(const struct json_value *a, const struct json_value *b, bool may_be_edited)
{
    double x = 0;
    double y = 0;
    REQUIRE(json_kind_of(a) == json_kind_of(b) && same_text(json_key(a), json_key(b)));
    REQUIRE(json_number(a, &x) == json_number(b, &y) && memcmp(&x, &y, sizeof x) == 0);
    REQUIRE(same_text(json_string(b), may_be_edited && json_string(a) != NULL ? DTYPE_NAME : json_string(a)));
}

/* Two trees, value by value; only the root's members may have been edited. */
static void require_same_tree(const struct json_value *a, const struct json_value *b)
{
    const struct json_value *open_a[JSON_DEPTH_MAX + 1] = {a};
    const struct json_value *open_b[JSON_DEPTH_MAX + 1] = {b};
    size_t depth = 0;
    const struct json_value *x = json_first(a);
    const struct json_value *y = json_first(b);
    for (;;) {
        REQUIRE((x == NULL) == (y == NULL));
        if (x == NULL && depth == 0) {
            return;
        }
        if (x == NULL) {
            x = json_next(open_a[depth]);
            y = json_next(open_b[depth]);
            depth--;
            continue;
        }
        require_same_value(x, y, depth == 0 && is_dtype_key(json_key(x)));
        if (json_first(x) != NULL) {
            depth++;
            open_a[depth] = x;
            open_b[depth] = y;
            x = json_first(x);
            y = json_first(y);
        } else {
            REQUIRE(json_first(y) == NULL);
            x = json_next(x);
            y = json_next(y);
        }
    }
}

/* Whether a root member of this key wants to be edited. */
static bool wants_edit(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_string(value) != NULL && strcmp(json_string(value), DTYPE_NAME) != 0;
}

static void check_edit(const char *text, size_t n_bytes, const struct json_value *root)
{
    struct llavamed_error error;
    struct json *json = NULL;
    struct buffer first;
    struct buffer second;
    bool changed = true;
    buffer_init(&first, n_bytes + 64);
    buffer_init(&second, n_bytes + 64);
    config_edit_dtype(text, n_bytes, root, DTYPE_NAME, &first, &changed);
    REQUIRE(buffer_status(&first, "x", &error) == LLAVAMED_OK);
    REQUIRE(changed == (wants_edit(root, "torch_dtype") || wants_edit(root, "dtype")));
    REQUIRE(changed || (first.n_bytes == n_bytes && memcmp(first.data, text, n_bytes) == 0));
    REQUIRE(json_parse("x", first.data, first.n_bytes, false, &json, &error) == LLAVAMED_OK);
    require_same_tree(root, json_root(json));
    config_edit_dtype(first.data, first.n_bytes, json_root(json), DTYPE_NAME, &second, &changed);
    REQUIRE(!changed && second.n_bytes == first.n_bytes && memcmp(second.data, first.data, first.n_bytes) == 0);
    json_free(json);
    buffer_deinit(&first);
    buffer_deinit(&second);
}

static uint64_t integer_or_none(const struct json_value *root, const char *key)
{
    uint64_t number;
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_integer(value, &number) ? number : UINT64_MAX;
}

static void check_warnings(const struct json_value *root)
{
    struct model_facts facts = {32003, 4096, 32};
    struct warnings warnings = {0};
    const uint64_t got[3] = {integer_or_none(root, "vocab_size"), integer_or_none(root, "hidden_size"),
                             integer_or_none(root, "num_hidden_layers")};
    const uint64_t want[3] = {facts.n_rows, facts.n_hidden, facts.n_layers};
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        n += got[i] != UINT64_MAX && got[i] != want[i];
    }
    config_check("config.json", root, &facts, &warnings);
    REQUIRE(warnings.n_texts == n && !warnings.failed);
    warnings_deinit(&warnings);

    bool all_numbers = true;
    uint64_t highest = 0;
    for (const struct json_value *token = json_first(root); token != NULL; token = json_next(token)) {
        uint64_t id = 0;
        all_numbers = all_numbers && json_integer(token, &id);
        highest = id > highest ? id : highest;
    }
    added_tokens_check("added_tokens.json", root, &facts, &warnings);
    bool fits = json_first(root) == NULL || (all_numbers && highest + 1 == facts.n_rows);
    REQUIRE(warnings.n_texts == (fits ? 0 : 1));
    warnings_deinit(&warnings);
}

/* Whether the message has `phrase` of its own, not within the model_type that it quotes. */
static bool says(const struct llavamed_error *error, const struct json_value *root, const char *phrase)
{
    const struct json_value *quoted = root == NULL ? NULL : json_member(root, "model_type");
    const char *text = quoted == NULL ? NULL : json_string(quoted);
    return strstr(error->message, phrase) != NULL && (text == NULL || strstr(text, phrase) == NULL);
}

/* Base and delta have the same file, called `name`; its object is `root`, or NULL when it has none. */
static void check_signs(const char *path, const char *name, const struct json_value *root)
{
    static const char *const shared_signs[] = {"epsilon", "rope_theta", "key and value heads", "rows"};
    struct source_small_file file = {.name = strdup(name), .path = strdup(path)};
    struct tensor_set none = {0};
    struct base_signs_side side = {"base", &file, 1, &none, NULL};
    struct warnings warnings = {0};
    struct warnings notes = {0};
    struct llavamed_error error = {0};
    tensor_set_init(&none);
    REQUIRE(tensor_set_seal(&none, "x", &error) == LLAVAMED_OK);
    enum llavamed_status status = base_signs_check(&side, &side, &warnings, &notes, &error);
    REQUIRE(status == LLAVAMED_OK || llavamed_exit_status(&error) == 4);
    if (status == LLAVAMED_STATUS_PAIR_BASE_OTHER) {
        for (size_t i = 0; i < sizeof shared_signs / sizeof shared_signs[0]; i++) {
            REQUIRE(!says(&error, root, shared_signs[i]));
        }
        /* What LLaMA-1 never has counts even when both have it. */
        REQUIRE(strstr(error.message, "model_type") != NULL || strstr(error.message, "ffn_dim_multiplier") != NULL);
    } else {
        REQUIRE(status == LLAVAMED_OK || status == LLAVAMED_STATUS_PAIR_BASE_MERGED);
    }
    REQUIRE(text_is_utf8(error.message, strlen(error.message)) && strpbrk(error.message, "\n\r\t\x1b") == NULL);
    REQUIRE(warnings.n_texts <= 4 && notes.n_texts <= 1);
    warnings_deinit(&warnings);
    warnings_deinit(&notes);
    tensor_set_deinit(&none);
    free(file.name);
    free(file.path);
}

static void check_kind(const char *text, size_t n_bytes, const struct json_value *root)
{
    struct tensor_set none = {0};
    struct llavamed_error error;
    bool is_quantised = false;
    const struct json_value *value = root == NULL ? NULL : json_member(root, "quantization_config");
    tensor_set_init(&none);
    REQUIRE(recognise_tensors("x", &none, text, n_bytes, &is_quantised, &error) == LLAVAMED_OK);
    REQUIRE(is_quantised == (value != NULL && json_kind_of(value) == JSON_OBJECT));
    tensor_set_deinit(&none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct llavamed_error error;
    struct json *json = NULL;
    char path[64];
    const struct json_value *root = NULL;
    if (json_parse("x", text, size, false, &json, &error) == LLAVAMED_OK &&
        json_kind_of(json_root(json)) == JSON_OBJECT) {
        root = json_root(json);
        check_edit(text, size, root);
        check_warnings(root);
    }
    check_kind(text, size, root);
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    check_signs(path, "config.json", root);
    check_signs(path, "params.json", root);
    (void)close(fd);
    json_free(json);
    return 0;
}
