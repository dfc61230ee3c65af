/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the llavamed-manifest.json of a directory that is to be verified. What is accepted is sorted, has
 * digests that are ones, is found by name, by CRC-32 and by digest, and written again must parse to the same. Memory is
 * linear in the text's size.
 */
#include <string.h>

#include "core/json.h"
#include "fuzz_memory.h"
#include "merge/manifest.h"
#include "verify/recorded_output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_digest(const char *text)
{
    return strlen(text) == SHA256_HEX_BYTES - 1 && strspn(text, "0123456789abcdef") == SHA256_HEX_BYTES - 1;
}

static void require_files(const struct recorded_output *recorded)
{
    for (size_t i = 0; i < recorded->n_files; i++) {
        const struct recorded_file *file = &recorded->files[i];
        REQUIRE(file->name[0] != '\0' && strchr(file->name, '/') == NULL && is_digest(file->sha256));
        REQUIRE(i == 0 || strcmp(recorded->files[i - 1].name, file->name) < 0);
    }
}

static void require_tensors(const struct recorded_output *recorded)
{
    size_t n_digests = 0;
    REQUIRE(recorded->model_sha256[0] == '\0' || is_digest(recorded->model_sha256));
    for (size_t i = 0; i < recorded->n_tensors; i++) {
        const struct recorded_tensor *tensor = &recorded->tensors[i];
        const char *sha256 = tensor->sha256;
        bool has_digest = sha256 != NULL;
        n_digests += has_digest;
        REQUIRE(!has_digest || is_digest(sha256));
        REQUIRE(tensor->file < recorded->n_files && recorded->files[tensor->file].is_shard);
        REQUIRE(recorded_output_find(recorded, tensor->tensor.name) == tensor);
        const struct recorded_tensor *same =
            recorded_output_find_bytes(recorded, tensor->crc32, tensor->tensor.n_bytes, NULL);
        REQUIRE(same != NULL && same->crc32 == tensor->crc32 && same->tensor.n_bytes == tensor->tensor.n_bytes);
        same = has_digest ? recorded_output_find_digest(recorded, sha256, NULL) : tensor;
        REQUIRE(same != NULL && (same == tensor || strcmp(same->sha256, sha256) == 0));
        same = has_digest ? recorded_output_find_digest(recorded, sha256, tensor) : NULL;
        REQUIRE(same == NULL || (same != tensor && strcmp(same->sha256, sha256) == 0));
        REQUIRE(i == 0 || strcmp(recorded->by_name[i - 1]->tensor.name, recorded->by_name[i]->tensor.name) < 0);
        REQUIRE(i == 0 || recorded->by_crc[i - 1]->crc32 <= recorded->by_crc[i]->crc32);
        REQUIRE(i == 0 || i >= recorded->n_digests ||
                strcmp(recorded->by_digest[i - 1]->sha256, recorded->by_digest[i]->sha256) <= 0);
    }
    REQUIRE(recorded->n_digests == n_digests);
}

static void append_files(struct buffer *out, const struct recorded_output *recorded, bool are_shards)
{
    const char *comma = "";
    for (size_t i = 0; i < recorded->n_files; i++) {
        const struct recorded_file *file = &recorded->files[i];
        if (file->is_shard == are_shards) {
            buffer_printf(out, "%s{\"name\": ", comma);
            json_append_ascii(out, file->name);
            buffer_printf(out, ", \"bytes\": %llu, \"sha256\": \"%s\"}", (unsigned long long)file->n_bytes,
                          file->sha256);
            comma = ", ";
        }
    }
}

static void append_tensor(struct buffer *out, const struct recorded_output *recorded,
                          const struct recorded_tensor *tensor)
{
    char shape[TENSOR_SHAPE_TEXT_BYTES];
    buffer_append_text(out, "{\"name\": ");
    json_append_ascii(out, tensor->tensor.name);
    buffer_printf(out, ", \"dtype\": \"%s\", \"shape\": %s, \"crc32\": \"%08x\", \"shard\": ",
                  dtype_name(tensor->tensor.dtype), tensor_shape_text(&tensor->tensor, shape),
                  (unsigned)tensor->crc32);
    json_append_ascii(out, recorded->files[tensor->file].name);
    if (tensor->sha256 != NULL) {
        buffer_printf(out, ", \"sha256\": \"%s\"", tensor->sha256);
    }
    buffer_append_text(out, "}");
}

static void append_all(struct buffer *out, const struct recorded_output *recorded)
{
    buffer_printf(out, "{\"format\": \"" MANIFEST_FORMAT "\", \"version\": %d, \"result\": {", MANIFEST_VERSION);
    if (recorded->model_sha256[0] != '\0') {
        buffer_printf(out, "\"model_sha256\": \"%s\"", recorded->model_sha256);
    }
    buffer_append_text(out, "}, \"shards\": [");
    append_files(out, recorded, true);
    buffer_append_text(out, "], \"documents\": [");
    append_files(out, recorded, false);
    buffer_append_text(out, "], \"tensors\": [");
    for (size_t i = 0; i < recorded->n_tensors; i++) {
        buffer_append_text(out, i == 0 ? "" : ", ");
        append_tensor(out, recorded, &recorded->tensors[i]);
    }
    buffer_append_text(out, "]}");
}

static void require_same(const struct recorded_output *a, const struct recorded_output *b)
{
    REQUIRE(a->n_files == b->n_files && a->n_tensors == b->n_tensors && a->n_digests == b->n_digests);
    REQUIRE(strcmp(a->model_sha256, b->model_sha256) == 0);
    for (size_t i = 0; i < a->n_files; i++) {
        REQUIRE(strcmp(a->files[i].name, b->files[i].name) == 0 && a->files[i].n_bytes == b->files[i].n_bytes);
        REQUIRE(strcmp(a->files[i].sha256, b->files[i].sha256) == 0 && a->files[i].is_shard == b->files[i].is_shard);
    }
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct recorded_tensor *x = &a->tensors[i];
        const struct recorded_tensor *y = &b->tensors[i];
        REQUIRE(strcmp(x->tensor.name, y->tensor.name) == 0 && x->tensor.dtype == y->tensor.dtype);
        REQUIRE(tensor_same_shape(&x->tensor, &y->tensor) && x->file == y->file && x->crc32 == y->crc32);
        REQUIRE((x->sha256 == NULL) == (y->sha256 == NULL));
        REQUIRE(x->sha256 == NULL || strcmp(x->sha256, y->sha256) == 0);
    }
}

static void require_round_trip(const struct recorded_output *recorded, size_t size)
{
    struct llavamed_error error;
    struct recorded_output again;
    struct buffer text;
    buffer_init(&text, 1024 + 64 * size);
    append_all(&text, recorded);
    REQUIRE(buffer_status(&text, "x", &error) == LLAVAMED_OK);
    REQUIRE(recorded_output_parse("x", text.data, text.n_bytes, &again, &error) == LLAVAMED_OK);
    require_same(recorded, &again);
    recorded_output_deinit(&again);
    buffer_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llavamed_error error;
    struct recorded_output recorded;
    fuzz_memory_reset();
    enum llavamed_status status = recorded_output_parse("x", (const char *)data, size, &recorded, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 65536 + 512 * size);
    if (status == LLAVAMED_OK) {
        require_files(&recorded);
        require_tensors(&recorded);
        require_round_trip(&recorded, size);
        recorded_output_deinit(&recorded);
    }
    return 0;
}
