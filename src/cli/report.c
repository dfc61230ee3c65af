/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cli/json_emit.h"
#include "cli/json_error.h"
#include "cli/lossy_report.h"
#include "cli/messages.h"
#include "cli/text.h"

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
        json_emit_text(emit, "sha256", json_text_or_null(shard->sha256));
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
    json_emit_begin(emit, "digests", '[');
    for (size_t i = 0; i < result->n_digests; i++) {
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", result->digests[i].name);
        json_emit_text(emit, "sha256", result->digests[i].sha256);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
    json_emit_text(emit, "model_sha256", json_text_or_null(result->model_sha256));
    json_emit_text(emit, "manifest_sha256", result->manifest_sha256);
    json_emit_text(emit, "signing_key_sha256", json_text_or_null(result->signing_key_sha256));
    json_emit_text(emit, "signed_sha256", json_text_or_null(result->signed_sha256));
    json_emit_end(emit, '}');
}

static void emit_timings(struct json_emit *emit, const struct llavamed_result *result)
{
    json_emit_begin(emit, "timings", '{');
    json_emit_seconds(emit, "plan_seconds", result->plan_ns);
    json_emit_seconds(emit, "merge_seconds", result->merge_ns);
    json_emit_seconds(emit, "total_seconds", result->total_ns);
    json_emit_end(emit, '}');
}

static void emit_bytes(struct json_emit *emit, const struct llavamed_result *result, bool of_all)
{
    json_emit_begin(emit, "bytes", '{');
    json_emit_number(emit, "planned_read", result->planned_read_bytes);
    json_emit_number(emit, "planned_write", result->planned_write_bytes);
    json_emit_number(emit, "read", result->read_bytes);
    json_emit_number(emit, "written", result->written_bytes);
    json_emit_number(emit, "reused", result->reused_bytes);
    if (!of_all) {
        json_emit_number(emit, "free", result->free_bytes);
    }
    json_emit_end(emit, '}');
}

static void emit_counters(struct json_emit *emit, const struct llavamed_counters *counters)
{
    json_emit_begin(emit, "counters", '{');
    json_emit_number(emit, "workers", counters->n_workers);
    for (int i = 0; i < LLAVAMED_PHASE_COUNT; i++) {
        const struct llavamed_phase_counter *counter = &counters->phases[i];
        json_emit_begin(emit, llavamed_phase_name((enum llavamed_phase)i), '{');
        json_emit_seconds(emit, "seconds", counter->sum_ns);
        json_emit_seconds(emit, "least", counter->min_ns);
        json_emit_seconds(emit, "most", counter->max_ns);
        json_emit_number(emit, "bytes", counter->n_bytes);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, '}');
}

static void emit_warnings(struct json_emit *emit, const struct llavamed_result *result)
{
    json_emit_begin(emit, "warnings", '[');
    for (size_t i = 0; i < result->n_warnings; i++) {
        json_emit_text(emit, NULL, result->warnings[i]);
    }
    json_emit_end(emit, ']');
}

/* From the result to the warnings. */
static void emit_run(struct json_emit *emit, const struct llavamed_result *result, const uint64_t *peak_rss_bytes)
{
    emit_result(emit, result);
    emit_timings(emit, result);
    emit_bytes(emit, result, false);
    json_emit_begin(emit, "memory", '{');
    json_emit_number(emit, "pool", result->pool_bytes);
    if (peak_rss_bytes != NULL) {
        json_emit_number(emit, "peak_rss", *peak_rss_bytes);
    }
    json_emit_end(emit, '}');
    emit_counters(emit, &result->counters);
    json_emit_number(emit, "threads", result->n_threads);
    json_emit_text(emit, "cpu", result->cpu);
    emit_warnings(emit, result);
    json_emit_text(emit, "started_over", result->started_over);
}

static void emit_part(struct json_emit *emit, const struct report *report)
{
    if (report->settings->n_parts == 0) {
        json_emit_text(emit, "part", NULL);
    } else {
        json_emit_begin(emit, "part", '{');
        json_emit_number(emit, "k", report->settings->part);
        json_emit_number(emit, "n", report->settings->n_parts);
        json_emit_end(emit, '}');
    }
    json_emit_text(emit, "parts_missing", report->result->parts_missing);
}

