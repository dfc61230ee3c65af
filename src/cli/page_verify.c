/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page_verify.h"

#include <inttypes.h>

#include "cli/html_grid.h"
#include "cli/html_page.h"
#include "cli/html_scale.h"
#include "cli/html_text.h"
#include "cli/messages.h"
#include "cli/page_file.h"
#include "llavamed_reports.h"

#define VERDICTS 3

static const struct {
    int mark;
    const char *sign;
    const char *word;
} verdicts[VERDICTS] = {
    [LLAVAMED_VERDICT_INTACT] = {HTML_MARK_GOOD, "\xe2\x9c\x93", "intact"},
    [LLAVAMED_VERDICT_DAMAGED] = {HTML_MARK_BAD, "\xe2\x9c\x97", "damaged"},
    [LLAVAMED_VERDICT_UNCHECKED] = {HTML_MARK_UNKNOWN, "?", "unchecked"},
};

bool page_verify_has_verdict(const struct llavamed_verify_result *result, const struct llavamed_error *error)
{
    return error->status == LLAVAMED_OK || (result->tensors != NULL && result->n_found > 0);
}

static const char *name_of(const void *context, size_t index)
{
    const struct llavamed_verify_result *result = context;
    return result->tensors[index].name;
}

static void mark_of(const void *context, size_t index, struct html_mark *mark)
{
    const struct llavamed_verify_result *result = context;
    const struct llavamed_verified_tensor *tensor = &result->tensors[index];
    mark->kind = verdicts[tensor->verdict].mark;
    (void)snprintf(mark->text, sizeof mark->text, "%s", verdicts[tensor->verdict].sign);
    (void)snprintf(mark->detail, sizeof mark->detail, "%s, in %.200s", verdicts[tensor->verdict].word, tensor->file);
}

static void print_verdict(FILE *stream, const struct llavamed_verify_settings *settings,
                          const struct llavamed_verify_result *result, const struct llavamed_error *error)
{
    size_t n_of[VERDICTS] = {0};
    char detail[512];
    for (size_t i = 0; i < result->n_listed_tensors; i++) {
        n_of[result->tensors[i].verdict]++;
    }
    (void)snprintf(detail, sizeof detail,
                   "%zu %s, %zu %s: %zu intact, %zu damaged, %zu unchecked. %" PRIu64 " %s, %zu %s.", result->n_files,
                   result->n_files == 1 ? "file" : "files", result->n_listed_tensors,
                   result->n_listed_tensors == 1 ? "tensor" : "tensors", n_of[LLAVAMED_VERDICT_INTACT],
                   n_of[LLAVAMED_VERDICT_DAMAGED], n_of[LLAVAMED_VERDICT_UNCHECKED], result->n_found,
                   result->n_found == 1 ? "finding" : "findings", result->n_notes,
                   result->n_notes == 1 ? "note" : "notes");
    bool is_good = error->status == LLAVAMED_OK;
    bool is_wrong = error->status == LLAVAMED_STATUS_NOT_INTACT;
    html_page_verdict(stream, is_good,
                      is_good    ? "Intact: the directory is what its records say"
                      : is_wrong ? "Not intact: something in the directory is not what its records say"
                                 : "Not proven: not all of the directory could be read",
                      detail);
    html_paragraph(stream, "Directory: %s", settings->dir);
    if (settings->sums != NULL) {
        html_paragraph(stream, "Held against the list %s", settings->sums);
    }
}

static void print_findings(FILE *stream, const struct llavamed_verify_result *result)
{
    static const char *const columns[] = {"file", "tensor", "what is wrong", "kind", "#at byte", NULL};
    if (result->n_found == 0) {
        return;
    }
    size_t n_shown = result->n_findings < HTML_FINDING_ROWS_MAX ? result->n_findings : HTML_FINDING_ROWS_MAX;
    html_section_begin(stream, "Findings");
    html_table_begin(stream, "All that is wrong", columns);
    for (size_t i = 0; i < n_shown; i++) {
        const struct llavamed_finding *finding = &result->findings[i];
        html_row_begin(stream, finding->file);
        html_row_text(stream, finding->tensor == NULL ? "-" : finding->tensor);
        html_row_text(stream, finding->what);
        html_row_text(stream, llavamed_finding_name(finding->code));
        if (finding->offset > 0) {
            html_row_number(stream, finding->offset);
        } else {
            html_row_text(stream, "-");
        }
        html_row_end(stream);
    }
    html_table_end(stream, result->n_found - n_shown, "findings");
    html_section_end(stream);
}

