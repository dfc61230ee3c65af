/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of shards written between data that is written in any order, and shards read back (merge/read_back.h), with
 * the digests of their tensors, and with a bit turned in each of their parts.
 */
#include "merge/shard_segments.h"

#include <fcntl.h>
#include <unistd.h>

#include "integrity/crc32.h"
#include "io/input_file.h"
#include "merge/read_back.h"

#include "format/torch.h"
#include "unit/harness.h"
#include "unit/make_set.h"
#include "unit/temp_dir.h"

#define TENSORS_MAX 16

struct written {
    struct temp_dir dir;
    struct tensor_set set;
    struct plan plan;
    struct pipeline_tensor tensors[TENSORS_MAX];
    char tensor_sha256[TENSORS_MAX][SHA256_HEX_BYTES];
    uint8_t *data[TENSORS_MAX];
    char path[4096];
    char sha256[SHA256_HEX_BYTES];
};

static void make_plan(struct written *written, enum shard_format format, unsigned n_tensors)
{
    memset(written, 0, sizeof *written);
    temp_dir_make(&written->dir);
    tensor_set_init(&written->set);
    for (unsigned i = 0; i < n_tensors; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%02u", i);
        set_put(&written->set, name, i % 2 == 0 ? DTYPE_F16 : DTYPE_F32, 1, i == 3 || i == 11 ? 0 : 40 * i + 1, 0);
    }
    set_seal(&written->set);
    const struct plan_options options = {.format = format, .max_shard_bytes = UINT64_C(1) << 40};
    make_set_require(plan_build(&written->set, "b", &written->set, "d", &options, &written->plan, NULL) == LLAVAMED_OK);
    make_set_require(written->plan.n_shards == 1);
    for (size_t i = 0; i < n_tensors; i++) {
        size_t n_bytes = (size_t)written->plan.tensors[i].out.n_bytes;
        written->data[i] = malloc(n_bytes + 1);
        make_set_require(written->data[i] != NULL);
        for (size_t k = 0; k < n_bytes; k++) {
            written->data[i][k] = (uint8_t)(k * 7 + i);
        }
        written->tensors[i].crc32 = crc32_update(0, written->data[i], n_bytes);
    }
    (void)snprintf(written->path, sizeof written->path, "%s/%s", written->dir.path, written->plan.shards[0].name);
}

/* Data backwards, before any segment; segments in steps of `step`. Returns the bytes of all segments. */
static uint64_t write_shard(struct written *written, size_t step)
{
    const struct plan_shard *shard = &written->plan.shards[0];
    const struct shard_layout *layout = &shard->layout;
    struct output_file *file = NULL;
    struct shard_segments segments;
    uint64_t n_bytes = 0;
    make_set_require(output_file_create(written->path, layout->file_bytes, false, &file, NULL) == LLAVAMED_OK);
    for (size_t i = layout->n_data; i-- > 0;) {
        size_t tensor = shard->tensors[layout->order[i]];
        EXPECT(output_file_write(file, layout->file_offsets[i], written->data[tensor],
                                 (size_t)written->plan.tensors[tensor].out.n_bytes, NULL) == LLAVAMED_OK);
    }
    EXPECT(shard_segments_init(&segments, shard, written->tensors, NULL) == LLAVAMED_OK);
    for (size_t until = 0; until < layout->n_data; until += step) {
        EXPECT(shard_segments_write(&segments, until, file, NULL, &n_bytes, NULL) == LLAVAMED_OK);
        EXPECT_U64(segments.next, until + 1);
    }
    EXPECT(shard_segments_write(&segments, layout->n_data, file, NULL, &n_bytes, NULL) == LLAVAMED_OK);
    EXPECT(shard_segments_write(&segments, layout->n_data, file, NULL, &n_bytes, NULL) == LLAVAMED_OK);
    EXPECT_U64(segments.next, layout->n_data + 1);
    shard_segments_deinit(&segments);
    EXPECT(output_file_finish(file, NULL) == LLAVAMED_OK);
    return n_bytes;
}

