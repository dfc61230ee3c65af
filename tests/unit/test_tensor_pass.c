/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over sources of all kinds, in any memory and by any number of workers: every element once, in order. */
#include "inspect/tensor_pass.h"

#include "unit/harness.h"
#include "unit/source_content.h"

#define WORKERS_MAX 8

/* What a pass brought. */
struct brought {
    struct content content;
    size_t used[4096];
    unsigned begun[4096];
    unsigned ended[4096];
    size_t at[WORKERS_MAX]; /* tensor of each worker */
    const struct tensor_set *set;
    size_t fail_at; /* end() of this tensor fails */
    uint64_t done_bytes;
    uint64_t total_bytes;
    unsigned n_progress;
};

static struct brought brought;

static enum llavamed_status note_begin(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct brought *to = state;
    (void)error;
    to->at[worker] = tensor;
    to->begun[tensor]++;
    return LLAVAMED_OK;
}

static enum llavamed_status note_feed(void *state, unsigned worker, const void *elems, size_t n_bytes,
                                      struct llavamed_error *error)
{
    struct brought *to = state;
    size_t tensor = to->at[worker];
    (void)error;
    temp_dir_require(to->used[tensor] + n_bytes <= to->set->tensors[tensor].n_bytes, "too many bytes");
    memcpy(to->content.tensors[tensor] + to->used[tensor], elems, n_bytes);
    to->used[tensor] += n_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status note_end(void *state, unsigned worker, size_t tensor, struct llavamed_error *error)
{
    struct brought *to = state;
    temp_dir_require(to->at[worker] == tensor, "the tensor that was begun");
    to->ended[tensor]++;
    return tensor == to->fail_at ? llavamed_fail(error, LLAVAMED_STATUS_INTERNAL, "asked for") : LLAVAMED_OK;
}

static void note_progress(void *context, const struct llavamed_progress *progress)
{
    struct brought *to = context;
    EXPECT(progress->done_bytes >= to->done_bytes && progress->done_bytes <= progress->total_bytes);
    EXPECT_TEXT(progress->check, "test");
    to->done_bytes = progress->done_bytes;
    to->total_bytes = progress->total_bytes;
    to->n_progress++;
}

static struct source *open_source(const char *path)
{
    const struct source_options options = {.role = "checkpoint", .check_crc = true, .crc_alone = true};
    struct source *source = NULL;
    struct llavamed_error error = {0};
    if (!EXPECT(source_open(path, &options, &source, &error) == LLAVAMED_OK)) {
        printf("%s\n", error.message);
    }
    return source;
}

/* A pass over `source`; what it gives. */
static enum llavamed_status run_pass(struct source *source, unsigned n_threads, uint64_t max_memory_bytes,
                                     struct llavamed_error *error)
{
    static const struct llavamed_observer observer = {.context = &brought, .progress = note_progress};
    size_t fail_at = brought.fail_at;
    memset(&brought, 0, sizeof brought);
    brought.fail_at = fail_at;
    brought.set = source_tensors(source);
    temp_dir_require(brought.set->n_tensors <= 4096, "a small source");
    content_init(&brought.content, source);
    const struct tensor_pass pass = {
        .source = source,
        .n_threads = n_threads,
        .max_memory_bytes = max_memory_bytes,
        .observer = &observer,
        .check = "test",
        .state = &brought,
        .begin = note_begin,
        .feed = note_feed,
        .end = note_end,
    };
    unsigned n_workers = 0;
    enum llavamed_status status = tensor_pass_workers(&pass, &n_workers, error);
    EXPECT(status != LLAVAMED_OK || (n_workers >= 1 && n_workers <= n_threads));
    return status == LLAVAMED_OK ? tensor_pass_run(&pass, n_workers, error) : status;
}

/* That of a pass over `path` is what the tensors of `truth` hold, which source_read() brings whole. */
static void expect_same(const char *path, const char *truth)
{
    for (unsigned n_threads = 1; n_threads <= 3; n_threads++) {
        struct source *source = open_source(path);
        struct source *other = open_source(truth);
        struct llavamed_error error = {0};
        uint64_t memory_bytes = n_threads == 2 ? TENSOR_PASS_BYTES_MIN : UINT64_C(1) << 22;
        if (source == NULL || other == NULL) {
            return;
        }
        brought.fail_at = SIZE_MAX;
        if (!EXPECT(run_pass(source, n_threads, memory_bytes, &error) == LLAVAMED_OK)) {
            printf("%s: %s\n", path, error.message);
        }
        uint64_t total_bytes = 0;
        for (size_t i = 0; i < brought.set->n_tensors; i++) {
            const struct tensor *tensor = &brought.set->tensors[i];
            size_t index = tensor_set_find(source_tensors(other), tensor->name);
            uint8_t *want = malloc(tensor->n_bytes + 1);
            temp_dir_require(want != NULL && index != TENSOR_NOT_FOUND, tensor->name);
            EXPECT(source_read(other, index, 0, tensor->n_elems, want, NULL) == LLAVAMED_OK);
            EXPECT_U64(brought.begun[i], 1);
            EXPECT_U64(brought.ended[i], 1);
            EXPECT_U64(brought.used[i], tensor->n_bytes);
            EXPECT(memcmp(brought.content.tensors[i], want, tensor->n_bytes) == 0);
            total_bytes += tensor->n_bytes;
            free(want);
        }
        EXPECT(brought.n_progress >= 1);
        EXPECT_U64(brought.done_bytes, total_bytes);
        EXPECT_U64(brought.total_bytes, total_bytes);
        content_deinit(&brought.content);
        source_close(source);
        source_close(other);
    }
}

static void all_kinds_of_sources(void)
{
    static const struct {
        const char *path, *truth;
    } rows[] = {
        {"tests/data/source/safetensors-sharded", "tests/data/source/torch-sharded"},
        {"tests/data/source/torch-sharded", "tests/data/source/safetensors-sharded"},
        {"tests/data/source/tied.bin", "tests/data/source/tied.bin"},
        {"tests/data/source/strided.bin", "tests/data/source/strided.bin"},
        {"tests/data/meta/two", "tests/data/meta/hf-base"},
        {"tests/data/cli_archives/delta-stored.zip", "tests/data/cli/delta"},
        {"tests/data/cli_archives/delta-deflated.zip", "tests/data/cli/delta-safetensors"},
        {"tests/data/cli_archives/delta-safetensors-streamed.zip", "tests/data/cli/delta"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_same(rows[i].path, rows[i].truth);
    }
}

/* Some MiB a tensor: several buffers for each, of which the last is not full. */
static void large_tensors(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    const char *path = temp_path(&dir, "large.safetensors");
    static const char head[] = "{\"a\":{\"dtype\":\"F64\",\"shape\":[3,100001],\"data_offsets\":[0,2400024]},"
                               "\"b\":{\"dtype\":\"U8\",\"shape\":[3000001],\"data_offsets\":[2400024,5400025]}}";
    size_t n_bytes = 8 + sizeof head - 1 + 5400025;
    uint8_t *bytes = malloc(n_bytes);
    temp_dir_require(bytes != NULL, "malloc");
    for (size_t i = 0; i < n_bytes; i++) {
        bytes[i] = (uint8_t)(i * i >> 7);
    }
    memset(bytes, 0, 8);
    bytes[0] = (uint8_t)(sizeof head - 1);
    memcpy(bytes + 8, head, sizeof head - 1);
    temp_write(path, bytes, n_bytes);
    free(bytes);
    expect_same(path, path);
    temp_dir_remove(&dir);
}

static void what_ends_a_pass(void)
{
    struct llavamed_error error = {0};
    struct source *source = open_source("tests/data/source/torch-sharded");
    brought.fail_at = SIZE_MAX;
    EXPECT(run_pass(source, 2, TENSOR_PASS_BYTES_MIN - 1, &error) == LLAVAMED_STATUS_MEMORY_TOO_SMALL);
    EXPECT_TEXT(error.message, "the memory allowed is too small (got 65535 bytes, want at least 65536)");
    content_deinit(&brought.content);
    for (size_t i = 0; i < source_tensors(source)->n_tensors; i++) {
        brought.fail_at = i;
        EXPECT(run_pass(source, 2, TENSOR_PASS_BYTES_MIN * 2, &error) == LLAVAMED_STATUS_INTERNAL);
        EXPECT_TEXT(error.message, "asked for");
        content_deinit(&brought.content);
    }
    source_close(source);
    source = open_source("tests/data/safetensors/good/odd-small-types.safetensors");
    brought.fail_at = SIZE_MAX;
    EXPECT(run_pass(source, 1, TENSOR_PASS_BYTES_MIN, &error) == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    if (!EXPECT(strstr(error.message, "take less than a byte (F") != NULL)) {
        printf("    %s\n", error.message);
    }
    content_deinit(&brought.content);
    source_close(source);
}

static void a_signal_ends_a_pass(void)
{
    struct llavamed_error error = {0};
    struct source *source = open_source("tests/data/source/torch-sharded");
    static volatile int signal_number = 15;
    memset(&brought, 0, sizeof brought);
    brought.fail_at = SIZE_MAX;
    brought.set = source_tensors(source);
    content_init(&brought.content, source);
    const struct tensor_pass pass = {
        .source = source,
        .n_threads = 2,
        .max_memory_bytes = TENSOR_PASS_BYTES_MIN * 2,
        .stop_signal = &signal_number,
        .state = &brought,
        .begin = note_begin,
        .feed = note_feed,
        .end = note_end,
    };
    EXPECT(tensor_pass_run(&pass, 2, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT_U64(error.signal_number, 15);
    content_deinit(&brought.content);
    source_close(source);
}

int main(void)
{
    CASE(all_kinds_of_sources);
    CASE(large_tensors);
    CASE(what_ends_a_pass);
    CASE(a_signal_ends_a_pass);
    return harness_end();
}
