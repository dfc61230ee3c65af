/* SPDX-License-Identifier: Apache-2.0 */
/* The files of tests/data/shard_index are real ones: see tests/tools/make_safetensors_data.py. */
#include "format/shard_index.h"

#include "core/json.h"
#include "tensor/tensor.h"
#include "unit/harness.h"
#include "unit/read_file.h"

#define DATA "tests/data/shard_index/"

static struct llavamed_error error;

static enum llavamed_status parse(const char *text, size_t n_bytes, struct shard_index *index)
{
    memset(&error, 0, sizeof error);
    return shard_index_parse("x.index.json", text, n_bytes, index, &error);
}

/* The golden's own rows in its own order, written again, give the golden. */
static void the_hubs_index_is_written_alike(void)
{
    size_t n_bytes;
    char *text = read_file(DATA "hub.index.json", &n_bytes);
    struct json *json = NULL;
    if (!EXPECT_U64(json_parse("golden", text, n_bytes, false, &json, &error), LLAVAMED_OK)) {
        free(text);
        return;
    }
    const struct json_value *metadata = json_member(json_root(json), "metadata");
    const struct json_value *map = json_member(json_root(json), "weight_map");
    uint64_t total_bytes = 0;
    EXPECT(json_integer(json_member(metadata, "total_size"), &total_bytes));
    struct shard_index_row rows[64];
    size_t n_rows = 0;
    for (const struct json_value *item = json_first(map); item != NULL && n_rows < 64; item = json_next(item)) {
        rows[n_rows++] = (struct shard_index_row){json_key(item), json_string(item)};
    }
    EXPECT(n_rows > 30);
    struct buffer out;
    buffer_init(&out, 1u << 20);
    shard_index_write_hub(&out, total_bytes, rows, n_rows);
    EXPECT_U64(out.n_bytes, n_bytes);
    if (!EXPECT(out.n_bytes == n_bytes && memcmp(out.data, text, n_bytes) == 0)) {
        printf("    got\n%s\n", out.data);
    }
    buffer_deinit(&out);
    /* json.dumps({"metadata": {"total_size": 0}, "weight_map": {}}, indent=2) */
    shard_index_write_hub(&out, 0, NULL, 0);
    EXPECT_TEXT(out.data, "{\n  \"metadata\": {\n    \"total_size\": 0\n  },\n  \"weight_map\": {}\n}");
    buffer_deinit(&out);
    json_free(json);
    free(text);
}

/* Each tensor of the file is found with its shard, everything is sorted, and nothing else is there. */
static void check_real_index(const char *path)
{
    size_t n_bytes;
    char *text = read_file(path, &n_bytes);
    struct json *json = NULL;
    struct shard_index index = {0};
    EXPECT_U64(json_parse(path, text, n_bytes, false, &json, &error), LLAVAMED_OK);
    EXPECT_U64(parse(text, n_bytes, &index), LLAVAMED_OK);
    EXPECT_U64(index.n_files, 7);
    for (size_t i = 0; i < index.n_files; i++) {
        char want[64];
        (void)snprintf(want, sizeof want, "model-%05zu-of-00007.safetensors", i + 1);
        EXPECT_TEXT(index.files[i], want);
    }
    const struct json_value *map = json == NULL ? NULL : json_member(json_root(json), "weight_map");
    size_t n_members = 0;
    for (const struct json_value *item = map == NULL ? NULL : json_first(map); item != NULL; item = json_next(item)) {
        n_members++;
    }
    EXPECT_U64(index.n_entries, n_members);
    for (size_t i = 0; i < index.n_entries; i++) {
        const struct json_value *item = json_member(map, index.entries[i].tensor);
        EXPECT(item != NULL && strcmp(json_string(item), index.files[index.entries[i].file]) == 0);
        EXPECT(i == 0 || strcmp(index.entries[i - 1].tensor, index.entries[i].tensor) < 0);
    }
    shard_index_deinit(&index);
    json_free(json);
    free(text);
}

static void real_indexes_are_read(void)
{
    check_real_index(DATA "hub.index.json");
    check_real_index(DATA "transformers.index.json");
}

