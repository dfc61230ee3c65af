/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/recorded_output.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/sort.h"
#include "merge/manifest.h"

#define CRC32_HEX_CHARS 8
#define FILE_NAME_BYTES_MAX 255
/* Tensors with the same bytes that are looked through for one that is wrong. */
#define ALIKE_MAX 64

struct manifest_reader {
    const char *name;
    struct recorded_output *made;
    struct llavamed_error *error;
};

void recorded_output_deinit(struct recorded_output *recorded)
{
    for (size_t i = 0; i < recorded->n_files; i++) {
        free(recorded->files[i].name);
    }
    for (size_t i = 0; i < recorded->n_tensors; i++) {
        tensor_deinit(&recorded->tensors[i].tensor);
        free(recorded->tensors[i].sha256);
    }
    free(recorded->files);
    free(recorded->tensors);
    free(recorded->by_name);
    free(recorded->by_crc);
    free(recorded->by_digest);
    *recorded = (struct recorded_output){0};
}

static enum llavamed_status fail_manifest(const struct manifest_reader *reader, const char *what)
{
    return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID, "%s: not a manifest of llavamed-apply: %s",
                         reader->name, what);
}

static const char *text_member(const struct json_value *object, const char *key)
{
    const struct json_value *value = json_member(object, key);
    return value == NULL ? NULL : json_string(value);
}

static size_t count_items(const struct json_value *array)
{
    size_t n = 0;
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        n++;
    }
    return n;
}

/* Exactly n_chars lower-case hexadecimal digits. */
static bool is_hex(const char *text, size_t n_chars)
{
    return text != NULL && strlen(text) == n_chars && strspn(text, "0123456789abcdef") == n_chars;
}

/* ---- Files ---- */

static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && strlen(name) <= FILE_NAME_BYTES_MAX && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static enum llavamed_status read_file(const struct manifest_reader *reader, const struct json_value *item,
                                      bool is_shard)
{
    const char *name = text_member(item, "name");
    const char *sha256 = text_member(item, "sha256");
    const struct json_value *n_bytes = json_member(item, "bytes");
    struct recorded_file *file = &reader->made->files[reader->made->n_files];
    *file = (struct recorded_file){.is_shard = is_shard};
    if (name == NULL || !is_plain_name(name)) {
        return fail_manifest(reader, "a file without a plain name");
    }
    if (!is_hex(sha256, SHA256_HEX_BYTES - 1) || n_bytes == NULL || !json_integer(n_bytes, &file->n_bytes)) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID,
                             "%s: not a manifest of llavamed-apply: file '%.200s' without its bytes or SHA-256",
                             reader->name, name);
    }
    memcpy(file->sha256, sha256, SHA256_HEX_BYTES);
    file->name = strdup(name);
    if (file->name == NULL) {
        return llavamed_fail_memory(reader->error, strlen(name), "the manifest");
    }
    reader->made->n_files++;
    return LLAVAMED_OK;
}

static int compare_files(const void *a, const void *b)
{
    const struct recorded_file *file_a = a;
    const struct recorded_file *file_b = b;
    return strcmp(file_a->name, file_b->name);
}

static enum llavamed_status read_files(const struct manifest_reader *reader, const struct json_value *shards,
                                       const struct json_value *documents)
{
    struct recorded_output *made = reader->made;
    size_t n = count_items(shards) + count_items(documents);
    made->files = calloc(n + 1, sizeof *made->files);
    if (made->files == NULL) {
        return llavamed_fail_memory(reader->error, n * sizeof *made->files, "the manifest");
    }
    enum llavamed_status status = LLAVAMED_OK;
    const struct json_value *const arrays[] = {shards, documents};
    for (size_t k = 0; k < 2; k++) {
        const struct json_value *item = json_first(arrays[k]);
        for (; item != NULL && status == LLAVAMED_OK; item = json_next(item)) {
            status = read_file(reader, item, k == 0);
        }
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    sort_array(made->files, made->n_files, sizeof *made->files, compare_files);
    for (size_t i = 1; i < made->n_files; i++) {
        if (strcmp(made->files[i - 1].name, made->files[i].name) == 0) {
            return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID,
                                 "%s: not a manifest of llavamed-apply: it names '%.200s' twice", reader->name,
                                 made->files[i].name);
        }
    }
    return LLAVAMED_OK;
}

/* ---- Tensors ---- */

