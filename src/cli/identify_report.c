/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/identify_report.h"

#include <inttypes.h>

#include "cli/json_emit.h"
#include "cli/messages.h"
#include "cli/text.h"

#define LINE_BYTES 4096

bool identify_report_has_verdict(const struct identify_report *report)
{
    switch ((int)report->error->status) {
    case LLAVAMED_OK:
    case LLAVAMED_STATUS_IDENTITY_INCOMPLETE:
    case LLAVAMED_STATUS_IDENTITY_MIXED:
    case LLAVAMED_STATUS_IDENTITY_UNKNOWN:
        return true;
    default:
        return false;
    }
}

void identify_report_print_lines(FILE *stream, const struct identify_report *report)
{
    const struct llavamed_identify_result *result = report->result;
    const char *verdict = llavamed_identity_name(result->identity);
    char line[LINE_BYTES];
    for (size_t i = 0; i < result->n_files; i++) {
        const struct llavamed_identified_file *file = &result->files[i];
        cli_format(line, sizeof line, "sha256  %s  %.1024s  %s", file->sha256, file->name,
                   file->release == NULL ? "unknown" : file->release);
        (void)fprintf(stream, "%s\n", line);
    }
    if (result->n_wanted > 0) {
        cli_format(line, sizeof line, "verdict  %s  %s (%zu of %zu weights files)", verdict,
                   result->release == NULL ? "several" : result->release, result->n_found, result->n_wanted);
    } else {
        cli_format(line, sizeof line, "verdict  %s%s%s", verdict, result->release == NULL ? "" : "  ",
                   result->release == NULL ? "" : result->release);
    }
    (void)fprintf(stream, "%s\n", line);
}

void identify_report_print_remarks(FILE *stream, const struct identify_report *report)
{
    for (size_t i = 0; i < report->result->n_remarks; i++) {
        messages_line(stream, "problem", report->result->remarks[i]);
    }
}

static void emit_files(struct json_emit *emit, const struct llavamed_identify_result *result)
{
    json_emit_begin(emit, "files", '[');
    for (size_t i = 0; i < result->n_files; i++) {
        const struct llavamed_identified_file *file = &result->files[i];
        json_emit_begin(emit, NULL, '{');
        json_emit_text(emit, "name", file->name);
        json_emit_number(emit, "bytes", file->n_bytes);
        json_emit_text(emit, "sha256", file->sha256[0] == '\0' ? NULL : file->sha256);
        json_emit_text(emit, "release", file->release);
        json_emit_text(emit, "released_name", file->released_name);
        json_emit_end(emit, '}');
    }
    json_emit_end(emit, ']');
    json_emit_begin(emit, "remarks", '[');
    for (size_t i = 0; i < result->n_remarks; i++) {
        json_emit_text(emit, NULL, result->remarks[i]);
    }
    json_emit_end(emit, ']');
}

void identify_report_print_json(FILE *stream, const struct identify_report *report)
{
    struct json_emit emit;
    const struct llavamed_error *error = report->error;
    const struct llavamed_identify_result *result = report->result;
    json_emit_init(&emit, stream);
    json_emit_begin(&emit, NULL, '{');
    json_emit_number(&emit, "status", (uint64_t)llavamed_exit_status(error));
    json_emit_text(&emit, "code", llavamed_status_name(error->status));
    json_emit_text(&emit, "message", error->message[0] == '\0' ? NULL : error->message);
    json_emit_text(&emit, "hint", error->hint[0] == '\0' ? NULL : error->hint);
    json_emit_text(&emit, "source", report->source);
    json_emit_text(&emit, "verdict",
                   identify_report_has_verdict(report) ? llavamed_identity_name(result->identity) : NULL);
    json_emit_text(&emit, "release", result->release);
    json_emit_number(&emit, "found", result->n_found);
    json_emit_number(&emit, "wanted", result->n_wanted);
    emit_files(&emit, result);
    json_emit_begin(&emit, "timings", '{');
    json_emit_seconds(&emit, "total_seconds", result->total_ns);
    json_emit_end(&emit, '}');
    json_emit_begin(&emit, "bytes", '{');
    json_emit_number(&emit, "read", result->read_bytes);
    json_emit_end(&emit, '}');
    json_emit_begin(&emit, "memory", '{');
    json_emit_number(&emit, "peak_rss", report->peak_rss_bytes);
    json_emit_end(&emit, '}');
    json_emit_text(&emit, "version", LLAVAMED_VERSION);
    json_emit_end(&emit, '}');
}
