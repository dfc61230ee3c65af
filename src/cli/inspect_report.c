/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_report.h"

#include "cli/json_emit.h"
#include "cli/json_error.h"

/* 0 stands for what the file does not tell. */
static void emit_count(struct json_emit *emit, const char *key, uint64_t count)
{
    if (count == 0) {
        json_emit_text(emit, key, NULL);
    } else {
        json_emit_number(emit, key, count);
    }
}

static void emit_config(struct json_emit *emit, const struct llavamed_inspect_config *config)
{
    json_emit_begin(emit, "config", '{');
    json_emit_text(emit, "file", config->file_name);
    json_emit_text(emit, "model_type", config->model_type);
    json_emit_text(emit, "architecture", config->architecture);
    json_emit_text(emit, "dtype", config->dtype);
    emit_count(emit, "vocabulary", config->n_rows);
    emit_count(emit, "hidden_size", config->hidden_size);
    emit_count(emit, "layers", config->n_layers);
    emit_count(emit, "heads", config->n_heads);
    emit_count(emit, "key_value_heads", config->n_key_value_heads);
    emit_count(emit, "context", config->context);
    json_emit_end(emit, '}');
}

static void emit_shards(struct json_emit *emit, const struct llavamed_inspect_result *result)
{
    json_emit_begin(emit, "shards", '[');
    for (size_t i = 0; i < result->n_shards; i++) {
        const struct llavamed_inspect_shard *shard = &result->shards[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", shard->name);
        json_emit_number(emit, "bytes", shard->file_bytes);
        json_emit_number(emit, "tensors", shard->n_tensors);
        json_emit_text(emit, "recorded_sha256", json_text_or_null(shard->sha256));
        json_emit_text(emit, "recorded_in", shard->recorded_in);
        json_emit_text(emit, "release", shard->release);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
}

static void emit_dtypes(struct json_emit *emit, const struct llavamed_inspect_result *result)
{
    json_emit_begin(emit, "dtypes", '[');
    for (size_t i = 0; i < result->n_dtypes; i++) {
        const struct llavamed_inspect_dtype *dtype = &result->dtypes[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "dtype", dtype->dtype);
        json_emit_number(emit, "tensors", dtype->n_tensors);
        json_emit_number(emit, "elements", dtype->n_elems);
        json_emit_number(emit, "bytes", dtype->n_bytes);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
}

static void emit_stats(struct json_emit *emit, const struct llavamed_inspect_stats *stats)
{
    if (!stats->is_known) {
        json_emit_text(emit, "stats", NULL);
        return;
    }
    json_emit_begin(emit, "stats", '{');
    if (stats->n_finite > 0) {
        json_emit_double(emit, "min", stats->min);
        json_emit_double(emit, "max", stats->max);
        json_emit_double(emit, "mean", stats->mean);
        json_emit_double(emit, "rms", stats->rms);
    } else {
        static const char *const keys[] = {"min", "max", "mean", "rms"};
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            json_emit_text(emit, keys[i], NULL);
        }
    }
    json_emit_number(emit, "zeros", stats->n_zero);
    json_emit_number(emit, "subnormals", stats->n_subnormal);
    json_emit_number(emit, "nan", stats->n_nan);
    json_emit_number(emit, "infinite", stats->n_infinite);
    json_emit_end(emit, '}');
}

static void emit_tensors(struct json_emit *emit, const struct llavamed_inspect_result *result)
{
    json_emit_begin(emit, "tensors", '[');
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct llavamed_inspect_tensor *tensor = &result->tensors[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", tensor->name);
        json_emit_text(emit, "dtype", tensor->dtype);
        json_emit_begin(emit, "shape", '[');
        for (unsigned k = 0; k < tensor->rank; k++) {
            json_emit_number(emit, NULL, tensor->shape[k]);
        }
        json_emit_end(emit, ']');
        json_emit_number(emit, "bytes", tensor->n_bytes);
        json_emit_text(emit, "sha256", json_text_or_null(tensor->sha256));
        emit_stats(emit, &tensor->stats);
        if (tensor->shard == LLAVAMED_SHARDS_ALL) {
            json_emit_text(emit, "shard", NULL);
        } else {
            json_emit_text(emit, "shard", result->shards[tensor->shard].name);
        }
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
}

static void emit_notes(struct json_emit *emit, const struct llavamed_inspect_result *result)
{
    json_emit_begin(emit, "notes", '[');
    for (size_t i = 0; i < result->n_notes; i++) {
        json_emit_text(emit, NULL, result->notes[i]);
    }
    json_emit_end(emit, ']');
}

void inspect_report_json(FILE *stream, const struct inspect_report *report)
{
    const struct llavamed_inspect_result *result = report->result;
    struct json_emit emit;
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    json_emit_error(&emit, report->error);
    json_emit_text(&emit, "source", report->settings->source);
    json_emit_text(&emit, "path", result->path);
    json_emit_text(&emit, "layout", result->layout);
    json_emit_bool(&emit, "in_hub_cache", result->in_hub_cache);
    json_emit_text(&emit, "format", result->format);
    json_emit_text(&emit, "index", result->index_name);
    emit_count(&emit, "archive_bytes", result->archive_bytes);
    json_emit_text(&emit, "release", result->release);
    emit_config(&emit, &result->config);
    json_emit_number(&emit, "bytes", result->n_bytes);
    json_emit_number(&emit, "parameters", result->n_parameters);
    emit_count(&emit, "vocabulary", result->n_rows);
    emit_count(&emit, "hidden_size", result->hidden_size);
    emit_count(&emit, "layers", result->n_layers);
    emit_shards(&emit, result);
    emit_dtypes(&emit, result);
    emit_tensors(&emit, result);
    json_emit_text(&emit, "model_sha256", json_text_or_null(result->model_sha256));
    emit_notes(&emit, result);
    json_emit_number(&emit, "bytes_read", result->read_bytes);
    json_emit_number(&emit, "threads", result->n_threads);
    json_emit_seconds(&emit, "seconds", result->total_ns);
    json_emit_number(&emit, "peak_rss", report->peak_rss_bytes);
    json_emit_end(&emit, '}');
}