/* From front to back as the pipelines read it, a SHA-256 at the end; `buffer_bytes` at a time. */
static enum llavamed_status read_shard(struct written *written, size_t buffer_bytes, char sha256[SHA256_HEX_BYTES],
                                       struct llavamed_error *error)
{
    struct pipeline_outcome outcome = {.tensors = written->tensors, .tensor_sha256 = written->tensor_sha256};
    memset(written->tensor_sha256, 0, sizeof written->tensor_sha256);
    static uint8_t buffer[65536];
    struct read_back *back = NULL;
    size_t n_read = 1;
    enum llavamed_status status = read_back_open(written->dir.path, &written->plan, 0, &outcome, &back, error);
    while (status == LLAVAMED_OK && n_read > 0) {
        status = read_back_next(back, buffer, buffer_bytes, &n_read, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_back_sha256(back, sha256, error);
    }
    read_back_close(back);
    return status;
}

static void written_free(struct written *written)
{
    for (size_t i = 0; i < written->plan.n_tensors; i++) {
        free(written->data[i]);
    }
    plan_deinit(&written->plan);
    tensor_set_deinit(&written->set);
    temp_dir_remove(&written->dir);
    free(written);
}

static struct written *make_written(enum shard_format format, unsigned n_tensors, size_t step)
{
    struct written *written = malloc(sizeof *written);
    make_set_require(written != NULL);
    make_plan(written, format, n_tensors);
    uint64_t segment_bytes = write_shard(written, step);
    EXPECT_U64(segment_bytes + written->plan.data_bytes, written->plan.file_bytes);
    size_t n_bytes = 0;
    char *bytes = temp_read(written->path, &n_bytes);
    EXPECT_U64(n_bytes, written->plan.file_bytes);
    EXPECT(bytes != NULL && sha256_of(bytes, n_bytes, written->sha256, NULL) == LLAVAMED_OK);
    free(bytes);
    return written;
}

/* ---- Whole ---------------------------------------------------------------------------------------------------- */

static void steps_do_not_matter(void)
{
    char first[SHA256_HEX_BYTES] = "";
    for (size_t step = 1; step <= 13; step++) {
        struct written *written = make_written(SHARD_TORCH_1_13, 12, step);
        if (step == 1) {
            memcpy(first, written->sha256, sizeof first);
        }
        EXPECT_TEXT(written->sha256, first);
        written_free(written);
    }
}

/* The reader of inputs finds every storage, with the CRC-32 that its record says. */
static void read_as_input(void)
{
    struct written *written = make_written(SHARD_TORCH_1_13, 12, 5);
    struct input_file *file = NULL;
    struct torch_file read;
    struct llavamed_error error = {0};
    EXPECT(input_file_open(written->path, &file, &error) == LLAVAMED_OK);
    if (EXPECT(torch_file_read(file, true, &read, &error) == LLAVAMED_OK)) {
        EXPECT_U64(read.dict.n_tensors, 12);
        for (size_t i = 0; i < read.dict.n_tensors; i++) {
            const struct torch_record *record = &read.records[read.dict.tensors[i].storage];
            EXPECT_U64(record->crc32, written->tensors[i].crc32);
            EXPECT_U64(record->n_bytes, written->plan.tensors[i].out.n_bytes);
        }
        torch_file_deinit(&read);
    }
    input_file_close(file);
    written_free(written);
}

/* By the definition: the line, then the elements, hashed at once. */
static void expect_digests(const struct written *written)
{
    static char text[65536];
    for (size_t i = 0; i < written->plan.n_tensors; i++) {
        const struct tensor *tensor = &written->plan.tensors[i].out;
        char want[SHA256_HEX_BYTES] = "";
        int n = snprintf(text, sizeof text, "%s [%llu]\n", dtype_name(tensor->dtype),
                         (unsigned long long)tensor->shape[0]);
        memcpy(text + n, written->data[i], (size_t)tensor->n_bytes);
        EXPECT(sha256_of(text, (size_t)n + (size_t)tensor->n_bytes, want, NULL) == LLAVAMED_OK);
        EXPECT_TEXT(written->tensor_sha256[i], want);
    }
}

static void read_back_whole(void)
{
    static const size_t buffers[] = {1, 7, 63, 64, 65, 1000, 4096, 65536};
    for (int format = SHARD_SAFETENSORS; format <= SHARD_TORCH_2_13; format++) {
        for (unsigned n_tensors = 1; n_tensors <= 12; n_tensors += n_tensors == 1 ? 2 : 9) {
            struct written *written = make_written((enum shard_format)format, n_tensors, 3);
            for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
                char sha256[SHA256_HEX_BYTES] = "";
                struct llavamed_error error = {0};
                if (!EXPECT(read_shard(written, buffers[i], sha256, &error) == LLAVAMED_OK)) {
                    printf("    %s\n", error.message);
                }
                EXPECT_TEXT(sha256, written->sha256);
                expect_digests(written);
            }
            written_free(written);
        }
    }
}