void report_print_json(FILE *stream, const struct report *report)
{
    struct json_emit emit;
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    json_emit_error(&emit, report->error);
    json_emit_text(&emit, "base", report->settings->base);
    if (report->makes_delta) {
        json_emit_text(&emit, "target", report->settings->target);
    } else {
        json_emit_text(&emit, "delta", report->settings->delta);
    }
    json_emit_text(&emit, "out", report->settings->out);
    json_emit_bool(&emit, "dry_run", report->settings->dry_run);
    json_emit_bool(&emit, "published", report->result->is_published);
    if (!report->makes_delta) {
        emit_part(&emit, report);
    }
    emit_run(&emit, report->result, &report->peak_rss_bytes);
    if (report->makes_delta) {
        lossy_report_emit(&emit, report->result);
    }
    json_emit_text(&emit, "version", LLAVAMED_VERSION);
    json_emit_end(&emit, '}');
}

/* ---- Several outputs ---- */

static struct llavamed_result sum_of(const struct report_all *report)
{
    struct llavamed_result sum = {0};
    for (size_t i = 0; i < report->n_outputs; i++) {
        const struct llavamed_result *result = &report->outputs[i].result;
        sum.planned_read_bytes += result->planned_read_bytes;
        sum.planned_write_bytes += result->planned_write_bytes;
        sum.read_bytes += result->read_bytes;
        sum.written_bytes += result->written_bytes;
        sum.reused_bytes += result->reused_bytes;
        sum.total_ns = result->total_ns;
    }
    return sum;
}

static void emit_output(struct json_emit *emit, const struct report_all *report, const struct llavamed_output *output)
{
    struct llavamed_error bare = {0};
    const struct llavamed_error *error = &output->error;
    if (error->status == LLAVAMED_OK && !output->is_published) {
        bare.status = report->error->status;
        bare.signal_number = report->error->signal_number;
        error = &bare;
    }
    json_emit_begin(emit, NULL, '{');
    json_emit_error(emit, error);
    json_emit_text(emit, "delta", output->delta);
    json_emit_text(emit, "out", output->out);
    json_emit_bool(emit, "published", output->is_published);
    emit_run(emit, &output->result, NULL);
    json_emit_end(emit, '}');
}

void report_print_json_all(FILE *stream, const struct report_all *report)
{
    struct json_emit emit;
    const struct llavamed_result sum = sum_of(report);
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    json_emit_error(&emit, report->error);
    json_emit_text(&emit, "base", report->settings->base);
    json_emit_bool(&emit, "dry_run", report->settings->dry_run);
    json_emit_begin(&emit, "outputs", '[');
    for (size_t i = 0; i < report->n_outputs; i++) {
        emit_output(&emit, report, &report->outputs[i]);
    }
    json_emit_end(&emit, ']');
    json_emit_begin(&emit, "timings", '{');
    json_emit_seconds(&emit, "total_seconds", sum.total_ns);
    json_emit_end(&emit, '}');
    emit_bytes(&emit, &sum, true);
    json_emit_begin(&emit, "memory", '{');
    json_emit_number(&emit, "peak_rss", report->peak_rss_bytes);
    json_emit_end(&emit, '}');
    json_emit_text(&emit, "version", LLAVAMED_VERSION);
    json_emit_end(&emit, '}');
}

/* ---- The summary ---- */

static void print_counts(FILE *stream, const struct llavamed_result *result, bool makes_delta, bool verbose)
{
    char line[256];
    if (result->n_nan > 0 || result->n_infinite > 0) {
        cli_format(line, sizeof line, "the %s holds %" PRIu64 " NaN and %" PRIu64 " infinite values",
                   makes_delta ? "delta" : "result", result->n_nan, result->n_infinite);
        messages_line(stream, "warning", line);
    }
    if (verbose) {
        cli_format(line, sizeof line, "%" PRIu64 " %s were rounded to the result's dtype", result->n_rounded,
                   makes_delta ? "differences" : "sums");
        messages_line(stream, "note", line);
    }
}

/* As llavamed-inspect --digests prints it. */
static void print_digest(FILE *stream, const struct llavamed_result *result)
{
    char line[128];
    if (result->model_sha256[0] != '\0') {
        cli_format(line, sizeof line, "sha256  %s  (model)", result->model_sha256);
        messages_line(stream, "digest", line);
    }
}

static void print_next(FILE *stream, const char *out)
{
    char line[LLAVAMED_MESSAGE_BYTES];
    char *directory = cli_shell_word(out);
    if (directory != NULL) {
        cli_format(line, sizeof line, "cd %s && sha256sum -c SHA256SUMS", directory);
        messages_line(stream, "next", line);
    }
    free(directory);
}

