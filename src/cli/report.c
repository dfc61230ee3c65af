/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cli/json_emit.h"
#include "cli/messages.h"
#include "cli/text.h"

static const char *text_or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

static void emit_outcome(struct json_emit *emit, const struct report *report)
{
    const struct llavamed_error *error = report->error;
    json_emit_number(emit, "status", (uint64_t)llavamed_exit_status(error));
    json_emit_text(emit, "code", llavamed_status_name(error->status));
    json_emit_text(emit, "message", text_or_null(error->message));
    json_emit_text(emit, "hint", text_or_null(error->hint));
    json_emit_number(emit, "n_problems", error->n_problems);
    json_emit_begin(emit, "problems", '[');
    for (size_t i = 0; i < error->n_problems && i < LLAVAMED_PROBLEMS_MAX; i++) {
        json_emit_text(emit, NULL, error->problems[i]);
    }
    json_emit_end(emit, ']');
    json_emit_text(emit, "base", report->settings->base);
    json_emit_text(emit, "delta", report->settings->delta);
    json_emit_text(emit, "out", report->settings->out);
    json_emit_bool(emit, "dry_run", report->settings->dry_run);
}

static void emit_result(struct json_emit *emit, const struct llavamed_result *result)
{
    json_emit_begin(emit, "result", '{');
    json_emit_number(emit, "tensors", result->n_tensors);
    json_emit_begin(emit, "shards", '[');
    for (size_t i = 0; i < result->n_shards; i++) {
        const struct llavamed_shard_report *shard = &result->shards[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", shard->name);
        json_emit_number(emit, "bytes", shard->file_bytes);
        json_emit_number(emit, "tensors", shard->n_tensors);
        json_emit_text(emit, "sha256", text_or_null(shard->sha256));
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
    json_emit_begin(emit, "actions", '[');
    for (size_t i = 0; i < result->n_actions; i++) {
        const struct llavamed_action_report *action = &result->actions[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "action", action->action);
        json_emit_number(emit, "tensors", action->n_tensors);
        json_emit_number(emit, "bytes", action->out_bytes);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
    json_emit_begin(emit, "counts", '{');
    json_emit_number(emit, "nan", result->n_nan);
    json_emit_number(emit, "infinite", result->n_infinite);
    json_emit_number(emit, "rounded", result->n_rounded);
    json_emit_end(emit, '}');
    json_emit_text(emit, "manifest_sha256", result->manifest_sha256);
    json_emit_end(emit, '}');
}

static void emit_costs(struct json_emit *emit, const struct report *report)
{
    const struct llavamed_result *result = report->result;
    json_emit_begin(emit, "timings", '{');
    json_emit_seconds(emit, "plan_seconds", result->plan_ns);
    json_emit_seconds(emit, "merge_seconds", result->merge_ns);
    json_emit_seconds(emit, "total_seconds", result->total_ns);
    json_emit_end(emit, '}');
    json_emit_begin(emit, "bytes", '{');
    json_emit_number(emit, "planned_read", result->planned_read_bytes);
    json_emit_number(emit, "planned_write", result->planned_write_bytes);
    json_emit_number(emit, "read", result->read_bytes);
    json_emit_number(emit, "written", result->written_bytes);
    json_emit_number(emit, "reused", result->reused_bytes);
    json_emit_number(emit, "free", result->free_bytes);
    json_emit_end(emit, '}');
    json_emit_begin(emit, "memory", '{');
    json_emit_number(emit, "pool", result->pool_bytes);
    json_emit_number(emit, "peak_rss", report->peak_rss_bytes);
    json_emit_end(emit, '}');
    json_emit_number(emit, "threads", result->n_threads);
    json_emit_text(emit, "cpu", result->cpu);
}

void report_print_json(FILE *stream, const struct report *report)
{
    struct json_emit emit;
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    emit_outcome(&emit, report);
    emit_result(&emit, report->result);
    emit_costs(&emit, report);
    json_emit_begin(&emit, "warnings", '[');
    for (size_t i = 0; i < report->result->n_warnings; i++) {
        json_emit_text(&emit, NULL, report->result->warnings[i]);
    }
    json_emit_end(&emit, ']');
    json_emit_text(&emit, "started_over", report->result->started_over);
    json_emit_text(&emit, "version", LLAVAMED_VERSION);
    json_emit_end(&emit, '}');
}

static void print_counts(FILE *stream, const struct llavamed_result *result, bool verbose)
{
    char line[256];
    if (result->n_nan > 0 || result->n_infinite > 0) {
        cli_format(line, sizeof line, "the result holds %" PRIu64 " NaN and %" PRIu64 " infinite values", result->n_nan,
                   result->n_infinite);
        messages_line(stream, "warning", line);
    }
    if (verbose) {
        cli_format(line, sizeof line, "%" PRIu64 " sums were rounded to the result's dtype", result->n_rounded);
        messages_line(stream, "note", line);
    }
}

void report_print_summary(FILE *stream, const struct report *report, bool verbose)
{
    const struct llavamed_result *result = report->result;
    char written[CLI_FIGURE_BYTES];
    char seconds[CLI_FIGURE_BYTES];
    char rate[CLI_FIGURE_BYTES];
    char memory[CLI_FIGURE_BYTES];
    cli_format_bytes(written, result->written_bytes);
    cli_format_seconds(seconds, result->total_ns);
    cli_format_rate(rate, result->written_bytes, result->total_ns);
    cli_format_memory(memory, report->peak_rss_bytes);
    print_counts(stream, result, verbose);
    char line[LLAVAMED_MESSAGE_BYTES];
    cli_format(line, sizeof line, "%.600s: %zu tensors in %zu %s, %s, %s, %s, peak memory %s", report->settings->out,
               result->n_tensors, result->n_shards, result->n_shards == 1 ? "shard" : "shards", written, seconds, rate,
               memory);
    messages_line(stream, "done", line);
    char *directory = cli_shell_word(report->settings->out);
    if (directory != NULL) {
        cli_format(line, sizeof line, "cd %s && sha256sum -c SHA256SUMS", directory);
        messages_line(stream, "next", line);
    }
    free(directory);
}