static bool read_shape(const struct json_value *array, uint64_t shape[TENSOR_RANK_MAX], unsigned *rank)
{
    if (array == NULL || json_kind_of(array) != JSON_ARRAY) {
        return false;
    }
    *rank = 0;
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        if (*rank == TENSOR_RANK_MAX || !json_integer(item, &shape[*rank])) {
            return false;
        }
        ++*rank;
    }
    return true;
}

/* The shard of this name, or NULL. */
static const struct recorded_file *find_shard(const struct recorded_output *made, const char *name)
{
    size_t low = 0;
    size_t high = name == NULL ? 0 : made->n_files;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(made->files[middle].name, name);
        if (order == 0) {
            return made->files[middle].is_shard ? &made->files[middle] : NULL;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static enum llavamed_status read_tensor(const struct manifest_reader *reader, const struct json_value *item)
{
    const char *name = text_member(item, "name");
    const char *dtype_text = text_member(item, "dtype");
    const char *crc32 = text_member(item, "crc32");
    const struct json_value *digest = json_member(item, "sha256");
    const char *sha256 = digest == NULL ? NULL : json_string(digest);
    const struct recorded_file *file = find_shard(reader->made, text_member(item, "shard"));
    uint64_t shape[TENSOR_RANK_MAX];
    unsigned rank = 0;
    enum dtype dtype = DTYPE_F16;
    if (name == NULL) {
        return fail_manifest(reader, "a tensor without a name");
    }
    const char *missing = NULL;
    if (file == NULL) {
        missing = "shard";
    } else if (!is_hex(crc32, CRC32_HEX_CHARS)) {
        missing = "crc32";
    } else if (digest != NULL && !is_hex(sha256, SHA256_HEX_BYTES - 1)) {
        missing = "sha256";
    } else if (!read_shape(json_member(item, "shape"), shape, &rank)) {
        missing = "shape";
    } else if (dtype_text == NULL || !dtype_from_name(dtype_text, strlen(dtype_text), &dtype)) {
        missing = "dtype";
    }
    if (missing != NULL) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID,
                             "%s: not a manifest of llavamed-apply: the '%s' of tensor %.200s is missing or not one",
                             reader->name, missing, name);
    }
    struct recorded_tensor *tensor = &reader->made->tensors[reader->made->n_tensors];
    *tensor = (struct recorded_tensor){.file = (size_t)(file - reader->made->files),
                                       .crc32 = (uint32_t)strtoul(crc32, NULL, 16)};
    enum llavamed_status status =
        tensor_init(&tensor->tensor, reader->name, name, strlen(name), dtype, shape, rank, reader->error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    reader->made->n_tensors++;
    tensor->sha256 = sha256 == NULL ? NULL : strdup(sha256);
    reader->made->n_digests += tensor->sha256 != NULL;
    return tensor->sha256 != NULL || sha256 == NULL
               ? LLAVAMED_OK
               : llavamed_fail_memory(reader->error, SHA256_HEX_BYTES, "the manifest");
}

static int compare_names(const void *a, const void *b)
{
    const struct recorded_tensor *const *tensor_a = a;
    const struct recorded_tensor *const *tensor_b = b;
    return strcmp((*tensor_a)->tensor.name, (*tensor_b)->tensor.name);
}

static int compare_bytes(const struct recorded_tensor *tensor, uint32_t crc32, uint64_t n_bytes)
{
    if (tensor->crc32 != crc32) {
        return tensor->crc32 < crc32 ? -1 : 1;
    }
    return tensor->tensor.n_bytes < n_bytes ? -1 : tensor->tensor.n_bytes > n_bytes;
}

static int compare_crcs(const void *a, const void *b)
{
    const struct recorded_tensor *const *tensor_b = b;
    int order = compare_bytes(*(const struct recorded_tensor *const *)a, (*tensor_b)->crc32,
                              (*tensor_b)->tensor.n_bytes);
    return order != 0 ? order : compare_names(a, b);
}

static int compare_digests(const void *a, const void *b)
{
    const struct recorded_tensor *const *tensor_a = a;
    const struct recorded_tensor *const *tensor_b = b;
    int order = strcmp((*tensor_a)->sha256, (*tensor_b)->sha256);
    return order != 0 ? order : compare_names(a, b);
}

static enum llavamed_status sort_tensors(const struct manifest_reader *reader)
{
    struct recorded_output *made = reader->made;
    made->by_name = calloc(made->n_tensors + 1, sizeof(void *));
    made->by_crc = calloc(made->n_tensors + 1, sizeof(void *));
    made->by_digest = calloc(made->n_digests + 1, sizeof(void *));
    if (made->by_name == NULL || made->by_crc == NULL || made->by_digest == NULL) {
        return llavamed_fail_memory(reader->error, made->n_tensors * sizeof(void *), "the manifest");
    }
    for (size_t i = 0; i < made->n_tensors; i++) {
        made->by_name[i] = &made->tensors[i];
        made->by_crc[i] = &made->tensors[i];
    }
    for (size_t i = 0, n = 0; i < made->n_tensors; i++) {
        if (made->tensors[i].sha256 != NULL) {
            made->by_digest[n++] = &made->tensors[i];
        }
    }
    sort_array(made->by_name, made->n_tensors, sizeof(void *), compare_names);
    sort_array(made->by_crc, made->n_tensors, sizeof(void *), compare_crcs);
    sort_array(made->by_digest, made->n_digests, sizeof(void *), compare_digests);
    for (size_t i = 1; i < made->n_tensors; i++) {
        if (compare_names(&made->by_name[i - 1], &made->by_name[i]) == 0) {
            return llavamed_fail(reader->error, LLAVAMED_STATUS_TENSOR_DUPLICATE, "%s: tensor %.200s is there twice",
                                 reader->name, made->by_name[i]->tensor.name);
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_tensors(const struct manifest_reader *reader, const struct json_value *array)
{
    struct recorded_output *made = reader->made;
    size_t n = count_items(array);
    if (n > TENSOR_COUNT_MAX) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: too many tensors (got %zu, want at most %d)", reader->name, n, TENSOR_COUNT_MAX);
    }
    made->tensors = calloc(n + 1, sizeof *made->tensors);
    if (made->tensors == NULL) {
        return llavamed_fail_memory(reader->error, n * sizeof *made->tensors, "the manifest");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (const struct json_value *item = json_first(array); item != NULL && status == LLAVAMED_OK;
         item = json_next(item)) {
        status = read_tensor(reader, item);
    }
    return status == LLAVAMED_OK ? sort_tensors(reader) : status;
}

/* ---- Options ---- */

static enum llavamed_status read_options(const struct manifest_reader *reader, const struct json_value *options)
{
    struct recorded_output *made = reader->made;
    const char *dtype = options == NULL ? NULL : text_member(options, "dtype");
    const char *inv_freq = options == NULL ? NULL : text_member(options, "inv_freq");
    for (int i = LLAVAMED_RESULT_DTYPE_DELTA; dtype != NULL && i <= LLAVAMED_RESULT_DTYPE_FLOAT32; i++) {
        /* Of a merge, or of the making of a delta. */
        if (strcmp(dtype, manifest_dtype_option(PLAN_MERGE, (enum llavamed_result_dtype)i)) == 0 ||
            strcmp(dtype, manifest_dtype_option(PLAN_MAKE_DELTA, (enum llavamed_result_dtype)i)) == 0) {
            made->dtype = (enum llavamed_result_dtype)i;
            made->has_dtype = true;
        }
    }
    for (int i = LLAVAMED_INV_FREQ_KEEP; inv_freq != NULL && i <= LLAVAMED_INV_FREQ_DROP; i++) {
        if (strcmp(inv_freq, manifest_inv_freq_option((enum llavamed_inv_freq)i)) == 0) {
            made->inv_freq = (enum llavamed_inv_freq)i;
            made->has_inv_freq = true;
        }
    }
    bool is_unknown = (dtype != NULL && !made->has_dtype) || (inv_freq != NULL && !made->has_inv_freq);
    return is_unknown ? fail_manifest(reader, "an option with an unknown value") : LLAVAMED_OK;
}

/* ---- The whole ---- */

static const struct json_value *array_member(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_kind_of(value) == JSON_ARRAY ? value : NULL;
}

static enum llavamed_status check_version(const struct manifest_reader *reader, const struct json_value *root)
{
    const char *format = text_member(root, "format");
    const struct json_value *version = json_member(root, "version");
    uint64_t number = 0;
    if (format == NULL || strcmp(format, MANIFEST_FORMAT) != 0 || version == NULL || !json_integer(version, &number)) {
        return fail_manifest(reader, "its format or version is missing");
    }
    if (number != MANIFEST_VERSION) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                             "%s: a version that this program does not know (got %llu, want %d)", reader->name,
                             (unsigned long long)number, MANIFEST_VERSION);
    }
    return LLAVAMED_OK;
}

/* The digest of the model, which not every manifest has. */
static enum llavamed_status read_result(const struct manifest_reader *reader, const struct json_value *result)
{
    bool is_object = result != NULL && json_kind_of(result) == JSON_OBJECT;
    const struct json_value *digest = is_object ? json_member(result, "model_sha256") : NULL;
    if (digest == NULL) {
        return LLAVAMED_OK;
    }
    if (!is_hex(json_string(digest), SHA256_HEX_BYTES - 1)) {
        return fail_manifest(reader, "its digest of the model is not one");
    }
    memcpy(reader->made->model_sha256, json_string(digest), SHA256_HEX_BYTES);
    return LLAVAMED_OK;
}

static enum llavamed_status read_root(const struct manifest_reader *reader, const struct json_value *root)
{
    const struct json_value *shards = array_member(root, "shards");
    const struct json_value *documents = array_member(root, "documents");
    const struct json_value *tensors = array_member(root, "tensors");
    enum llavamed_status status = check_version(reader, root);
    if (status == LLAVAMED_OK && (shards == NULL || documents == NULL || tensors == NULL)) {
        status = fail_manifest(reader, "its list of shards, documents or tensors is missing");
    }
    if (status == LLAVAMED_OK) {
        status = read_options(reader, json_member(root, "options"));
    }
    if (status == LLAVAMED_OK) {
        status = read_files(reader, shards, documents);
    }
    if (status == LLAVAMED_OK) {
        status = read_result(reader, json_member(root, "result"));
    }
    return status == LLAVAMED_OK ? read_tensors(reader, tensors) : status;
}

enum llavamed_status recorded_output_parse(const char *name, const char *text, size_t n_bytes,
                                           struct recorded_output *recorded, struct llavamed_error *error)
{
    struct json *json = NULL;
    struct recorded_output made = {0};
    const struct manifest_reader reader = {name, &made, error};
    enum llavamed_status status = json_parse(name, text, n_bytes, false, &json, error);
    if (status == LLAVAMED_OK) {
        status = read_root(&reader, json_root(json));
    }
    json_free(json);
    if (status == LLAVAMED_OK) {
        *recorded = made;
    } else {
        recorded_output_deinit(&made);
    }
    return status;
}

struct recorded_tensor *recorded_output_find(const struct recorded_output *recorded, const char *name)
{
    size_t low = 0;
    size_t high = recorded->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(recorded->by_name[middle]->tensor.name, name);
        if (order == 0) {
            return recorded->by_name[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

/* The one that is wrong, of two that are alike; never `than`. */
static const struct recorded_tensor *prefer(const struct recorded_tensor *found, const struct recorded_tensor *tensor,
                                            const struct recorded_tensor *than)
{
    bool is_better = found == NULL || (tensor->is_wrong && !found->is_wrong);
    return tensor != than && is_better ? tensor : found;
}

const struct recorded_tensor *recorded_output_find_bytes(const struct recorded_output *recorded, uint32_t crc32,
                                                         uint64_t n_bytes, const struct recorded_tensor *than)
{
    size_t low = 0;
    size_t high = recorded->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_before = compare_bytes(recorded->by_crc[middle], crc32, n_bytes) < 0;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    const struct recorded_tensor *found = NULL;
    for (size_t i = low; i < recorded->n_tensors && i - low < ALIKE_MAX; i++) {
        const struct recorded_tensor *tensor = recorded->by_crc[i];
        if (compare_bytes(tensor, crc32, n_bytes) != 0) {
            break;
        }
        found = prefer(found, tensor, than);
    }
    return found;
}

const struct recorded_tensor *recorded_output_find_digest(const struct recorded_output *recorded, const char *sha256,
                                                          const struct recorded_tensor *than)
{
    size_t low = 0;
    size_t high = recorded->n_digests;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_before = strcmp(recorded->by_digest[middle]->sha256, sha256) < 0;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    const struct recorded_tensor *found = NULL;
    for (size_t i = low; i < recorded->n_digests && i - low < ALIKE_MAX; i++) {
        if (strcmp(recorded->by_digest[i]->sha256, sha256) != 0) {
            break;
        }
        found = prefer(found, recorded->by_digest[i], than);
    }
    return found;
}