static void unusual_indexes_are_read(void)
{
    static const char *const texts[] = {
        "{\"weight_map\":{\"a\":\"x\"}}",
        "{\"metadata\":{},\"weight_map\":{\"a\":\"x\"}}",
        "{\"metadata\":{\"total_size\":1.5e9,\"more\":[null]},\"weight_map\":{\"a\":\"x\"},\"other\":-1}",
        "{\"weight_map\":{\"a\":\"x.y..z\",\"b\":\"\\u00e9 \",\"c\":\"-x\",\"d\":\"~\"}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct shard_index index = {0};
        EXPECT_U64(parse(texts[i], strlen(texts[i]), &index), LLAVAMED_OK);
        EXPECT(index.n_entries == index.n_files && index.n_files > 0);
        shard_index_deinit(&index);
    }
}

static void the_total_is_read_where_it_is_a_whole_number(void)
{
    static const struct {
        const char *metadata;
        bool has_total;
        uint64_t total_bytes;
    } rows[] = {
        {"\"metadata\":{\"total_size\":13476839424},", true, 13476839424},
        {"\"metadata\":{\"total_size\":0},", true, 0},
        {"\"metadata\":{\"total_size\":3.0},", true, 3}, /* transformers 4.28 writes such with bools */
        {"\"metadata\":{\"total_size\":3.5},", false, 0},
        {"\"metadata\":{\"total_size\":-1},", false, 0},
        {"\"metadata\":{\"total_size\":\"7\"},", false, 0},
        {"\"metadata\":{},", false, 0},
        {"", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct shard_index index = {0};
        char text[200];
        int n = snprintf(text, sizeof text, "{%s\"weight_map\":{\"a\":\"x\"}}", rows[i].metadata);
        EXPECT_U64(parse(text, (size_t)n, &index), LLAVAMED_OK);
        EXPECT_U64(index.has_total, rows[i].has_total);
        EXPECT_U64(index.total_bytes, rows[i].total_bytes);
        shard_index_deinit(&index);
    }
}

struct bad_index {
    const char *text;
    enum llavamed_status status;
    const char *message;
};

#define MAP(name) "{\"weight_map\":{\"a\":" name "}}"
#define NOT_PLAIN "is not a plain file name"

static const struct bad_index bad_indexes[] = {
    {"", LLAVAMED_STATUS_JSON_INVALID, "byte 0"},
    {"{\"weight_map\":{\"a\":\"x\"}} x", LLAVAMED_STATUS_JSON_INVALID, "more text"},
    {"[]", LLAVAMED_STATUS_INDEX_INVALID, "the shard index is not an object"},
    {"{}", LLAVAMED_STATUS_INDEX_INVALID, "there is no weight_map object"},
    {"{\"Weight_Map\":{\"a\":\"x\"}}", LLAVAMED_STATUS_INDEX_INVALID, "there is no weight_map object"},
    {"{\"weight_map\":[]}", LLAVAMED_STATUS_INDEX_INVALID, "there is no weight_map object"},
    {"{\"weight_map\":null}", LLAVAMED_STATUS_INDEX_INVALID, "there is no weight_map object"},
    {"{\"weight_map\":{}}", LLAVAMED_STATUS_INDEX_INVALID, "the weight_map is empty"},
    {"{\"metadata\":1,\"weight_map\":{\"a\":\"x\"}}", LLAVAMED_STATUS_INDEX_INVALID, "metadata is not an object"},
    {MAP("1"), LLAVAMED_STATUS_INDEX_INVALID, "a: the shard's name is not text"},
    {MAP("[\"x\"]"), LLAVAMED_STATUS_INDEX_INVALID, "a: the shard's name is not text"},
    {MAP("\"\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\".\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\"..\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\".x\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\"/x\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\"x/y\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\"x/..\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\"\\u002e\\u002E\\u002fx\""), LLAVAMED_STATUS_INDEX_INVALID, "'../x' " NOT_PLAIN},
    {MAP("\"x\\\\y\""), LLAVAMED_STATUS_INDEX_INVALID, NOT_PLAIN},
    {MAP("\"x\\u0000\""), LLAVAMED_STATUS_JSON_INVALID, "\\u0000"},
    {"{\"weight_map\":{\"a\":\"x\",\"\\u0061\":\"y\"}}", LLAVAMED_STATUS_JSON_DUPLICATE_KEY, "key 'a'"},
    {"{\"weight_map\":{\"a\":\"x\"},\"weight_map\":{\"b\":\"x\"}}", LLAVAMED_STATUS_JSON_DUPLICATE_KEY, "weight_map"},
    {"{\"weight_map\":{\"\":\"x\"}}", LLAVAMED_STATUS_TENSOR_NAME, "a tensor name is empty or too long (got 0"},
};

static void bad_indexes_are_refused(void)
{
    for (size_t i = 0; i < sizeof bad_indexes / sizeof bad_indexes[0]; i++) {
        const struct bad_index *bad = &bad_indexes[i];
        struct shard_index index = {0};
        bool right = EXPECT_U64(parse(bad->text, strlen(bad->text), &index), bad->status);
        right = EXPECT(strstr(error.message, bad->message) != NULL) && right;
        EXPECT(index.files == NULL && index.entries == NULL);
        if (!right) {
            printf("    %s\n    %s\n", bad->text, error.message);
        }
        shard_index_deinit(&index);
    }
}

/* An index of n_rows tensors, each in its own shard when `own_shards`; with a first shard name of so many bytes. */
static enum llavamed_status parse_made(size_t n_rows, bool own_shards, int name_bytes, int tensor_bytes)
{
    struct buffer text;
    buffer_init(&text, SHARD_INDEX_BYTES_MAX + (size_t)1);
    buffer_printf(&text, "{\"weight_map\":{\"%0*d\":\"%0*d\"", tensor_bytes, 7, name_bytes, 0);
    for (size_t i = 1; i < n_rows; i++) {
        buffer_printf(&text, ",\"tensor.%zu\":\"s%zu\"", i, own_shards ? i : 1);
    }
    buffer_append_text(&text, "}}");
    struct shard_index index = {0};
    enum llavamed_status status = parse(text.data, text.n_bytes, &index);
    if (status == LLAVAMED_OK && (index.n_entries != n_rows || index.n_files != (own_shards ? n_rows : 2))) {
        status = LLAVAMED_STATUS_INTERNAL;
    }
    shard_index_deinit(&index);
    buffer_deinit(&text);
    return status;
}

static void limits_hold(void)
{
    EXPECT_U64(parse_made(SHARD_COUNT_MAX, true, 9, 1), LLAVAMED_OK);
    EXPECT_U64(parse_made(SHARD_COUNT_MAX + 1, true, 9, 1), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "too many shards (got 10001, want at most 10000)") != NULL);
    EXPECT_U64(parse_made(TENSOR_COUNT_MAX, false, 9, 1), LLAVAMED_OK);
    EXPECT_U64(parse_made(TENSOR_COUNT_MAX + 1, false, 9, 1), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "too many tensors (got 1000001, want at most 1000000)") != NULL);
    EXPECT_U64(parse_made(2, true, 255, 1), LLAVAMED_OK);
    EXPECT_U64(parse_made(2, true, 256, 1), LLAVAMED_STATUS_INDEX_INVALID);
    EXPECT_U64(parse_made(2, true, 9, TENSOR_NAME_BYTES_MAX), LLAVAMED_OK);
    EXPECT_U64(parse_made(2, true, 9, TENSOR_NAME_BYTES_MAX + 1), LLAVAMED_STATUS_TENSOR_NAME);
    /* The length alone is enough: not a byte is read. */
    EXPECT_U64(parse("", SHARD_INDEX_BYTES_MAX + (size_t)1, NULL), LLAVAMED_STATUS_INPUT_LIMIT);
}

int main(void)
{
    CASE(the_hubs_index_is_written_alike);
    CASE(real_indexes_are_read);
    CASE(unusual_indexes_are_read);
    CASE(the_total_is_read_where_it_is_a_whole_number);
    CASE(bad_indexes_are_refused);
    CASE(limits_hold);
    return harness_end();
}
