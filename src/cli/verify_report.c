/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verify_report.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_emit.h"
#include "cli/messages.h"
#include "cli/text.h"

static const char *text_or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

/* ---- Findings ---------------------------------------------------------------------------------------------- */

/* The longest: a file's name, a tensor's name, a message. */
#define LINE_BYTES 4096

void verify_report_print_findings(FILE *stream, const struct llavamed_verify_result *result)
{
    char line[LINE_BYTES];
    for (size_t i = 0; i < result->n_findings; i++) {
        const struct llavamed_finding *finding = &result->findings[i];
        bool has_tensor = finding->tensor != NULL;
        cli_format(line, sizeof line, "%.1024s: %.1024s%s%.1024s", finding->file, has_tensor ? finding->tensor : "",
                   has_tensor ? ": " : "", finding->what);
        (void)fprintf(stream, "%s\n", line);
    }
    if (result->n_found > result->n_findings) {
        (void)fprintf(stream, "... and %" PRIu64 " more findings\n", result->n_found - result->n_findings);
    }
}

static void emit_findings(struct json_emit *emit, const struct llavamed_verify_result *result)
{
    json_emit_number(emit, "n_findings", result->n_found);
    json_emit_begin(emit, "findings", '[');
    for (size_t i = 0; i < result->n_findings; i++) {
        const struct llavamed_finding *finding = &result->findings[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "code", llavamed_finding_name(finding->code));
        json_emit_text(emit, "file", finding->file);
        json_emit_text(emit, "tensor", finding->tensor);
        json_emit_number(emit, "offset", finding->offset);
        json_emit_text(emit, "what", finding->what);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
}

/* ---- The whole --------------------------------------------------------------------------------------------- */

/* ", is BASE + DELTA in all 291 tensors", or nothing. */
static void describe_comparison(const struct verify_report *report, char *text, size_t capacity)
{
    size_t n = report->result->n_equal;
    text[0] = '\0';
    if (report->result->was_compared) {
        cli_format(text, capacity, ", is %.300s in all %zu %s",
                   report->settings->against != NULL ? report->settings->against : "BASE + DELTA", n,
                   n == 1 ? "tensor" : "tensors");
    }
}

void verify_report_print_summary(FILE *stream, const struct verify_report *report)
{
    const struct llavamed_verify_result *result = report->result;
    char read[CLI_FIGURE_BYTES];
    char seconds[CLI_FIGURE_BYTES];
    char rate[CLI_FIGURE_BYTES];
    char memory[CLI_FIGURE_BYTES];
    char same[400];
    char line[LLAVAMED_MESSAGE_BYTES];
    cli_format_bytes(read, result->read_bytes);
    cli_format_seconds(seconds, result->total_ns);
    cli_format_rate(rate, result->read_bytes, result->total_ns);
    cli_format_memory(memory, report->peak_rss_bytes);
    describe_comparison(report, same, sizeof same);
    cli_format(line, sizeof line, "%.300s: intact%s, %zu %s, %zu %s checked, %s, %s, %s, peak memory %s",
               report->settings->dir, same, result->n_files, result->n_files == 1 ? "file" : "files",
               result->n_tensors, result->n_tensors == 1 ? "tensor" : "tensors", read, seconds, rate, memory);
    messages_line(stream, "done", line);
    if (result->signing_key_sha256[0] != '\0') {
        cli_format(line, sizeof line, "model.sig over %zu %s, with the key of SHA-256 %s", result->n_signed,
                   result->n_signed == 1 ? "file" : "files", result->signing_key_sha256);
        messages_line(stream, "signed", line);
    }
}

static const char *const dtype_words[] = {
    [LLAVAMED_RESULT_DTYPE_DELTA] = "delta",
    [LLAVAMED_RESULT_DTYPE_FLOAT16] = "float16",
    [LLAVAMED_RESULT_DTYPE_BFLOAT16] = "bfloat16",
    [LLAVAMED_RESULT_DTYPE_FLOAT32] = "float32",
};

static void emit_comparison(struct json_emit *emit, const struct verify_report *report)
{
    const struct llavamed_verify_settings *settings = report->settings;
    const struct llavamed_verify_result *result = report->result;
    bool merges = settings->base != NULL;
    if (!merges && settings->against == NULL) {
        json_emit_text(emit, "compared", NULL);
        return;
    }
    json_emit_begin(emit, "compared", '{');
    json_emit_text(emit, "base", settings->base);
    json_emit_text(emit, "delta", settings->delta);
    json_emit_text(emit, "against", settings->against);
    json_emit_text(emit, "dtype", merges ? dtype_words[result->dtype] : NULL);
    json_emit_text(emit, "inv_freq", !merges ? NULL : result->inv_freq == LLAVAMED_INV_FREQ_DROP ? "drop" : "keep");
    json_emit_bool(emit, "complete", result->was_compared);
    json_emit_number(emit, "tensors", result->n_compared);
    json_emit_number(emit, "equal", result->n_equal);
    json_emit_end(emit, '}');
}

static void emit_files(struct json_emit *emit, const struct llavamed_verify_result *result)
{
    json_emit_begin(emit, "files", '[');
    for (size_t i = 0; i < result->n_files; i++) {
        const struct llavamed_verified_file *file = &result->files[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", file->name);
        json_emit_number(emit, "bytes", file->n_bytes);
        json_emit_number(emit, "tensors", file->n_tensors);
        json_emit_text(emit, "sha256", text_or_null(file->sha256));
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
    json_emit_number(emit, "tensors_checked", result->n_tensors);
    json_emit_number(emit, "digests_checked", result->n_digests);
    json_emit_text(emit, "signing_key_sha256", text_or_null(result->signing_key_sha256));
    json_emit_number(emit, "files_signed", result->n_signed);
    json_emit_begin(emit, "notes", '[');
    for (size_t i = 0; i < result->n_notes; i++) {
        json_emit_text(emit, NULL, result->notes[i]);
    }
    json_emit_end(emit, ']');
}

/* Whether it is intact is known when it is, and when something is certainly wrong. */
static void emit_verdict(struct json_emit *emit, const struct llavamed_error *error)
{
    if (error->status == LLAVAMED_OK || error->status == LLAVAMED_STATUS_NOT_INTACT) {
        json_emit_bool(emit, "intact", error->status == LLAVAMED_OK);
    } else {
        json_emit_text(emit, "intact", NULL);
    }
}

void verify_report_print_json(FILE *stream, const struct verify_report *report)
{
    struct json_emit emit;
    const struct llavamed_error *error = report->error;
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    json_emit_number(&emit, "status", (uint64_t)llavamed_exit_status(error));
    json_emit_text(&emit, "code", llavamed_status_name(error->status));
    json_emit_text(&emit, "message", text_or_null(error->message));
    json_emit_text(&emit, "hint", text_or_null(error->hint));
    json_emit_text(&emit, "dir", report->settings->dir);
    json_emit_text(&emit, "sums", report->settings->sums);
    json_emit_text(&emit, "public_key", report->settings->public_key);
    emit_verdict(&emit, error);
    emit_findings(&emit, report->result);
    emit_comparison(&emit, report);
    emit_files(&emit, report->result);
    json_emit_begin(&emit, "timings", '{');
    json_emit_seconds(&emit, "total_seconds", report->result->total_ns);
    json_emit_end(&emit, '}');
    json_emit_begin(&emit, "bytes", '{');
    json_emit_number(&emit, "read", report->result->read_bytes);
    json_emit_end(&emit, '}');
    json_emit_begin(&emit, "memory", '{');
    json_emit_number(&emit, "buffers", report->result->buffer_bytes);
    json_emit_number(&emit, "peak_rss", report->peak_rss_bytes);
    json_emit_end(&emit, '}');
    json_emit_number(&emit, "threads", report->result->n_threads);
    json_emit_text(&emit, "version", LLAVAMED_VERSION);
    json_emit_end(&emit, '}');
}
