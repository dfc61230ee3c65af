/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each part is the SHA-256 of a row of numbers (8 bytes, little-endian) and texts (their length as a number, then their
 * bytes), every list behind its length: no two inputs give the same bytes.
 */
#include "merge/run_key.h"

#include <string.h>

#include "core/bytes.h"

/* Goes up with every change of what is hashed here, or of what a journal's entry means. */
#define RUN_KEY_VERSION 4

/* A hash being fed. The first failure stays. */
struct feed {
    struct sha256_stream *sha256;
    enum llavamed_status status;
    struct llavamed_error *error;
};

static void feed_bytes(struct feed *feed, const void *bytes, size_t n_bytes)
{
    if (feed->status == LLAVAMED_OK) {
        feed->status = sha256_update(feed->sha256, bytes, n_bytes, feed->error);
    }
}

static void feed_number(struct feed *feed, uint64_t number)
{
    uint8_t bytes[8];
    store_le64(bytes, number);
    feed_bytes(feed, bytes, sizeof bytes);
}

static void feed_text(struct feed *feed, const char *text)
{
    size_t n_bytes = strlen(text);
    feed_number(feed, n_bytes);
    feed_bytes(feed, text, n_bytes);
}

/* ---- The parts ---- */

static void feed_tool(struct feed *feed, const char *version)
{
    feed_text(feed, version);
    feed_number(feed, RUN_KEY_VERSION);
}

static void feed_options(struct feed *feed, const struct plan_options *options)
{
    feed_number(feed, (uint64_t)options->operation);
    feed_number(feed, options->exact);
    feed_number(feed, (uint64_t)options->format);
    feed_number(feed, (uint64_t)options->dtype);
    feed_number(feed, (uint64_t)options->inv_freq);
    feed_number(feed, options->max_shard_bytes);
}

static void feed_tensor(struct feed *feed, const struct tensor *tensor)
{
    feed_text(feed, tensor->name);
    feed_text(feed, dtype_name(tensor->dtype));
    feed_number(feed, tensor->rank);
    for (unsigned i = 0; i < tensor->rank; i++) {
        feed_number(feed, tensor->shape[i]);
    }
}

/*
 * Each hash once, wherever it is recorded, and an empty text behind them: a second record that says the same, as of
 * --sums, changes nothing.
 */
static void feed_distinct(struct feed *feed, const char *const hashes[RECORDED_COUNT])
{
    for (size_t i = 0; i < RECORDED_COUNT; i++) {
        bool is_new = hashes[i][0] != '\0';
        for (size_t k = 0; is_new && k < i; k++) {
            is_new = strcmp(hashes[i], hashes[k]) != 0;
        }
        if (is_new) {
            feed_text(feed, hashes[i]);
        }
    }
    feed_text(feed, "");
}

static void feed_record(struct feed *feed, const struct recorded_hashes *recorded)
{
    const char *sha256[RECORDED_COUNT];
    const char *git_blob[RECORDED_COUNT];
    for (size_t i = 0; i < RECORDED_COUNT; i++) {
        sha256[i] = recorded == NULL ? "" : recorded->sha256[i];
        git_blob[i] = recorded == NULL ? "" : recorded->git_blob[i];
    }
    feed_distinct(feed, sha256);
    feed_distinct(feed, git_blob);
}

static void feed_sample(struct feed *feed, const struct source *source, size_t i)
{
    char hex[SHA256_HEX_BYTES] = "";
    if (feed->status == LLAVAMED_OK) {
        feed->status = source_sample(source, i, hex, feed->error);
    }
    feed_text(feed, hex);
}

static void feed_source(struct feed *feed, const struct run_key_input *input, enum input_role role)
{
    const struct source *source = role == INPUT_BASE ? input->base : input->delta;
    const struct source_file *files;
    const struct tensor_set *set = source_tensors(source);
    size_t n_files = source_files(source, &files);
    feed_text(feed, source_format(source));
    feed_number(feed, n_files);
    for (size_t i = 0; i < n_files; i++) {
        feed_text(feed, files[i].name);
        feed_number(feed, files[i].n_bytes);
        feed_number(feed, files[i].modified_ns);
        feed_sample(feed, source, i);
        feed_record(feed, input->hashes == NULL ? NULL : input_hashes_record(input->hashes, role, i));
    }
    feed_number(feed, set->n_tensors);
    for (size_t i = 0; i < set->n_tensors; i++) {
        feed_tensor(feed, &set->tensors[i]);
    }
    feed_number(feed, source_heads(source));
}

static void feed_plan(struct feed *feed, const struct plan *plan)
{
    feed_number(feed, (uint64_t)plan->format);
    feed_text(feed, dtype_name(plan->model_dtype));
    feed_number(feed, plan->n_tensors);
    for (size_t i = 0; i < plan->n_tensors; i++) {
        feed_tensor(feed, &plan->tensors[i].out);
        feed_text(feed, plan_action_name(plan->operation, plan->tensors[i].action));
        feed_number(feed, plan->tensors[i].by_bits);
    }
    feed_number(feed, plan->n_shards);
    for (size_t i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *shard = &plan->shards[i];
        const struct shard_layout *layout = &shard->layout;
        feed_text(feed, shard->name);
        feed_number(feed, layout->file_bytes);
        feed_number(feed, shard->n_tensors);
        for (size_t k = 0; k < shard->n_tensors; k++) {
            feed_number(feed, shard->tensors[k]);
        }
        feed_number(feed, layout->n_data);
        for (size_t k = 0; k < layout->n_data; k++) {
            feed_number(feed, shard->tensors[layout->order[k]]);
            feed_number(feed, layout->file_offsets[k]);
        }
    }
}

/* ---- The key ---- */

static enum llavamed_status fill_part(const struct run_key_input *input, enum journal_part part,
                                      char hex[SHA256_HEX_BYTES], struct llavamed_error *error)
{
    struct feed feed = {.error = error};
    feed.status = sha256_create(&feed.sha256, error);
    switch (part) {
    case JOURNAL_TOOL:
        feed_tool(&feed, input->version);
        break;
    case JOURNAL_OPTIONS:
        feed_options(&feed, input->options);
        break;
    case JOURNAL_BASE:
        feed_source(&feed, input, INPUT_BASE);
        break;
    case JOURNAL_DELTA:
        feed_source(&feed, input, INPUT_DELTA);
        break;
    case JOURNAL_PLAN:
    case JOURNAL_PARTS:
    default:
        feed_plan(&feed, input->plan);
        break;
    }
    if (feed.status == LLAVAMED_OK) {
        feed.status = sha256_finish(feed.sha256, hex, error);
    }
    sha256_free(feed.sha256);
    return feed.status;
}

enum llavamed_status run_key_fill(const struct run_key_input *input, struct journal_key *key,
                                  struct llavamed_error *error)
{
    struct journal_key filled = {0};
    enum llavamed_status status = LLAVAMED_OK;
    for (int part = 0; status == LLAVAMED_OK && part < JOURNAL_PARTS; part++) {
        status = fill_part(input, (enum journal_part)part, filled.sha256[part], error);
    }
    if (status == LLAVAMED_OK) {
        *key = filled;
    }
    return status;
}