static bool print_map(FILE *stream, const struct llavamed_verify_result *result)
{
    const struct html_grid grid = {result, result->n_listed_tensors, "verdict", name_of, mark_of};
    html_section_begin(stream, "Verdicts, layer by module");
    html_paragraph(stream, "Intact: the tensor's bytes have the recorded CRC-32, or its file has the recorded SHA-256. "
                           "Damaged: a finding names it. Unchecked: there is no record of it to hold it against, or "
                           "its file could not be read.");
    html_verdict_legend(stream);
    bool has_memory = html_grid_print(stream, &grid, "Verdict");
    html_section_end(stream);
    return has_memory;
}

static void print_files(FILE *stream, const struct llavamed_verify_result *result)
{
    static const char *const columns[] = {"file", "#tensors", "#bytes", "SHA-256 of what was read", NULL};
    html_section_begin(stream, "Files");
    html_table_begin(stream, "Files that are there", columns);
    for (size_t i = 0; i < result->n_files && i < HTML_FILE_ROWS_MAX; i++) {
        const struct llavamed_verified_file *file = &result->files[i];
        html_row_begin(stream, file->name);
        html_row_number(stream, file->n_tensors);
        html_row_number(stream, file->n_bytes);
        html_row_code(stream, file->sha256);
        html_row_end(stream);
    }
    html_table_end(stream, html_left_out(result->n_files, HTML_FILE_ROWS_MAX), "files");
    html_section_end(stream);
}

static void print_row(FILE *stream, const struct llavamed_verified_tensor *tensor)
{
    char crc32[16] = "";
    if (tensor->has_crc32) {
        (void)snprintf(crc32, sizeof crc32, "%08" PRIx32, tensor->crc32);
    }
    html_row_begin(stream, tensor->name);
    (void)fprintf(stream, "<td><span class=\"kind %s\">%s %s</span></td>",
                  html_scale_class(verdicts[tensor->verdict].mark), verdicts[tensor->verdict].sign,
                  verdicts[tensor->verdict].word);
    html_row_text(stream, tensor->dtype);
    html_row_shape(stream, tensor->rank, tensor->shape);
    html_row_number(stream, tensor->n_bytes);
    html_row_code(stream, crc32);
    html_row_text(stream, tensor->file);
    html_row_end(stream);
}

/* Those that are damaged first: they must not be the ones that are left out. */
static void print_tensors(FILE *stream, const struct llavamed_verify_result *result)
{
    static const char *const columns[] = {"tensor", "verdict", "dtype", "#shape", "#bytes", "CRC-32", "file", NULL};
    static const enum llavamed_verdict order[VERDICTS] = {LLAVAMED_VERDICT_DAMAGED, LLAVAMED_VERDICT_UNCHECKED,
                                                          LLAVAMED_VERDICT_INTACT};
    size_t n_shown = 0;
    html_section_begin(stream, "Tensors");
    html_table_begin(stream, "Damaged ones first, then by file", columns);
    for (int k = 0; k < VERDICTS; k++) {
        for (size_t i = 0; i < result->n_listed_tensors && n_shown < HTML_TENSOR_ROWS_MAX; i++) {
            if (result->tensors[i].verdict == order[k]) {
                print_row(stream, &result->tensors[i]);
                n_shown++;
            }
        }
    }
    html_table_end(stream, result->n_listed_tensors - n_shown, "tensors");
    html_section_end(stream);
}

enum llavamed_status page_verify_write(const char *path, const struct llavamed_verify_settings *settings,
                                       const struct llavamed_verify_result *result, const struct llavamed_error *error,
                                       struct llavamed_error *failure)
{
    struct page_file page;
    enum llavamed_status status = page_file_begin(path, &page, failure);
    if (status != LLAVAMED_OK) {
        return status;
    }
    html_page_begin(page.stream, "Verification report");
    print_verdict(page.stream, settings, result, error);
    print_findings(page.stream, result);
    html_texts(page.stream, "Notes", result->notes, result->n_notes);
    bool has_memory = print_map(page.stream, result);
    print_files(page.stream, result);
    print_tensors(page.stream, result);
    html_page_end(page.stream);
    if (!has_memory) {
        page_file_abandon(&page);
        return cli_fail(failure, LLAVAMED_STATUS_NO_MEMORY, "out of memory for the map of the report");
    }
    return page_file_finish(&page, failure);
}