/* ---- Damaged -------------------------------------------------------------------------------------------------- */

static void flip(const char *path, uint64_t offset)
{
    uint8_t byte = 0;
    int file = open(path, O_RDWR | O_CLOEXEC);
    temp_dir_require(file >= 0 && pread(file, &byte, 1, (off_t)offset) == 1, path);
    byte ^= 0x10;
    temp_dir_require(pwrite(file, &byte, 1, (off_t)offset) == 1 && close(file) == 0, path);
}

static void expect_found(struct written *written, uint64_t offset, size_t buffer_bytes, const char *want)
{
    char sha256[SHA256_HEX_BYTES] = "";
    struct llavamed_error error = {0};
    flip(written->path, offset);
    EXPECT(read_shard(written, buffer_bytes, sha256, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
    if (!EXPECT(strstr(error.message, want) != NULL)) {
        printf("    byte %llu: %s\n", (unsigned long long)offset, error.message);
    }
    flip(written->path, offset);
}

/* Every byte of every segment, and the first, a middle and the last byte of all data. */
static void damage_is_found(void)
{
    for (int format = SHARD_SAFETENSORS; format <= SHARD_TORCH_2_13; format++) {
        struct written *written = make_written((enum shard_format)format, 12, 4);
        const struct plan_shard *shard = &written->plan.shards[0];
        for (size_t i = 0; i <= shard->layout.n_data; i++) {
            uint64_t offset = shard_layout_segment_offset(&shard->layout, i);
            size_t n_bytes = shard_layout_segment_bytes(&shard->layout, i);
            for (size_t k = 0; k < n_bytes; k++) {
                expect_found(written, offset + k, k % 2 == 0 ? 65536 : 100, "its headers differ");
            }
            const struct plan_tensor *tensor =
                i == shard->layout.n_data ? NULL : &written->plan.tensors[shard->tensors[shard->layout.order[i]]];
            for (unsigned k = 0; tensor != NULL && tensor->out.n_bytes > 0 && k < 3; k++) {
                expect_found(written, offset + n_bytes + (tensor->out.n_bytes - 1) * k / 2, 4096, tensor->out.name);
            }
        }
        char sha256[SHA256_HEX_BYTES] = "";
        EXPECT(read_shard(written, 4096, sha256, NULL) == LLAVAMED_OK);
        written_free(written);
    }
}

static void another_size_is_found(void)
{
    struct written *written = make_written(SHARD_TORCH_1_13, 3, 1);
    char sha256[SHA256_HEX_BYTES] = "";
    struct llavamed_error error = {0};
    for (int more = -1; more <= 1; more += 2) {
        temp_dir_require(truncate(written->path, (off_t)written->plan.file_bytes + more) == 0, written->path);
        EXPECT(read_shard(written, 4096, sha256, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
        EXPECT(strstr(error.message, "another size") != NULL);
    }
    written_free(written);
}

int main(void)
{
    CASE(steps_do_not_matter);
    CASE(read_as_input);
    CASE(read_back_whole);
    CASE(damage_is_found);
    CASE(another_size_is_found);
    return harness_end();
}