/* "1.2 GB, 3.4 s, 0.35 GB/s, peak memory 80 MiB" */
static void format_costs(char *text, size_t capacity, const struct llavamed_result *result, uint64_t peak_rss_bytes)
{
    char written[CLI_FIGURE_BYTES];
    char seconds[CLI_FIGURE_BYTES];
    char rate[CLI_FIGURE_BYTES];
    char memory[CLI_FIGURE_BYTES];
    cli_format_bytes(written, result->written_bytes);
    cli_format_seconds(seconds, result->total_ns);
    cli_format_rate(rate, result->written_bytes, result->total_ns);
    cli_format_memory(memory, peak_rss_bytes);
    cli_format(text, capacity, "%s, %s, %s, peak memory %s", written, seconds, rate, memory);
}

/* What is still to come, before OUT is there. */
static void print_unpublished(FILE *stream, const struct report *report)
{
    const struct llavamed_result *result = report->result;
    char line[LLAVAMED_MESSAGE_BYTES];
    if (result->parts_missing != NULL) {
        cli_format(line, sizeof line, "%u of %u parts are not done yet: %.400s; the last one publishes",
                   result->n_parts_missing, result->n_parts, result->parts_missing);
        messages_line(stream, "next", line);
        return;
    }
    char *directory = cli_shell_word(report->settings->out);
    if (directory != NULL) {
        cli_format(line, sizeof line, "llavamed-apply --finish --out %s", directory);
        messages_line(stream, "next", line);
    }
    free(directory);
}

/* Of a part that has not published; and where nothing was left to do. */
static void print_part_summary(FILE *stream, const struct report *report, const char *costs)
{
    const struct llavamed_result *result = report->result;
    char line[LLAVAMED_MESSAGE_BYTES];
    if (result->was_published) {
        cli_format(line, sizeof line, "%.600s: is published already, and complete", report->settings->out);
    } else if (result->was_done) {
        cli_format(line, sizeof line, "%.600s: part %u of %u was done before", report->settings->out, result->part,
                   result->n_parts);
    } else {
        cli_format(line, sizeof line, "%.600s: part %u of %u, %zu tensors in %zu %s, %s", report->settings->out,
                   result->part, result->n_parts, result->n_tensors, result->n_shards,
                   result->n_shards == 1 ? "shard" : "shards", costs);
    }
    messages_line(stream, "done", line);
    if (!result->is_published) {
        print_unpublished(stream, report);
    } else {
        print_next(stream, report->settings->out);
    }
}

void report_print_summary(FILE *stream, const struct report *report, bool verbose)
{
    const struct llavamed_result *result = report->result;
    char costs[4 * CLI_FIGURE_BYTES + 32];
    format_costs(costs, sizeof costs, result, report->peak_rss_bytes);
    print_counts(stream, result, report->makes_delta, verbose);
    char line[LLAVAMED_MESSAGE_BYTES];
    if (result->part != 0 || result->was_published) {
        print_part_summary(stream, report, costs);
        return;
    }
    cli_format(line, sizeof line, "%.600s: %zu tensors in %zu %s, %s", report->settings->out, result->n_tensors,
               result->n_shards, result->n_shards == 1 ? "shard" : "shards", costs);
    messages_line(stream, "done", line);
    print_digest(stream, result);
    print_next(stream, report->settings->out);
}

void report_print_summary_all(FILE *stream, const struct report_all *report, bool verbose)
{
    char line[LLAVAMED_MESSAGE_BYTES];
    for (size_t i = 0; i < report->n_outputs; i++) {
        const struct llavamed_output *output = &report->outputs[i];
        const struct llavamed_result *result = &output->result;
        if (!output->is_published) {
            continue;
        }
        char written[CLI_FIGURE_BYTES];
        cli_format_bytes(written, result->written_bytes);
        print_counts(stream, result, false, verbose);
        cli_format(line, sizeof line, "%.600s: %zu tensors in %zu %s, %s", output->out, result->n_tensors,
                   result->n_shards, result->n_shards == 1 ? "shard" : "shards", written);
        messages_line(stream, "done", line);
        print_digest(stream, result);
        print_next(stream, output->out);
    }
    if (report->error->status == LLAVAMED_OK) {
        const struct llavamed_result sum = sum_of(report);
        char costs[4 * CLI_FIGURE_BYTES + 32];
        format_costs(costs, sizeof costs, &sum, report->peak_rss_bytes);
        cli_format(line, sizeof line, "%zu outputs, %s", report->n_outputs, costs);
        messages_line(stream, "done", line);
    }
}
